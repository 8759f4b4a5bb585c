//! The first bytes of a squashfs: Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h of the kernel.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// How the blocks of a squashfs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib.
    Gzip,
    /// No kernel reads it.
    Lzma,
    /// LZO.
    Lzo,
    /// xz.
    Xz,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// What a squashfs 4.0 says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Number of files and directories.
    pub inodes: u32,
    /// When it was made, in seconds since 1970.
    pub made: u32,
    /// Size of a data block in bytes: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// How the blocks are compressed.
    pub compression: Compression,
    /// Length of the image in bytes; the file may be longer, but if it is shorter it is torn.
    pub bytes_used: u64,
}

const MAGIC: &[u8] = b"hsqs";

impl Superblock {
    /// Bytes of a superblock.
    pub const SIZE: usize = 96;

    /// Reads the beginning of an image.
    ///
    /// # Errors
    /// [`Error::Superblock`] with what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let Some(bytes) = bytes.get(..Self::SIZE) else { return Err(Error::Superblock("too short")) };
        if !bytes.starts_with(MAGIC) {
            return Err(Error::Superblock("wrong magic number"));
        }
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        if (short(28), short(30)) != (4, 0) {
            return Err(Error::Superblock("a version other than 4.0"));
        }
        let block_size = word(12);
        if block_size.checked_ilog2() != Some(u32::from(short(22))) || !valid_block_size(block_size) {
            return Err(Error::Superblock("impossible block size"));
        }
        let compression = match short(20) {
            1 => Compression::Gzip,
            2 => Compression::Lzma,
            3 => Compression::Lzo,
            4 => Compression::Xz,
            5 => Compression::Lz4,
            6 => Compression::Zstd,
            _ => return Err(Error::Superblock("unknown compression")),
        };
        let bytes_used = u64::from(word(40)) | u64::from(word(44)) << 32;
        if bytes_used < Self::SIZE as u64 {
            return Err(Error::Superblock("impossible length"));
        }
        Ok(Self { inodes: word(4), made: word(8), block_size, compression, bytes_used })
    }

    /// Reads the superblock of a bundle, and sees that the file is as long as it says.
    ///
    /// # Errors
    /// The file cannot be read, is no squashfs, or is torn.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let mut bytes = Vec::with_capacity(Self::SIZE);
        file.by_ref().take(Self::SIZE as u64).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        let superblock = Self::parse(&bytes)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length < superblock.bytes_used {
            return Err(Error::Superblock("torn: the file is shorter than the image"));
        }
        Ok(superblock)
    }
}

/// What the kernel takes.
pub(crate) fn valid_block_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (4096..=1 << 20).contains(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Vec<u8> {
        let mut bytes = vec![0; Superblock::SIZE];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&29_u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&1_700_000_000_u32.to_le_bytes());
        bytes[12..16].copy_from_slice(&131_072_u32.to_le_bytes());
        bytes[20] = 6;
        bytes[22] = 17;
        bytes[28] = 4;
        bytes[40..48].copy_from_slice(&5_000_000_000_u64.to_le_bytes());
        bytes
    }

    #[test]
    fn what_it_says() {
        let expected = Superblock {
            inodes: 29,
            made: 1_700_000_000,
            block_size: 131_072,
            compression: Compression::Zstd,
            bytes_used: 5_000_000_000,
        };
        assert_eq!(Superblock::parse(&valid()).unwrap(), expected);
    }

    #[test]
    fn what_is_refused() {
        type Damage = dyn Fn(&mut Vec<u8>);
        let table: &[(&str, &Damage)] = &[
            ("too short", &|b| b.truncate(95)),
            ("too short", &Vec::clear),
            ("wrong magic number", &|b| b[0] = b's'),
            ("a version other than 4.0", &|b| b[28] = 3),
            ("a version other than 4.0", &|b| b[30] = 1),
            ("impossible block size", &|b| b[22] = 16),
            ("impossible block size", &|b| b[12] = 1),
            ("impossible block size", &|b| b[12..16].fill(0)),
            ("unknown compression", &|b| b[20] = 7),
            ("impossible length", &|b| b[40..48].fill(0)),
        ];
        for (expected, damage) in table {
            let mut bytes = valid();
            damage(&mut bytes);
            let error = Superblock::parse(&bytes).unwrap_err();
            assert_eq!(error.to_string(), format!("not a squashfs: {expected}"));
        }
    }
}
