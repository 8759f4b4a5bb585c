//! Where the bytes of files are, and the bytes.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::Bundle;
use crate::format::BlockSize;
use crate::format::inode::{File, Fragment};
use crate::format::tables::FragmentEntry;
use crate::{ContentId, Error};

/// A regular file as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    start: u64,
    size: u64,
    fragment: Option<Fragment>,
    blocks: Box<[BlockSize]>,
    /// Where in the image the metadata block of its inode is.
    pub(crate) inode: u64,
}

/// A block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlock {
    /// Where it begins, in bytes from the beginning of the image; for a hole, where the next one does.
    pub start: u64,
    pub(crate) size: BlockSize,
}

impl StoredBlock {
    /// Bytes in the image; none for a hole.
    pub fn stored(&self) -> u32 {
        self.size.stored()
    }

    /// Whether it is all zeros, of which nothing is stored.
    pub fn is_hole(&self) -> bool {
        self.size.is_hole()
    }

    /// Whether it has to be unpacked.
    pub fn is_compressed(&self) -> bool {
        self.size.is_compressed()
    }
}

impl StoredFile {
    pub(crate) fn new(file: &File, inode: u64) -> Self {
        let blocks = file.blocks.clone().into_boxed_slice();
        Self { start: file.start, size: file.size, fragment: file.fragment, blocks, inode }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its blocks in order. They follow each other in the image. The end of the file may be in a fragment instead.
    pub fn blocks(&self) -> impl Iterator<Item = StoredBlock> + '_ {
        let mut next = self.start;
        self.blocks.iter().map(move |&size| {
            let start = next;
            next = next.saturating_add(size.stored().into());
            StoredBlock { start, size }
        })
    }

    /// The number of the fragment block its end is in, and where the end begins in the unpacked block.
    pub fn fragment(&self) -> Option<(u32, u32)> {
        self.fragment.map(|fragment| (fragment.index, fragment.offset))
    }

    /// The sizes of its blocks.
    pub(crate) fn block_sizes(&self) -> &[BlockSize] {
        &self.blocks
    }

    /// Bytes of it that are in a fragment.
    pub(crate) fn tail(&self, block_size: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the rest of a division by 32 bits")]
        let tail = (self.size % u64::from(block_size)) as u32;
        if self.fragment.is_some() { tail } else { 0 }
    }

    /// Unpacked bytes of its block `number`.
    pub(crate) fn block_length(&self, number: usize, block_size: u32) -> u32 {
        let before = (number as u64).saturating_mul(block_size.into());
        u32::try_from(self.size.saturating_sub(before)).map_or(block_size, |left| left.min(block_size))
    }
}

/// Fragment blocks that were unpacked last.
#[derive(Default)]
pub(crate) struct FragmentCache(Mutex<VecDeque<(u32, Arc<Vec<u8>>)>>);

/// One for each of some threads: 8 MiB at most.
const FRAGMENTS_KEPT: usize = 8;

impl FragmentCache {
    fn get(&self, index: u32) -> Option<Arc<Vec<u8>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(kept, _)| *kept == index)?;
        let found = kept.remove(place)?;
        let bytes = Arc::clone(&found.1);
        kept.push_back(found);
        Some(bytes)
    }

    fn put(&self, index: u32, bytes: &Arc<Vec<u8>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= FRAGMENTS_KEPT {
            kept.pop_front();
        }
        kept.push_back((index, Arc::clone(bytes)));
    }
}

impl Bundle {
    /// Where the fragment block of that number is.
    ///
    /// # Errors
    /// There is none, or the table is damaged.
    pub fn fragment(&self, index: u32) -> Result<StoredBlock, Error> {
        let FragmentEntry { start, size } = self.tables.fragment(&self.image, &self.cache, index)?;
        Ok(StoredBlock { start, size })
    }

    /// Replaces `bytes` by those of a block as they are stored; by none for a hole.
    ///
    /// # Errors
    /// The block is not in the image, longer than blocks are, or cannot be read.
    pub fn read_stored(&self, block: StoredBlock, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let limit = self.superblock.block_size;
        if block.stored() > limit {
            let what = format!("a block has {} bytes, where {limit} are most", block.stored());
            return Err(self.image.malformed(block.start, what));
        }
        bytes.resize(block.stored() as usize, 0);
        // A hole has no place.
        if bytes.is_empty() { Ok(()) } else { self.image.read(block.start, bytes) }
    }

    /// Replaces `bytes` by those of a block unpacked: at most a block size of them, and none for a hole.
    ///
    /// # Errors
    /// The block is not in the image, damaged, or cannot be read.
    pub fn read_block(&self, block: StoredBlock, bytes: &mut Vec<u8>) -> Result<(), Error> {
        if !block.is_compressed() || block.is_hole() {
            return self.read_stored(block, bytes);
        }
        let mut stored = Vec::new();
        self.read_stored(block, &mut stored)?;
        self.image.unpack(block.start, &stored, bytes, self.superblock.block_size as usize)
    }

    /// A fragment block unpacked. Those of the last few calls are kept.
    ///
    /// # Errors
    /// There is none of that number, it is damaged, or cannot be read.
    pub fn read_fragment(&self, index: u32) -> Result<Arc<Vec<u8>>, Error> {
        if let Some(bytes) = self.unpacked_fragments.get(index) {
            return Ok(bytes);
        }
        let block = self.fragment(index)?;
        if block.is_hole() {
            let what = format!("the fragment block {index} has no bytes");
            return Err(self.image.malformed(block.start, what));
        }
        let mut bytes = Vec::new();
        self.read_block(block, &mut bytes)?;
        let bytes = Arc::new(bytes);
        self.unpacked_fragments.put(index, &bytes);
        Ok(bytes)
    }

    /// How a file of the [tree](Bundle::tree) is stored.
    ///
    /// # Errors
    /// The tree cannot be read, or has no such content.
    pub fn file(&self, content: ContentId) -> Result<&StoredFile, Error> {
        let files = &self.loaded()?.files;
        usize::try_from(content.0).ok().and_then(|number| files.get(number)).ok_or_else(|| {
            self.image.malformed(0, format!("there is no file with the content {}", content.0))
        })
    }

    /// The bytes of a file, in constant memory.
    ///
    /// # Errors
    /// As [`Bundle::file`]. Errors while reading have an [`Error`] in them.
    pub fn reader(&self, content: ContentId) -> Result<ContentReader<'_>, Error> {
        Ok(ContentReader::new(self, self.file(content)?))
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A block, or the end of a file.
    Bytes(&'a [u8]),
    /// So many zeros of which nothing is stored.
    Hole(u64),
}

/// See [`Bundle::reader`].
pub struct ContentReader<'a> {
    bundle: &'a Bundle,
    file: &'a StoredFile,
    /// Number of the next block.
    next: usize,
    /// Where it begins in the image.
    place: u64,
    buffer: Buffer,
    /// For [`Read`]: what of the last piece was given out.
    given: usize,
    hole: u64,
}

/// The last piece.
pub(crate) enum Buffer {
    Block(Vec<u8>),
    Fragment(Arc<Vec<u8>>, std::ops::Range<usize>),
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Block(bytes) => bytes,
            Self::Fragment(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl<'a> ContentReader<'a> {
    pub(crate) fn new(bundle: &'a Bundle, file: &'a StoredFile) -> Self {
        let buffer = Buffer::Block(Vec::new());
        Self { bundle, file, next: 0, place: file.start, buffer, given: 0, hole: 0 }
    }

    /// The next piece: a block, a hole or the end; nothing after the last.
    ///
    /// # Errors
    /// The piece is damaged or cannot be read.
    pub fn piece(&mut self) -> Result<Option<Piece<'_>>, Error> {
        let hole = self.advance()?;
        Ok(match hole {
            Some(0) => Some(Piece::Bytes(self.buffer.bytes())),
            Some(length) => Some(Piece::Hole(length)),
            None => None,
        })
    }

    /// How many zeros are next of which nothing is stored; 0 where bytes are. For those who [`Read`].
    pub(crate) fn hole(&mut self) -> Result<u64, Error> {
        if self.given < self.buffer.bytes().len() {
            return Ok(0);
        }
        while self.file.blocks.get(self.next).is_some_and(|size| size.is_hole()) {
            self.hole += self.advance()?.unwrap_or_default();
        }
        Ok(self.hole)
    }

    /// Passes over `bytes` of such zeros.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.hole = self.hole.saturating_sub(bytes);
    }

    /// Reads the next piece into the buffer. Returns the length of a hole, 0 for bytes, nothing at the end.
    fn advance(&mut self) -> Result<Option<u64>, Error> {
        let block_size = self.bundle.superblock.block_size;
        let Some(&size) = self.file.blocks.get(self.next) else {
            if self.next > self.file.blocks.len() || self.file.tail(block_size) == 0 {
                return Ok(None);
            }
            self.next += 1;
            self.buffer = self.end()?;
            return Ok(Some(0));
        };
        let length = self.file.block_length(self.next, block_size);
        let block = StoredBlock { start: self.place, size };
        self.next += 1;
        if block.is_hole() {
            return Ok(Some(length.into()));
        }
        let mut bytes = match std::mem::replace(&mut self.buffer, Buffer::Block(Vec::new())) {
            Buffer::Block(bytes) => bytes,
            Buffer::Fragment(..) => Vec::new(),
        };
        self.bundle.read_block(block, &mut bytes)?;
        if bytes.len() != length as usize {
            let what = format!("a block of a file has {} bytes instead of {length}", bytes.len());
            return Err(self.bundle.image.malformed(self.place, what));
        }
        self.buffer = Buffer::Block(bytes);
        self.place = self.place.saturating_add(size.stored().into());
        Ok(Some(0))
    }

    /// The bytes of it that are in a fragment.
    pub(crate) fn end(&self) -> Result<Buffer, Error> {
        self.tail(self.file.tail(self.bundle.superblock.block_size))
    }

    /// What went wrong when it was [read](Read).
    pub(crate) fn error(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::io("read", self.bundle.path())(error),
        }
    }

    fn tail(&self, length: u32) -> Result<Buffer, Error> {
        let Some(Fragment { index, offset }) = self.file.fragment.filter(|_| length > 0) else {
            return Ok(Buffer::Block(Vec::new()));
        };
        let bytes = self.bundle.read_fragment(index)?;
        let range = offset as usize..(offset as usize).saturating_add(length as usize);
        if range.end > bytes.len() {
            let what = format!(
                "a file ends in bytes {} to {} of fragment block {index}, which has {}",
                range.start,
                range.end,
                bytes.len()
            );
            return Err(self.bundle.image.malformed(self.file.inode, what));
        }
        Ok(Buffer::Fragment(bytes, range))
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.hole > 0 {
                let count = usize::try_from(self.hole).map_or(out.len(), |hole| hole.min(out.len()));
                out.iter_mut().take(count).for_each(|byte| *byte = 0);
                self.hole -= count as u64;
                return Ok(count);
            }
            let mut rest = self.buffer.bytes().get(self.given..).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.read(out)?;
                self.given += count;
                return Ok(count);
            }
            match self.advance().map_err(io::Error::other)? {
                Some(0) => self.given = 0,
                Some(hole) => self.hole = hole,
                None => return Ok(0),
            }
        }
    }
}
