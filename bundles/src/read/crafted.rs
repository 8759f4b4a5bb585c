//! Images that no honest writer makes, for tests. Metadata are stored as they are.

use std::ffi::OsString;

use crate::format::directory::{EXTRA_SIZE, Entry, write_run};
use crate::format::inode::{Body, Directory, File, Inode, Type};
use crate::format::tables::FragmentEntry;
use crate::format::xattr::{Header, SetEntry, Value, write_pair};
use crate::format::{METADATA_SIZE, METADATA_UNCOMPRESSED, NONE_64, Reference};
use crate::{Compression, Flags, Superblock, Tables};

pub(super) const BLOCK_SIZE: u32 = 4096;

/// An image in the making.
pub(super) struct Crafted {
    pub(super) superblock: Superblock,
    pub(super) data: Vec<u8>,
    pub(super) fragments: Vec<FragmentEntry>,
    pub(super) pairs: Vec<u8>,
    pub(super) sets: Vec<SetEntry>,
    inodes: Vec<u8>,
    listings: Vec<u8>,
    count: u32,
}

impl Crafted {
    pub(super) fn new() -> Self {
        let tables = Tables {
            ids: 0,
            xattrs: NONE_64,
            inodes: 0,
            directories: 0,
            fragments: NONE_64,
            export: NONE_64,
        };
        let superblock = Superblock {
            inodes: 0,
            made: 1,
            block_size: BLOCK_SIZE,
            compression: Compression::Gzip,
            bytes_used: 0,
            fragments: 0,
            flags: Flags::default(),
            ids: 1,
            root: 0,
            tables,
        };
        Self {
            superblock,
            data: Vec::new(),
            fragments: Vec::new(),
            pairs: Vec::new(),
            sets: Vec::new(),
            inodes: Vec::new(),
            listings: Vec::new(),
            count: 0,
        }
    }

    /// An inode with the next number, not yet in the image.
    pub(super) fn inode(&mut self, body: Body) -> Inode {
        self.count += 1;
        let links = if matches!(body, Body::Directory(_)) { 2 } else { 1 };
        Inode { mode: 0o755, uid: 0, gid: 0, mtime: 1, number: self.count, links, xattr: None, body }
    }

    /// Where the next inode will be.
    pub(super) fn next(&self) -> Reference {
        place(self.inodes.len())
    }

    pub(super) fn add(&mut self, inode: &Inode) -> Entry {
        let reference = self.next();
        inode.write(&mut self.inodes);
        Entry { name: OsString::new(), inode: reference, number: inode.number, kind: inode.kind() }
    }

    /// Puts an inode into the image.
    pub(super) fn put(&mut self, name: &str, body: Body) -> Entry {
        let inode = self.inode(body);
        Entry { name: name.into(), ..self.add(&inode) }
    }

    pub(super) fn file(&mut self, name: &str, file: File) -> Entry {
        self.put(name, Body::File(file))
    }

    /// Writes a listing, whatever the names are.
    pub(super) fn listing(&mut self, entries: &[Entry]) -> Directory {
        let begin = place(self.listings.len());
        let before = self.listings.len();
        entries.iter().for_each(|entry| write_run(std::slice::from_ref(entry), &mut self.listings));
        Directory {
            start: u32::try_from(begin.block).unwrap(),
            offset: begin.offset,
            size: u32::try_from(self.listings.len() - before).unwrap() + EXTRA_SIZE,
            parent: 0,
            index: Vec::new(),
        }
    }

    pub(super) fn directory(&mut self, name: &str, entries: &[Entry]) -> Entry {
        let listing = self.listing(entries);
        self.put(name, Body::Directory(listing))
    }

    /// Adds a set of one attribute. Returns its number.
    pub(super) fn xattr(&mut self, name: &str, value: &Value) -> u32 {
        let pairs = place(self.pairs.len());
        write_pair(name.as_ref(), value, &mut self.pairs);
        self.sets.push(SetEntry { pairs, count: 1, size: 0 });
        u32::try_from(self.sets.len()).unwrap() - 1
    }

    /// The image with a root that has these names.
    pub(super) fn finish(mut self, entries: &[Entry]) -> Vec<u8> {
        let root = self.directory("", entries);
        self.with_root(&root)
    }

    pub(super) fn with_root(self, root: &Entry) -> Vec<u8> {
        let packed = |_: usize, block: &[u8]| stored(block);
        self.with_inodes(root, &packed)
    }

    /// With metadata blocks of the inode table by their number and bytes.
    pub(super) fn with_inodes(
        mut self,
        root: &Entry,
        inode_block: &dyn Fn(usize, &[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut image = vec![0; Superblock::SIZE];
        image.extend(&self.data);
        let superblock = &mut self.superblock;
        superblock.inodes = self.count;
        superblock.root = root.inode.to_bits();
        superblock.tables.inodes = image.len() as u64;
        for (number, block) in self.inodes.chunks(METADATA_SIZE).enumerate() {
            image.extend(inode_block(number, block));
        }
        superblock.tables.directories = image.len() as u64;
        self.listings.chunks(METADATA_SIZE).for_each(|block| image.extend(stored(block)));
        if !self.fragments.is_empty() {
            superblock.fragments = u32::try_from(self.fragments.len()).unwrap();
            let mut entries = Vec::new();
            self.fragments.iter().for_each(|entry| entry.write(&mut entries));
            superblock.tables.fragments = lookup(&mut image, &entries, &[]);
        }
        superblock.tables.ids = lookup(&mut image, &[0; 4], &[]);
        if !self.sets.is_empty() {
            let pairs_start = image.len() as u64;
            self.pairs.chunks(METADATA_SIZE).for_each(|block| image.extend(stored(block)));
            let (mut header, mut sets) = (Vec::new(), Vec::new());
            Header { pairs_start, count: u32::try_from(self.sets.len()).unwrap() }.write(&mut header);
            self.sets.iter().for_each(|set| set.write(&mut sets));
            superblock.tables.xattrs = lookup(&mut image, &sets, &header);
        }
        superblock.bytes_used = image.len() as u64;
        image[..Superblock::SIZE].copy_from_slice(&superblock.to_bytes());
        image
    }
}

/// Of a byte of a table whose blocks are stored as they are.
pub(super) fn place(byte: usize) -> Reference {
    let block = (byte / METADATA_SIZE * (METADATA_SIZE + 2)) as u64;
    Reference { block, offset: u16::try_from(byte % METADATA_SIZE).unwrap() }
}

/// A metadata block as it is.
pub(super) fn stored(block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap() | METADATA_UNCOMPRESSED;
    [&length.to_le_bytes(), block].concat()
}

/// A table with the list of its blocks behind. Returns where the list, with what is before it, begins.
fn lookup(image: &mut Vec<u8>, entries: &[u8], header: &[u8]) -> u64 {
    let mut places = Vec::new();
    for block in entries.chunks(METADATA_SIZE) {
        places.extend((image.len() as u64).to_le_bytes());
        image.extend(stored(block));
    }
    let begin = image.len() as u64;
    image.extend(header);
    image.extend(places);
    begin
}

/// A file of the bytes of a fragment.
pub(super) fn in_fragment(index: u32, offset: u32, size: u64) -> File {
    let fragment = Some(crate::format::inode::Fragment { index, offset });
    File { size, fragment, ..File::default() }
}

/// An entry for something that is elsewhere.
pub(super) fn named(name: &str, entry: &Entry) -> Entry {
    Entry { name: name.into(), ..entry.clone() }
}

/// A directory that is at a place already known.
pub(super) fn known(name: &str, inode: Reference, number: u32) -> Entry {
    Entry { name: name.into(), inode, number, kind: Type::Directory }
}
