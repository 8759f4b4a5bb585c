//! What can go wrong with bundles.

use std::io;
use std::path::PathBuf;

/// A failure: what was being done to which path, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: `read`, `create`.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file system of the bundle has no room left.
    #[error("cannot write {}: No space left on device", output.display())]
    DiskFull {
        /// The bundle.
        output: PathBuf,
    },
    /// Something that a bundle cannot have, or must not.
    #[error("cannot pack {}: {reason}", path.display())]
    Refused {
        /// Where it is in the source.
        path: PathBuf,
        /// Why not, with a hint if there is one.
        reason: String,
    },
    /// Bytes of a bundle that cannot be.
    #[error("cannot read {}: byte {offset}: {what}", path.display())]
    Malformed {
        /// The bundle, or the image it is in.
        path: PathBuf,
        /// Where it is wrong, in bytes from the beginning of that file. What is wrong in a compressed block is reported with
        /// the beginning of the block.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A tar archive, or an image made of such, that cannot be read on.
    #[error("cannot read {} at byte {offset} of what it unpacks to: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Where in the unpacked archive, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Options no squashfs can have.
    #[error("{0}")]
    Options(String),
    /// Bytes that are not the beginning of a bundle.
    #[error("not a squashfs: {0}")]
    Superblock(&'static str),
}

impl Error {
    /// Whether a file that was there before is there no more.
    pub fn is_vanished(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
