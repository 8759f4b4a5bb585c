//! Where bundles come from: each source gives a [`Tree`] and, file by file, what is in it.

use std::fmt;
use std::io::{self, Read};

use crate::{ContentId, Error, Tree};

mod archive;
mod attributes;
pub mod aufs;
mod bundle;
mod directory;
#[cfg(test)]
mod directory_tests;
pub mod filter;
mod merge;
mod oci;
#[cfg(test)]
mod oci_tests;
#[cfg(test)]
mod view;

pub use archive::{ArchiveOptions, archive};
pub use bundle::bundle;
pub use directory::{Wanted, directory};
pub use merge::{is_opaque, merge};
pub use oci::{ImageLayer, oci, oci_layers};

/// What becomes a bundle.
pub struct Source {
    /// Names, owners, modes, times, attributes.
    pub tree: Tree,
    /// What is in the files of the tree.
    pub contents: Box<dyn Contents>,
    /// What is not in the tree as it is in the source, in sentences.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("tree", &self.tree)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// What is in the files of a [`Source`].
pub trait Contents: Send {
    /// Begins to read a file; the one before it is done with.
    ///
    /// # Errors
    /// The file cannot be read. [`Error::is_vanished`] tells that it is no longer there.
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error>;

    /// Whether files must be opened in the ascending order of their [`ContentId`], each at most once, because they come
    /// out of one compressed stream. Files may be left out.
    fn stored_order(&self) -> bool {
        false
    }
}

/// What is in one file, from its beginning to its end. Errors do not name the file: the caller knows it.
pub trait FileReader: Read + Send {
    /// How many bytes from here on are known to be zero, without reading them: 0 where data follow, or where nothing is
    /// known. Reading in a hole gives zeros.
    ///
    /// # Errors
    /// The file system does not say.
    fn hole(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    /// Passes over `bytes` bytes, at most as many as [`hole`](Self::hole) last gave.
    ///
    /// # Errors
    /// Those of reading.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut self.take(bytes), &mut io::sink()).map(drop)
    }

    /// Asked after the last byte: whether what was read is what the tree speaks of.
    ///
    /// # Errors
    /// The file cannot be examined.
    fn finish(&mut self) -> io::Result<FileState> {
        Ok(FileState::Unchanged)
    }
}

/// What became of a file while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Nothing.
    Unchanged,
    /// It is not the file any more that the tree speaks of: its size, or a time of it, is another.
    Changed,
}
