//! What happens on SIGINT, SIGTERM and SIGHUP: children are ended, temporary files removed, the process leaves.
//!
//! Everything that must not outlive the process is registered here before it is filled. A thread of its own does the
//! work, so that no long step needs to look whether it should stop.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static TO_REMOVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// How long children may take to end when asked to, before they are killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches for signals from now on. Called once, first thing.
pub fn watch() -> io::Result<Interrupted> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            leave(signal);
        }
    })?;
    Ok(Interrupted(flag))
}

/// Whether a signal has come.
pub struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// After a failure: if it came from the signal (a child that was interrupted too), the signal's thread ends the
    /// process and this never returns; the failure itself is not worth a word then.
    pub fn wait_if_so(&self) {
        while self.0.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs `create`, which makes the path it returns, and sees to it that a signal removes it.
pub fn register<E>(create: impl FnOnce() -> Result<PathBuf, E>) -> Result<PathBuf, E> {
    let mut paths = registered();
    let path = create()?;
    paths.insert(path.clone());
    Ok(path)
}

/// The path is gone or is to stay: a signal leaves it alone from now on.
pub fn forget(path: &Path) {
    registered().remove(path);
}

/// Does `work`, which a signal neither interrupts nor comes before: a process that is being ended never begins with it.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let _held = registered();
    work()
}

fn registered() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TO_REMOVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process: what it started, what it made, itself. 128 + the signal's number, as shells report it.
fn leave(signal: i32) -> ! {
    // Held to the end: nothing new can be registered, so nothing new is created.
    let paths = registered();
    end_descendants();
    let mut left = Vec::new();
    for path in paths.iter() {
        // What the main thread was writing may come back once; a second look finds it.
        for _ in 0..5 {
            if remove_tree(path).is_ok() && fs::symlink_metadata(path).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if fs::symlink_metadata(path).is_ok() {
            left.push(path.display().to_string());
        }
    }
    let text = if left.is_empty() {
        "interrupted; nothing half-done is left behind".to_owned()
    } else {
        format!("interrupted; could not remove {}", left.join(", "))
    };
    let _ = writeln!(io::stderr(), "\nerror: {text}");
    std::process::exit(128 + signal);
}

/// Asks every process below this one to end, then kills those that stay.
fn end_descendants() {
    let asked = Instant::now();
    let mut signal = Signal::TERM;
    loop {
        let rest = descendants(std::process::id());
        if rest.is_empty() || asked.elapsed() > 2 * PATIENCE {
            return;
        }
        if asked.elapsed() > PATIENCE {
            signal = Signal::KILL;
        }
        for pid in rest {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Processes that descend from `ancestor` and still run, by their parents in /proc.
fn descendants(ancestor: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            running_parent(&stat).map(|parent| (pid, parent))
        })
        .collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The parent in the text of /proc/PID/stat; none for a zombie. The name may hold spaces and parentheses.
fn running_parent(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(parent)
}

/// Removes a file or a directory with all that is in it, never entering another file system: an unpacked root may
/// have one mounted inside.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_dir() { remove_directory(path, metadata.dev()) } else { fs::remove_file(path) }
}

fn remove_directory(path: &Path, device: u64) -> io::Result<()> {
    // The signal's thread may be removing the same tree.
    let entries = match fs::read_dir(path) {
        Err(error) => return gone_is_fine(Err(error)),
        Ok(entries) => entries,
    };
    for entry in entries {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.dev() != device => {
                return Err(io::Error::other(format!("{} is a mount point", path.display())));
            }
            Ok(metadata) if metadata.is_dir() => remove_directory(&path, device)?,
            Ok(_) => gone_is_fine(fs::remove_file(&path))?,
            Err(error) => gone_is_fine(Err(error))?,
        }
    }
    gone_is_fine(fs::remove_dir(path))
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_read_behind_any_name() {
        for (stat, parent) in [
            ("12 (mksquashfs) S 7 12 12 0", Some(7)),
            ("12 (a) b) R 9 12", Some(9)),
            ("12 (gone) Z 7 12", None),
            ("nonsense", None),
        ] {
            assert_eq!(running_parent(stat), parent, "{stat}");
        }
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let found = descendants(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }

    #[test]
    fn a_tree_with_links_is_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "stays").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        std::os::unix::fs::symlink("../outside", tree.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", tree.join("a/b/dangling")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(dir.path().join("outside").exists());
        remove_tree(&tree).unwrap();
    }
}
