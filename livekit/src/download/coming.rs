//! The file that a download becomes: under another name until it is whole and examined.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use bundles::partial_name;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::digest::{Digest, Digesting};
use super::examine;
use super::http::{Head, Rest};
use super::room::{Room, too_little};
use crate::error::{AtPath, Error, Result};
use crate::output::Output;
use crate::scratch::Unfinished;

/// What tells one version of a file on a server from the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    tag: Option<String>,
    modified: Option<String>,
}

impl Version {
    /// As the head of an answer tells it.
    pub fn of(head: &Head) -> Self {
        let field = |name: &str| head.get(name).filter(|value| value.is_ascii()).map(str::to_owned);
        Version { tag: field("etag"), modified: field("last-modified") }
    }

    /// What the server is given to compare with. A weak tag (`W/`) vouches for the sense and not for the bytes.
    fn condition(&self) -> Option<&String> {
        self.tag.as_ref().filter(|tag| tag.starts_with('"')).or(self.modified.as_ref())
    }

    /// Whether both can be the same, as far as both say.
    fn may_be(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        same(&self.tag, &other.tag) && same(&self.modified, &other.modified)
    }
}

/// A file that is on its way.
pub struct Coming {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    unfinished: Unfinished,
    digesting: Digesting,
    /// Bytes that are there.
    pub length: u64,
    /// Bytes there will be, if the server has said so.
    pub total: Option<u64>,
    version: Version,
}

impl Coming {
    /// Begins a file, which must not be there. It is removed again unless it is [finished](Coming::finish).
    pub fn new(folder: &Path, name: &str, version: Version, total: Option<u64>) -> Result<Self> {
        let target = folder.join(name);
        if fs::symlink_metadata(&target).is_ok() {
            return Err(is_there(&target));
        }
        let partial = partial_name(&target);
        let unfinished = Unfinished::new(partial.clone());
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&partial).at("make", &partial)?;
        let digesting = Digesting::default();
        Ok(Coming { file, partial, target, unfinished, digesting, length: 0, total, version })
    }

    /// What to ask for, if it can be told from other versions; else all of it has to come again.
    pub fn rest(&self) -> Option<Rest> {
        let of = self.version.condition().filter(|_| self.length > 0)?;
        Some(Rest { from: self.length, of: of.clone() })
    }

    /// Whether an answer begins where we are, and is of the same file.
    pub fn goes_on_with(&self, head: &Head) -> bool {
        let Some((from, total)) = head.get("content-range").and_then(range) else { return false };
        let same_total = self.total.is_none() || total.is_none() || self.total == total;
        from == self.length && same_total && self.version.may_be(&Version::of(head))
    }

    /// It comes anew, from its first byte.
    pub fn restart(&mut self, version: Version, total: Option<u64>) -> Result<()> {
        if self.length > 0 {
            self.file.set_len(0).and_then(|()| self.file.rewind()).at("empty", &self.partial)?;
        }
        self.digesting = Digesting::default();
        (self.length, self.total, self.version) = (0, total, version);
        Ok(())
    }

    /// What there is belongs to no version that could be gone on with.
    pub fn forget_version(&mut self) {
        self.version = Version::default();
    }

    /// Takes what came.
    pub fn write(&mut self, bytes: &[u8], folder: &Path) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| self.cannot_write(e, folder))?;
        self.digesting.add(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn cannot_write(&self, error: io::Error, folder: &Path) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                too_little(folder, self.total, Room::in_folder(folder))
            }
            io::ErrorKind::FileTooLarge => Error::at("write", &self.partial, error)
                .hint("FAT holds no file of 4 GiB or more: choose another file system"),
            _ => Error::at("write", &self.partial, error),
        }
    }

    /// Gives it its name, once it is on the disk, the expected one, and whole.
    pub fn finish(self, folder: &Path, expected: Option<&Digest>, output: &Output) -> Result<PathBuf> {
        self.file.sync_all().map_err(|e| self.cannot_write(e, folder))?;
        let found = self.digesting.finish();
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(Error::new(format!("its SHA-256 is {found}, not {expected}")).hint(
                "the file was replaced on the server, or damaged on its way: ask who gave you the number",
            ));
        }
        examine(&self.partial, output)?;
        match renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Not every file system knows the flag.
            Err(rustix::io::Errno::INVAL) if fs::symlink_metadata(&self.target).is_err() => {
                fs::rename(&self.partial, &self.target).at("write", &self.target)?;
            }
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::EXIST) => return Err(is_there(&self.target)),
            Err(e) => return Err(e).at("write", &self.target),
        }
        self.unfinished.keep();
        File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)?;
        Ok(self.target)
    }
}

fn is_there(target: &Path) -> Error {
    Error::new(format!("{} is there already", target.display())).hint("it is used as it is by that path")
}

/// Where a range begins, and how long the whole is: `bytes 5-9/10`.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((from.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5-9/x", None),
        ] {
            assert_eq!(range(value), expected, "{value}");
        }
    }

    #[test]
    fn versions() {
        let version = |tag: &str, modified: &str| {
            let field = |value: &str| (!value.is_empty()).then(|| value.to_owned());
            Version { tag: field(tag), modified: field(modified) }
        };
        for (ours, condition) in [
            (version("\"a\"", "Mon"), Some("\"a\"")),
            (version("W/\"a\"", "Mon"), Some("Mon")),
            (version("W/\"a\"", ""), None),
            (version("", ""), None),
        ] {
            assert_eq!(ours.condition().map(String::as_str), condition, "{ours:?}");
        }
        let ours = version("\"a\"", "Mon");
        for (theirs, expected) in [
            (version("\"a\"", "Mon"), true),
            (version("", ""), true),
            (version("\"b\"", "Mon"), false),
            (version("", "Tue"), false),
        ] {
            assert_eq!(ours.may_be(&theirs), expected, "{theirs:?}");
        }
    }
}
