//! Extended attributes: sets of pairs, which inodes share.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Reference, malformed, read_u16, read_u32, read_u64};

/// The names that can be stored, by the number that stands for their beginning.
const PREFIXES: [&str; 3] = ["user.", "trusted.", "security."];
/// In that number: the value lies elsewhere.
const OUT_OF_LINE: u16 = 1 << 8;
/// The kernel's XATTR_NAME_MAX.
const NAME_LENGTH: usize = 255;
/// The kernel's XATTR_SIZE_MAX.
pub(crate) const VALUE_LENGTH: usize = 65536;

/// The number of a name's beginning, and its rest; nothing for a name squashfs has no place for.
pub(crate) fn split_name(name: &OsStr) -> Option<(u16, &[u8])> {
    let name = name.as_bytes();
    PREFIXES.iter().zip(0..).find_map(|(prefix, number)| {
        let rest = name.strip_prefix(prefix.as_bytes())?;
        (!rest.is_empty() && name.len() <= NAME_LENGTH).then_some((number, rest))
    })
}

/// The value of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Here(Vec<u8>),
    /// In another pair of the table.
    There(Reference),
}

/// Appends a pair. The name must be one that [`split_name`] takes.
#[expect(clippy::cast_possible_truncation, reason = "names have 255 bytes at most, values 65536")]
pub(crate) fn write_pair(name: &OsStr, value: &Value, bytes: &mut Vec<u8>) {
    let (number, rest) = split_name(name).unwrap_or((0, name.as_bytes()));
    let number = if matches!(value, Value::There(_)) { number | OUT_OF_LINE } else { number };
    for short in [number, rest.len() as u16] {
        bytes.extend(short.to_le_bytes());
    }
    bytes.extend(rest);
    match value {
        Value::Here(value) => {
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        }
        Value::There(reference) => {
            bytes.extend(8_u32.to_le_bytes());
            bytes.extend(reference.to_bits().to_le_bytes());
        }
    }
}

/// Reads a pair.
pub(crate) fn read_pair(bytes: &mut impl Read) -> io::Result<(OsString, Value)> {
    let number = read_u16(bytes)?;
    let prefix = PREFIXES
        .get(usize::from(number & 0xff))
        .ok_or_else(|| malformed("unknown kind of extended attribute"))?;
    let length = usize::from(read_u16(bytes)?);
    if prefix.len() + length > NAME_LENGTH {
        return Err(malformed("the name of an extended attribute is too long"));
    }
    let mut name = prefix.as_bytes().to_vec();
    name.resize(prefix.len() + length, 0);
    bytes.read_exact(&mut name[prefix.len()..])?;
    let value = if number & OUT_OF_LINE == 0 {
        Value::Here(read_value(bytes)?)
    } else {
        if read_u32(bytes)? != 8 {
            return Err(malformed("the place of an extended attribute has a wrong size"));
        }
        Value::There(Reference::from_bits(read_u64(bytes)?))
    };
    Ok((OsString::from_vec(name), value))
}

/// Reads a value with its length: behind a name, or where [`Value::There`] points.
pub(crate) fn read_value(bytes: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_u32(bytes)? as usize;
    if length > VALUE_LENGTH {
        return Err(malformed("an extended attribute is too long"));
    }
    let mut value = vec![0; length];
    bytes.read_exact(&mut value)?;
    Ok(value)
}

/// A set of pairs, as inodes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetEntry {
    /// The first pair.
    pub(crate) pairs: Reference,
    /// How many there are.
    pub(crate) count: u32,
    /// Their bytes; the kernel takes it as a hint.
    pub(crate) size: u32,
}

impl SetEntry {
    /// Bytes of an entry.
    pub(crate) const SIZE: usize = 16;

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.pairs.to_bits().to_le_bytes());
        for word in [self.count, self.size] {
            bytes.extend(word.to_le_bytes());
        }
    }

    pub(crate) fn read(bytes: &mut impl Read) -> io::Result<Self> {
        let pairs = Reference::from_bits(read_u64(bytes)?);
        Ok(Self { pairs, count: read_u32(bytes)?, size: read_u32(bytes)? })
    }
}

/// The beginning of the table of sets, before the places of its metadata blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where the metadata blocks with the pairs begin, in bytes from the beginning of the image.
    pub(crate) pairs_start: u64,
    /// Number of sets.
    pub(crate) count: u32,
}

impl Header {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.pairs_start.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend([0; 4]);
    }

    pub(crate) fn read(bytes: &mut impl Read) -> io::Result<Self> {
        let header = Self { pairs_start: read_u64(bytes)?, count: read_u32(bytes)? };
        read_u32(bytes)?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_have_a_place() {
        for (name, expected) in [
            ("user.a", Some((0, b"a".as_slice()))),
            ("trusted.overlay.opaque", Some((1, b"overlay.opaque"))),
            ("security.capability", Some((2, b"capability"))),
            ("user.", None),
            ("system.posix_acl_access", None),
            ("usera", None),
        ] {
            assert_eq!(split_name(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn pairs_come_back() {
        let there = Reference { block: 1 << 30, offset: 8191 };
        for value in [Value::Here(vec![]), Value::Here(vec![7; 300]), Value::There(there)] {
            let mut bytes = Vec::new();
            write_pair(OsStr::new("security.x"), &value, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(read_pair(&mut rest).unwrap(), ("security.x".into(), value));
            assert!(rest.is_empty());
        }
    }
}
