//! The keeper: the one process of ours that stays while the system runs. It has containers grow before they are full,
//! and says when changes run out of room.
//!
//! It works in the saved ramfs, with paths that do not lead over the file systems that it may have to stop, and is ended
//! by the shutdown.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use live::container::growth::{Room, Step};
use live::container::{self, Container};
use live::error::{AtPath, Result};
use live::layout::{CHANGES, SAVED_RAMFS, SESSION_FILE, SESSIONS};
use live::log;
use live::session::{Current, Kind};
use live::sys::file_system;
use rustix::fs::{StatVfs, statvfs};
use rustix::process::chdir;

/// How often changes that do not grow are looked at.
const PAUSE: Duration = Duration::from_secs(2);
/// Less than this is no room, in bytes.
const FULL: u64 = 2 << 20;
/// How long after a failure growing is tried again.
const REST: Duration = Duration::from_secs(30);

/// Keeps watch until the shutdown.
pub fn run() -> Result<()> {
    log::to_kernel("keeper");
    chdir(SAVED_RAMFS).at("enter", SAVED_RAMFS)?;
    // Without it, or if it comes too late, writers meet a full disk; it needs little of either.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = rustix::process::setpriority_process(None, -20);
    let session = Current::read(&here(SESSION_FILE));
    let mut guard = Guard::default();
    let ended = match &session {
        Some(session) if session.kind == Kind::Container => keep_container(session, &mut guard),
        session => watch(session.as_ref(), &mut guard),
    };
    // What is done on the disk while it goes fails, which is not worth a word then.
    if !session.as_ref().is_some_and(is_gone) {
        return ended;
    }
    log::error(format_args!("the disk with the changes is gone: nothing can be kept any more"));
    log::error(format_args!("hint: save your work elsewhere, and power off; what was synced is on the disk"));
    Ok(())
}

/// Whether the disk that the session is on was pulled out, or has failed for good. Where /sys was unmounted, nobody knows.
fn is_gone(session: &Current) -> bool {
    let all = Path::new("/sys/class/block");
    all.is_dir() && !all.join(&session.device).exists()
}

/// Of changes in a folder or in memory, until the disk is gone.
fn watch(session: Option<&Current>, guard: &mut Guard) -> Result<()> {
    while !session.is_some_and(is_gone) {
        let changes = stat(&here(CHANGES))?;
        guard.look(used(&changes), free(&changes));
        sleep(PAUSE);
    }
    Ok(())
}

/// The same, of changes in a container, which grows.
fn keep_container(session: &Current, guard: &mut Guard) -> Result<()> {
    let sessions = here(SESSIONS);
    let folder = sessions.join(session.number.to_string());
    // Where the file system in the container is mounted.
    let home = here(session.usage.home());
    let mut container = Container::joined(&folder, session.offset)?;
    while !is_gone(session) {
        let (inside, medium) = (stat(&home)?, stat(&sessions)?);
        let room =
            Room { size: container.size(), free: free(&inside), medium: free(&medium), limit: session.limit };
        guard.look(used(&inside), room.left());
        let (more, frozen) = match room.step() {
            Step::None | Step::Full => {
                sleep(room.pause());
                continue;
            }
            Step::Grow(more) => (more, false),
            Step::GrowFrozen(more) => (more, true),
        };
        if let Err(e) = grow(&mut container, &home, more, frozen) {
            if is_gone(session) {
                break;
            }
            log::error(format_args!("the container of the changes does not grow: {e}"));
            sleep(REST);
            container = Container::joined(&folder, session.offset)?;
        }
    }
    Ok(())
}

fn grow(container: &mut Container, home: &Path, more: u64, frozen: bool) -> Result<()> {
    let writers = if frozen { Some(file_system::freeze(home)?) } else { None };
    container.enlarge(more)?;
    drop(writers);
    container::fill(home, container.room())?;
    log::debug(format_args!("the container of the changes has {} MiB", container.size() >> 20));
    Ok(())
}

/// A path of the ramfs, as seen from there.
fn here(path: &str) -> PathBuf {
    path.trim_start_matches('/').into()
}

pub fn stat(path: &Path) -> Result<StatVfs> {
    statvfs(path).at("look at", path)
}

/// Bytes in use.
pub fn used(stat: &StatVfs) -> u64 {
    (stat.f_blocks - stat.f_bfree) * stat.f_frsize
}

/// Bytes that can be written.
pub fn free(stat: &StatVfs) -> u64 {
    stat.f_bavail * stat.f_frsize
}

/// Says once when room becomes short, and again only after there was enough in between.
#[derive(Debug, Default)]
struct Guard {
    told: u8,
}

impl Guard {
    fn look(&mut self, used: u64, left: u64) {
        if let Some(text) = self.says(used, left) {
            log::warning(format_args!("{text}"));
        }
    }

    fn says(&mut self, used: u64, left: u64) -> Option<String> {
        let percent = u8::try_from(used * 100 / (used + left).max(1)).unwrap_or(100);
        let level = match percent {
            _ if left < FULL => 100,
            90.. => 90,
            80.. => self.told,
            _ => 0,
        };
        let is_news = level > self.told;
        self.told = level;
        is_news.then(|| match level {
            100 => "changes are full: nothing more can be written; remove files".to_owned(),
            _ => format!(
                "changes are {percent} % full, {} MiB are left; remove files, or save your work",
                left >> 20
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_said_once_for_each_level() {
        let mut guard = Guard::default();
        let table = [
            (50, 50, None),
            (90, 10, Some("90 %")),
            (92, 8, None),
            (85, 15, None),
            (91, 9, None),
            (100, 0, Some("full: nothing")),
            (95, 5, None),
            (50, 50, None),
            (91, 9, Some("91 %")),
            (0, 0, Some("full: nothing")),
        ];
        for (used, left, expected) in table {
            let said = guard.says(used << 22, left << 22);
            match expected {
                None => assert_eq!(said, None, "{used} {left}"),
                Some(part) => {
                    assert!(said.as_deref().unwrap_or_default().contains(part), "{used} {left}: {said:?}");
                }
            }
        }
    }
}
