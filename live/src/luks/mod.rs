//! LUKS2: the header of an encrypted container, read and written. The kernel's dm-crypt encrypts the data; what it has
//! to be told is a [`Volume`].
//!
//! The format: "LUKS2 On-Disk Format Specification" of the cryptsetup project. In a container lie
//!
//! ```text
//! 0           header: 4 KiB of fields and a checksum, then JSON
//! H           the same again, H = 16 KiB … 4 MiB
//! 2 H         keyslots: the volume's key, split, encrypted with a key made of a passphrase
//! offset      data, encrypted with the volume's key
//! ```
//!
//! A container comes from anywhere: sizes and places are checked before use, and the work to derive keys has a limit.

mod derive;
mod failure;
mod format;
mod hash;
mod header;
mod keyslot;
mod metadata;
mod split;
#[cfg(test)]
mod tests;
mod volume;

use std::io::{Read, Seek, SeekFrom};

use zeroize::Zeroizing;

pub use derive::Cost;
pub use failure::Failure;
pub use format::{DATA_OFFSET, format, kernel_random};
pub use volume::Volume;

use derive::Budget;
use metadata::Metadata;

/// Shorthand of this module.
pub type Result<T> = std::result::Result<T, Failure>;

/// Whether a device that starts with these bytes, at least 8, is a LUKS2 container.
pub fn is_luks2(start: &[u8]) -> bool {
    start.starts_with(header::MAGIC) && start.get(6..8) == Some(&[0, 2])
}

/// Finds the volume's key with a passphrase, which takes memory and seconds. A passphrase may have any bytes.
pub fn open<D: Read + Seek>(device: &mut D, passphrase: &[u8]) -> Result<Volume> {
    let size = device.seek(SeekFrom::End(0)).map_err(|e| Failure::io("find the size", e))?;
    let header = header::read(device)?;
    let metadata = Metadata::parse(&header.json, header.size, size)?;
    let key = find_key(device, &metadata, passphrase)?;
    Volume::new(metadata.segment, metadata.options, header.uuid, key)
}

/// Tries one keyslot after the other. One that cannot be used is told only if no other one opens.
fn find_key<D: Read + Seek>(
    device: &mut D,
    metadata: &Metadata,
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let mut budget = Budget::default();
    let mut failed = None;
    for slot in &metadata.keyslots {
        let tried = match slot {
            Ok(slot) => keyslot::unlock(device, slot, passphrase, &mut budget),
            Err(failure) => Err(failure.clone()),
        };
        match tried {
            Ok(key) if metadata.digest.is_of(&key, &mut budget)? => return Ok(key),
            Ok(_) => {}
            Err(failure) => drop(failed.get_or_insert(failure)),
        }
    }
    Err(failed.unwrap_or(Failure::WrongPassphrase))
}

/// Bytes of a device; an end before that is damage.
fn read_at<D: Read + Seek>(device: &mut D, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    device.seek(SeekFrom::Start(offset)).map_err(|e| Failure::io("read", e))?;
    let read = device.take(length as u64).read_to_end(&mut bytes).map_err(|e| Failure::io("read", e))?;
    if read < length {
        return Err(Failure::Damaged(format!("it ends at byte {}", offset + read as u64)));
    }
    Ok(bytes)
}
