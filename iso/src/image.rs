//! Lays the image out and writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hadris_fs::{Content, DateTime, ErrorKind, Extent, PathError};
use hadris_iso::{AppendedPartition, plan};
use hadris_iso::{BootEntry, BootInfo, ElTorito, Hybrid, IsoId, IsoLevel, IsoOptions};

use crate::hybrid::{self, Layout, MBR_CODE, PARTITION_BLOCK};
use crate::identity::Identity;
use crate::output::Output;
use crate::scratch::ScratchFiles;
use crate::second_tree::{self, Room};
use crate::{BLOCK, Error, Tree};

/// What is said of an image as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// The volume's name: 1 to 32 printable ASCII characters, none of them `/`. Of the Joliet name, which Windows
    /// shows, only 16 remain.
    pub volume_id: String,
    /// The time of all files and of the volume, in seconds since 1970: `SOURCE_DATE_EPOCH`, or now. The volume's UUID
    /// is made of it.
    pub epoch: u64,
}

/// What makes an image bootable. Made by [`crate::grub::install`].
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// For PC BIOS.
    pub bios: Option<BiosBoot>,
    /// For UEFI: a FAT image, which becomes the EFI system partition and the El Torito image for UEFI.
    pub esp: Option<Vec<u8>>,
}

/// What GRUB needs to boot on a BIOS.
#[derive(Debug, Clone)]
pub struct BiosBoot {
    /// Where in the tree the El Torito image is (`grub-mkimage -O i386-pc-eltorito`).
    pub image: String,
    /// The boot code that loads the same image from a disk: the first 440 bytes of `boot_hybrid.img`.
    pub mbr: [u8; MBR_CODE],
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The length of the image in bytes.
    pub size: u64,
    /// What the image could not hold as asked for, for people to read: names that Windows sees in another way.
    pub warnings: Vec<String>,
    /// Where each file of the tree lies, by its path on the image: what is in it can be read there without its file
    /// system. Empty files lie nowhere.
    pub places: BTreeMap<String, Place>,
}

/// Where the bytes of a file lie in an image, in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In bytes from the beginning of the image.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

impl Place {
    /// Of a file with these `extents`; none if it has no bytes, or if these do not follow each other. Files of more than
    /// 4 GiB have several (ECMA-119, 6.5.1).
    fn of(extents: &[Extent]) -> Option<Self> {
        let (first, rest) = extents.split_first()?;
        let mut place = Place { offset: first.offset(), length: first.len() };
        for extent in rest {
            if extent.offset() != place.offset + place.length {
                return None;
            }
            place.length += extent.len();
        }
        (place.length > 0).then_some(place)
    }
}

/// Writes an image with the files of `tree` to `output`.
///
/// Files are read once, as they are written and in pieces: they need no memory, and those of [`crate::Source::Scratch`]
/// no second copy on disk. `progress` is called with the bytes written and the bytes of the whole image. While it is
/// written, the image is called [`crate::partial_name`]; that file is removed on error. The same input gives the same
/// bytes.
pub fn write(
    tree: &Tree,
    boot: &Boot,
    options: &ImageOptions,
    output: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, Error> {
    let measured = tree.measured()?;
    let mut settings = iso_options(tree, boot, options)?;
    let room = match is_disk(boot) {
        true => Some(second_tree_room(tree, &measured, &settings)?),
        false => None,
    };
    if let Some(room) = room {
        settings = settings.with_min_blocks(room.end.into());
    }
    let planned = plan(&measured, &settings).map_err(|error| layout_error(&error))?;

    let scratch = ScratchFiles::of(tree, |path| planned.extents(path).unwrap_or_default())?;

    let mut output = Output::create(output, planned.size(), scratch, progress)?;
    let report = hadris_iso::sync::write(&mut output, &measured, &settings)
        .map_err(|error| output.take_failure().unwrap_or_else(|| input_error(tree, &error)))?;
    if let Some(room) = room {
        make_disk(&output, room, report.size(), tree, boot, &report, options)?;
    }
    output.finish()?;
    let place = |(path, _)| Some((str::to_owned(path), Place::of(report.extents(path)?)?));
    Ok(Written {
        size: report.size(),
        warnings: report.warnings().iter().map(ToString::to_string).collect(),
        places: tree.files().filter_map(place).collect(),
    })
}

fn is_disk(boot: &Boot) -> bool {
    boot.bios.is_some() || boot.esp.is_some()
}

fn iso_options(tree: &Tree, boot: &Boot, options: &ImageOptions) -> Result<IsoOptions, Error> {
    let time = check(options)?;
    let mut settings = IsoOptions::new()
        .with_level(IsoLevel::L3)
        .with_rock_ridge()
        .with_joliet()
        .with_id(IsoId::Volume, &options.volume_id)
        .with_id(IsoId::System, "LINUX")
        .with_id(IsoId::Application, "LIVEKIT")
        .with_time(time);
    if !is_disk(boot) {
        return Ok(settings);
    }
    let mut el_torito = ElTorito::new();
    let mut disk = Hybrid::gpt();
    if let Some(bios) = &boot.bios {
        if !tree.contains(&bios.image) {
            return Err(Error::Layout {
                what: bios.image.clone(),
                reason: "it is not in the tree".to_owned(),
            });
        }
        // Four sectors are what BIOSes are sure to load: the first block, which loads the rest.
        el_torito = el_torito
            .with_entry(BootEntry::bios(&bios.image).with_load_size(4).with_boot_info(BootInfo::Grub2));
    }
    if let Some(esp) = &boot.esp {
        disk = disk.with_appended(AppendedPartition::esp(Content::bytes(esp.clone())));
        el_torito = el_torito.with_entry(BootEntry::uefi_appended(0));
    }
    settings = settings.with_el_torito(el_torito).with_hybrid(disk);
    Ok(settings)
}

/// Checks what the formats cannot hold: years up to 2107, as in FAT.
fn check(options: &ImageOptions) -> Result<DateTime, Error> {
    let volume_id = &options.volume_id;
    if volume_id.is_empty() || volume_id.len() > 32 {
        return Err(Error::Option {
            option: "volume id",
            value: volume_id.clone(),
            reason: "it must have 1 to 32 characters",
        });
    }
    if !volume_id.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'/')
        || volume_id.starts_with(' ')
    {
        return Err(Error::Option {
            option: "volume id",
            value: volume_id.clone(),
            reason: "only printable ASCII characters but / can be in it",
        });
    }
    let last = 4_354_819_199; // 2107-12-31T23:59:59Z
    i64::try_from(options.epoch)
        .ok()
        .filter(|&seconds| seconds <= last)
        .and_then(|seconds| DateTime::from_unix_seconds(seconds).ok())
        .ok_or_else(|| Error::Option {
            option: "epoch",
            value: options.epoch.to_string(),
            reason: "the year must not be later than 2107",
        })
}

/// How much room the second set of directories takes: planned without it, the first set shows.
fn second_tree_room(tree: &Tree, measured: &hadris_fs::Tree, settings: &IsoOptions) -> Result<Room, Error> {
    let start = 64;
    let report =
        plan(measured, &settings.clone().with_min_blocks(start)).map_err(|error| layout_error(&error))?;
    let first_file =
        report.files().flat_map(|(_, extents)| extents).map(|extent| extent.offset() / BLOCK).min();
    // A bootable image without any file has no BIOS image either: its directories are one block for each tree.
    let directory_blocks = first_file.map_or(8, |block| block - start);
    // A record is 8 bytes and the name: two bytes a character in Joliet, at most 31 in all in the primary tree.
    let names = tree.directories().map(|path| path.rsplit('/').next().map_or(0, str::len));
    let table_bytes: usize = 64 + names.map(|length| 10 + (2 * length).max(31)).sum::<usize>();
    match (u32::try_from(directory_blocks), u32::try_from(table_bytes)) {
        (Ok(blocks), Ok(bytes)) => Ok(Room::new(blocks, bytes)),
        _ => {
            Err(Error::Layout { what: "the directories".to_owned(), reason: "there are too many".to_owned() })
        }
    }
}

/// Adds the partition tables and the directories of partition 1.
fn make_disk(
    output: &Output,
    room: Room,
    size: u64,
    tree: &Tree,
    boot: &Boot,
    report: &hadris_fs::Report,
    options: &ImageOptions,
) -> Result<(), Error> {
    let blocks = size / BLOCK;
    let esp = match &boot.esp {
        Some(esp) => {
            let index = usize::from(boot.bios.is_some());
            Some((boot_image_block(output, index)?, (esp.len() as u64).div_ceil(BLOCK)))
        }
        None => None,
    };
    let bios = boot.bios.as_ref().and_then(|bios| {
        let extent = report.extents(&bios.image)?.first()?;
        Some((extent.offset() / BLOCK, &bios.mbr))
    });
    let layout = Layout { blocks, esp, bios };
    for (offset, bytes) in hybrid::tables(&layout, &Identity::of(tree, options))? {
        output.write_at(offset, &bytes)?;
    }
    let backup_gpt = 9; // 33 sectors of 512 bytes
    let end = esp.map_or(blocks - backup_gpt, |(block, _)| block);
    let partition_blocks = u32::try_from(end).unwrap_or(u32::MAX) - PARTITION_BLOCK;
    let read = |block: u32, blocks: u32| output.read(block.into(), blocks);
    for (block, bytes) in second_tree::build(room, partition_blocks, read)? {
        output.write_at(u64::from(block) * BLOCK, &bytes)?;
    }
    Ok(())
}

/// The block of the El Torito image with the number `index`, from the boot catalog: the writer's report does not have
/// the place of the appended partition. Each entry after the first has a section header of its own.
fn boot_image_block(output: &Output, index: usize) -> Result<u64, Error> {
    let u32_at = |bytes: &[u8], at: usize| {
        u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
    };
    let boot_record = output.read(17, 1)?;
    let catalog = output.read(u32_at(&boot_record, 71), 1)?;
    Ok(u32_at(&catalog, 32 + index * 64 + 8))
}

fn layout_error(error: &PathError) -> Error {
    let what = error.path().map_or("the image".to_owned(), |path| String::from_utf8_lossy(path).into_owned());
    Error::Layout { what, reason: error.context().to_string() }
}

/// An error of writing that is not the output's: an input that could be measured before and cannot be read now.
fn input_error(tree: &Tree, error: &PathError) -> Error {
    let Some(path) = host_path(tree, error) else { return layout_error(error) };
    match error.downcast_device::<std::io::Error>() {
        Some(source) => {
            let source =
                source.raw_os_error().map_or(source.kind().into(), std::io::Error::from_raw_os_error);
            Error::Read { path, source }
        }
        None if error.kind() == ErrorKind::NotFound => {
            Error::Read { path, source: std::io::ErrorKind::NotFound.into() }
        }
        None => Error::Changed { path },
    }
}

fn host_path(tree: &Tree, error: &PathError) -> Option<PathBuf> {
    if let Some(path) = error.host_path() {
        return Some(path.to_owned());
    }
    let failed = error.path()?;
    let (_, source) = tree.files().find(|(path, _)| path.as_bytes() == failed)?;
    source.host_path().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_piece() {
        for (extents, place) in [
            (&[][..], None),
            (&[(4096, 0)], None),
            (&[(4096, 100)], Some((4096, 100))),
            (&[(4096, 2048), (6144, 100)], Some((4096, 2148))),
            (&[(4096, 2048), (8192, 100)], None),
            (&[(8192, 2048), (4096, 100)], None),
        ] {
            let extents: Vec<Extent> =
                extents.iter().map(|&(offset, length)| Extent::new(offset, length)).collect();
            let expected = place.map(|(offset, length)| Place { offset, length });
            assert_eq!(Place::of(&extents), expected, "{extents:?}");
        }
    }
}
