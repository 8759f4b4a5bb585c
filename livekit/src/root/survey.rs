//! One look over everything that goes in, before any of it is packed: how much there is, and what cannot be read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Selection;
use crate::error::{AtPath, Error, Result};
use crate::split::{Part, Reason, Split};

/// What a part of the root amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// All but directories.
    pub files: u64,
    pub directories: u64,
    /// As they take up a disk: holes do not count.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, metadata: &Metadata) {
        if metadata.is_dir() {
            self.directories += 1;
        } else {
            self.files += 1;
            // A file with several names is stored once.
            self.bytes += metadata.blocks() * 512 / metadata.nlink().max(1);
        }
    }
}

/// What the look found.
#[derive(Debug, Default)]
pub struct Survey {
    /// By the number of the part.
    parts: Vec<Amount>,
    unreadable: u64,
    first_unreadable: Vec<PathBuf>,
}

/// How many unreadable paths an error names.
const NAMED: usize = 3;

/// Walks `root` as the packing will. `seen` is told of every path that goes in, parents first, with the part it belongs
/// to and why.
pub fn survey(
    root: &Path,
    selection: &Selection,
    split: &Split,
    seen: &mut dyn FnMut(&Path, &Metadata, Part, Reason<'_>),
) -> Result<Survey> {
    let parts = split.parts().map(|_| Amount::default()).collect();
    let check = !rustix::process::geteuid().is_root();
    let mut walk =
        Walk { root, selection, split, check, seen, survey: Survey { parts, ..Survey::default() } };
    walk.folder(Path::new(""))?;
    Ok(walk.survey)
}

struct Walk<'a> {
    root: &'a Path,
    selection: &'a Selection,
    split: &'a Split,
    /// Whether there may be something that cannot be read.
    check: bool,
    seen: &'a mut dyn FnMut(&Path, &Metadata, Part, Reason<'_>),
    survey: Survey,
}

impl Walk<'_> {
    fn folder(&mut self, relative: &Path) -> Result<()> {
        let path = self.root.join(relative);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if self.check && error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.survey.cannot_read(path);
                return Ok(());
            }
            other => other.at("read the directory", &path)?,
        };
        for entry in entries {
            let entry = entry.at("read the directory", &path)?;
            let relative = relative.join(entry.file_name());
            // A running system's files come and go.
            let Ok(metadata) = entry.metadata() else { continue };
            if !self.selection.keeps(&relative, &metadata) {
                continue;
            }
            let (part, reason) = self.split.of(&relative, metadata.is_dir());
            self.survey.parts[part.index()].add(&metadata);
            (self.seen)(&relative, &metadata, part, reason);
            if metadata.is_dir() {
                self.folder(&relative)?;
            } else if self.check && metadata.is_file() && access(entry.path(), Access::READ_OK).is_err() {
                self.survey.cannot_read(entry.path());
            }
        }
        Ok(())
    }
}

impl Survey {
    /// What `part` amounts to.
    pub fn part(&self, part: Part) -> Amount {
        self.parts[part.index()]
    }

    /// Whether anything at all belongs to `part`.
    pub fn has(&self, part: Part) -> bool {
        self.part(part).files + self.part(part).directories > 0
    }

    /// What all parts amount to.
    pub fn total(&self) -> Amount {
        let add = |sum: Amount, part: &Amount| Amount {
            files: sum.files + part.files,
            directories: sum.directories + part.directories,
            bytes: sum.bytes + part.bytes,
        };
        self.parts.iter().fold(Amount::default(), add)
    }

    fn cannot_read(&mut self, path: PathBuf) {
        self.unreadable += 1;
        if self.first_unreadable.len() < NAMED {
            self.first_unreadable.push(path);
        }
    }

    /// An error if something cannot be read, which names the first of it.
    pub fn check_readable(&self) -> Result<()> {
        if self.unreadable == 0 {
            return Ok(());
        }
        let mut named: Vec<String> =
            self.first_unreadable.iter().map(|path| path.display().to_string()).collect();
        let more = self.unreadable - named.len() as u64;
        if more > 0 {
            named.push(format!("and {more} more"));
        }
        Err(Error::new(format!("cannot read as this user: {}", named.join(", ")))
            .hint("run the command with sudo, or leave them out with --exclude"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_paths_are_named_and_counted() {
        let mut survey = Survey::default();
        assert!(survey.check_readable().is_ok());
        for name in ["/a", "/b", "/c", "/d", "/e"] {
            survey.cannot_read(name.into());
        }
        let error = survey.check_readable().unwrap_err();
        assert_eq!(error.message(), "cannot read as this user: /a, /b, /c, and 2 more");
        assert!(error.hint_text().unwrap().contains("sudo"));
    }
}
