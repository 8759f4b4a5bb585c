//! A new container.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::derive::{Budget, Cost, Derivation};
use super::hash::Hash;
use super::header::{self, FIELDS, SALT_LENGTH, SIZES};
use super::keyslot::{self, Direction};
use super::split::{self, STRIPES};
use super::{Failure, Result, Volume};

/// Where the data begin: 1 MiB. cryptsetup takes 16 MiB, for keyslots that never come and for encrypting anew in
/// place; before this one there is room for three keyslots.
pub const DATA_OFFSET: u64 = 1 << 20;

const CIPHER: &str = "aes-xts-plain64";
const KEY_SIZE: usize = 64;
/// Bytes of a copy of the header, the least.
const HEADER: usize = 16 << 10;
/// The stripes, in whole blocks.
const AREA: usize = (KEY_SIZE * STRIPES).next_multiple_of(4096);
/// Of the digest. The least that is taken: the key it is of cannot be guessed anyway.
const ITERATIONS: u32 = 1000;
const KDF_SALT: usize = 32;

/// Fills bytes at random.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> io::Result<()>;

/// The kernel's random bytes. Waits until it has gathered enough.
pub fn kernel_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes a container of a device or file of `size` bytes, in sectors of 4096 bytes if it has only whole ones, else of
/// 512. What was in it is lost. Until the very end there is no valid header. Gives what [`super::open`] would.
pub fn format(
    device: &File,
    size: u64,
    passphrase: &[u8],
    cost: &Cost,
    random: Random<'_>,
) -> Result<Volume> {
    let sector_size: u32 = if size.is_multiple_of(4096) { 4096 } else { 512 };
    if size < DATA_OFFSET + u64::from(sector_size) {
        return Err(Failure::TooSmall);
    }
    let mut key = Zeroizing::new(vec![0; KEY_SIZE]);
    fill(random, &mut key)?;
    let mut salts = [[0; KDF_SALT]; 2];
    for salt in &mut salts {
        fill(random, salt)?;
    }
    let derivation = Derivation::Argon2 { id: true, memory: cost.memory, passes: cost.passes, lanes: 1 };
    let area_key = derivation.derive(passphrase, &salts[0], KEY_SIZE, &mut Budget::default())?;
    let mut area = Zeroizing::new(vec![0; AREA]);
    let stripes = &mut area[..KEY_SIZE * STRIPES];
    fill(random, stripes)?;
    split::split(&key, stripes, Hash::Sha256);
    keyslot::crypt(stripes, &area_key, Direction::Encrypt)?;

    let json = metadata(&key, &salts, cost, sector_size).to_string();
    let uuid = uuid(random)?;
    let mut copies = Vec::new();
    for second in [true, false] {
        let mut salt = [0; SALT_LENGTH];
        fill(random, &mut salt)?;
        copies.push(header::write(HEADER, second, &uuid, &salt, json.as_bytes()));
    }
    wipe(device, size)?;
    write(device, 2 * HEADER as u64, &area)?;
    // The second copy first: from there on it is whole, with one copy or with both.
    write(device, HEADER as u64, &copies[0])?;
    write(device, 0, &copies[1])?;
    Ok(Volume {
        cipher: CIPHER.to_owned(),
        key,
        offset: DATA_OFFSET,
        size: None,
        sector_size,
        iv_tweak: 0,
        options: Vec::new(),
        uuid,
    })
}

/// Removes what was there: all before the data, and old copies of a header that might lie further behind.
fn wipe(device: &File, size: u64) -> Result<()> {
    for place in SIZES.into_iter().filter(|&place| place >= DATA_OFFSET && place + FIELDS as u64 <= size) {
        device.write_all_at(&[0; FIELDS], place).map_err(|e| Failure::io("wipe the device", e))?;
    }
    write(device, 0, &vec![0; usize::try_from(DATA_OFFSET).unwrap_or(usize::MAX)])
}

/// Writes, and waits until it is on the disk.
fn write(device: &File, place: u64, bytes: &[u8]) -> Result<()> {
    let written = device.write_all_at(bytes, place).and_then(|()| device.sync_all());
    written.map_err(|e| Failure::io("write the LUKS2 header", e))
}

fn metadata(key: &[u8], salts: &[[u8; KDF_SALT]; 2], cost: &Cost, sector_size: u32) -> Value {
    let mut digest = [0; 32];
    Hash::Sha256.pbkdf2(key, &salts[1], ITERATIONS, &mut digest);
    json!({
        "keyslots": { "0": {
            "type": "luks2",
            "key_size": KEY_SIZE,
            "af": { "type": "luks1", "stripes": STRIPES, "hash": "sha256" },
            "area": {
                "type": "raw",
                "offset": (2 * HEADER).to_string(),
                "size": AREA.to_string(),
                "encryption": CIPHER,
                "key_size": KEY_SIZE,
            },
            "kdf": {
                "type": "argon2id",
                "time": cost.passes,
                "memory": cost.memory,
                "cpus": 1,
                "salt": base64(&salts[0]),
            },
        }},
        "tokens": {},
        "segments": { "0": {
            "type": "crypt",
            "offset": DATA_OFFSET.to_string(),
            "size": "dynamic",
            "iv_tweak": "0",
            "encryption": CIPHER,
            "sector_size": sector_size,
        }},
        "digests": { "0": {
            "type": "pbkdf2",
            "keyslots": ["0"],
            "segments": ["0"],
            "hash": "sha256",
            "iterations": ITERATIONS,
            "salt": base64(&salts[1]),
            "digest": base64(&digest),
        }},
        "config": {
            "json_size": (HEADER - FIELDS).to_string(),
            "keyslots_size": (DATA_OFFSET - 2 * HEADER as u64).to_string(),
        },
    })
}

/// Of 32 bytes.
fn base64(bytes: &[u8; 32]) -> String {
    let mut room = [0; 44];
    Base64::encode(bytes, &mut room).unwrap_or_default().to_owned()
}

/// A random one: version 4 of RFC 9562.
fn uuid(random: Random<'_>) -> Result<String> {
    let mut bytes = [0; 16];
    fill(random, &mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = format!("{:032x}", u128::from_be_bytes(bytes));
    for at in [8, 13, 18, 23] {
        text.insert(at, '-');
    }
    Ok(text)
}

fn fill(random: &mut dyn FnMut(&mut [u8]) -> io::Result<()>, bytes: &mut [u8]) -> Result<()> {
    random(bytes).map_err(|e| Failure::io("get random bytes", e))
}
