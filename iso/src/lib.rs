//! Hybrid ISO images: one file that boots from CD and from USB sticks, on BIOS and UEFI, with Secure Boot.
//!
//! - [`Tree`] is what goes in, [`write()`] makes the image of it.
//! - [`grub`] finds the boot loader's files and adds them, [`menu`] says what the user sees.
//! - [`esp`] makes the EFI system partition.
//!
//! Layout of an image: ISO 9660 level 3 with Rock Ridge and Joliet, El Torito entries for BIOS and UEFI, a protective
//! MBR with boot code and a GPT with two partitions. The first holds the ISO file system once more, so that
//! `/dev/sdX1` mounts as well as `/dev/sdX` and `/dev/sr0`; the second is the EFI system partition, which is the UEFI
//! image of El Torito too.
//!
//! Nothing here mounts anything or needs root.
#![forbid(unsafe_code)]

mod error;
mod hybrid;
mod identity;
mod image;
mod output;
mod scratch;
mod second_tree;
mod tree;

pub mod esp;
pub mod grub;
pub mod menu;

pub use error::Error;
pub use hybrid::MBR_CODE;
pub use identity::digest;
pub use image::{BiosBoot, Boot, ImageOptions, Place, Written, write};
pub use output::partial_name;
pub use scratch::{SCRATCH_STEP, frees_parts};
pub use tree::{Source, Tree};

/// Bytes in a logical block of the images.
pub(crate) const BLOCK: u64 = 2048;
