//! A keyslot's area: the volume's key, split and encrypted.

use std::io::{Read, Seek};

use aes::cipher::KeyInit;
use aes::{Aes128, Aes256};
use xts_mode::{Xts128, get_tweak_default};
use zeroize::Zeroizing;

use super::derive::Budget;
use super::metadata::Keyslot;
use super::split::{self, STRIPES};
use super::{Failure, Result, read_at};

/// Areas are encrypted in sectors of this size, counted from the area's start.
const SECTOR: usize = 512;

/// The key that the slot gives for a passphrase; with a wrong one, any key.
pub fn unlock<D: Read + Seek>(
    device: &mut D,
    slot: &Keyslot,
    passphrase: &[u8],
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>> {
    let key = slot.derivation.derive(passphrase, &slot.salt, slot.area_key_size, budget)?;
    let length = slot.key_size * STRIPES;
    let mut area = Zeroizing::new(read_at(device, slot.offset, length.next_multiple_of(SECTOR))?);
    crypt(&mut area, &key, Direction::Decrypt)?;
    Ok(split::merge(&area[..length], slot.key_size, slot.split_hash))
}

#[derive(Clone, Copy)]
pub enum Direction {
    Encrypt,
    Decrypt,
}

/// aes-xts-plain64, with a key of 32 or 64 bytes.
pub fn crypt(area: &mut [u8], key: &[u8], direction: Direction) -> Result<()> {
    let (data, tweak) = key.split_at(key.len() / 2);
    let wrong = |_| Failure::unsupported("keyslot key of", key.len());
    match key.len() {
        32 => {
            let [data, tweak] = [data, tweak].map(Aes128::new_from_slice);
            run(&Xts128::new(data.map_err(wrong)?, tweak.map_err(wrong)?), area, direction);
        }
        _ => {
            let [data, tweak] = [data, tweak].map(Aes256::new_from_slice);
            run(&Xts128::new(data.map_err(wrong)?, tweak.map_err(wrong)?), area, direction);
        }
    }
    Ok(())
}

fn run<C>(xts: &Xts128<C>, area: &mut [u8], direction: Direction)
where
    C: aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>
        + aes::cipher::BlockCipherEncrypt
        + aes::cipher::BlockCipherDecrypt,
{
    match direction {
        Direction::Encrypt => xts.encrypt_area(area, SECTOR, 0, get_tweak_default),
        Direction::Decrypt => xts.decrypt_area(area, SECTOR, 0, get_tweak_default),
    }
}
