//! dpkg's own locks: while bundles are switched, nobody installs packages.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::{HOME, fragments};
use crate::error::{AtPath, Error, Result};

/// In the order in which apt and dpkg take them. The first is held by a program that runs dpkg several times.
const LOCKS: [&str; 2] = ["lock-frontend", "lock"];

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// dpkg's locks, held until this is dropped. They are a process's: whatever else in it opens and closes these files gives
/// the locks away.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
}

impl Lock {
    /// Takes the locks of `root`, waiting at most so long for whoever holds them. A root without dpkg has none to take.
    pub fn take(root: &Path, patience: Duration) -> Result<Self> {
        let home = root.join(HOME);
        let mut files = Vec::new();
        if !home.join(fragments::STATUS).is_file() {
            return Ok(Self { _files: files });
        }
        let asked = Instant::now();
        for name in LOCKS {
            let path = home.join(name);
            // dpkg makes them so where they are missing.
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&path);
            let file = file.at("open", &path)?;
            while !lock(&file, &path)? {
                if asked.elapsed() >= patience {
                    let hint = "wait until it is done, then try again";
                    return Err(Error::at("lock", &path, held_by(&file)).hint(hint));
                }
                std::thread::sleep(PAUSE);
            }
            files.push(file);
        }
        Ok(Self { _files: files })
    }
}

fn lock(file: &File, path: &Path) -> Result<bool> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(e) => Err(e).at("lock", path),
    }
}

/// Who holds it, as far as the kernel tells.
fn held_by(file: &File) -> String {
    let holder =
        fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok().flatten().and_then(|lock| lock.pid);
    let Some(pid) = holder else { return "packages are being installed by another program".to_owned() };
    let pid = pid.as_raw_nonzero();
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("packages are being installed by {} (process {pid})", name.trim_end()),
        Err(_) => format!("packages are being installed by process {pid}"),
    }
}
