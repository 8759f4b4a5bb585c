//! Entries of the tables at the end of an image. A table is a list of places of metadata blocks, as 64-bit numbers; the
//! blocks have the entries, as many as fit, and no entry is split.

use std::io::{self, Read};

use super::{BlockSize, METADATA_SIZE, read_u32, read_u64};

/// Where a fragment block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FragmentEntry {
    /// In bytes from the beginning of the image.
    pub(crate) start: u64,
    pub(crate) size: BlockSize,
}

impl FragmentEntry {
    /// Bytes of an entry.
    pub(crate) const SIZE: usize = 16;

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.start.to_le_bytes());
        bytes.extend(self.size.0.to_le_bytes());
        bytes.extend([0; 4]);
    }

    pub(crate) fn read(bytes: &mut impl Read) -> io::Result<Self> {
        let entry = Self { start: read_u64(bytes)?, size: BlockSize(read_u32(bytes)?) };
        read_u32(bytes)?;
        Ok(entry)
    }
}

/// Bytes of an owner or group in the id table.
pub(crate) const ID_SIZE: usize = 4;
/// Bytes of an inode's place in the export table.
pub(crate) const EXPORT_SIZE: usize = 8;

/// Number of metadata blocks of a table of `count` entries of `size` bytes.
pub(crate) fn block_count(count: u64, size: usize) -> u64 {
    (count * size as u64).div_ceil(METADATA_SIZE as u64)
}
