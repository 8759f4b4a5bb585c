//! `livekit status`.

use std::fs;
use std::path::{Path, PathBuf};

use live::container::growth::Room;
use live::container::parts;
use live::layout::{CHANGES, MEDIUM, SESSION_FILE, SESSIONS};
use live::mounts::{self, MountPoint};
use live::session::{self, About, Current};
use serde::Serialize;

use crate::activation::source::available_memory;
use crate::activation::stack::Origin;
use crate::activation::system::{System, covered, in_ramfs, live_folder};
use crate::cli::running::Status;
use crate::error::{Ending, Error, Failure, Result};
use crate::output::{Output, size};

/// What the running system is made of.
#[derive(Debug, Serialize)]
struct Report {
    /// The kernel that runs
    kernel: String,
    /// What becomes of a bundle that is deactivated and in use by nobody
    bundles_are_released: &'static str,
    bundles: Counts,
    /// Places that have a cover of their own
    covers: Vec<PathBuf>,
    changes: Place,
    medium: Option<Place>,
    /// The folder of the medium with the bundles
    live_folder: Option<PathBuf>,
    /// Where the changes are kept; none if they are in memory until power-off
    session: Option<Session>,
    /// Bytes of memory that programs can still get
    available_memory: Option<u64>,
}

/// The session in use.
#[derive(Debug, Serialize)]
struct Session {
    number: u32,
    name: Option<String>,
    /// `folder` or `container`
    kind: &'static str,
    encrypted: bool,
    /// `read-write`, `read-only`, `at-exit`
    usage: &'static str,
    device: String,
    /// What a container may still grow by, in bytes
    can_grow_by: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Counts {
    boot: usize,
    activated: usize,
    hidden: usize,
}

/// A mounted file system.
#[derive(Debug, Serialize)]
struct Place {
    path: PathBuf,
    source: String,
    file_system: String,
    read_only: bool,
    /// Bytes in use
    used: u64,
    /// Bytes in all
    size: u64,
}

/// Tells what the running system is made of.
pub fn status(flags: &Status, output: &Output) -> Result<Ending, Failure> {
    let report = report()?;
    if flags.json {
        let text = serde_json::to_string_pretty(&report).map_err(|e| Error::new(e.to_string()))?;
        output.answer(text)?;
    } else {
        output.answers(|out| {
            for (name, text) in lines(&report) {
                writeln!(out, "{name:<10} {text}")?;
            }
            Ok(())
        })?;
    }
    Ok(Ending::Done)
}

fn report() -> Result<Report> {
    let system = System::look()?;
    let mounts = mounts::current()?;
    let stack = system.stack()?;
    let count = |origin| stack.iter().filter(|s| s.origin == origin).count();
    let changes = in_ramfs(CHANGES);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(Report {
        bundles_are_released: "at once",
        kernel,
        bundles: Counts {
            boot: count(Origin::Boot),
            activated: count(Origin::Activated),
            hidden: stack.iter().filter(|s| s.hidden).count(),
        },
        covers: covered()?.into_iter().map(|place| Path::new("/").join(place)).collect(),
        changes: mounts::at(&mounts, &changes)
            .map(place)
            .ok_or_else(|| Error::at("find the changes at", &changes, "nothing is mounted there"))?,
        medium: mounts::at(&mounts, &in_ramfs(MEDIUM)).map(place),
        live_folder: live_folder().ok(),
        session: session(),
        available_memory: available_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
    })
}

fn session() -> Option<Session> {
    let current = Current::read(&in_ramfs(SESSION_FILE))?;
    let sessions = in_ramfs(SESSIONS);
    let folder = sessions.join(current.number.to_string());
    let is_container = current.kind == session::Kind::Container;
    let medium = rustix::fs::statvfs(&sessions).ok().map(|stat| stat.f_bavail * stat.f_frsize);
    let size = parts::find(&folder).ok().map(|parts| parts.iter().map(|p| p.length).sum());
    let room = medium.zip(size).map(|(medium, size)| Room { size, free: 0, medium, limit: current.limit });
    Some(Session {
        number: current.number,
        name: About::read(&folder).name,
        kind: if is_container { "container" } else { "folder" },
        encrypted: current.offset > 0,
        usage: current.usage.name(),
        can_grow_by: room.filter(|_| is_container).map(Room::left),
        device: current.device,
    })
}

fn place(mount: &MountPoint) -> Place {
    let (used, size) = rustix::fs::statvfs(&mount.path).map_or((0, 0), |stat| {
        ((stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_blocks * stat.f_frsize)
    });
    Place {
        path: mount.path.clone(),
        source: mount.source.clone(),
        file_system: mount.fs_type.clone(),
        read_only: mount.options.split(',').any(|o| o == "ro"),
        used,
        size,
    }
}

fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let Counts { boot, activated, hidden } = report.bundles;
    let hidden = if hidden > 0 { format!(", {hidden} of the boot's hidden") } else { String::new() };
    let covers: Vec<String> = report.covers.iter().map(|c| c.display().to_string()).collect();
    let changes = &report.changes;
    let medium = report.medium.as_ref().map_or("none".into(), |medium| {
        let access = if medium.read_only { "read only" } else { "writable" };
        let folder = report.live_folder.as_ref().unwrap_or(&medium.path).display();
        format!("{} ({}), {access}, bundles in {folder}", medium.source, medium.file_system)
    });
    let more = report.session.as_ref().and_then(|s| s.can_grow_by).unwrap_or_default();
    let most = changes.size + more;
    let percent = (changes.used * 100).checked_div(most).unwrap_or_default();
    let warning = if percent >= 90 { "; nearly full" } else { "" };
    let kept = report.session.as_ref().map_or("in memory, gone at power-off".to_owned(), kept);
    vec![
        ("kernel", report.kernel.clone()),
        ("bundles", format!("{boot} of the boot, {activated} activated{hidden}")),
        ("covers", covers.join(" ")),
        ("changes", format!("{kept}: {} of {} ({percent} %){warning}", size(changes.used), size(most))),
        ("medium", medium),
        ("memory", format!("{} available", report.available_memory.map_or("?".into(), size))),
    ]
}

fn kept(session: &Session) -> String {
    let Session { number, device, .. } = session;
    let name = session.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let a = if session.encrypted { "an encrypted" } else { "a" };
    let usage = match session.usage {
        "read-write" => "",
        "at-exit" => ", in memory until shutdown",
        "directories" => ", single directories; all else is in memory",
        _ => ", in memory, the session stays as it is",
    };
    format!("in session {number}{name}, {a} {} on {device}{usage}", session.kind)
}
