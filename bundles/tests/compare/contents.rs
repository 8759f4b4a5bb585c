//! What is in two files, and where a squashfs shows holes.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

/// Read at a time: a multiple of every block size.
const PIECE: usize = 1 << 20;
/// Unit of `st_blocks`, see stat(2).
const SECTOR: u64 = 512;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// What the `st_blocks` of a file in a bundle depend on beside its contents.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub block_size: u32,
    /// Bytes of its extended attributes in their table: with the large values that are kept elsewhere as references, and as
    /// what they are. The kernel adds what the table says, which may be either.
    pub attributes: (u64, u64),
}

/// What differs first. With `stored`, also whether the copy's `st_blocks` fit:
///
/// * not more than without the blocks that are in holes of the source, for nothing has to be stored of them (one sector for
///   a file that is nothing but a hole: mksquashfs says that, for programs that take 0 for an empty file);
/// * not less than without the blocks that have only zeros in them, for that would show data as a hole.
pub fn difference(source: &Path, copy: &Path, stored: Option<Stored>) -> Option<String> {
    let (ours, theirs) = (open(source), open(copy));
    let metadata = theirs.metadata().unwrap_or_else(|e| panic!("{copy:?}: {e}"));
    let size = ours.metadata().unwrap_or_else(|e| panic!("{source:?}: {e}")).len();
    if metadata.len() != size {
        return Some(format!("has {} bytes, not {size}", metadata.len()));
    }
    let mut count =
        Blocks { size: stored.map_or(PIECE, |stored| stored.block_size as usize), holes: 0, zeros: 0 };
    let mut hole = Holes { file: open(source), size, next: 0..0 };
    let longest = usize::try_from(size).unwrap_or(PIECE).min(PIECE);
    let [mut left, mut right] =
        [source, copy].map(|path| Pieces { path, file: open(path), buffer: vec![0; longest] });
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let in_hole = hole.contains(offset, length as u64);
        // The page cache of a large hole would only cost time.
        let ours = if in_hole { &ZEROS[..length] } else { left.read_at(offset, length) };
        let theirs = right.read_at(offset, length);
        if ours != theirs {
            let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
            return Some(format!("has other contents from byte {}", offset + at as u64));
        }
        count.add(offset, theirs, &mut hole);
        offset += length as u64;
    }
    let (referred, whole) = stored?.attributes;
    let most = (size - count.holes).div_ceil(SECTOR).max(size.min(1)) + whole.div_ceil(SECTOR);
    let least = (size - count.zeros).div_ceil(SECTOR) + referred.div_ceil(SECTOR);
    let shown = metadata.blocks();
    (!(least..=most).contains(&shown)).then(|| format!("has {shown} blocks, not {least} to {most}"))
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|e| panic!("cannot open {path:?}: {e}"))
}

struct Pieces<'a> {
    path: &'a Path,
    file: File,
    buffer: Vec<u8>,
}

impl Pieces<'_> {
    fn read_at(&mut self, offset: u64, length: usize) -> &[u8] {
        let piece = &mut self.buffer[..length];
        let read = seek(&self.file, SeekFrom::Start(offset))
            .map_err(Into::into)
            .and_then(|_| self.file.read_exact(piece));
        read.unwrap_or_else(|e| panic!("cannot read {:?} at {offset}: {e}", self.path));
        piece
    }
}

/// Bytes of a file's blocks that need not be stored.
struct Blocks {
    size: usize,
    /// In whole blocks that are in a hole of the source. What is left at the end may be kept with other files' ends.
    holes: u64,
    /// In blocks of nothing but zeros.
    zeros: u64,
}

impl Blocks {
    fn add(&mut self, offset: u64, piece: &[u8], hole: &mut Holes) {
        for (index, block) in piece.chunks(self.size).enumerate() {
            if block != &ZEROS[..block.len()] {
                continue;
            }
            self.zeros += block.len() as u64;
            let start = offset + (index * self.size) as u64;
            if block.len() == self.size && hole.contains(start, block.len() as u64) {
                self.holes += block.len() as u64;
            }
        }
    }
}

/// Where the source has holes, asked for from its beginning to its end.
struct Holes {
    file: File,
    size: u64,
    next: std::ops::Range<u64>,
}

impl Holes {
    fn contains(&mut self, start: u64, length: u64) -> bool {
        while self.next.end <= start {
            let from = self.next.end;
            // ENXIO: nothing but a hole until the end.
            let data = |from| seek(&self.file, SeekFrom::Data(from)).unwrap_or(self.size);
            let hole = seek(&self.file, SeekFrom::Hole(from)).unwrap_or(self.size);
            self.next = hole..data(hole).max(from + 1);
            if hole >= self.size {
                self.next = self.size..u64::MAX;
            }
        }
        self.next.contains(&start) && start + length <= self.next.end
    }
}
