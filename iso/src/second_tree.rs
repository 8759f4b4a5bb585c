//! A second set of volume descriptors and directories for partition 1.
//!
//! Block addresses of ISO 9660 count from the start of the device that is mounted, so the trees of the whole disk mean
//! nothing inside `/dev/sdX1`. This makes copies of them whose addresses count from the start of the partition; the
//! files themselves are shared. Without it only `/dev/sdX` mounts, and then no further partition of the stick does, as
//! the kernel holds the whole disk.
//!
//! Formats: ECMA-119 (descriptors 8.4, directory records 9.1, path tables 9.4), SUSP 1.12 (CE), RRIP 1.12 (CL, PL).

use crate::Error;
use crate::hybrid::PARTITION_BLOCK;

const BLOCK: u32 = 2048;
/// Descriptors start at block 16 of whatever is mounted.
const DESCRIPTORS: u32 = 16;
/// Primary, supplementary (Joliet) and terminator. A partition is no CD: it has no El Torito record.
const DESCRIPTOR_BLOCKS: u32 = 3;

/// Where the second set goes, in blocks of the whole image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// First block of the copied directories.
    directories: u32,
    /// Blocks of directories, continuation areas included.
    directory_blocks: u32,
    /// First block of the copied path tables.
    tables: u32,
    /// The first block behind it all: where the image's own directories start.
    pub(crate) end: u32,
}

impl Room {
    /// Room for `directory_blocks` blocks of directories and four path tables of at most `table_bytes` each.
    pub(crate) fn new(directory_blocks: u32, table_bytes: u32) -> Self {
        let directories = PARTITION_BLOCK + DESCRIPTORS + DESCRIPTOR_BLOCKS;
        let tables = directories + directory_blocks;
        Self { directories, directory_blocks, tables, end: tables + 4 * table_bytes.div_ceil(BLOCK) }
    }
}

/// Makes the second set.
///
/// `read` gives blocks of the image as it was written, with its own directories from `room.end` on.
/// `partition_blocks` is the length of partition 1. Returns runs of bytes, each with its first block.
pub(crate) fn build(
    room: Room,
    partition_blocks: u32,
    mut read: impl FnMut(u32, u32) -> Result<Vec<u8>, Error>,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let mut trees = Trees {
        moved: Moved {
            from: room.end,
            blocks: room.directory_blocks,
            to: room.directories - PARTITION_BLOCK,
        },
        bytes: read(room.end, room.directory_blocks)?,
    };
    let mut runs = Vec::new();
    let mut table_block = room.tables;
    let mut place = PARTITION_BLOCK + DESCRIPTORS;
    for block in DESCRIPTORS.. {
        let mut descriptor = read(block, 1)?;
        match descriptor[0] {
            1 | 2 => {
                trees.relocate_from(u32_at(&descriptor, 158), u32_at(&descriptor, 166))?;
                put_both(&mut descriptor, 80, partition_blocks);
                let root = trees.moved.place(u32_at(&descriptor, 158));
                put_both(&mut descriptor, 158, root);
                let size = u32_at(&descriptor, 132);
                let blocks = size.div_ceil(BLOCK);
                for (field, big_endian) in [(140, false), (148, true)] {
                    let location = U32At { at: field, big_endian };
                    let mut table = read(location.get(&descriptor), blocks)?;
                    trees.moved.path_table(&mut table[..size as usize], big_endian)?;
                    location.put(&mut descriptor, table_block - PARTITION_BLOCK);
                    runs.push((table_block, table));
                    table_block += blocks;
                }
                runs.push((place, descriptor));
                place += 1;
            }
            255 => {
                runs.push((place, descriptor));
                break;
            }
            _ => {}
        }
    }
    if table_block > room.end {
        return Err(damaged("the path tables are longer than planned"));
    }
    runs.push((room.directories, trees.bytes));
    Ok(runs)
}

/// Where a block went, seen from the partition.
struct Moved {
    from: u32,
    blocks: u32,
    to: u32,
}

impl Moved {
    /// Directories are copied to another place, files stay where they are.
    fn place(&self, block: u32) -> u32 {
        match block.checked_sub(self.from) {
            Some(offset) if offset < self.blocks => self.to + offset,
            _ => block.saturating_sub(PARTITION_BLOCK),
        }
    }

    fn path_table(&self, table: &mut [u8], big_endian: bool) -> Result<(), Error> {
        let mut at = 0;
        while at < table.len() {
            let length = 8 + usize::from(table[at]).next_multiple_of(2);
            let location = U32At { at: at + 2, big_endian };
            if at + length > table.len() {
                return Err(damaged("a path table is cut short"));
            }
            location.put(table, self.place(location.get(table)));
            at += length;
        }
        Ok(())
    }
}

/// The directories of all trees, in one piece, as the writer places them.
struct Trees {
    moved: Moved,
    bytes: Vec<u8>,
}

impl Trees {
    /// Rewrites the addresses in the directory at `block`, `length` bytes long, and in all those below it.
    fn relocate_from(&mut self, block: u32, length: u32) -> Result<(), Error> {
        let mut directories = vec![(block, length)];
        while let Some((block, length)) = directories.pop() {
            let start = self.offset(block)?;
            let end = start + length as usize;
            if end > self.bytes.len() {
                return Err(damaged("a directory lies outside of its place"));
            }
            let mut at = start;
            while at < end {
                let record = usize::from(self.bytes[at]);
                if record == 0 {
                    at = (at + 1).next_multiple_of(BLOCK as usize);
                    continue;
                }
                directories.extend(self.relocate_record(at, record)?);
                at += record;
            }
        }
        Ok(())
    }

    /// Rewrites one directory record. Returns block and length of the directory it stands for, if it is one to go into.
    fn relocate_record(&mut self, at: usize, record: usize) -> Result<Option<(u32, u32)>, Error> {
        let bytes = self
            .bytes
            .get_mut(at..at + record)
            .filter(|bytes| bytes.len() > 33 && bytes.len() > 32 + usize::from(bytes[32]))
            .ok_or_else(|| damaged("a directory record is cut short"))?;
        let (block, length) = (u32_at(bytes, 2), u32_at(bytes, 10));
        if length > 0 {
            put_both(bytes, 2, self.moved.place(block));
        }
        let name = &bytes[33..33 + usize::from(bytes[32])];
        let is_directory = bytes[25] & 2 != 0;
        let child = (is_directory && !matches!(name, [0] | [1])).then_some((block, length));
        // A name of even length is followed by a padding byte.
        let system_use = at + 33 + (name.len() | 1);
        self.relocate_system_use(system_use, at + record)?;
        Ok(child)
    }

    /// Rewrites the addresses in Rock Ridge entries, following them into their continuation area.
    fn relocate_system_use(&mut self, mut at: usize, mut end: usize) -> Result<(), Error> {
        loop {
            let mut continuation = None;
            while at + 4 <= end {
                let length = usize::from(self.bytes[at + 2]);
                let entry = match self.bytes.get_mut(at..at + length) {
                    Some(entry) if length >= 4 && at + length <= end => entry,
                    _ => break,
                };
                match (&entry[..2], length) {
                    (b"CE", 28) => {
                        let (block, offset, size) = (u32_at(entry, 4), u32_at(entry, 12), u32_at(entry, 20));
                        put_both(entry, 4, self.moved.place(block));
                        continuation = Some((block, offset as usize, size as usize));
                    }
                    (b"CL" | b"PL", 12) => {
                        let block = u32_at(entry, 4);
                        put_both(entry, 4, self.moved.place(block));
                    }
                    (b"ST", _) => break,
                    _ => {}
                }
                at += length;
            }
            let Some((block, offset, size)) = continuation else { return Ok(()) };
            at = self.offset(block)? + offset;
            end = at + size;
            if end > self.bytes.len() {
                return Err(damaged("a continuation area lies outside of its place"));
            }
        }
    }

    fn offset(&self, block: u32) -> Result<usize, Error> {
        match block.checked_sub(self.moved.from) {
            Some(offset) if offset < self.moved.blocks => Ok(offset as usize * BLOCK as usize),
            _ => Err(damaged("a directory lies outside of its place")),
        }
    }
}

/// A four-byte number in one byte order, as path tables have them.
struct U32At {
    at: usize,
    big_endian: bool,
}

impl U32At {
    fn get(&self, bytes: &[u8]) -> u32 {
        let number = u32_at(bytes, self.at);
        if self.big_endian { number.swap_bytes() } else { number }
    }

    fn put(&self, bytes: &mut [u8], value: u32) {
        let value = if self.big_endian { value.swap_bytes() } else { value };
        bytes[self.at..self.at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a number in both byte orders, one after the other (ECMA-119 7.3.3).
fn put_both(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes[at + 4..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn damaged(reason: &str) -> Error {
    Error::Layout { what: "the partition's directories".to_owned(), reason: reason.to_owned() }
}
