//! Inodes and listings become a [`Tree`].
//!
//! Nothing here recurses, and every byte that is read is paid for from a [`Budget`]: inodes that overlap, listings that
//! several directories share and sets of attributes that all inodes name cost no more than honest ones.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::contents::StoredFile;
use super::limits::Budget;
use super::metadata::Stream;
use super::{Bundle, Sources};
use crate::format::directory::{self, EXTRA_SIZE, Entry};
use crate::format::inode::{Body, Directory, Inode};
use crate::format::{NONE_32, Reference};
use crate::{ContentId, Error, Kind, Node, NodeId, Tree};

/// Memory of a node with all that is kept of it, and of a name: roughly.
const NODE_COST: u64 = 256;
const NAME_COST: u64 = 48;
/// Of a name while its directory is read.
const ENTRY_COST: u64 = 64;
/// The kernel's PATH_MAX.
const PATH_LENGTH: usize = 4096;

/// What the bundle says of a node and a [`Tree`] has no place for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredNode {
    /// Where the inode is.
    pub(crate) reference: Reference,
    /// Its number.
    pub(crate) number: u32,
    /// How many names it should have.
    pub(crate) links: u32,
    /// The directory of its first name.
    pub(crate) parent: NodeId,
    /// For a directory: the number of the inode it should be in.
    pub(crate) parent_number: u32,
}

/// The tree of a bundle, and how its nodes are stored.
pub(crate) struct Loaded {
    pub(crate) tree: Tree,
    /// By [`NodeId::index`].
    pub(crate) nodes: Vec<StoredNode>,
    /// By [`ContentId`].
    pub(crate) files: Vec<StoredFile>,
    pub(crate) by_number: HashMap<u32, NodeId>,
}

impl Loaded {
    /// A path of a node: its first name. The root's is empty.
    pub(crate) fn path_of(&self, id: NodeId) -> PathBuf {
        let (mut names, mut at) = (Vec::new(), id);
        while at != Tree::ROOT {
            let Some(node) = self.nodes.get(at.index()) else { break };
            let named = self.tree.node(node.parent).names();
            names.extend(
                named.and_then(|names| names.iter().find(|(_, id)| **id == at)).map(|(name, _)| name),
            );
            at = node.parent;
        }
        names.into_iter().rev().collect()
    }
}

/// Told of everything that is wrong; what it returns ends the reading, or does not.
pub(crate) type Report<'a> = dyn FnMut(Error) -> Result<(), Error> + 'a;

/// Reads everything but contents. What is wrong is left out if `report` wants to go on.
pub(crate) fn load(bundle: &Bundle, report: &mut Report<'_>) -> Result<Loaded, Error> {
    let mut budget = Budget::new(bundle.limits);
    let place = Reference::from_bits(bundle.superblock.root);
    let (inode, at) = bundle.inode(place, &mut budget)?;
    let Body::Directory(listing) = inode.body.clone() else {
        return Err(bundle.image.malformed(at, "the root is not a directory"));
    };
    let sources = bundle.sources();
    let root = node(&sources, &inode, at, &mut Vec::new(), &mut budget)?;
    let mut loader = Loader {
        bundle,
        budget,
        loaded: Loaded {
            tree: Tree::new(root),
            nodes: vec![stored(&inode, place, Tree::ROOT)],
            files: Vec::new(),
            by_number: HashMap::from([(inode.number, Tree::ROOT)]),
        },
        below: vec![Pending { id: Tree::ROOT, listing, path_length: 0 }],
    };
    while let Some(pending) = loader.below.pop() {
        match bundle.listing(&pending.listing, &mut loader.budget) {
            Ok(entries) => {
                for (entry, at) in entries {
                    loader.name(&pending, entry, at).or_else(&mut *report)?;
                }
            }
            Err(error) => report(error)?,
        }
    }
    Ok(loader.loaded)
}

/// A directory whose names are still to be read.
struct Pending {
    id: NodeId,
    listing: Directory,
    /// Bytes of its path.
    path_length: usize,
}

struct Loader<'a> {
    bundle: &'a Bundle,
    budget: Budget,
    loaded: Loaded,
    below: Vec<Pending>,
}

impl Loader<'_> {
    /// Takes in a name of a directory. The listing it is from is `at` that place.
    fn name(&mut self, directory: &Pending, entry: Entry, at: u64) -> Result<(), Error> {
        let image = &self.bundle.image;
        check_name(&entry.name).map_err(|what| image.malformed(at, what))?;
        let path_length = directory.path_length + 1 + entry.name.len();
        if path_length > PATH_LENGTH {
            return Err(image.malformed(at, format!("the path of {} is too long", entry.name.display())));
        }
        // The whole path, since some of those who want the tree list paths.
        self.budget.take(NAME_COST + path_length as u64, image, at)?;
        if self.loaded.tree.node(directory.id).names().is_some_and(|names| names.contains_key(&entry.name)) {
            let what = format!("a directory has the name {} twice", entry.name.display());
            return Err(image.malformed(at, what));
        }
        let id = match self.loaded.by_number.get(&entry.number) {
            Some(&id) => self.again(id, &entry, at)?,
            None => self.first(directory, &entry, at)?,
        };
        self.loaded.tree.set(directory.id, entry.name, id);
        Ok(())
    }

    /// A further name for an inode.
    fn again(&self, id: NodeId, entry: &Entry, at: u64) -> Result<NodeId, Error> {
        let image = &self.bundle.image;
        let name = entry.name.display();
        if self.loaded.tree.node(id).is_directory() {
            return Err(image.malformed(at, format!("the directory {name} is reached twice")));
        }
        if self.loaded.nodes.get(id.index()).is_some_and(|node| node.reference != entry.inode) {
            let what = format!("{name} is another inode with the number {}", entry.number);
            return Err(image.malformed(at, what));
        }
        Ok(id)
    }

    /// The first name of an inode.
    fn first(&mut self, directory: &Pending, entry: &Entry, at: u64) -> Result<NodeId, Error> {
        let image = &self.bundle.image;
        let name = entry.name.display();
        let (mut inode, place) = self.bundle.inode(entry.inode, &mut self.budget)?;
        if inode.number != entry.number || inode.kind() != entry.kind {
            let what = format!("the inode of {name} is not what its directory says");
            return Err(image.malformed(place, what));
        }
        let sources = self.bundle.sources();
        let node = node(&sources, &inode, place, &mut self.loaded.files, &mut self.budget)?;
        let id = self.loaded.tree.add(node).map_err(|error| image.malformed(at, error.to_string()))?;
        self.loaded.nodes.push(stored(&inode, entry.inode, directory.id));
        self.loaded.by_number.insert(inode.number, id);
        if let Body::Directory(listing) = &mut inode.body {
            let path_length = directory.path_length + 1 + entry.name.len();
            listing.index = Vec::new();
            self.below.push(Pending { id, listing: listing.clone(), path_length });
        }
        Ok(id)
    }
}

fn stored(inode: &Inode, reference: Reference, parent: NodeId) -> StoredNode {
    let parent_number = if let Body::Directory(directory) = &inode.body { directory.parent } else { 0 };
    StoredNode { reference, number: inode.number, links: inode.links, parent, parent_number }
}

/// Makes a node of an inode that is `at` that place. A file is added to `files`.
fn node(
    sources: &Sources<'_>,
    inode: &Inode,
    at: u64,
    files: &mut Vec<StoredFile>,
    budget: &mut Budget,
) -> Result<Node, Error> {
    let Sources { image, cache, tables } = *sources;
    budget.take(NODE_COST, image, at)?;
    let owner = |number: u16| {
        tables.ids.get(usize::from(number)).copied().ok_or_else(|| {
            image.malformed(at, format!("an owner has number {number}, of {}", tables.ids.len()))
        })
    };
    let (uid, gid) = (owner(inode.uid)?, owner(inode.gid)?);
    let xattrs = match (inode.xattr, &tables.xattrs) {
        (None, _) => Vec::new(),
        (Some(set), Some(table)) => table.set(image, cache, set, budget)?,
        (Some(_), None) => {
            return Err(image.malformed(at, "an inode has extended attributes, the image has none"));
        }
    };
    let kind = match &inode.body {
        Body::Directory(_) => Kind::Directory(std::collections::BTreeMap::new()),
        Body::File(file) => {
            budget.take(4 * file.blocks.len() as u64, image, at)?;
            let content = ContentId(files.len() as u64);
            files.push(StoredFile::new(file, at));
            Kind::File { size: file.size, content }
        }
        Body::Symlink(target) => {
            if target.is_empty() || target.contains(&0) {
                return Err(image.malformed(at, "a symbolic link points nowhere"));
            }
            budget.take(target.len() as u64, image, at)?;
            Kind::Symlink(OsString::from_vec(target.clone()))
        }
        Body::BlockDevice(device) => Kind::BlockDevice(*device),
        Body::CharDevice(device) => Kind::CharDevice(*device),
        Body::Fifo => Kind::Fifo,
        Body::Socket => Kind::Socket,
    };
    Ok(Node { kind, mode: inode.mode, uid, gid, mtime: inode.mtime.into(), xattrs })
}

/// What no file system takes, and what would lead out of a target.
fn check_name(name: &OsStr) -> Result<(), String> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(format!("a directory has the name {name:?}, which no file can have"));
    }
    Ok(())
}

impl Bundle {
    /// The inode at a place of the inode table, and where in the image its block begins.
    pub(crate) fn inode(&self, place: Reference, budget: &mut Budget) -> Result<(Inode, u64), Error> {
        let mut stream = Stream::open(&self.image, &self.cache, &self.tables.inodes, place, budget.left())?;
        let at = stream.at();
        let inode = Inode::read(&mut stream, self.superblock.block_size)
            .map_err(|error| stream.explain("an inode", error))?;
        if inode.number == 0 || inode.number > self.superblock.inodes || inode.number == NONE_32 {
            let what = format!("an inode has number {}, of {}", inode.number, self.superblock.inodes);
            return Err(self.image.malformed(at, what));
        }
        Ok((inode, at))
    }

    /// The names of a directory with the places of their blocks, in the order they are stored in.
    pub(crate) fn listing(
        &self,
        directory: &Directory,
        budget: &mut Budget,
    ) -> Result<Vec<(Entry, u64)>, Error> {
        let runs = self.runs(directory, budget)?;
        Ok(runs
            .into_iter()
            .flat_map(|run| run.entries.into_iter().map(move |entry| (entry, run.at)))
            .collect())
    }

    /// The same, as it is stored.
    pub(crate) fn runs(&self, directory: &Directory, budget: &mut Budget) -> Result<Vec<Run>, Error> {
        let length = directory.size.saturating_sub(EXTRA_SIZE);
        let mut runs = Vec::new();
        if length == 0 {
            return Ok(runs);
        }
        let place = Reference { block: directory.start.into(), offset: directory.offset };
        let stream = Stream::open(&self.image, &self.cache, &self.tables.directories, place, budget.left())?;
        let mut rest = stream.take(length.into());
        while rest.limit() > 0 {
            let left = rest.limit();
            let (at, offset) = rest.get_ref().place();
            let entries = directory::read_run(&mut rest)
                .map_err(|error| rest.get_ref().explain("the listing of a directory", error))?;
            budget.take(ENTRY_COST * entries.len() as u64, &self.image, at)?;
            runs.push(Run { at, offset, position: u64::from(length) - left, entries });
        }
        Ok(runs)
    }
}

/// Entries of a directory behind one header.
pub(crate) struct Run {
    /// Where in the image the metadata block is.
    pub(crate) at: u64,
    /// Of the header, in the unpacked block.
    pub(crate) offset: usize,
    /// Bytes of the listing before the header.
    pub(crate) position: u64,
    pub(crate) entries: Vec<Entry>,
}
