//! How the data in a bundle are compressed.

use crate::format::METADATA_SIZE;
use crate::{Compression, Error};

/// A compressor with its setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// Fast to read, small.
    Zstd {
        /// 1 to 22.
        level: u32,
    },
    /// Smallest; a live system reads it four times slower.
    Xz,
    /// For kernels without the others.
    Gzip,
    /// Fastest to read, largest.
    Lz4,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::Zstd { level: 15 }
    }
}

impl Compressor {
    /// What a superblock says of a bundle made with this.
    pub fn compression(self) -> Compression {
        match self {
            Self::Zstd { .. } => Compression::Zstd,
            Self::Xz => Compression::Xz,
            Self::Gzip => Compression::Gzip,
            Self::Lz4 => Compression::Lz4,
        }
    }

    /// Bytes of the dictionary for xz: no block is longer than one of data or one of metadata.
    #[expect(clippy::cast_possible_truncation, reason = "8192")]
    pub(crate) fn xz_dictionary(block_size: u32) -> u32 {
        block_size.max(METADATA_SIZE as u32)
    }

    /// What follows the superblock, as squashfs-tools store it; nothing where the settings are their default, or where
    /// they say nothing to a reader.
    pub(crate) fn option_block(self, block_size: u32) -> Option<Vec<u8>> {
        let words = |words: &[u32]| Some(words.iter().flat_map(|word| word.to_le_bytes()).collect());
        match self {
            Self::Zstd { level: 15 } | Self::Gzip => None,
            Self::Zstd { level } => words(&[level]),
            // The second word has a bit for each filter: the lowest is that for x86 code.
            Self::Xz => words(&[Self::xz_dictionary(block_size), 1]),
            // Version 1 of the format, which the kernel insists on, and that it is the slow way of packing.
            Self::Lz4 => words(&[1, 1]),
        }
    }

    /// # Errors
    /// There is no such level.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Self::Zstd { level } if !(1..=22).contains(&level) => {
                Err(Error::Options(format!("zstd has levels 1 to 22, not {level}")))
            }
            _ => Ok(()),
        }
    }
}
