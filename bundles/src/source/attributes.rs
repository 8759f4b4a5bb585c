//! Extended attributes of files on disk, and which of overlayfs' a lower layer may have.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::Errno;

use crate::Xattr;

/// What a file has.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Sorted by name.
    pub(super) xattrs: Vec<Xattr>,
    /// How many more there are, which the process may not read.
    pub(super) unreadable: usize,
}

/// The most that the kernel gives of names, or of one value (XATTR_LIST_MAX, XATTR_SIZE_MAX in linux/limits.h).
const MOST: usize = 64 << 10;

/// The attributes of `file`, which may be opened as a path only. `path` is where it is, for systems without /proc.
pub(super) fn read(file: &File, path: &Path) -> io::Result<Attributes> {
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut buffer = vec![0; 256];
    let (names, by_descriptor) = match grown(&mut buffer, |buffer| listxattr(&opened, buffer)) {
        Ok(length) => (buffer[..length].to_vec(), true),
        Err(Errno::NOENT) => match grown(&mut buffer, |buffer| llistxattr(path, buffer)) {
            Ok(length) => (buffer[..length].to_vec(), false),
            Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Attributes::default()),
            Err(e) => return Err(e.into()),
        },
        Err(Errno::OPNOTSUPP) => return Ok(Attributes::default()),
        Err(Errno::PERM | Errno::ACCESS) => return Ok(Attributes { xattrs: Vec::new(), unreadable: 1 }),
        Err(e) => return Err(e.into()),
    };
    let mut attributes = Attributes::default();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()).map(OsStr::from_bytes) {
        let got = grown(&mut buffer, |buffer| {
            if by_descriptor { getxattr(&opened, name, buffer) } else { lgetxattr(path, name, buffer) }
        });
        match got {
            Ok(length) => {
                attributes.xattrs.push(Xattr { name: name.to_owned(), value: buffer[..length].to_vec() });
            }
            // Removed meanwhile.
            Err(Errno::NODATA | Errno::NOENT) => {}
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => attributes.unreadable += 1,
            Err(e) => return Err(e.into()),
        }
    }
    attributes.xattrs.sort();
    Ok(attributes)
}

/// Calls with a buffer that grows until the answer fits.
fn grown(
    buffer: &mut Vec<u8>,
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    loop {
        match call(buffer) {
            Err(Errno::RANGE) if buffer.len() < MOST => buffer.resize(MOST, 0),
            other => return other,
        }
    }
}

/// Where overlayfs keeps its notes. Those that unprivileged mounts keep below `user.overlay.` mean nothing to a union
/// that root mounts.
const OVERLAY: &str = "trusted.overlay.";

/// What overlayfs notes for itself about its upper layer and would take amiss, or ignore, in a lower one: which lower
/// file it was copied from, whether it holds such, how many links the union shows, which index entry and which file
/// system it belongs to, and which inode flags it has (Documentation/filesystems/overlayfs.rst, fs/overlayfs/util.c).
const OF_THE_UPPER: &[&str] = &["origin", "impure", "nlink", "upper", "uuid", "protattr"];

/// The attributes that a file of an overlay's upper may have as a file of a lower layer: without those which are only
/// of an upper. `opaque` and `whiteout` stay. Why not, if the file has what it holds in a lower.
pub(super) fn of_a_lower(mut xattrs: Vec<Xattr>) -> Result<Vec<Xattr>, String> {
    let own = |xattr: &Xattr| xattr.name.to_str().and_then(|n| n.strip_prefix(OVERLAY)).map(str::to_owned);
    for own in xattrs.iter().filter_map(own) {
        if let "redirect" | "metacopy" = own.as_str() {
            return Err(format!(
                "it is the upper of an overlay and has only a part of what it shows ({OVERLAY}{own})"
            ));
        }
    }
    xattrs.retain(|xattr| !own(xattr).is_some_and(|own| OF_THE_UPPER.contains(&own.as_str())));
    Ok(xattrs)
}
