//! What is mounted, as /proc/self/mountinfo tells it (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The mount's number, unique while it exists.
    pub id: u32,
    /// The number of the mount it sits on; its own for the first root.
    pub parent: u32,
    /// Major and minor number of the file system's device, as `st_dev` has them.
    pub device: (u32, u32),
    /// What of the file system is mounted: `/`, or a folder of it for a bind mount.
    pub root: PathBuf,
    /// Where it is mounted, seen from the reader's root.
    pub path: PathBuf,
    /// The mount's own options, such as `ro` or `nosuid`.
    pub options: String,
    /// Whether what is mounted on it shows up on its copies.
    pub shared: bool,
    /// Whether what is mounted on its origin shows up on it.
    pub slave: bool,
    /// The file system's type, such as `overlay`.
    pub fs_type: String,
    /// What was mounted: a device or any text.
    pub source: String,
}

/// Reads this process's mounts, oldest first.
pub fn current() -> Result<Vec<MountPoint>> {
    let path = "/proc/self/mountinfo";
    Ok(parse(&std::fs::read(path).at("read", path)?))
}

/// Reads the text of a mountinfo file. Lines that are not understood are left out.
pub fn parse(text: &[u8]) -> Vec<MountPoint> {
    text.split(|&b| b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|&b| b == b' ');
    let mut text = || fields.next();
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
    let id = number(text()?)?;
    let parent = number(text()?)?;
    let device = std::str::from_utf8(text()?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let root = unescape(text()?).into();
    let path = unescape(text()?).into();
    let options = String::from_utf8_lossy(text()?).into_owned();
    let (mut shared, mut slave) = (false, false);
    // Optional fields end at a lone dash.
    loop {
        match text()? {
            b"-" => break,
            field => {
                shared |= field.starts_with(b"shared:");
                slave |= field.starts_with(b"master:");
            }
        }
    }
    let fs_type = String::from_utf8_lossy(text()?).into_owned();
    let source = unescape(text()?).to_string_lossy().into_owned();
    Some(MountPoint { id, parent, device, root, path, options, shared, slave, fs_type, source })
}

/// Undoes the kernel's `\040` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

/// The mounts in the order in which they can be unmounted: what sits on a mount before the mount itself.
pub fn topmost_first(mut mounts: Vec<MountPoint>) -> Vec<MountPoint> {
    let depths: Vec<usize> = mounts.iter().map(|m| depth(&mounts, m)).collect();
    let mut order: Vec<usize> = (0..mounts.len()).collect();
    // Of two equally deep ones the later was mounted later.
    order.sort_by_key(|&i| std::cmp::Reverse((depths[i], i)));
    let mut slots: Vec<Option<MountPoint>> = mounts.drain(..).map(Some).collect();
    order.into_iter().filter_map(|i| slots[i].take()).collect()
}

/// How many mounts a mount sits on.
fn depth(mounts: &[MountPoint], mount: &MountPoint) -> usize {
    let mut depth = 0;
    let mut at = mount;
    while let Some(parent) = mounts.iter().find(|m| m.id == at.parent && m.id != at.id) {
        depth += 1;
        at = parent;
        // A table read while it changed could have a loop.
        if depth > mounts.len() {
            break;
        }
    }
    depth
}

/// The mount that is seen at exactly `path`: of several the one that none of the others sits on. The order of the table
/// does not tell: it is that of their making, and one may have been put beneath another.
pub fn at<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    let here = || mounts.iter().rev().filter(|m| m.path == path);
    here().find(|m| !here().any(|other| other.parent == m.id && other.id != m.id)).or_else(|| here().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &[u8] = include_bytes!("../tests/fixtures/live.mountinfo");

    #[test]
    fn reads_a_live_system() {
        let mounts = parse(LIVE);
        assert_eq!(mounts.len(), 8);
        let root = at(&mounts, Path::new("/")).unwrap();
        assert_eq!((root.fs_type.as_str(), root.source.as_str(), root.device), ("overlay", "lk:@", (0, 30)));
        let odd = mounts.last().unwrap();
        assert_eq!(odd.path, Path::new("/media/my stick\\x"));
        assert_eq!(odd.options, "rw,relatime");
    }

    #[test]
    fn the_one_on_top_is_seen() {
        let mounts = parse(
            b"1 0 0:1 / / rw - overlay lk:@ rw\n3 4 0:3 / /usr rw - overlay old rw\n4 1 0:4 / /usr rw - overlay new rw\n",
        );
        assert_eq!(at(&mounts, Path::new("/usr")).unwrap().source, "old");
        assert_eq!(at(&mounts, Path::new("/")).unwrap().source, "lk:@");
        assert_eq!(at(&mounts, Path::new("/etc")), None);
    }

    #[test]
    fn what_sits_on_top_comes_first() {
        let order: Vec<_> = topmost_first(parse(LIVE)).into_iter().map(|m| m.path).collect();
        let place = |p: &str| order.iter().position(|q| q == Path::new(p)).unwrap();
        assert!(place("/run/initramfs/memory/data") < place("/run/initramfs"));
        assert!(place("/run/initramfs") < place("/run"));
        assert!(place("/run") < place("/"));
    }

    #[test]
    fn broken_lines_are_left_out() {
        for line in ["", "1", "1 2 x", "1 2 0:3 / / rw", "a 2 0:3 / / rw - t s"] {
            assert_eq!(parse(line.as_bytes()), [], "{line}");
        }
    }
}
