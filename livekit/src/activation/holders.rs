//! Who uses a bundle: processes that run one of its programs, have one of its files open or mapped, or are in a folder
//! that only it has.
//!
//! A file of a union shows neither which layer nor, after a switch, which cover it is of. It is told by its path and
//! inode number together, which the union takes over from the layer; by size and time where they are at hand.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use live::mounts;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// A process and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    pub pid: u32,
    /// The process's own name for itself.
    pub name: String,
    /// In words: `runs /usr/bin/x`.
    pub what: String,
}

/// What is looked for.
pub struct Search<'a> {
    /// Where the bundle is mounted.
    bundle: &'a Path,
    /// The other layers, by which folders that only this bundle has are told.
    others: &'a [PathBuf],
    /// What may be in front of a path that a process shows: its root may be a cover that is gone.
    places: Vec<PathBuf>,
    known: HashMap<PathBuf, Option<(PathBuf, Metadata)>>,
}

impl<'a> Search<'a> {
    /// Looks for users of the bundle mounted at `bundle`, whose files are seen at the `covered` places.
    pub fn new(bundle: &'a Path, others: &'a [PathBuf], covered: impl IntoIterator<Item = PathBuf>) -> Self {
        let places = [PathBuf::new()].into_iter().chain(covered).collect();
        Self { bundle, others, places, known: HashMap::new() }
    }

    /// All users but this process, one line each, in the order of their numbers.
    pub fn holders(&mut self) -> Vec<Holder> {
        let own = std::process::id();
        let others = processes().into_iter().filter(|&pid| pid != own);
        others
            .filter_map(|pid| {
                let home = PathBuf::from(format!("/proc/{pid}"));
                let what = self.held_by(&home)?;
                let name = fs::read_to_string(home.join("comm")).unwrap_or_default();
                Some(Holder { pid, name: name.trim_end().to_owned(), what })
            })
            .collect()
    }

    fn held_by(&mut self, process: &Path) -> Option<String> {
        for (link, what) in [("exe", "runs"), ("cwd", "is in"), ("root", "has as its root")] {
            if let Some(path) = self.holds(&process.join(link)) {
                return Some(format!("{what} {path}"));
            }
        }
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        for entry in descriptors {
            if let Some(path) = self.holds(&entry.path()) {
                return Some(format!("has {path} open"));
            }
        }
        let maps = fs::read(process.join("maps")).unwrap_or_default();
        let mut last = None;
        for (path, inode) in maps.split(|&b| b == b'\n').filter_map(mapped) {
            if last == Some((path, inode)) {
                continue;
            }
            last = Some((path, inode));
            if let Some((shown, about)) = self.in_bundle(path)
                && about.ino() == inode
                && !about.is_dir()
            {
                return Some(format!("maps {}", shown.display()));
            }
        }
        None
    }

    /// What of the bundle a link of /proc leads to, as the user knows it.
    fn holds(&mut self, link: &Path) -> Option<String> {
        let target = fs::read_link(link).ok()?;
        if !target.is_absolute() {
            return None;
        }
        let (shown, ours) = self.in_bundle(&target)?;
        let seen = fs::metadata(link).ok()?;
        let same = if ours.is_dir() {
            seen.is_dir() && !self.others.iter().any(|layer| layer.join(&shown).is_dir())
        } else {
            (seen.ino(), seen.len(), seen.mtime()) == (ours.ino(), ours.len(), ours.mtime())
        };
        same.then(|| format!("/{}", shown.display()))
    }

    /// The path of the bundle that a process's path may mean, without the leading slash.
    fn in_bundle(&mut self, path: &Path) -> Option<(PathBuf, Metadata)> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let below = path.strip_prefix("/").unwrap_or(path);
        let found = self.places.iter().find_map(|place| {
            let shown = place.join(below);
            // The top, and the folders of covers, are everybody's.
            if shown == *place {
                return None;
            }
            let about = fs::symlink_metadata(self.bundle.join(&shown)).ok()?;
            Some((shown, about))
        });
        self.known.insert(path.to_owned(), found.clone());
        found
    }
}

/// Processes that have been started since `since` (see [`since_boot`]) from a view that is not mounted any more: it holds
/// every bundle it was made of. This process is not among them.
pub fn of_old_views(since: u64) -> Vec<Holder> {
    let own = std::process::id();
    let others = processes().into_iter().filter(|&pid| pid != own);
    others
        .filter_map(|pid| {
            let home = PathBuf::from(format!("/proc/{pid}"));
            let started = start_time(&fs::read_to_string(home.join("stat")).ok()?)?;
            let mounts = mounts::parse(&fs::read(home.join("mountinfo")).ok()?);
            let gone = |link: &&&str| {
                mount_of(&home.join(link)).is_some_and(|id| mounts.iter().all(|m| u64::from(m.id) != id))
            };
            let link = ["exe", "cwd", "root"].iter().filter(|_| started >= since).find(gone)?;
            let what = fs::read_link(home.join(link)).ok()?;
            let name = fs::read_to_string(home.join("comm")).unwrap_or_default();
            Some(Holder { pid, name: name.trim_end().to_owned(), what: what.display().to_string() })
        })
        .collect()
}

/// The number of the mount that a link of /proc leads to.
fn mount_of(link: &Path) -> Option<u64> {
    statx(CWD, link, AtFlags::empty(), StatxFlags::MNT_ID).ok().map(|about| about.stx_mnt_id)
}

/// When the kernel started, in seconds since 1970: `btime` of /proc/stat.
pub fn boot_time(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or_default()
}

/// The time since the kernel started, in hundredths of a second.
pub fn since_boot() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    hundredths(&text).unwrap_or_default()
}

/// The first number of /proc/uptime: `12.34 56.78`.
fn hundredths(uptime: &str) -> Option<u64> {
    let (seconds, rest) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 100 + rest.parse::<u64>().ok()?)
}

/// When a process was started, in hundredths of a second since the boot: field 22 of /proc/PID/stat (proc(5)). The name
/// before it may hold anything, blanks and brackets too.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// Path and inode number of a line of /proc/PID/maps (proc(5)); nothing for memory without a file.
fn mapped(line: &[u8]) -> Option<(&Path, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let start = line.iter().position(|&b| b == b'/')?;
    let inode = std::str::from_utf8(&line[..start]).ok()?.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some((Path::new(std::ffi::OsStr::from_bytes(&line[start..])), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_processes() {
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nprocesses 9\n"), 1_700_000_000);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9 9";
        assert_eq!(start_time(stat), Some(12345));
        assert_eq!(hundredths("12.34 56.78\n"), Some(1234));
        assert_eq!(start_time("7 (a"), None);
        assert!(of_old_views(0).iter().all(|holder| holder.pid != std::process::id()));
    }

    #[test]
    fn lines_of_maps() {
        let line =
            b"7f6ff7d4e000-7f6ff7d74000 r--p 00000000 fe:00 1234                       /usr/lib/a b.so";
        assert_eq!(mapped(line), Some((Path::new("/usr/lib/a b.so"), 1234)));
        assert_eq!(mapped(b"7ffe1d5f3000-7ffe1d614000 rw-p 00000000 00:00 0      [stack]"), None);
    }

    #[test]
    fn files_are_told_by_path_and_inode() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().canonicalize().unwrap().join("held");
        fs::write(&path, "x").unwrap();
        let _open = fs::File::open(&path).unwrap();
        let found = |bundle: &Path, places: Vec<PathBuf>| {
            Search::new(bundle, &[], places).held_by(Path::new("/proc/self"))
        };
        // This machine's root as the bundle: the program that runs is of it.
        let own = std::env::current_exe().unwrap();
        assert_eq!(found(Path::new("/"), vec![]), Some(format!("runs {}", own.display())));
        // A bundle without any file that this process uses.
        let other = tempfile::tempdir().unwrap();
        assert_eq!(found(other.path(), vec![]), None);
        // The same path with another file.
        let copy = other.path().join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(&copy, "x").unwrap();
        assert_eq!(found(other.path(), vec![]), None);
        // A link of the file itself, seen through a cover whose place is not shown any more.
        fs::remove_file(&copy).unwrap();
        let elsewhere = home.path().join("b.sb/place").join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
        fs::hard_link(&path, &elsewhere).unwrap();
        let held = found(&home.path().join("b.sb"), vec!["place".into()]);
        assert_eq!(held, Some(format!("has /place{} open", path.display())));
    }
}
