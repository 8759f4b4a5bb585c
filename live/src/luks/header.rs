//! The header's fields: big-endian, 4 KiB, twice on the device, each time with the JSON behind.

use std::io::{Read, Seek};

use super::hash::Hash;
use super::{Failure, Result, read_at};

pub const MAGIC: &[u8] = b"LUKS\xba\xbe";
const SECOND_MAGIC: &[u8] = b"SKUL\xba\xbe";

/// Bytes of the fields, before the JSON.
pub const FIELDS: usize = 4096;
/// Sizes that a copy may have, fields and JSON. The second copy begins where the first one ends.
pub const SIZES: [u64; 9] =
    [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];

const VERSION: usize = 6;
const SIZE: usize = 8;
const SEQUENCE: usize = 16;
const CHECKSUM_NAME: usize = 72;
const SALT: usize = 104;
pub const SALT_LENGTH: usize = 64;
const UUID: usize = 168;
const UUID_ROOM: usize = 40;
const OFFSET: usize = 256;
const CHECKSUM: usize = 448;
const CHECKSUM_ROOM: usize = 64;

/// A valid copy of the header.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a copy.
    pub size: u64,
    /// Grows with every change.
    sequence: u64,
    pub uuid: String,
    pub json: Vec<u8>,
}

/// The newer of the valid copies, the first one if they are equal.
pub fn read<D: Read + Seek>(device: &mut D) -> Result<Header> {
    let first = read_copy(device, 0, MAGIC);
    if let Err(failure @ Failure::Unsupported(_)) = first {
        return Err(failure);
    }
    // The first copy says where the second is. If it is damaged, any place may have it.
    let places = first.as_ref().map_or(SIZES.to_vec(), |header| vec![header.size]);
    let mut why = first.as_ref().err().cloned();
    let mut best = first.ok();
    for place in places {
        match read_copy(device, place, SECOND_MAGIC) {
            Ok(second) if best.as_ref().is_none_or(|best| best.sequence < second.sequence) => {
                best = Some(second);
            }
            Ok(_) | Err(Failure::NotLuks2) => {}
            Err(failure) if why == Some(Failure::NotLuks2) => why = Some(failure),
            Err(_) => {}
        }
    }
    best.ok_or_else(|| why.unwrap_or(Failure::NotLuks2))
}

fn read_copy<D: Read + Seek>(device: &mut D, place: u64, magic: &[u8]) -> Result<Header> {
    let start = match read_at(device, place, 8) {
        Ok(start) if start.starts_with(magic) => start,
        Ok(_) | Err(Failure::Damaged(_)) => return Err(Failure::NotLuks2),
        Err(other) => return Err(other),
    };
    match u16::from_be_bytes([start[VERSION], start[VERSION + 1]]) {
        2 => {}
        1 if place == 0 => return Err(Failure::unsupported("LUKS version", 1)),
        other => return Err(Failure::Damaged(format!("its version is {other}"))),
    }
    let fields = read_at(device, place, FIELDS)?;
    let size = number(&fields, SIZE);
    let length = usize::try_from(size).ok().filter(|_| SIZES.contains(&size));
    let Some(length) = length else { return Err(Failure::Damaged(format!("its size is {size}"))) };
    parse(&read_at(device, place, length)?, place)
}

/// Examines a whole copy, which is of a size that is allowed.
fn parse(copy: &[u8], place: u64) -> Result<Header> {
    let size = copy.len() as u64;
    if number(copy, OFFSET) != place || (place != 0 && place != size) {
        return Err(Failure::damaged("it is not where it says"));
    }
    let name = text(&copy[CHECKSUM_NAME..SALT]);
    let hash = Hash::named(&name).map_err(|_| Failure::Damaged(format!("its checksum is a {name:?}")))?;
    if checksum(copy, hash) != copy[CHECKSUM..][..hash.length()] {
        return Err(Failure::damaged("wrong checksum"));
    }
    let json = &copy[FIELDS..];
    let end = json.iter().position(|&b| b == 0).unwrap_or(json.len());
    let json = json[..end].to_vec();
    if let Err(why) = serde_json::from_slice::<serde_json::Value>(&json) {
        return Err(Failure::Damaged(format!("JSON: {why}")));
    }
    Ok(Header { size, sequence: number(copy, SEQUENCE), uuid: text(&copy[UUID..][..UUID_ROOM]), json })
}

/// The bytes of a copy with this JSON; the second one if `second`.
pub fn write(size: usize, second: bool, uuid: &str, salt: &[u8; SALT_LENGTH], json: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; size];
    let mut put = |at: usize, bytes: &[u8]| copy[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, if second { SECOND_MAGIC } else { MAGIC });
    put(VERSION, &2u16.to_be_bytes());
    put(SIZE, &(size as u64).to_be_bytes());
    put(SEQUENCE, &1u64.to_be_bytes());
    put(CHECKSUM_NAME, b"sha256");
    put(SALT, salt);
    put(UUID, uuid.as_bytes());
    put(OFFSET, &(if second { size as u64 } else { 0 }).to_be_bytes());
    put(FIELDS, json);
    let sum = checksum(&copy, Hash::Sha256);
    copy[CHECKSUM..][..sum.len()].copy_from_slice(&sum);
    copy
}

/// Of a copy, with zeros for the checksum itself.
pub fn checksum(copy: &[u8], hash: Hash) -> Vec<u8> {
    hash.of(&[&copy[..CHECKSUM], &[0; CHECKSUM_ROOM], &copy[CHECKSUM + CHECKSUM_ROOM..]])
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Text until the first zero.
fn text(room: &[u8]) -> String {
    let end = room.iter().position(|&b| b == 0).unwrap_or(room.len());
    String::from_utf8_lossy(&room[..end]).into_owned()
}
