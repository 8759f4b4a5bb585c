//! The structures of squashfs 4.0, each read and written in one place: Documentation/filesystems/squashfs.rst and
//! fs/squashfs/squashfs_fs.h of the kernel. All numbers are little endian.
//!
//! Readers take any [`io::Read`]: what ends too early is an error of the stream, what cannot be is [`malformed`].

pub(crate) mod directory;
pub(crate) mod inode;
pub(crate) mod superblock;
pub(crate) mod tables;
pub(crate) mod xattr;

use std::io::{self, Read};

/// Bytes of a whole metadata block before compression.
pub(crate) const METADATA_SIZE: usize = 8192;
/// In the 16 bits before a metadata block: it is stored as it is. The other bits are its stored length.
pub(crate) const METADATA_UNCOMPRESSED: u16 = 1 << 15;
/// In the length of a data block or fragment: it is stored as it is.
pub(crate) const DATA_UNCOMPRESSED: u32 = 1 << 24;
/// For an index or the start of a table: there is none.
pub(crate) const NONE_32: u32 = u32::MAX;
/// For the start of a table: there is none.
pub(crate) const NONE_64: u64 = u64::MAX;

/// Where something lies in a table of metadata blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// Of the stored block, in bytes from the beginning of the table.
    pub(crate) block: u64,
    /// In the block when it is unpacked.
    pub(crate) offset: u16,
}

impl Reference {
    /// From the 48 and 16 bits of an inode's reference.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { block: bits >> 16, offset: (bits & 0xffff) as u16 }
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }
}

/// How a data block or fragment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockSize(pub(crate) u32);

impl BlockSize {
    /// A block of zeros, of which nothing is stored.
    pub(crate) const HOLE: Self = Self(0);

    pub(crate) fn new(stored: u32, compressed: bool) -> Self {
        Self(if compressed { stored } else { stored | DATA_UNCOMPRESSED })
    }

    /// Bytes in the image.
    pub(crate) fn stored(self) -> u32 {
        self.0 & !DATA_UNCOMPRESSED
    }

    pub(crate) fn is_compressed(self) -> bool {
        self.0 & DATA_UNCOMPRESSED == 0
    }

    pub(crate) fn is_hole(self) -> bool {
        self.0 == 0
    }
}

/// Bytes that no writer of the format makes.
pub(crate) fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(crate) fn read_u16(bytes: &mut impl Read) -> io::Result<u16> {
    let mut raw = [0; 2];
    bytes.read_exact(&mut raw)?;
    Ok(u16::from_le_bytes(raw))
}

pub(crate) fn read_u32(bytes: &mut impl Read) -> io::Result<u32> {
    let mut raw = [0; 4];
    bytes.read_exact(&mut raw)?;
    Ok(u32::from_le_bytes(raw))
}

pub(crate) fn read_u64(bytes: &mut impl Read) -> io::Result<u64> {
    let mut raw = [0; 8];
    bytes.read_exact(&mut raw)?;
    Ok(u64::from_le_bytes(raw))
}
