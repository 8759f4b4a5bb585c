//! The EFI system partition: a small FAT image, made in memory.

use hadris_fat::{FatOptions, VolumeLabel};
use hadris_fs::{Content, DateTime, Node, PathError};

use crate::{Error, identity};

const MIB: u64 = 1 << 20;
/// Room for the boot catalogs and logs that firmware and people put there.
const SLACK: u64 = MIB;
/// El Torito counts the sectors of an image in 16 bits; larger ones boot on some firmware only.
const LARGEST: u64 = 32 * MIB - 512;
/// The first time FAT can hold: 1980-01-01.
const FIRST_TIME: u64 = 315_532_800;

/// Makes a FAT file system (FAT12, or FAT16 from 16 MiB on) with the given files, sized to them and rounded up to MiB.
///
/// `files` are paths like `EFI/BOOT/BOOTX64.EFI` with their content. The volume's serial number is derived from `id`;
/// `epoch` is the time of all files, in seconds since 1970. The same input gives the same bytes.
pub fn image(files: &[(&str, &[u8])], id: &str, epoch: u64) -> Result<Vec<u8>, Error> {
    let mut tree = hadris_fs::Tree::new();
    for (path, bytes) in files {
        tree.insert(path, Node::file(Content::bytes(*bytes))).map_err(|error| failed(&error))?;
    }
    let used: u64 = files.iter().map(|(_, bytes)| (bytes.len() as u64).next_multiple_of(4096) + 4096).sum();
    let size = (used + SLACK).next_multiple_of(MIB);
    if size > LARGEST {
        return Err(Error::Layout {
            what: "the EFI system partition".to_owned(),
            reason: format!("its files need {} MiB, and 31 MiB is what El Torito can hold", size / MIB),
        });
    }
    let seconds = i64::try_from(epoch.max(FIRST_TIME)).unwrap_or(i64::MAX);
    let time = DateTime::from_unix_seconds(seconds).map_err(|_| Error::Option {
        option: "epoch",
        value: epoch.to_string(),
        reason: "the year is out of range",
    })?;
    let label = VolumeLabel::new("ESP").unwrap_or_else(|_| unreachable!("three letters are a label"));
    let options = FatOptions::new()
        .with_size(size)
        .with_label(label)
        .with_oem_name(*b"MSWIN4.1") // what drivers that look at it at all look for
        .with_serial(identity::fat_serial(id))
        .with_time(time);
    let mut image = Vec::new();
    hadris_fat::sync::write(&mut image, &tree, &options).map_err(|error| failed(&error))?;
    Ok(image)
}

fn failed(error: &PathError) -> Error {
    Error::Layout { what: "the EFI system partition".to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sized_to_its_files_and_reproducible() {
        for (length, mib) in [(0_usize, 2), (1 << 20, 3), (5_900_000, 7), (15 << 20, 17)] {
            let file = vec![7; length];
            let files: &[(&str, &[u8])] = &[("EFI/BOOT/BOOTX64.EFI", &file), ("boot/grub/grub.cfg", b"x")];
            let first = image(files, "0123456789abcdef", 1_700_000_000).unwrap();
            assert_eq!(first.len() as u64, mib * MIB, "{length}");
            assert!(first == image(files, "0123456789abcdef", 1_700_000_000).unwrap());
            assert!(first != image(files, "0123456789abcdee", 1_700_000_000).unwrap());
        }
        assert!(image(&[("a", &[])], "", 0).is_ok());
        let message = image(&[("a", &vec![0; 40 << 20])], "", 0).unwrap_err().to_string();
        assert!(message.contains("41 MiB") || message.contains("42 MiB"), "{message}");
    }
}
