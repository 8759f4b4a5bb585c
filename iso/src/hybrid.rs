//! What makes the image a disk as well: a protective MBR with boot code, and a GPT with two partitions.
//!
//! The MBR holds the protective entry and, for BIOSes that boot no disk without an active partition, an empty active
//! entry. It is not one of the "hybrid" MBRs that repeat GPT partitions: firmware reads those in different ways.

use hadris_part::gpt::types;
use hadris_part::{Disk, Gpt, GptEntry, PartitionName, TableError};
use hadris_storage::BlockSize;

use crate::identity::Identity;
use crate::{BLOCK, Error};

/// Bytes of boot code at the start of an MBR.
pub const MBR_CODE: usize = 440;

/// The first block of partition 1: behind the system area, as the GPT lies in there.
pub(crate) const PARTITION_BLOCK: u32 = 16;

/// Where GRUB's `boot_hybrid.img` keeps the disk sector it loads (`GRUB_BOOT_MACHINE_KERNEL_SECTOR` in GRUB's
/// `include/grub/i386/pc/boot.h` is 0x1b0 for this image).
const GRUB_KERNEL_SECTOR: usize = 0x1b0;
/// The image's first 2048 bytes are for booting from CD: on disk, GRUB starts at the fifth sector.
const GRUB_SKIPPED_SECTORS: u64 = 4;

/// Attributes of the partition with the ISO file system (UEFI 2.10, table 5.5, and Microsoft's basic data type):
/// read-only, and no drive letter, so that Windows does not offer to format it.
const READ_ONLY: u64 = 1 << 60;
const NO_DRIVE_LETTER: u64 = 1 << 63;

/// Where things of a finished ISO lie, in blocks of 2048 bytes.
pub(crate) struct Layout<'a> {
    /// The whole image, backup GPT included.
    pub(crate) blocks: u64,
    /// First block and number of blocks of the EFI system partition.
    pub(crate) esp: Option<(u64, u64)>,
    /// First block of the BIOS boot image, with the MBR code that loads it.
    pub(crate) bios: Option<(u64, &'a [u8; MBR_CODE])>,
}

/// The bytes to write, with the byte offset of each run.
pub(crate) fn tables(layout: &Layout, identity: &Identity) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let disk = Disk::new(gpt(layout, identity).map_err(|error| Error::Layout {
        what: "the partition table".to_owned(),
        reason: error.to_string(),
    })?);
    let mut runs: Vec<_> = disk.runs().map(|run| (run.lba() * 512, run.bytes().to_vec())).collect();
    for (offset, bytes) in &mut runs {
        if *offset == 0 {
            complete_mbr(bytes, layout.bios);
        }
    }
    Ok(runs)
}

fn gpt(layout: &Layout, identity: &Identity) -> Result<Gpt, TableError> {
    let sectors = BLOCK / 512;
    let size = BlockSize::new(512).unwrap_or_else(|| unreachable!("512 is a block size"));
    let mut gpt = Gpt::new(identity.guid("disk"), layout.blocks * sectors, size)?;
    let start = u64::from(PARTITION_BLOCK) * sectors;
    let end = layout.esp.map_or(gpt.last_usable() + 1, |(block, _)| block * sectors);
    gpt.add(
        GptEntry::new(types::BASIC_DATA, identity.guid("iso"), start, end - start)
            .with_name(PartitionName::new("ISO9660")?)
            .with_attributes(READ_ONLY | NO_DRIVE_LETTER),
    )?;
    if let Some((block, blocks)) = layout.esp {
        gpt.add(
            GptEntry::new(types::EFI_SYSTEM, identity.guid("esp"), block * sectors, blocks * sectors)
                .with_name(PartitionName::new("EFI system partition")?),
        )?;
    }
    Ok(gpt)
}

fn complete_mbr(mbr: &mut [u8], bios: Option<(u64, &[u8; MBR_CODE])>) {
    let Some((block, code)) = bios else { return };
    mbr[..MBR_CODE].copy_from_slice(code);
    let sector = block * (BLOCK / 512) + GRUB_SKIPPED_SECTORS;
    mbr[GRUB_KERNEL_SECTOR..GRUB_KERNEL_SECTOR + 8].copy_from_slice(&sector.to_le_bytes());
    let mut dummy = [0; 16];
    dummy[0] = 0x80;
    (dummy[2], dummy[6]) = (1, 1); // its first and last sector in CHS terms
    dummy[12] = 1; // its length
    mbr[0x1ce..0x1de].copy_from_slice(&dummy);
}
