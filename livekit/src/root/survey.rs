//! One look over everything that goes in, before any of it is packed: how much there is, and what cannot be read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Selection;
use crate::error::{AtPath, Error, Result};
use crate::split::Part;

/// What a part of the root amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub files: u64,
    /// As they take up a disk: holes do not count.
    pub bytes: u64,
}

/// What the look found.
#[derive(Debug, Default)]
pub struct Survey {
    pub core: Amount,
    pub firmware: Amount,
    unreadable: u64,
    first_unreadable: Vec<PathBuf>,
}

/// How many unreadable paths an error names.
const NAMED: usize = 3;

/// Walks `root` as the packing will.
pub fn survey(root: &Path, selection: &Selection) -> Result<Survey> {
    let mut survey = Survey::default();
    let check = !rustix::process::geteuid().is_root();
    survey.folder(root, Path::new(""), selection, check)?;
    Ok(survey)
}

impl Survey {
    fn folder(&mut self, root: &Path, relative: &Path, selection: &Selection, check: bool) -> Result<()> {
        let path = root.join(relative);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if check && error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.cannot_read(path);
                return Ok(());
            }
            other => other.at("read the directory", &path)?,
        };
        for entry in entries {
            let entry = entry.at("read the directory", &path)?;
            let relative = relative.join(entry.file_name());
            // A running system's files come and go.
            let Ok(metadata) = entry.metadata() else { continue };
            if !selection.keeps(&relative, &metadata) {
                continue;
            }
            self.count(&relative, &metadata);
            if metadata.is_dir() {
                self.folder(root, &relative, selection, check)?;
            } else if check && metadata.is_file() && access(entry.path(), Access::READ_OK).is_err() {
                self.cannot_read(entry.path());
            }
        }
        Ok(())
    }

    fn count(&mut self, relative: &Path, metadata: &Metadata) {
        let amount = match Part::of(relative) {
            Part::Core => &mut self.core,
            Part::Firmware => &mut self.firmware,
        };
        if !metadata.is_dir() {
            amount.files += 1;
            // A file with several names is stored once.
            amount.bytes += metadata.blocks() * 512 / metadata.nlink().max(1);
        }
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
