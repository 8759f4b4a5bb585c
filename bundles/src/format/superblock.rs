//! The first bytes of a squashfs: Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h of the kernel.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// How the blocks of a squashfs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Compression {
    /// zlib.
    Gzip = 1,
    /// No kernel reads it.
    Lzma = 2,
    /// LZO.
    Lzo = 3,
    /// xz.
    Xz = 4,
    /// LZ4.
    Lz4 = 5,
    /// Zstandard.
    Zstd = 6,
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
    /// Number of fragment blocks.
    pub fragments: u32,
    /// What was done or left out: the bits of [`Flags`].
    pub flags: Flags,
    /// Number of owners and groups.
    pub ids: u16,
    /// Place of the root's inode: 48 bits for the metadata block from the beginning of the inode table, 16 in the block.
    pub root: u64,
    /// Where the tables begin, in bytes from the beginning of the image.
    pub tables: Tables,
}

/// Where the tables of a squashfs begin, in bytes from the beginning of the image; `u64::MAX` for one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Owners and groups.
    pub ids: u64,
    /// Sets of extended attributes.
    pub xattrs: u64,
    /// Inodes.
    pub inodes: u64,
    /// Listings of directories.
    pub directories: u64,
    /// Fragment blocks.
    pub fragments: u64,
    /// Places of inodes by their number.
    pub export: u64,
}

/// Bits of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// There are no fragments.
    pub const NO_FRAGMENTS: Self = Self(1 << 4);
    /// The ends of all files are in fragments.
    pub const ALWAYS_FRAGMENTS: Self = Self(1 << 5);
    /// Files that are there twice are stored once.
    pub const DUPLICATES: Self = Self(1 << 6);
    /// There is an export table.
    pub const EXPORT: Self = Self(1 << 7);
    /// There are no extended attributes.
    pub const NO_XATTRS: Self = Self(1 << 9);
    /// A metadata block with the compressor's options follows the superblock.
    pub const COMPRESSOR_OPTIONS: Self = Self(1 << 10);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
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
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
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
        let bytes_used = long(40);
        if bytes_used < Self::SIZE as u64 {
            return Err(Error::Superblock("impossible length"));
        }
        Ok(Self {
            inodes: word(4),
            made: word(8),
            block_size,
            compression,
            bytes_used,
            fragments: word(16),
            flags: Flags(short(24)),
            ids: short(26),
            root: long(32),
            tables: Tables {
                ids: long(48),
                xattrs: long(56),
                inodes: long(64),
                directories: long(72),
                fragments: long(80),
                export: long(88),
            },
        })
    }

    /// The bytes an image begins with.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let words = |words: &[u32], bytes: &mut Vec<u8>| {
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        };
        words(&[self.inodes, self.made, self.block_size, self.fragments], &mut bytes);
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm of 32 bits")]
        let log = self.block_size.ilog2() as u16;
        for short in [self.compression as u16, log, self.flags.0, self.ids, 4, 0] {
            bytes.extend(short.to_le_bytes());
        }
        let Tables { ids, xattrs, inodes, directories, fragments, export } = self.tables;
        for long in [self.root, self.bytes_used, ids, xattrs, inodes, directories, fragments, export] {
            bytes.extend(long.to_le_bytes());
        }
        bytes
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

    /// Every field with a value of its own.
    fn valid() -> Vec<u8> {
        let words: [u32; 24] = [
            0x7371_7368,
            29,
            1_700_000_000,
            0x2_0000,
            3,
            0x11_0006,
            0x2_00c0,
            4,
            0x1234_5678,
            0,
            705_032_704,
            1,
            11,
            0,
            u32::MAX,
            u32::MAX,
            12,
            0,
            13,
            0,
            14,
            0,
            15,
            0,
        ];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn what_it_says() {
        let expected = Superblock {
            inodes: 29,
            made: 1_700_000_000,
            block_size: 131_072,
            compression: Compression::Zstd,
            bytes_used: 5_000_000_000,
            fragments: 3,
            flags: Flags::DUPLICATES.with(Flags::EXPORT),
            ids: 2,
            root: 0x1234_5678,
            tables: Tables {
                ids: 11,
                xattrs: u64::MAX,
                inodes: 12,
                directories: 13,
                fragments: 14,
                export: 15,
            },
        };
        assert_eq!(Superblock::parse(&valid()).unwrap(), expected);
        assert_eq!(expected.to_bytes(), valid());
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
