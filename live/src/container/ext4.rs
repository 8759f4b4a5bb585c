//! The file system in a container: ext4, begun from a prepared image and judged by its superblock (struct
//! ext4_super_block in fs/ext4/ext4.h, Documentation/filesystems/ext4/super.rst).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{AtPath, Error, Result};

/// An empty file system of 48 MiB, made by mke2fs 1.47 and compressed by zstd:
///
/// ```text
/// mke2fs -t ext4 -b 4096 -m 0 -N 8192 -I 256 -J size=16 -E root_owner=0:0,lazy_itable_init=1
///        -O 64bit,metadata_csum,metadata_csum_seed,^resize_inode,meta_bg,^orphan_file FILE 48M
/// ```
///
/// `meta_bg` without `resize_inode` grows to any size; 8192 inodes in each group of 128 MiB; a seed for checksums that does
/// not depend on the UUID, so that a new UUID changes the superblock alone.
const TEMPLATE: &[u8] = include_bytes!("template.ext4.zst");
const TEMPLATE_SIZE: usize = 48 << 20;

const SUPERBLOCK: usize = 1024;
const BLOCKS_LOW_AT: usize = 0x4;
const MAGIC_AT: usize = 0x38;
const STATE_AT: usize = 0x3a;
const BLOCK_SIZE_AT: usize = 0x18;
const UUID_AT: usize = 0x68;
const HASH_SEED_AT: usize = 0xec;
const BLOCKS_HIGH_AT: usize = 0x150;
const CHECKSUM_AT: usize = 0x3fc;

const MAGIC: u16 = 0xef53;
const ERROR_STATE: u16 = 2;

/// What a superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Bytes of the file system
    pub size: u64,
    /// Errors were found in it when it was last used
    pub has_errors: bool,
}

/// Writes an empty file system with that UUID to a file that reads as zeros, or is empty.
pub fn write_template(file: &File, uuid: [u8; 16], hash_seed: [u8; 16]) -> Result<()> {
    let fail = |e| Error::new(format!("cannot write the file system of a container: {e}"));
    let mut image = zstd::bulk::decompress(TEMPLATE, TEMPLATE_SIZE).map_err(fail)?;
    let superblock = &mut image[SUPERBLOCK..SUPERBLOCK + 1024];
    superblock[UUID_AT..UUID_AT + 16].copy_from_slice(&uuid);
    superblock[HASH_SEED_AT..HASH_SEED_AT + 16].copy_from_slice(&hash_seed);
    let checksum = crc32c(&superblock[..CHECKSUM_AT]);
    superblock[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&image, 0).map_err(fail)
}

/// Judges the file system on `device`, of which `room` bytes are there.
pub fn check(device: &Path, room: u64) -> Result<Superblock> {
    let hint = "nothing was changed; perchdir=new starts another session";
    let mut bytes = [0; 1024];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut bytes, SUPERBLOCK as u64));
    read.at("read", device)?;
    let found =
        parse(&bytes).map_err(|reason| Error::at("use the container on", device, reason).hint(hint))?;
    if found.size > room {
        let what = format!("it has {room} of {} bytes: files are missing or cut short", found.size);
        return Err(Error::at("use the container on", device, what).hint(hint));
    }
    Ok(found)
}

fn parse(bytes: &[u8; 1024]) -> std::result::Result<Superblock, &'static str> {
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    if half(MAGIC_AT) != MAGIC {
        return Err("its beginning is damaged, or it is not ours: no ext4 is there");
    }
    if word(CHECKSUM_AT) != crc32c(&bytes[..CHECKSUM_AT]) {
        return Err("its beginning is damaged: the checksum is wrong");
    }
    let blocks = u64::from(word(BLOCKS_LOW_AT)) | u64::from(word(BLOCKS_HIGH_AT)) << 32;
    let size = blocks.checked_mul(1024 << word(BLOCK_SIZE_AT).min(6)).ok_or("its size cannot be")?;
    Ok(Superblock { size, has_errors: half(STATE_AT) & ERROR_STATE != 0 })
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

    #[test]
    fn a_new_file_system_is_judged_and_so_is_a_damaged_one() {
        let path = std::env::temp_dir().join(format!("livekit-ext4-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        write_template(&file, [7; 16], [8; 16]).unwrap();
        let size = TEMPLATE_SIZE as u64;
        assert_eq!(check(&path, size).unwrap(), Superblock { size, has_errors: false });
        assert!(check(&path, size - 4096).unwrap_err().message().contains("missing or cut short"));
        for (at, part) in [(MAGIC_AT, "no ext4"), (UUID_AT, "checksum")] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, (SUPERBLOCK + at) as u64).unwrap();
            file.write_all_at(&[!byte[0]], (SUPERBLOCK + at) as u64).unwrap();
            assert!(check(&path, size).unwrap_err().message().contains(part));
            file.write_all_at(&byte, (SUPERBLOCK + at) as u64).unwrap();
        }
        std::fs::remove_file(&path).unwrap();
    }
}
