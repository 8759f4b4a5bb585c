//! Bundle files: squashfs images with a part of a system. Made and examined without mounting, by any user.
//!
//! - [`pack`]: a directory, or what is wanted of it, becomes a bundle.
//! - [`Superblock`]: what a bundle says of itself.
//! - [`BundleName`]: what its file name says, and in which order bundles are stacked.
#![forbid(unsafe_code)]

mod compressor;
mod error;
mod mksquashfs;
mod name;
mod pack;
mod superblock;
mod wanted;

pub use compressor::Compressor;
pub use error::Error;
pub use name::BundleName;
pub use pack::{PackOptions, Packed, Progress, pack};
pub use superblock::{Compression, Superblock};
pub use wanted::Wanted;
