//! The boot loader: GRUB, behind Debian's signed shim on UEFI.
//!
//! On UEFI, the firmware starts `EFI/BOOT/BOOTX64.EFI` (shim, signed by Microsoft), which starts `grubx64.efi` beside
//! it (signed by Debian), which starts Debian's kernel. The GRUB used is the one Debian builds for CDs (`gcdx64`): it
//! looks for `/boot/grub/grub.cfg` on the device it came from. From a CD that is the ISO itself. From a stick it is the
//! EFI system partition, where a short grub.cfg finds the ISO by the kit's marker file. The GRUB made for hard disks
//! would search for any `/.disk/info`, and may find that of another stick.
//!
//! On BIOS, `grub-mkimage` makes a core image with all modules in it, which serves CD and disk.

mod core_image;
mod files;

use std::path::Path;

use crate::image::{BiosBoot, Boot};
use crate::menu::{DIRECTORY, Menu};
use crate::{Error, MBR_CODE, Source, Tree, esp};

pub use files::{BiosFiles, BootFiles, Firmware, UefiFiles};

/// Makes the tree bootable: adds the boot loader for the firmware that `files` serves, the menu, `/.disk/info` and the
/// medium's marker, and returns what [`crate::write`] needs besides.
///
/// The kernel and initramfs the menu starts, `/NAME/boot/vmlinuz` and `/NAME/boot/initramfs.img`, are the caller's to
/// add. `epoch` is the time of the files in the EFI system partition, in seconds since 1970.
pub fn install(tree: &mut Tree, files: &BootFiles, menu: &Menu, epoch: u64) -> Result<Boot, Error> {
    let unifont = match &files.bios {
        Some(bios) if menu.graphical => Some(read(&bios.font)?),
        _ => None,
    };
    menu.add_to(tree, unifont.as_deref())?;
    tree.add_file(&menu.marker(), Source::Bytes(format!("{}\n", menu.id).into_bytes()))?;
    tree.add_file("/.disk/info", Source::Bytes(format!("{}\n", menu.title).into_bytes()))?;
    let bios = match &files.bios {
        Some(bios) => Some(install_bios(tree, bios, menu)?),
        None => None,
    };
    let esp = match &files.uefi {
        Some(uefi) => Some(install_uefi(tree, uefi, menu, epoch)?),
        None => None,
    };
    Ok(Boot { bios, esp })
}

fn install_bios(tree: &mut Tree, files: &BiosFiles, menu: &Menu) -> Result<BiosBoot, Error> {
    let image = format!("{DIRECTORY}/eltorito.img");
    tree.add_file(&image, Source::Bytes(core_image::make(files, &menu.bios_cfg())?))?;
    let path = files.modules.join("boot_hybrid.img");
    let sector = read(&path)?;
    let mbr: [u8; MBR_CODE] = match sector.get(..MBR_CODE).map(TryInto::try_into) {
        Some(Ok(code)) if sector.len() == 512 => code,
        _ => return Err(Error::BootFile { path, expected: "a boot sector of 512 bytes" }),
    };
    Ok(BiosBoot { image, mbr })
}

/// Returns the EFI system partition. The same files go into the tree, so that copying the ISO's files to a FAT stick
/// makes a stick that boots.
fn install_uefi(tree: &mut Tree, files: &UefiFiles, menu: &Menu, epoch: u64) -> Result<Vec<u8>, Error> {
    let stub = menu.esp_cfg().into_bytes();
    let mut contents = Vec::new();
    for (name, path) in files.named() {
        let bytes = read(path)?;
        if !bytes.starts_with(b"MZ") {
            return Err(Error::BootFile { path: path.to_owned(), expected: "an EFI program" });
        }
        tree.add_file(&format!("/{name}"), Source::Path(path.to_owned()))?;
        contents.push((name, bytes));
    }
    let mut esp_files: Vec<_> = contents.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    esp_files.push(("boot/grub/grub.cfg", &stub));
    esp::image(&esp_files, &menu.id, epoch)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
