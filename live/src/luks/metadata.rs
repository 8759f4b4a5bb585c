//! The header's JSON: segments, keyslots, digests.

use base64ct::{Base64, Encoding};
use serde_json::Value;
use zeroize::Zeroizing;

use super::derive::{Budget, Derivation};
use super::hash::Hash;
use super::split::STRIPES;
use super::{Failure, Result};

/// What a header may have at the most.
const MOST_KEYSLOTS: usize = 32;
/// Bytes of the longest key there is room for in a keyslot.
const LONGEST_KEY: u64 = 256;
const LONGEST_SALT: usize = 512;

/// What is needed of the JSON to open the volume.
#[derive(Debug)]
pub struct Metadata {
    pub segment: Segment,
    pub digest: KeyDigest,
    /// In the order in which they are tried. Those that cannot be used say why.
    pub keyslots: Vec<Result<Keyslot>>,
    /// What dm-crypt is to be told besides, by its names.
    pub options: Vec<&'static str>,
}

/// Where the data are and how they are encrypted.
#[derive(Debug)]
pub struct Segment {
    pub cipher: String,
    /// Bytes from the start of the device.
    pub offset: u64,
    /// Bytes; none for all that follows.
    pub size: Option<u64>,
    pub sector_size: u32,
    pub iv_tweak: u64,
}

/// By which a volume's key is recognized.
#[derive(Debug)]
pub struct KeyDigest {
    hash: Hash,
    iterations: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// A place where the volume's key is.
#[derive(Debug, Clone)]
pub struct Keyslot {
    /// Bytes of the volume's key.
    pub key_size: usize,
    pub split_hash: Hash,
    /// Bytes from the start of the device.
    pub offset: u64,
    /// Bytes of the key that the area is encrypted with, by aes-xts-plain64.
    pub area_key_size: usize,
    pub derivation: Derivation,
    pub salt: Vec<u8>,
}

impl Metadata {
    /// Reads the JSON of a header whose copies have `header_size` bytes, on a device of `device_size` bytes.
    pub fn parse(json: &[u8], header_size: u64, device_size: u64) -> Result<Self> {
        let json: Value = serde_json::from_slice(json).map_err(|e| Failure::Damaged(format!("JSON: {e}")))?;
        refuse_requirements(&json["config"]["requirements"])?;
        let segments = json["segments"].as_object().ok_or_else(|| Failure::damaged("no segments"))?;
        let mut segments = segments.iter();
        let (Some((id, segment)), None) = (segments.next(), segments.next()) else {
            return Err(Failure::unsupported(
                "number of segments:",
                json["segments"].as_object().map_or(0, serde_json::Map::len),
            ));
        };
        let segment = Segment::parse(segment, 2 * header_size, device_size)?;
        let digest = json["digests"]
            .as_object()
            .and_then(|digests| digests.values().find(|d| lists(&d["segments"], id)));
        let digest = digest.ok_or_else(|| Failure::damaged("no digest for the data"))?;
        let keyslots = keyslots(&json["keyslots"], digest, 2 * header_size..segment.offset)?;
        Ok(Self {
            segment,
            digest: KeyDigest::parse(digest)?,
            keyslots,
            options: options(&json["config"]["flags"]),
        })
    }
}

/// Whoever does not know a requirement must not use the container.
fn refuse_requirements(requirements: &Value) -> Result<()> {
    if let Some(name) = requirements["mandatory"].as_array().and_then(|names| names.first()) {
        return Err(Failure::unsupported("requirement", name.as_str().unwrap_or("without a name")));
    }
    Ok(())
}

/// Flags that were made to stay, as dm-crypt names them. Others may be ignored.
fn options(flags: &Value) -> Vec<&'static str> {
    let known = |flag: &Value| match flag.as_str()? {
        "allow-discards" => Some("allow_discards"),
        "same-cpu-crypt" => Some("same_cpu_crypt"),
        "submit-from-crypt-cpus" => Some("submit_from_crypt_cpus"),
        "no-read-workqueue" => Some("no_read_workqueue"),
        "no-write-workqueue" => Some("no_write_workqueue"),
        _ => None,
    };
    let mut options: Vec<_> = flags.as_array().into_iter().flatten().filter_map(known).collect();
    options.sort_unstable();
    options.dedup();
    options
}

impl Segment {
    fn parse(segment: &Value, least_offset: u64, device_size: u64) -> Result<Self> {
        let kind = word(segment, "type")?;
        if kind != "crypt" {
            return Err(Failure::unsupported("segment of type", kind));
        }
        if !segment["integrity"].is_null() {
            return Err(Failure::unsupported("segment with", "integrity"));
        }
        let cipher = word(segment, "encryption")?;
        // A header that somebody changed to a cipher that leaves the data as they are would still open.
        let (name, mode) = cipher.split_once('-').unwrap_or((cipher, ""));
        if !["aes", "serpent", "twofish", "camellia"].contains(&name) || mode != "xts-plain64" {
            return Err(Failure::unsupported("cipher", cipher));
        }
        let sector_size = small(segment, "sector_size")?;
        if ![512, 1024, 2048, 4096].contains(&sector_size) {
            return Err(Failure::unsupported("sector size", sector_size));
        }
        let offset = large(segment, "offset")?;
        let size = if word(segment, "size")? == "dynamic" { None } else { Some(large(segment, "size")?) };
        let end = offset.checked_add(size.unwrap_or(u64::from(sector_size)));
        let whole = |bytes: u64| bytes.is_multiple_of(u64::from(sector_size));
        if offset < least_offset || end.is_none_or(|end| end > device_size) || size == Some(0) {
            return Err(Failure::damaged("the data are not on the device"));
        }
        if !whole(offset) || !whole(size.unwrap_or(0)) {
            return Err(Failure::damaged("the data are not in whole sectors"));
        }
        Ok(Self { cipher: cipher.into(), offset, size, sector_size, iv_tweak: large(segment, "iv_tweak")? })
    }
}

impl KeyDigest {
    fn parse(digest: &Value) -> Result<Self> {
        let kind = word(digest, "type")?;
        if kind != "pbkdf2" {
            return Err(Failure::unsupported("digest of type", kind));
        }
        let hash = Hash::named(word(digest, "hash")?)?;
        let expected = bytes(digest, "digest")?;
        if expected.len() != hash.length() {
            return Err(Failure::damaged("a digest of the wrong length"));
        }
        let iterations = at_least_one(digest, "iterations")?;
        Ok(Self { hash, iterations, salt: bytes(digest, "salt")?, digest: expected })
    }

    /// Whether this is the volume's key.
    pub fn is_of(&self, key: &[u8], budget: &mut Budget) -> Result<bool> {
        budget.pay_pbkdf2(self.iterations)?;
        let mut found = Zeroizing::new(vec![0; self.digest.len()]);
        self.hash.pbkdf2(key, &self.salt, self.iterations, &mut found);
        Ok(found.iter().zip(&self.digest).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0)
    }
}

/// Those that have the key of `digest`: first those that are to be preferred, then by number.
fn keyslots(all: &Value, digest: &Value, area: std::ops::Range<u64>) -> Result<Vec<Result<Keyslot>>> {
    let all = all.as_object().ok_or_else(|| Failure::damaged("no keyslots"))?;
    let mut found = Vec::new();
    for (id, slot) in all.iter().filter(|(id, _)| lists(&digest["keyslots"], id)) {
        let priority = slot["priority"].as_u64().unwrap_or(1);
        // 0: only for who asks for it by its number.
        if priority > 0 {
            found.push((std::cmp::Reverse(priority), id.parse().unwrap_or(u32::MAX), slot));
        }
    }
    if found.is_empty() {
        return Err(Failure::unsupported("volume without", "keyslots"));
    }
    if found.len() > MOST_KEYSLOTS {
        return Err(Failure::damaged("too many keyslots"));
    }
    found.sort_by_key(|&(priority, id, _)| (priority, id));
    Ok(found.into_iter().map(|(_, _, slot)| Keyslot::parse(slot, &area)).collect())
}

impl Keyslot {
    fn parse(slot: &Value, allowed: &std::ops::Range<u64>) -> Result<Self> {
        let (area, af) = (&slot["area"], &slot["af"]);
        for (of, kind, expected) in
            [(slot, "keyslot", "luks2"), (area, "area", "raw"), (af, "splitter", "luks1")]
        {
            let found = word(of, "type")?;
            if found != expected {
                return Err(Failure::unsupported(&format!("{kind} of type"), found));
            }
        }
        let cipher = word(area, "encryption")?;
        let area_key_size = small(area, "key_size")?;
        if cipher != "aes-xts-plain64" || ![32, 64].contains(&area_key_size) {
            return Err(Failure::unsupported(
                "keyslot cipher",
                format_args!("{cipher}, {area_key_size} bytes"),
            ));
        }
        let stripes = small(af, "stripes")?;
        if stripes as usize != STRIPES {
            return Err(Failure::unsupported("stripes:", stripes));
        }
        let (offset, size) = (large(area, "offset")?, large(area, "size")?);
        let end = offset.checked_add(size);
        if offset < allowed.start || end.is_none_or(|end| end > allowed.end) {
            return Err(Failure::damaged("a keyslot is not between header and data"));
        }
        let key_size = u64::from(small(slot, "key_size")?);
        if key_size == 0 || key_size > LONGEST_KEY || (key_size * STRIPES as u64).next_multiple_of(512) > size
        {
            return Err(Failure::damaged("a keyslot is too small for its key"));
        }
        Ok(Self {
            key_size: usize::try_from(key_size).unwrap_or(usize::MAX),
            split_hash: Hash::named(word(af, "hash")?)?,
            offset,
            area_key_size: area_key_size as usize,
            derivation: derivation(&slot["kdf"])?,
            salt: bytes(&slot["kdf"], "salt")?,
        })
    }
}

fn derivation(kdf: &Value) -> Result<Derivation> {
    match word(kdf, "type")? {
        "pbkdf2" => Ok(Derivation::Pbkdf2 {
            hash: Hash::named(word(kdf, "hash")?)?,
            iterations: at_least_one(kdf, "iterations")?,
        }),
        name @ ("argon2i" | "argon2id") => Ok(Derivation::Argon2 {
            id: name == "argon2id",
            memory: small(kdf, "memory")?,
            passes: small(kdf, "time")?,
            lanes: small(kdf, "cpus")?,
        }),
        other => Err(Failure::unsupported("kdf", other)),
    }
}

fn lists(list: &Value, id: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some(id)))
}

fn word<'a>(of: &'a Value, name: &str) -> Result<&'a str> {
    of[name].as_str().ok_or_else(|| Failure::Damaged(format!("no {name}, or not as text")))
}

/// Numbers of 64 bits are in text.
fn large(of: &Value, name: &str) -> Result<u64> {
    word(of, name)?.parse().map_err(|_| Failure::Damaged(format!("{name} is not a number")))
}

fn small(of: &Value, name: &str) -> Result<u32> {
    let number = of[name].as_u64().and_then(|n| u32::try_from(n).ok());
    number.ok_or_else(|| Failure::Damaged(format!("no {name}, or not as a number")))
}

fn at_least_one(of: &Value, name: &str) -> Result<u32> {
    match small(of, name)? {
        0 => Err(Failure::Damaged(format!("{name} is 0"))),
        number => Ok(number),
    }
}

fn bytes(of: &Value, name: &str) -> Result<Vec<u8>> {
    let mut room = [0; LONGEST_SALT];
    let bytes = Base64::decode(word(of, name)?, &mut room);
    bytes.map(<[u8]>::to_vec).map_err(|_| Failure::Damaged(format!("{name} is not base64, or too long")))
}
