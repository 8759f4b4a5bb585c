//! What differs between two bundles.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::load::Loaded;
use super::parallel::each;
use super::{Bundle, ContentReader, Piece, StoredFile};
use crate::{ContentId, Error, Kind, Node, NodeId, Tree};

/// A name that is not the same in two bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Empty for the root.
    pub path: PathBuf,
    /// How it differs.
    pub difference: Difference,
}

/// How a name differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is only in the second bundle.
    Added,
    /// It is only in the first bundle.
    Removed,
    /// It is in both; there is at least one aspect.
    Changed(BTreeSet<Aspect>),
}

/// What can differ of a file that has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// One is a file and the other a directory, for example; contents are not compared then.
    Type,
    /// Bytes of a regular file.
    Content,
    /// Where a symbolic link points.
    Target,
    /// Number of a device.
    Device,
    /// Permissions.
    Mode,
    /// Owner or group.
    Owner,
    /// Time of the last change.
    Mtime,
    /// Extended attributes.
    Xattrs,
    /// Other names of the same file.
    Links,
}

/// How far a comparison is: bytes of files that have to be read in both bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffProgress {
    /// Compared.
    pub bytes: u64,
    /// To compare.
    pub total_bytes: u64,
}

/// Compares two bundles name by name, in the order of the names. Contents are read only where the sizes agree, and
/// unpacked only where the stored blocks differ.
///
/// # Errors
/// One of them is damaged or cannot be read.
pub fn diff(
    old: &Bundle,
    new: &Bundle,
    processors: Option<usize>,
    progress: &mut dyn FnMut(DiffProgress),
) -> Result<Vec<Change>, Error> {
    let mut comparison = Comparison::new(old.loaded()?, new.loaded()?);
    comparison.walk();
    let different = compare_contents(old, new, &comparison.contents, processors, progress)?;
    let mut found = comparison.found;
    for (path, pair) in comparison.pending {
        if different.contains(&pair)
            && let Difference::Changed(aspects) =
                found.entry(path).or_insert_with(|| Difference::Changed(BTreeSet::new()))
        {
            aspects.insert(Aspect::Content);
        }
    }
    Ok(found.into_iter().map(|(path, difference)| Change { path, difference }).collect())
}

type Pair = (ContentId, ContentId);

struct Comparison<'a> {
    old: &'a Loaded,
    new: &'a Loaded,
    old_links: Vec<u32>,
    new_links: Vec<u32>,
    /// What each further name of a file is a name of: both must agree.
    linked: [HashMap<NodeId, PathBuf>; 2],
    found: BTreeMap<PathBuf, Difference>,
    /// Files of the same size, and each pair of contents once with that size.
    pending: Vec<(PathBuf, Pair)>,
    contents: HashMap<Pair, u64>,
}

impl<'a> Comparison<'a> {
    fn new(old: &'a Loaded, new: &'a Loaded) -> Self {
        Self {
            old,
            new,
            old_links: old.tree.link_counts(),
            new_links: new.tree.link_counts(),
            linked: Default::default(),
            found: BTreeMap::new(),
            pending: Vec::new(),
            contents: HashMap::new(),
        }
    }

    fn walk(&mut self) {
        self.both(Path::new(""), Tree::ROOT, Tree::ROOT);
        let (mut old, mut new) = (self.old.tree.walk(), self.new.tree.walk());
        let (mut left, mut right) = (old.next(), new.next());
        loop {
            // Both walks are in the order of the parts of the paths, as paths are.
            match (left.take(), right.take()) {
                (None, None) => return,
                (Some((path, a)), Some((other, b))) if path == other => {
                    self.both(&path, a, b);
                    (left, right) = (old.next(), new.next());
                }
                (Some((path, _)), other) if other.as_ref().is_none_or(|(other, _)| path < *other) => {
                    self.found.insert(path, Difference::Removed);
                    (left, right) = (old.next(), other);
                }
                (mine, Some((path, _))) => {
                    self.found.insert(path, Difference::Added);
                    (left, right) = (mine, new.next());
                }
                // The guard takes all of these.
                (Some(_), None) => return,
            }
        }
    }

    fn both(&mut self, path: &Path, a: NodeId, b: NodeId) {
        let (old, new) = (self.old.tree.node(a), self.new.tree.node(b));
        let mut aspects = attributes(old, new);
        let by_kind = match (&old.kind, &new.kind) {
            (Kind::File { size: x, content: c }, Kind::File { size: y, content: d }) if x == y => {
                self.contents.insert((*c, *d), *x);
                self.pending.push((path.to_owned(), (*c, *d)));
                None
            }
            (Kind::File { .. }, Kind::File { .. }) => Some(Aspect::Content),
            (Kind::Symlink(x), Kind::Symlink(y)) => (x != y).then_some(Aspect::Target),
            (Kind::BlockDevice(x), Kind::BlockDevice(y)) | (Kind::CharDevice(x), Kind::CharDevice(y)) => {
                (x != y).then_some(Aspect::Device)
            }
            (Kind::Directory(_), Kind::Directory(_)) => None,
            (Kind::Fifo, Kind::Fifo) | (Kind::Socket, Kind::Socket) => None,
            _ => Some(Aspect::Type),
        };
        aspects.extend(by_kind);
        if !old.is_directory() && !new.is_directory() && self.links_differ(path, a, b) {
            aspects.insert(Aspect::Links);
        }
        if !aspects.is_empty() {
            self.found.insert(path.to_owned(), Difference::Changed(aspects));
        }
    }

    /// Whether the numbers of names differ, or the first names.
    fn links_differ(&mut self, path: &Path, a: NodeId, b: NodeId) -> bool {
        let count = |links: &[u32], id: NodeId| links.get(id.index()).copied().unwrap_or(0);
        let counts = (count(&self.old_links, a), count(&self.new_links, b));
        if counts.0 != counts.1 {
            return true;
        }
        if counts.0 < 2 {
            return false;
        }
        let [old, new] = &mut self.linked;
        let first = |names: &mut HashMap<NodeId, PathBuf>, id| {
            names.entry(id).or_insert_with(|| path.to_owned()).clone()
        };
        first(old, a) != first(new, b)
    }
}

/// What all types have.
fn attributes(old: &Node, new: &Node) -> BTreeSet<Aspect> {
    [
        (Aspect::Mode, old.mode != new.mode),
        (Aspect::Owner, (old.uid, old.gid) != (new.uid, new.gid)),
        (Aspect::Mtime, old.mtime != new.mtime),
        (Aspect::Xattrs, old.xattrs != new.xattrs),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}

/// The pairs that are not the same.
fn compare_contents(
    old: &Bundle,
    new: &Bundle,
    pairs: &HashMap<Pair, u64>,
    processors: Option<usize>,
    progress: &mut dyn FnMut(DiffProgress),
) -> Result<HashSet<Pair>, Error> {
    let mut order: Vec<(Pair, u64)> = pairs.iter().map(|(&pair, &size)| (pair, size)).collect();
    order.sort_unstable();
    let total_bytes = order.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size));
    let done = AtomicU64::new(0);
    let result = Mutex::new((HashSet::new(), None));
    let mut tick = || progress(DiffProgress { bytes: done.load(Ordering::Relaxed), total_bytes });
    each(
        &order,
        processors,
        &mut tick,
        || (),
        |(), &(pair, size)| {
            let same = same_content(old, new, pair);
            done.fetch_add(size, Ordering::Relaxed);
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            match same {
                Ok(true) => {}
                Ok(false) => drop(result.0.insert(pair)),
                Err(error) => result.1 = Some(error),
            }
            result.1.is_none()
        },
    );
    match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
        (_, Some(error)) => Err(error),
        (different, None) => Ok(different),
    }
}

fn same_content(old: &Bundle, new: &Bundle, (a, b): Pair) -> Result<bool, Error> {
    let (x, y) = (old.file(a)?, new.file(b)?);
    if old.superblock.block_size != new.superblock.block_size {
        return same_bytes(old.reader(a)?, new.reader(b)?);
    }
    let alike =
        old.superblock.compression == new.superblock.compression && x.block_sizes() == y.block_sizes();
    Ok(alike && same_stored(old, new, x, y)? || same_pieces(old.reader(a)?, new.reader(b)?)?)
}

/// Whether all blocks are the same as they are stored, and the ends in fragments too.
fn same_stored(old: &Bundle, new: &Bundle, x: &StoredFile, y: &StoredFile) -> Result<bool, Error> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (x, y) in x.blocks().zip(y.blocks()) {
        old.read_stored(x, &mut left)?;
        new.read_stored(y, &mut right)?;
        if left != right {
            return Ok(false);
        }
    }
    let ends = (ContentReader::new(old, x).end()?, ContentReader::new(new, y).end()?);
    Ok(ends.0.bytes() == ends.1.bytes())
}

/// Of files of the same size, in blocks of the same size: holes are compared without reading them.
fn same_pieces(mut old: ContentReader<'_>, mut new: ContentReader<'_>) -> Result<bool, Error> {
    loop {
        let same = match (old.piece()?, new.piece()?) {
            (None, None) => return Ok(true),
            (Some(Piece::Bytes(a)), Some(Piece::Bytes(b))) => a == b,
            (Some(Piece::Hole(_)), Some(Piece::Hole(_))) => true,
            (Some(Piece::Hole(_)), Some(Piece::Bytes(bytes)))
            | (Some(Piece::Bytes(bytes)), Some(Piece::Hole(_))) => bytes.iter().all(|&byte| byte == 0),
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
}

fn same_bytes(mut old: ContentReader<'_>, mut new: ContentReader<'_>) -> Result<bool, Error> {
    let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = fill(&mut old, &mut buffers.0)?;
        let other = fill(&mut new, &mut buffers.1)?;
        if buffers.0.get(..length) != buffers.1.get(..other) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(reader: &mut ContentReader<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest).map_err(|error| reader.error(error))? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}
