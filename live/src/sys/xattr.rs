//! Extended attributes (xattr(7)), links not followed.

use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

use crate::error::{AtPath, Result};

/// The largest value and the longest list of names that the kernel has (linux/limits.h).
const LARGEST: usize = 64 << 10;

/// The value of an attribute; nothing if there is none, or none can be read.
pub fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    // Nearly all that are asked for are short.
    let mut short = [0u8; 64];
    match lgetxattr(path, name, &mut short[..]) {
        Ok(length) => return Some(short[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(_) => return None,
    }
    let mut value = vec![0; LARGEST];
    let length = lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Copies the attributes whose names are `wanted`. File systems that have none, or take none, are no failure.
pub fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let mut names = vec![0; LARGEST];
    let length = match llistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(e) => return Err(e).at("list the attributes of", from),
    };
    names.truncate(length);
    for name in names.split(|&b| b == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
        if name.is_empty() || !wanted(name) {
            continue;
        }
        if let Some(value) = get(from, name) {
            match lsetxattr(to, name, &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(e) => return Err(e).at(&format!("set the attribute {name} of"), to),
            }
        }
    }
    Ok(())
}
