//! How the data in a bundle are compressed.

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

    /// The arguments for mksquashfs.
    pub(crate) fn arguments(self) -> Result<Vec<String>, Error> {
        let words = match self {
            Self::Zstd { level: level @ 1..=22 } => {
                return Ok(["-comp", "zstd", "-Xcompression-level", &level.to_string()]
                    .map(str::to_owned)
                    .to_vec());
            }
            Self::Zstd { level } => {
                return Err(Error::Options(format!("zstd has levels 1 to 22, not {level}")));
            }
            Self::Xz => &["-comp", "xz", "-Xbcj", "x86"][..],
            Self::Gzip => &["-comp", "gzip"],
            Self::Lz4 => &["-comp", "lz4", "-Xhc"],
        };
        Ok(words.iter().map(|&w| w.to_owned()).collect())
    }
}
