//! Tables of metadata blocks, read as streams.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::image::Image;
use crate::Error;
use crate::format::{METADATA_SIZE, METADATA_UNCOMPRESSED, Reference};

/// Unpacked blocks that are kept: 16 MiB.
const KEPT: usize = 2048;

/// An unpacked metadata block.
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    /// Where the next one begins.
    pub(crate) next: u64,
}

/// Unpacked metadata blocks by their place.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<u64, Arc<Block>>>);

impl Cache {
    /// The block that begins `at`, which ends before `end`.
    pub(crate) fn block(&self, image: &Image, at: u64, end: u64) -> Result<Arc<Block>, Error> {
        if let Some(block) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at)
            && block.next <= end
        {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(unpack(image, at, end)?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(at, Arc::clone(&block));
        Ok(block)
    }
}

fn unpack(image: &Image, at: u64, end: u64) -> Result<Block, Error> {
    let outside = || image.malformed(at, "a metadata block does not lie within its table");
    let begin = at.checked_add(2).filter(|&begin| begin <= end).ok_or_else(outside)?;
    let header = u16::from_le_bytes(image.array(at)?);
    let length = usize::from(header & !METADATA_UNCOMPRESSED);
    let next = begin + length as u64;
    if next > end {
        return Err(outside());
    }
    if length == 0 || length > METADATA_SIZE {
        return Err(image.malformed(at, "a metadata block has an impossible length"));
    }
    let mut stored = vec![0; length];
    image.read(begin, &mut stored)?;
    if header & METADATA_UNCOMPRESSED != 0 {
        return Ok(Block { bytes: stored, next });
    }
    let mut bytes = Vec::new();
    image.unpack(at, &stored, &mut bytes, METADATA_SIZE)?;
    Ok(Block { bytes, next })
}

/// Reads on from a place in a table, across its blocks.
pub(crate) struct Stream<'a> {
    image: &'a Image,
    cache: &'a Cache,
    /// The end of the table.
    end: u64,
    block: Arc<Block>,
    /// Where that block begins.
    at: u64,
    offset: usize,
    /// Bytes it may still give: what makes up names and lists of blocks must not fill the memory.
    allowance: u64,
}

impl<'a> Stream<'a> {
    /// Begins at `reference` in the table that lies at `table` in the image.
    pub(crate) fn open(
        image: &'a Image,
        cache: &'a Cache,
        table: &Range<u64>,
        reference: Reference,
        allowance: u64,
    ) -> Result<Self, Error> {
        let at = table.start.checked_add(reference.block).filter(|&at| at < table.end).ok_or_else(|| {
            let what = format!("the table has no block at byte {} of it", reference.block);
            image.malformed(table.start, what)
        })?;
        let block = cache.block(image, at, table.end)?;
        let offset = usize::from(reference.offset);
        // At the end of a block means at the beginning of the next one.
        if offset > block.bytes.len() {
            return Err(image.malformed(at, format!("a metadata block has no byte {offset}")));
        }
        Ok(Self { image, cache, end: table.end, block, at, offset, allowance })
    }

    /// Where the block begins that is being read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Where the block begins that the next byte is in, and the place of the byte in it.
    pub(crate) fn place(&self) -> (u64, usize) {
        if self.offset >= self.block.bytes.len() { (self.block.next, 0) } else { (self.at, self.offset) }
    }

    /// What is wrong, when reading `what` from here gave `error`.
    pub(crate) fn explain(&self, what: &str, error: io::Error) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.image.malformed(self.at, format!("{what} ends too early")),
            ErrorKind::InvalidData => self.image.malformed(self.at, format!("{what}: {error}")),
            _ => match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => self.image.malformed(self.at, format!("{what}: {error}")),
            },
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.offset >= self.block.bytes.len() {
            if self.block.next >= self.end {
                return Ok(0);
            }
            self.at = self.block.next;
            self.offset = 0;
            self.block = self.cache.block(self.image, self.at, self.end).map_err(io::Error::other)?;
        }
        let mut rest = self.block.bytes.get(self.offset..).unwrap_or_default();
        let count = rest.read(bytes)?;
        self.allowance = self.allowance.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(
                self.image.malformed(self.at, "more metadata than an image of its size should have"),
            )
        })?;
        self.offset += count;
        Ok(count)
    }
}
