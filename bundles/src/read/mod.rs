//! Bundles, read without mounting them. Nothing in a bundle is trusted: an error names the file and the place in it.

mod contents;
#[cfg(test)]
mod crafted;
#[cfg(test)]
mod crafted_tests;
mod diff;
mod extract;
mod figures;
mod image;
mod limits;
mod load;
mod metadata;
mod parallel;
mod selection;
mod tables;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::format::METADATA_SIZE;
use crate::{Error, Flags, NodeId, Superblock, Tree};

pub use contents::{ContentReader, Piece, StoredBlock, StoredFile};
pub use diff::{Aspect, Change, DiffProgress, Difference, diff};
pub use extract::{ExtractOptions, ExtractProgress, Extracted, extract};
pub use figures::Figures;
pub use limits::Limits;
pub use selection::Selection;
pub use verify::{Finding, Verified, VerifyProgress, verify};

use contents::FragmentCache;
use image::Image;
use load::Loaded;
use metadata::Cache;
use tables::Tables;

/// An open bundle. Threads may share it.
pub struct Bundle {
    image: Image,
    superblock: Superblock,
    limits: Limits,
    tables: Tables,
    cache: Cache,
    unpacked_fragments: FragmentCache,
    loaded: OnceLock<Loaded>,
}

/// What inodes are read from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    image: &'a Image,
    cache: &'a Cache,
    tables: &'a Tables,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Opens a bundle. Its names are read when they are asked for.
    ///
    /// # Errors
    /// The file cannot be read, is no squashfs 4.0, is shorter than it says, has its tables elsewhere, or is compressed by
    /// LZO or LZMA.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_at(path, 0)
    }

    /// Opens a bundle that begins `offset` bytes into a file, such as an ISO image. Places in it count from there.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn open_at(path: &Path, offset: u64) -> Result<Self, Error> {
        let (image, superblock) = Image::open(path, offset)?;
        let cache = Cache::default();
        let tables = Tables::open(&image, &cache, &superblock)?;
        let limits = Limits::for_image(image.length());
        Ok(Self {
            image,
            superblock,
            limits,
            tables,
            cache,
            unpacked_fragments: FragmentCache::default(),
            loaded: OnceLock::new(),
        })
    }

    /// Sets what reading may cost, before anything was read.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The file it is in.
    pub fn path(&self) -> &Path {
        self.image.path()
    }

    /// What it says of itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The settings of the compressor, as they are stored behind the superblock; nothing if there are none.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn compressor_options(&self) -> Result<Option<Vec<u8>>, Error> {
        if !self.superblock.flags.has(Flags::COMPRESSOR_OPTIONS) {
            return Ok(None);
        }
        let block = self.cache.block(&self.image, Superblock::SIZE as u64, self.image.length())?;
        debug_assert!(block.bytes.len() <= METADATA_SIZE);
        Ok(Some(block.bytes.clone()))
    }

    /// Everything but the contents of files. The [`ContentId`](crate::ContentId)s in it are for [`Bundle::file`] and
    /// [`Bundle::reader`]. Read once.
    ///
    /// # Errors
    /// The bundle is damaged, or asks for more than its [`Limits`].
    pub fn tree(&self) -> Result<&Tree, Error> {
        Ok(&self.loaded()?.tree)
    }

    /// The number the bundle has for a node, which is the inode number of a mount; 0 if the tree was not read.
    pub fn inode_number(&self, id: NodeId) -> u32 {
        self.loaded.get().and_then(|loaded| loaded.nodes.get(id.index())).map_or(0, |node| node.number)
    }

    /// The node with that number.
    ///
    /// # Errors
    /// As [`Bundle::tree`].
    pub fn by_inode_number(&self, number: u32) -> Result<Option<NodeId>, Error> {
        Ok(self.loaded()?.by_number.get(&number).copied())
    }

    /// A path of a node: its first name. The root's is empty.
    ///
    /// # Errors
    /// As [`Bundle::tree`].
    pub fn path_of(&self, id: NodeId) -> Result<PathBuf, Error> {
        Ok(self.loaded()?.path_of(id))
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = load::load(self, &mut Err)?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    fn sources(&self) -> Sources<'_> {
        Sources { image: &self.image, cache: &self.cache, tables: &self.tables }
    }
}
