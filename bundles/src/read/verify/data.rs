//! Blocks of files and fragments.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Findings, MOST, VerifyProgress};
use crate::format::BlockSize;
use crate::read::contents::{StoredBlock, StoredFile};
use crate::read::load::Loaded;
use crate::read::parallel::each;
use crate::{Bundle, ContentId, Error, Flags, Kind, Superblock};

/// Length of a fragment that could not be unpacked, which was found by itself: no file is too long for it.
const UNKNOWN: u64 = u64::MAX;

/// What is unpacked at once.
enum Piece<'a> {
    Fragment(u32, StoredBlock),
    File(ContentId, &'a StoredFile),
}

pub(super) fn verify(
    findings: &mut Findings<'_>,
    loaded: &Loaded,
    processors: Option<usize>,
    progress: &mut dyn FnMut(VerifyProgress),
) {
    let bundle = findings.bundle;
    let mut pieces = Vec::new();
    fragments(findings, &mut pieces);
    let fragments = pieces.len();
    files(loaded, &mut pieces);
    let places = extents(&pieces);
    overlaps(findings, places);

    let lengths: Vec<AtomicU64> = (0..fragments).map(|_| AtomicU64::new(UNKNOWN)).collect();
    let (fragments, files) = pieces.split_at(fragments);
    let done = Done::default();
    let total_bytes = pieces.iter().map(Piece::stored).fold(0, u64::saturating_add);
    let mut tick = || progress(VerifyProgress { bytes: done.bytes.load(Ordering::Relaxed), total_bytes });
    // Fragments first: the files are measured by them.
    for part in [fragments, files] {
        each(part, processors, &mut tick, Vec::new, |buffer, piece| {
            match piece {
                Piece::Fragment(index, block) => match done.block(bundle, *block, buffer) {
                    Ok(()) => {
                        if let Some(length) = lengths.get(*index as usize) {
                            length.store(buffer.len() as u64, Ordering::Relaxed);
                        }
                    }
                    Err(error) => done.wrong(None, error),
                },
                Piece::File(content, file) => {
                    done.file(bundle, *content, file, buffer);
                    if let Err(error) = tail(bundle, file, &lengths) {
                        done.wrong(Some(*content), error);
                    }
                }
            }
            true
        });
    }
    findings.verified.blocks = done.blocks.into_inner();
    let wrong = done.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.verified.more += wrong.more;
    for (content, error) in wrong.listed {
        findings.error(content.and_then(|content| path_of(loaded, content)), &error);
    }
}

/// What all threads together did.
#[derive(Default)]
struct Done {
    bytes: AtomicU64,
    blocks: AtomicU64,
    wrong: Mutex<Wrong>,
}

/// What is wrong with which file, and how much more there was.
#[derive(Default)]
struct Wrong {
    listed: Vec<(Option<ContentId>, Error)>,
    more: u64,
}

impl Done {
    fn block(&self, bundle: &Bundle, block: StoredBlock, buffer: &mut Vec<u8>) -> Result<(), Error> {
        bundle.read_block(block, buffer)?;
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(block.stored().into(), Ordering::Relaxed);
        Ok(())
    }

    /// All blocks, whatever is wrong with those before.
    fn file(&self, bundle: &Bundle, content: ContentId, file: &StoredFile, buffer: &mut Vec<u8>) {
        for (number, block) in file.blocks().enumerate().filter(|(_, block)| !block.is_hole()) {
            let length = file.block_length(number, bundle.superblock.block_size);
            let result = self.block(bundle, block, buffer).and_then(|()| {
                if buffer.len() == length as usize {
                    return Ok(());
                }
                let what = format!("a block of a file has {} bytes instead of {length}", buffer.len());
                Err(bundle.image.malformed(block.start, what))
            });
            if let Err(error) = result {
                self.wrong(Some(content), error);
            }
        }
    }

    fn wrong(&self, content: Option<ContentId>, error: Error) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.listed.len() < MOST {
            wrong.listed.push((content, error));
        } else {
            wrong.more += 1;
        }
    }
}

impl Piece<'_> {
    /// Bytes of it in the image.
    fn stored(&self) -> u64 {
        match self {
            Self::Fragment(_, block) => block.stored().into(),
            Self::File(_, file) => file.block_sizes().iter().map(|size| u64::from(size.stored())).sum(),
        }
    }
}

/// Whether the end of a file is within its fragment.
fn tail(bundle: &Bundle, file: &StoredFile, lengths: &[AtomicU64]) -> Result<(), Error> {
    let Some((index, offset)) = file.fragment() else { return Ok(()) };
    let Some(length) = lengths.get(index as usize) else {
        return Err(bundle.image.malformed(file.inode, format!("there is no fragment {index}")));
    };
    let end = u64::from(offset) + u64::from(file.tail(bundle.superblock.block_size));
    let length = length.load(Ordering::Relaxed);
    if end > length {
        let what = format!("a file ends at byte {end} of fragment {index}, which has {length}");
        return Err(bundle.image.malformed(file.inode, what));
    }
    Ok(())
}

fn fragments(findings: &mut Findings<'_>, pieces: &mut Vec<Piece<'_>>) {
    let bundle = findings.bundle;
    let count = bundle.superblock.fragments;
    // Each has a byte at least: what is more than that is not worth a list.
    if u64::from(count) > bundle.image.length() {
        findings.wrong(16, None, format!("{count} fragments are more than there are bytes"));
        return;
    }
    for index in 0..count {
        match bundle.fragment(index) {
            Ok(block) if block.is_hole() => {
                findings.wrong(block.start, None, format!("fragment {index} has no bytes"));
                pieces.push(Piece::Fragment(index, block));
            }
            Ok(block) => pieces.push(Piece::Fragment(index, block)),
            Err(error) => {
                findings.error(None, &error);
                let size = BlockSize::HOLE;
                pieces.push(Piece::Fragment(index, StoredBlock { start: 0, size }));
            }
        }
    }
}

/// Files with the same blocks, which were found twice by the writer, are unpacked once.
fn files<'a>(loaded: &'a Loaded, pieces: &mut Vec<Piece<'a>>) {
    let mut files: Vec<_> = (0..).map(ContentId).zip(&loaded.files).collect();
    let key = |file: &'a StoredFile| (file.blocks().next().map(|block| block.start), file.block_sizes());
    files.sort_by(|(_, a), (_, b)| {
        let by_size = |a: &StoredFile, b: &StoredFile| {
            a.block_sizes().iter().map(|size| size.0).cmp(b.block_sizes().iter().map(|size| size.0))
        };
        key(a).0.cmp(&key(b).0).then_with(|| by_size(a, b))
    });
    files.dedup_by(|(_, a), (_, b)| key(a) == key(b) && (a.size(), a.fragment()) == (b.size(), b.fragment()));
    pieces.extend(files.into_iter().map(|(content, file)| Piece::File(content, file)));
}

/// Where what is stored lies, in order, and no place twice.
fn extents(pieces: &[Piece<'_>]) -> Vec<Range<u64>> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    for piece in pieces {
        let (start, length) = match piece {
            Piece::Fragment(_, block) => (block.start, u64::from(block.stored())),
            Piece::File(_, file) => (file.blocks().next().map_or(0, |block| block.start), piece.stored()),
        };
        if length > 0 {
            extents.push((start, start.saturating_add(length)));
        }
    }
    extents.sort_unstable();
    extents.dedup();
    extents.into_iter().map(|(start, end)| start..end).collect()
}

/// Data lie between the beginning of an image and its tables, each for itself; only a file that begins like another may have
/// the same blocks.
fn overlaps(findings: &mut Findings<'_>, extents: Vec<Range<u64>>) {
    let superblock = &findings.bundle.superblock;
    let options = superblock.flags.has(Flags::COMPRESSOR_OPTIONS);
    let begin = Superblock::SIZE as u64 + if options { 2 } else { 0 };
    let end = superblock.tables.inodes;
    let mut before: Range<u64> = 0..0;
    for extent in extents {
        if extent.start < begin || extent.end > end {
            let what =
                format!("data at bytes {} to {} of the image lie in its tables", extent.start, extent.end);
            findings.wrong(extent.start, None, what);
        } else if extent.start < before.end && extent.start > before.start {
            let what = format!(
                "data at bytes {} to {} of the image lie over those at {} to {}",
                extent.start, extent.end, before.start, before.end
            );
            findings.wrong(extent.start, None, what);
        }
        if extent.end > before.end {
            before = extent;
        }
    }
}

fn path_of(loaded: &Loaded, wanted: ContentId) -> Option<std::path::PathBuf> {
    let has = |id| matches!(loaded.tree.node(id).kind, Kind::File { content, .. } if content == wanted);
    let id = loaded.by_number.values().copied().find(|&id| has(id))?;
    Some(loaded.path_of(id))
}
