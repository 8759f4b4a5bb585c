//! A file in blocks, with those that are zero told apart.

use std::io::{self, Read};

use crate::FileReader;

/// A tail of zeros is stored unless it has this many: an inode with a hole takes room as well.
const SMALLEST_HOLE: usize = 4096;

/// What comes next in a file.
pub(super) enum Piece {
    /// A block; a shorter one is the last.
    Data(Vec<u8>),
    /// Bytes that are zero: whole blocks, or the end.
    Hole(u64),
}

/// Reads a file block by block.
pub(super) struct Pieces<'a> {
    file: Box<dyn FileReader + 'a>,
    block_size: usize,
    /// Bytes read.
    pub(super) length: u64,
    ended: bool,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(file: Box<dyn FileReader + 'a>, block_size: usize) -> Self {
        Self { file, block_size, length: 0, ended: false }
    }

    /// The next piece. A block is put where `spare` is, if that has the room.
    pub(super) fn next(&mut self, mut spare: Vec<u8>) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let block_size = self.block_size as u64;
        let hole = self.file.hole()? / block_size * block_size;
        if hole > 0 {
            self.file.skip(hole)?;
            self.length += hole;
            return Ok(Some(Piece::Hole(hole)));
        }
        spare.clear();
        spare.reserve_exact(self.block_size);
        (&mut *self.file).take(block_size).read_to_end(&mut spare)?;
        self.length += spare.len() as u64;
        self.ended = spare.len() < self.block_size;
        Ok(match spare.len() {
            0 => None,
            length if length >= SMALLEST_HOLE && is_zero(&spare) => Some(Piece::Hole(length as u64)),
            _ => Some(Piece::Data(spare)),
        })
    }

    /// The file, to ask what became of it.
    pub(super) fn into_file(self) -> Box<dyn FileReader + 'a> {
        self.file
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // A comparison with itself, shifted by one, is one of memory with memory.
    bytes.first().is_none_or(|&first| first == 0) && bytes[1..] == bytes[..bytes.len() - 1]
}

/// The hash of a content, the same however its holes were found.
#[derive(Default)]
pub(super) struct Digest {
    hasher: blake3::Hasher,
    /// Bytes of the hole that goes on.
    hole: u64,
}

impl Digest {
    pub(super) fn add(&mut self, piece: &Piece) {
        match piece {
            Piece::Hole(bytes) => self.hole += bytes,
            Piece::Data(block) => {
                self.end_hole();
                self.hasher.update(&[1]);
                self.hasher.update(block);
            }
        }
    }

    pub(super) fn value(&mut self) -> blake3::Hash {
        self.end_hole();
        self.hasher.finalize()
    }

    fn end_hole(&mut self) {
        if self.hole > 0 {
            self.hasher.update(&[0]);
            self.hasher.update(&self.hole.to_le_bytes());
            self.hole = 0;
        }
    }
}
