//! Encrypted containers: a LUKS2 header at the beginning of the first part, and dm-crypt between the joined device and the
//! file system.
//!
//! The joined device ends in a long row of errors, and dm-crypt's is as long from the start. So only the table of the
//! joined one changes when the container grows, and nobody needs the key for that.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::ext4;
use crate::error::{AtPath, Error, Result};
use crate::luks::{self, Cost, Failure, Volume};
use crate::sys::device_mapper::{self, SECTOR, Target};
use crate::sys::loop_device::LoopDevice;

/// The length of devices that hold an encrypted container, in bytes: the most that ext4 takes with blocks of 4 KiB and
/// 32 bits.
pub const LENGTH: u64 = 16 << 40;

/// The name of dm-crypt's device, and of one that is made only for a while.
pub const DEVICE: &str = "livekit-crypt";
const NEW: &str = "livekit-crypt-new";

/// Whether a file or device begins with a LUKS2 header.
pub fn is_encrypted(path: &Path) -> Result<bool> {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).at("read", path)?;
    Ok(read == start.len() && luks::is_luks2(&start))
}

/// What the container on `device` is opened with. `None` if this is not the passphrase.
pub fn find_key(device: &Path, passphrase: &[u8]) -> Result<Option<Volume>> {
    let mut file = File::open(device).at("open", device)?;
    match luks::open(&mut file, passphrase) {
        Ok(volume) => Ok(Some(volume)),
        Err(Failure::WrongPassphrase) => Ok(None),
        Err(failure @ Failure::Memory { .. }) => Err(Error::at("open", device, failure)
            .hint("boot with more memory, or with `cryptsetup luksConvertKey --pbkdf-memory 131072` elsewhere first")),
        Err(failure) => Err(Error::at("open", device, failure)),
    }
}

/// Opens the container on `device`, as [`DEVICE`], and gives its node.
pub(super) fn open(device: &Path, volume: &Volume) -> Result<PathBuf> {
    device_mapper::create(DEVICE, &[target(volume, device, LENGTH)])
}

/// Opens a disk as the device `name`, and gives its node.
pub fn open_disk(disk: &Path, name: &str, volume: &Volume) -> Result<PathBuf> {
    let size =
        File::open(disk).and_then(|mut file| file.seek(SeekFrom::End(0))).at("find the size of", disk)?;
    device_mapper::create(name, &[target(volume, disk, size)])
}

fn target(volume: &Volume, device: &Path, length: u64) -> Target {
    let parameters = volume.table(&device.to_string_lossy(), &[]);
    Target { sectors: volume.sectors(length), kind: "crypt", parameters }
}

/// The row of errors behind `used` bytes.
pub(super) fn tail(used: u64) -> Target {
    Target { sectors: (LENGTH - used) / SECTOR, kind: "error", parameters: String::new().into() }
}

/// Writes header and file system of a new encrypted container to the file at `path`, of `size` bytes.
pub fn write(file: &File, path: &Path, size: u64, passphrase: &[u8], uuids: [[u8; 16]; 2]) -> Result<Volume> {
    let volume = luks::format(file, size, passphrase, &Cost::for_this_machine(), &mut luks::kernel_random)
        .map_err(|failure| Error::at("encrypt", path, failure))?;
    file.sync_all().at("write", path)?;
    let device = LoopDevice::attach_writable(path)?;
    let node = device_mapper::create(NEW, &[target(&volume, device.path(), size)])?;
    let written = OpenOptions::new().read(true).write(true).open(&node).at("open", &node).and_then(|open| {
        ext4::write_template(&open, uuids[0], uuids[1])?;
        open.sync_all().at("write", &node)
    });
    device_mapper::remove(NEW)?;
    written.map(|()| volume)
}
