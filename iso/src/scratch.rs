//! Input files that are given up while they are read: what is in the image need not be on the disk a second time.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hadris_fs::Extent;
use rustix::fs::{FallocateFlags, fallocate};

use crate::{Error, Source, Tree};

/// How much of a scratch file is on the disk twice at most, in bytes, where [`frees_parts`] says so: parts of this size
/// are freed at a time.
pub const SCRATCH_STEP: u64 = 16 << 20;

/// Whether the file system of `directory` can free parts of a file. Where it cannot, a whole scratch file is on the disk
/// twice until it is copied.
pub fn frees_parts(directory: &Path) -> bool {
    tempfile::tempfile_in(directory).is_ok_and(|file| punch(&file, 0, SCRATCH_STEP))
}

/// Frees a part of a file, which keeps its length and reads as zeros there.
fn punch(file: &File, offset: u64, length: u64) -> bool {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length).is_ok()
}

/// The scratch files of a tree, in the order in which they are copied.
#[derive(Debug, Default)]
pub(crate) struct ScratchFiles {
    files: VecDeque<ScratchFile>,
}

#[derive(Debug)]
struct ScratchFile {
    path: PathBuf,
    /// None where parts cannot be freed.
    parts: Option<File>,
    /// Where it goes, in the order of its bytes.
    extents: Vec<Extent>,
    /// Bytes from its start that are freed.
    freed: u64,
    /// Whether it is of no more use: then the file goes with this.
    given_up: bool,
}

impl ScratchFiles {
    /// Finds out where the scratch files of `tree` go. `extents` says where a path of the tree lies in the image.
    ///
    /// Fails if a file is the source of another path too: there would be nothing left to copy for that.
    pub(crate) fn of<'a>(tree: &Tree, extents: impl Fn(&str) -> &'a [Extent]) -> Result<Self, Error> {
        let mut files = Vec::new();
        let mut seen: HashMap<(u64, u64), bool> = HashMap::new();
        for (path, source) in tree.files() {
            let (host, given_up) = match source {
                Source::Path(host) => (host, false),
                Source::Scratch(host) => (host, true),
                Source::Bytes(_) => continue,
            };
            let read_error = |source| Error::Read { path: host.clone(), source };
            let metadata = std::fs::metadata(host).map_err(read_error)?;
            let before = seen.insert((metadata.dev(), metadata.ino()), given_up);
            if before.is_some_and(|before| before || given_up) {
                return Err(Error::Layout {
                    what: path.to_owned(),
                    reason: format!("{} is given up for another file", host.display()),
                });
            }
            if given_up {
                // What has another name is not ours alone: only this name of it goes.
                let parts = (metadata.nlink() == 1).then(|| File::options().write(true).open(host).ok());
                let extents = extents(path).to_vec();
                let (path, parts) = (host.clone(), parts.flatten());
                files.push(ScratchFile { path, parts, extents, freed: 0, given_up: false });
            }
        }
        files.sort_by_key(|file| file.extents.first().map_or(0, Extent::offset));
        Ok(Self { files: files.into() })
    }

    /// Gives up what lies before `end` in the image: it is written.
    pub(crate) fn written_to(&mut self, end: u64) {
        while let Some(file) = self.files.front_mut() {
            let copied = file.copied(end);
            if copied < file.length() {
                file.free(copied);
                break;
            }
            file.given_up = true;
            self.files.pop_front();
        }
    }

    /// Gives up all: the image is complete. Empty files have no place in it.
    pub(crate) fn finish(mut self) {
        self.written_to(u64::MAX);
    }
}

impl ScratchFile {
    fn length(&self) -> u64 {
        self.extents.iter().map(Extent::len).sum()
    }

    fn copied(&self, end: u64) -> u64 {
        self.extents.iter().map(|extent| end.saturating_sub(extent.offset()).min(extent.len())).sum()
    }

    fn free(&mut self, copied: u64) {
        let whole = copied - copied % SCRATCH_STEP;
        let Some(file) = &self.parts else { return };
        if whole == self.freed {
            return;
        }
        if punch(file, self.freed, whole - self.freed) {
            (self.freed, self.given_up) = (whole, true);
        } else {
            self.parts = None;
        }
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if self.given_up {
            // Where it cannot be removed it only takes room.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
