//! Listings of directories: runs of entries behind a header each.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::inode::Type;
use super::{Reference, malformed, read_u16, read_u32};

/// Entries behind one header at most.
pub(crate) const RUN_LENGTH: usize = 256;
/// Bytes of a name at most.
pub(crate) const NAME_LENGTH: usize = 256;
/// The length of a directory in its inode counts this many bytes more than its listing has: for `.` and `..`.
pub(crate) const EXTRA_SIZE: u32 = 3;

/// A name in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    /// Its inode.
    pub(crate) inode: Reference,
    pub(crate) number: u32,
    pub(crate) kind: Type,
}

impl Entry {
    /// Whether it can stand behind a header that was made for `first`.
    pub(crate) fn fits_run_of(&self, first: &Entry) -> bool {
        let delta = i64::from(self.number) - i64::from(first.number);
        self.inode.block == first.inode.block && i16::try_from(delta).is_ok()
    }
}

/// Writes entries that all [fit](Entry::fits_run_of) the first one's run, at most [`RUN_LENGTH`] of them.
pub(crate) fn write_run(entries: &[Entry], bytes: &mut Vec<u8>) {
    let Some(first) = entries.first() else { return };
    debug_assert!(entries.len() <= RUN_LENGTH && entries.iter().all(|entry| entry.fits_run_of(first)));
    // Both fit by what is asserted above and by the 32 bits the kernel has for the inode table.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    for word in [entries.len() as u32 - 1, first.inode.block as u32, first.number] {
        bytes.extend(word.to_le_bytes());
    }
    for entry in entries {
        #[expect(clippy::cast_possible_truncation, reason = "the difference fits 16 bits, a name 8")]
        let [delta, length] = [entry.number.wrapping_sub(first.number) as u16, entry.name.len() as u16 - 1];
        for short in [entry.inode.offset, delta, entry.kind as u16, length] {
            bytes.extend(short.to_le_bytes());
        }
        bytes.extend(entry.name.as_bytes());
    }
}

/// Reads one run. `bytes` is the rest of a listing.
pub(crate) fn read_run(bytes: &mut impl Read) -> io::Result<Vec<Entry>> {
    let count = read_u32(bytes)? as usize + 1;
    if count > RUN_LENGTH {
        return Err(malformed("a directory has too many entries behind one header"));
    }
    let block = u64::from(read_u32(bytes)?);
    let first = read_u32(bytes)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = read_u16(bytes)?;
        let delta = read_u16(bytes)?.cast_signed();
        let kind =
            Type::from_basic(read_u16(bytes)?).ok_or_else(|| malformed("unknown type in a directory"))?;
        let length = usize::from(read_u16(bytes)?) + 1;
        if length > NAME_LENGTH {
            return Err(malformed("a name is too long"));
        }
        let mut name = vec![0; length];
        bytes.read_exact(&mut name)?;
        let number =
            first.checked_add_signed(delta.into()).ok_or_else(|| malformed("impossible inode number"))?;
        entries.push(Entry {
            name: OsString::from_vec(name),
            inode: Reference { block, offset },
            number,
            kind,
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, block: u64, number: u32, kind: Type) -> Entry {
        Entry { name: name.into(), inode: Reference { block, offset: 77 }, number, kind }
    }

    #[test]
    fn a_run_comes_back() {
        let run = [
            entry("a", 512, 70_000, Type::File),
            entry("bc", 512, 70_000 - 32_768, Type::Directory),
            entry(&"x".repeat(255), 512, 70_000 + 32_767, Type::CharDevice),
        ];
        let mut bytes = Vec::new();
        write_run(&run, &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(read_run(&mut rest).unwrap(), run);
        assert!(rest.is_empty());
        for length in 0..bytes.len() {
            assert!(read_run(&mut &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn runs_end_where_they_must() {
        let first = entry("a", 512, 40_000, Type::File);
        for (block, number, fits) in [
            (512, 40_000, true),
            (512, 72_767, true),
            (512, 72_768, false),
            (512, 7231, false),
            (0, 40_001, false),
        ] {
            assert_eq!(entry("b", block, number, Type::File).fits_run_of(&first), fits, "{block} {number}");
        }
    }
}
