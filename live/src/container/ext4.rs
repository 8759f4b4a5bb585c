//! The file system in a container: ext4, begun from a prepared image and judged by its superblock.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::ext4::{HASH_SEED_AT, LENGTH, PLACE, Superblock, UUID_AT};

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

/// Writes an empty file system with that UUID to a file that reads as zeros, or is empty.
pub fn write_template(file: &File, uuid: [u8; 16], hash_seed: [u8; 16]) -> Result<()> {
    let fail = |e| Error::new(format!("cannot write the file system of a container: {e}"));
    let mut image = zstd::bulk::decompress(TEMPLATE, TEMPLATE_SIZE).map_err(fail)?;
    let made = std::array::from_fn(|at| image[PLACE + at]);
    let superblock = Superblock::parse(made).ok_or_else(|| fail(std::io::ErrorKind::InvalidData.into()))?;
    let superblock = superblock.with(UUID_AT, &uuid).with(HASH_SEED_AT, &hash_seed);
    // A copy in the place of a boot loader, which ext4 leaves alone: what a torn one is known by (`crate::ext4`).
    for place in [0, PLACE] {
        image[place..place + LENGTH].copy_from_slice(superblock.bytes());
    }
    file.write_all_at(&image, 0).map_err(fail)
}

/// Judges the file system on `device`, of which `room` bytes are there.
pub fn check(device: &Path, room: u64) -> Result<Superblock> {
    let fail = |reason: String| {
        Error::at("use the container on", device, reason)
            .hint("nothing was changed; perchdir=new starts another session")
    };
    let found = Superblock::of(device)?
        .ok_or_else(|| fail("its beginning is damaged, or it is not ours: no ext4 is there".into()))?;
    if !found.is_whole() {
        return Err(fail("its beginning is damaged: the checksum is wrong".into()));
    }
    if found.size() > room {
        return Err(fail(format!("it has {room} of {} bytes: files are missing or cut short", found.size())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::Torn;

    /// A new file system, and its size.
    fn made() -> (tempfile::NamedTempFile, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_template(file.as_file(), [7; 16], [8; 16]).unwrap();
        (file, TEMPLATE_SIZE as u64)
    }

    /// Inverts bytes.
    fn damage(file: &File, place: usize, length: usize) {
        let (mut bytes, place) = (vec![0; length], place as u64);
        file.read_exact_at(&mut bytes, place).unwrap();
        file.write_all_at(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>(), place).unwrap();
    }

    /// Whether there was something to mend, and it was.
    fn mended(path: &Path) -> bool {
        Torn::on(path).unwrap().is_some_and(|torn| torn.mend().is_ok())
    }

    #[test]
    fn a_new_file_system_is_judged_and_so_is_a_damaged_one() {
        let (file, size) = made();
        let found = check(file.path(), size).unwrap();
        assert_eq!((found.size(), found.has_errors()), (size, false));
        assert!(check(file.path(), size - 4096).unwrap_err().message().contains("missing or cut short"));
        for (at, part) in [(0x38, "no ext4"), (UUID_AT, "checksum")] {
            damage(file.as_file(), PLACE + at, 1);
            assert!(!mended(file.path()), "this did not happen while it was written");
            assert!(check(file.path(), size).unwrap_err().message().contains(part));
            damage(file.as_file(), PLACE + at, 1);
        }
        check(file.path(), size).unwrap();
    }

    #[test]
    fn a_torn_superblock_is_mended() {
        let (file, size) = made();
        // Its first sector was written: free blocks, time of the last write, mounts, a journal to replay, how much was written.
        for (at, length) in [(0xc, 4), (0x30, 4), (0x34, 2), (0x178, 8)] {
            damage(file.as_file(), PLACE + at, length);
        }
        let mut features = [0];
        file.as_file().read_exact_at(&mut features, PLACE as u64 + 0x60).unwrap();
        file.as_file().write_all_at(&[features[0] | 4], PLACE as u64 + 0x60).unwrap();
        assert!(check(file.path(), size).is_err());
        assert!(mended(file.path()));
        check(file.path(), size).unwrap();
        assert!(!mended(file.path()), "there is nothing left to do");
    }

    #[test]
    fn a_superblock_without_a_copy_that_agrees_is_left_as_it_is() {
        for (place, length) in [(0, 1024), (UUID_AT, 1), (0x3fc, 4)] {
            let (file, size) = made();
            damage(file.as_file(), place, length);
            damage(file.as_file(), PLACE + 0xc, 4);
            assert!(!mended(file.path()), "with the copy damaged at {place}");
            assert!(check(file.path(), size).is_err());
        }
    }
}
