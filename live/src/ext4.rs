//! ext4's superblock: judged, and mended where a power cut tore it (struct ext4_super_block in fs/ext4/ext4.h,
//! Documentation/filesystems/ext4/super.rst).
//!
//! It is two sectors long, and a disk writes one at a time. All else that is torn is whole again with the journal, but nothing
//! mounts an ext4 whose superblock has a wrong checksum, to look at its journal.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{AtPath, Error, Result};
use crate::log;

/// Bytes of a superblock.
pub const LENGTH: usize = 1024;
/// Where it is on the device.
pub const PLACE: usize = 1024;

pub const UUID_AT: usize = 0x68;
pub const HASH_SEED_AT: usize = 0xec;
const BLOCKS_LOW_AT: usize = 0x4;
const FIRST_BLOCK_AT: usize = 0x14;
const BLOCK_SIZE_AT: usize = 0x18;
const GROUP_SIZE_AT: usize = 0x20;
const MAGIC_AT: usize = 0x38;
const STATE_AT: usize = 0x3a;
const INCOMPATIBLE_AT: usize = 0x60;
const READ_ONLY_COMPATIBLE_AT: usize = 0x64;
const BLOCKS_HIGH_AT: usize = 0x150;
const CHECKSUM_AT: usize = 0x3fc;

const MAGIC: u16 = 0xef53;
const ERROR_STATE: u16 = 2;
/// Feature: the superblock has a checksum.
const METADATA_CSUM: u32 = 0x400;
/// Features that come and go while it is mounted: a journal to replay; files above 2 GiB, and files without a name.
const PASSING_INCOMPATIBLE: u32 = 0x4;
const PASSING_READ_ONLY_COMPATIBLE: u32 = 0x2 | 0x1_0000;

/// What the kernel changes while it is mounted, or grows, and what differs in a copy.
const CHANGING: [Range<usize>; 13] = [
    0x00..0x14,            // numbers of inodes and blocks, and how many are free
    0x2c..0x36,            // times and number of mounts
    STATE_AT..0x3c,        // clean, or with errors
    0x40..0x44,            // the last check
    0x5a..0x5c,            // which copy it is
    0x88..0xc8,            // where it was mounted
    0xe8..0xec,            // files without a name
    BLOCKS_HIGH_AT..0x15c, // numbers of blocks again
    0x178..0x180,          // how much was written
    0x194..0x200,          // errors
    0x248..0x24c,          // blocks that it takes itself
    0x274..0x27c,          // times, kinds of errors
    CHECKSUM_AT..LENGTH,
];

/// A superblock as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock([u8; LENGTH]);

impl Superblock {
    /// That of the file system on `device`. `None`: there is no ext4.
    pub fn of(device: &Path) -> Result<Option<Self>> {
        let found = File::open(device).and_then(|file| Self::at(&file, PLACE as u64));
        found.at("read", device)
    }

    /// From bytes that are one. `None` if they are not.
    pub fn parse(bytes: [u8; LENGTH]) -> Option<Self> {
        let superblock = Self(bytes);
        (superblock.half(MAGIC_AT) == MAGIC).then_some(superblock)
    }

    fn at(file: &File, place: u64) -> std::io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, place)?;
        Ok(Self::parse(bytes))
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|i| self.0[at + i]))
    }

    fn checksum(&self) -> u32 {
        crc32c(&self.0[..CHECKSUM_AT])
    }

    /// Whether its checksum is right, if it has one.
    pub fn is_whole(&self) -> bool {
        self.word(READ_ONLY_COMPATIBLE_AT) & METADATA_CSUM == 0 || self.word(CHECKSUM_AT) == self.checksum()
    }

    /// Errors were found in the file system when it was last used.
    pub fn has_errors(&self) -> bool {
        self.half(STATE_AT) & ERROR_STATE != 0
    }

    fn block_size(&self) -> u64 {
        1024 << self.word(BLOCK_SIZE_AT).min(6)
    }

    /// Bytes of the file system; the largest number there is if it says more.
    pub fn size(&self) -> u64 {
        let blocks = u64::from(self.word(BLOCKS_LOW_AT)) | u64::from(self.word(BLOCKS_HIGH_AT)) << 32;
        blocks.saturating_mul(self.block_size())
    }

    /// With other bytes at some place, and the checksum that belongs to them.
    #[must_use]
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        let checksum = self.checksum();
        self.0[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        self
    }

    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// Whether both are of the same file system: they differ in nothing but what changes while it is mounted.
    fn is_kin(&self, other: &Self) -> bool {
        let lasting = |superblock: &Self| {
            let mut bytes = superblock.0;
            for (at, passing) in [
                (INCOMPATIBLE_AT, PASSING_INCOMPATIBLE),
                (READ_ONLY_COMPATIBLE_AT, PASSING_READ_ONLY_COMPATIBLE),
            ] {
                let features = superblock.word(at) & !passing;
                bytes[at..at + 4].copy_from_slice(&features.to_le_bytes());
            }
            for range in CHANGING {
                bytes[range].fill(0);
            }
            bytes
        };
        lasting(self) == lasting(other)
    }

    /// Where copies of it are: before it, where `container` leaves one, and at the beginning of the second group.
    fn copies(&self) -> [u64; 2] {
        let second = u64::from(self.word(FIRST_BLOCK_AT)) + u64::from(self.word(GROUP_SIZE_AT));
        [0, second * self.block_size()]
    }
}

/// A superblock that a power cut tore: its checksum is wrong, and but for what changes all the time it is as a copy of it.
#[derive(Debug)]
pub struct Torn<'a> {
    device: &'a Path,
    superblock: Superblock,
    copy: u64,
}

impl<'a> Torn<'a> {
    /// Looks for one on `device`. `None`: there is no ext4, or its superblock is whole, or no copy vouches for it.
    pub fn on(device: &'a Path) -> Result<Option<Self>> {
        let file = File::open(device).at("open", device)?;
        let superblock = Superblock::at(&file, PLACE as u64).at("read", device)?;
        let Some(superblock) = superblock.filter(|superblock| !superblock.is_whole()) else {
            return Ok(None);
        };
        let is_kin = |&place: &u64| {
            let copy = Superblock::at(&file, place).ok().flatten();
            copy.is_some_and(|copy| copy.is_whole() && copy.is_kin(&superblock))
        };
        let copy = superblock.copies().into_iter().find(is_kin);
        Ok(copy.map(|copy| Self { device, superblock, copy }))
    }

    /// Where a whole copy is, in bytes.
    pub fn copy(&self) -> u64 {
        self.copy
    }

    /// Gives it the checksum that belongs to it, and says so. What it says then is of two moments; the journal has the newer
    /// one.
    pub fn mend(self) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let file = OpenOptions::new().write(true).open(self.device)?;
            let checksum = self.superblock.checksum().to_le_bytes();
            file.write_all_at(&checksum, (PLACE + CHECKSUM_AT) as u64)?;
            file.sync_all()
        };
        write().map_err(|e| Error::at("mend the superblock of", self.device, e))?;
        log::warning(format_args!("a power cut tore the superblock on {}: mended", self.device.display()));
        Ok(())
    }
}

/// CRC-32C as ext4 has it: begun with all ones, not inverted at the end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32/ISCSI, before its last inversion.
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }
}
