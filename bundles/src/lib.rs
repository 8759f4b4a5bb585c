//! Bundle files: squashfs images with a part of a system. Made and examined without mounting, by any user.
//!
//! - [`pack`]: a source becomes a bundle.
//! - [`source`]: what bundles are made of: directories, archives, images of containers, bundles.
//! - [`Superblock`]: what a bundle says of itself.
//! - [`Bundle`]: reads a bundle, its names and its contents, without mounting it.
//! - [`BundleName`]: what its file name says, and in which order bundles are stacked.
#![forbid(unsafe_code)]

mod codec;
mod compressor;
mod error;
mod format;
mod name;
mod pack;
mod read;
pub mod source;
mod tree;
mod write;

pub use compressor::Compressor;
pub use error::Error;
pub use format::superblock::{Compression, Flags, Superblock, Tables};
pub use name::BundleName;
pub use pack::{PackOptions, Packed, Progress, pack, partial_name};
pub use read::{
    Aspect, Bundle, Change, ContentReader, DiffProgress, Difference, ExtractOptions, ExtractProgress,
    Extracted, Figures, Finding, Limits, Piece, Selection, StoredBlock, StoredFile, Verified, VerifyProgress,
    diff, extract, verify,
};
pub use source::{Contents, FileReader, FileState, Source, Wanted};
pub use tree::{ContentId, Device, Kind, Node, NodeId, Tree, TreeError, Walk, Xattr};
