//! Listings of directories.

use std::io;
use std::os::unix::ffi::OsStrExt;

use super::metadata::Metadata;
use crate::codec::Encoder;
use crate::format::METADATA_SIZE;
use crate::format::directory::{EXTRA_SIZE, Entry, RUN_LENGTH, write_run};
use crate::format::inode::{Directory, Index};

/// An index has no more entries than this.
const INDEX_LENGTH: usize = u16::MAX as usize;
/// Bytes before the entries of a run, and of an entry before its name.
const RUN_HEADER: usize = 12;
const ENTRY_HEADER: usize = 8;

/// Writes the listing of a directory, whose `entries` are sorted by the bytes of their names. The parent is not filled in.
///
/// Lookups in a large directory begin at the last run whose first name is not behind the one looked for. So that there is
/// one in each metadata block, no run goes over to the next block further than by an entry.
pub(super) fn write(
    entries: &[Entry],
    table: &mut Metadata,
    encoder: &mut Encoder,
) -> io::Result<Option<Directory>> {
    let begin = table.position();
    let Ok(start) = u32::try_from(begin.block) else { return Ok(None) };
    let mut directory = Directory { start, offset: begin.offset, size: 0, parent: 0, index: Vec::new() };
    let (mut length, mut indexed) = (0_u64, table.full_blocks());
    let mut rest = entries;
    let mut bytes = Vec::new();
    while let Some(first) = rest.first() {
        let at = table.position();
        if table.full_blocks() > indexed && directory.index.len() < INDEX_LENGTH {
            indexed = table.full_blocks();
            let (Ok(position), Ok(start)) = (u32::try_from(length), u32::try_from(at.block)) else {
                return Ok(None);
            };
            directory.index.push(Index { position, start, name: first.name.as_bytes().to_vec() });
        }
        let room = METADATA_SIZE - usize::from(at.offset);
        let (run, later) = rest.split_at(run_length(rest, room));
        bytes.clear();
        write_run(run, &mut bytes);
        table.write(&bytes, encoder)?;
        length += bytes.len() as u64;
        rest = later;
    }
    let Some(size) = u32::try_from(length).ok().and_then(|length| length.checked_add(EXTRA_SIZE)) else {
        return Ok(None);
    };
    directory.size = size;
    if length <= METADATA_SIZE as u64 {
        directory.index.clear();
    }
    Ok(Some(directory))
}

/// How many entries go behind one header that has `room` left in its metadata block.
fn run_length(entries: &[Entry], room: usize) -> usize {
    let mut used = RUN_HEADER;
    let fitting = entries.iter().take(RUN_LENGTH).take_while(|entry| {
        let fits = used < room && entry.fits_run_of(&entries[0]);
        used += ENTRY_HEADER + entry.name.len();
        fits
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compressor;
    use crate::codec::Decoder;
    use crate::format::Reference;
    use crate::format::directory::read_run;
    use crate::format::inode::Type;

    fn entries(count: u32) -> Vec<Entry> {
        let inode = |n| Reference { block: u64::from(n / 300) * 4000, offset: 8 };
        (0..count)
            .map(|n| Entry {
                name: format!("{n:05}-{}", "x".repeat(n as usize % 40)).into(),
                inode: inode(n),
                number: n + 1,
                kind: Type::File,
            })
            .collect()
    }

    #[test]
    fn listings_come_back_from_the_start_and_from_the_index() {
        let compressor = Compressor::default();
        let mut encoder = Encoder::new(compressor, 4096).unwrap();
        for (count, indexed) in [(0, false), (1, false), (200, false), (2000, true)] {
            let mut table = Metadata::default();
            table.write(&[0xff; 8000], &mut encoder).unwrap();
            let entries = entries(count);
            let directory = write(&entries, &mut table, &mut encoder).unwrap().unwrap();
            assert_eq!(!directory.index.is_empty(), indexed, "{count}");
            let (stored, starts) = table.finish(&mut encoder).unwrap();
            let mut decoder = Decoder::new(compressor.compression()).unwrap().unwrap();
            let mut block = Vec::new();
            let mut from = |start: u32, offset: usize, length: usize| {
                let mut bytes = Vec::new();
                for &at in starts.iter().filter(|&&at| at >= u64::from(start)) {
                    let at = usize::try_from(at).unwrap();
                    let length = u16::from_le_bytes([stored[at], stored[at + 1]]);
                    let packed = &stored[at + 2..at + 2 + usize::from(length & 0x7fff)];
                    if length & 0x8000 == 0 {
                        decoder.decompress(packed, METADATA_SIZE, &mut block).unwrap();
                        bytes.extend(&block);
                    } else {
                        bytes.extend(packed);
                    }
                }
                let mut rest = &bytes[offset..][..length];
                let mut found = Vec::new();
                while !rest.is_empty() {
                    found.extend(read_run(&mut rest).unwrap());
                }
                found
            };
            let length = (directory.size - EXTRA_SIZE) as usize;
            let offset = usize::from(directory.offset);
            assert_eq!(from(directory.start, offset, length), entries);
            for index in &directory.index {
                let position = index.position as usize;
                let found = from(index.start, (position + offset) % METADATA_SIZE, length - position);
                assert_eq!(found[0].name.as_bytes(), index.name);
                assert_eq!(found, entries[entries.len() - found.len()..]);
            }
            assert!(!indexed || directory.index.len() + 1 >= starts.len() - 1, "{}", directory.index.len());
        }
    }
}
