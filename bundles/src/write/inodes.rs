//! Inodes and the listings that name them.
//!
//! Directories are taken from the last to the first, in the order of a walk, so that everything below one is done before it:
//! its own inode has to say where its listing is, and that has to say where the inodes are. The inodes of what a directory
//! names stand together.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::acl;
use super::blocks::{Contained, path_of};
use super::directories;
use super::ids::Ids;
use super::metadata::Metadata;
use super::output::Data;
use super::xattrs::Xattrs;
use crate::codec::Encoder;
use crate::format::Reference;
use crate::format::directory::{Entry, NAME_LENGTH};
use crate::format::inode::{Body, Directory, File, Inode, TARGET_LENGTH, Type};
use crate::{Device, Error, Kind, Node, NodeId, PackOptions, Tree};

/// What the tables are made of.
pub(super) struct Made<'a> {
    pub(super) tree: &'a Tree,
    pub(super) contained: &'a Contained,
    pub(super) data: &'a Data,
    pub(super) options: &'a PackOptions,
    /// For errors.
    pub(super) output: &'a Path,
}

/// The tables of inodes and of all that they refer to.
pub(super) struct Inodes<'a> {
    made: &'a Made<'a>,
    pub(super) inodes: Metadata,
    pub(super) listings: Metadata,
    pub(super) ids: Ids,
    pub(super) xattrs: Xattrs<'a>,
    /// Files whose time is none of a squashfs.
    pub(super) clamped: u64,
    /// Nodes by their number, which counts from 1.
    numbered: Vec<NodeId>,
    /// By [`NodeId::index`], like all below; 0 for what is not in the bundle.
    numbers: Vec<u32>,
    parents: Vec<NodeId>,
    links: Vec<u32>,
    places: Vec<Option<Reference>>,
    directories: Vec<Option<Directory>>,
}

impl<'a> Inodes<'a> {
    /// Makes the tables.
    pub(super) fn write(made: &'a Made<'a>, encoder: &mut Encoder) -> Result<Self, Error> {
        let nodes = made.tree.capacity();
        let mut tables = Self {
            made,
            inodes: Metadata::default(),
            listings: Metadata::default(),
            ids: Ids::default(),
            xattrs: Xattrs::default(),
            clamped: 0,
            numbered: Vec::new(),
            numbers: vec![0; nodes],
            parents: vec![Tree::ROOT; nodes],
            links: made.tree.link_counts(),
            places: vec![None; nodes],
            directories: vec![None; nodes],
        };
        for directory in tables.number().into_iter().rev() {
            tables.directory(directory, encoder)?;
        }
        tables.inode(Tree::ROOT, encoder)?;
        Ok(tables)
    }

    /// How many inodes there are.
    #[expect(clippy::cast_possible_truncation, reason = "no more than the tree can have")]
    pub(super) fn count(&self) -> u32 {
        self.numbered.len() as u32
    }

    /// The root's inode.
    pub(super) fn root(&self) -> Reference {
        self.places[Tree::ROOT.index()].unwrap_or(Reference { block: 0, offset: 0 })
    }

    /// Where each inode is, in the order of their numbers.
    pub(super) fn places(&self) -> impl Iterator<Item = Reference> {
        self.numbered.iter().filter_map(|node| self.places[node.index()])
    }

    /// Numbers what a directory names one after the other, which makes listings small; returns the directories, each before
    /// those in it.
    fn number(&mut self) -> Vec<NodeId> {
        let tree = self.made.tree;
        self.give_number(Tree::ROOT);
        let (mut order, mut todo) = (Vec::new(), vec![Tree::ROOT]);
        while let Some(directory) = todo.pop() {
            order.push(directory);
            let names = tree.node(directory).names();
            let begin = todo.len();
            for &id in names.into_iter().flat_map(|names| names.values()) {
                if self.is_stored(id) && self.numbers[id.index()] == 0 {
                    self.give_number(id);
                    if tree.node(id).is_directory() {
                        self.parents[id.index()] = directory;
                        todo.push(id);
                    }
                }
            }
            todo[begin..].reverse();
        }
        order
    }

    fn give_number(&mut self, node: NodeId) {
        self.numbered.push(node);
        self.numbers[node.index()] = self.count();
    }

    /// Whether the node is in the bundle: a file that vanished is not.
    fn is_stored(&self, node: NodeId) -> bool {
        !matches!(self.made.tree.node(node).kind, Kind::File { .. })
            || self.made.contained.of_node[node.index()].is_some()
    }

    /// Writes the inodes of everything that a directory names, and its listing.
    fn directory(&mut self, directory: NodeId, encoder: &mut Encoder) -> Result<(), Error> {
        let tree = self.made.tree;
        let mut entries = Vec::new();
        for (name, &id) in tree.node(directory).names().into_iter().flatten() {
            if !self.is_stored(id) {
                continue;
            }
            if name.is_empty() || name.len() > NAME_LENGTH || name.as_bytes().contains(&b'/') {
                return Err(self.refused(id, "squashfs has names of 1 to 256 bytes"));
            }
            let (inode, kind) = self.inode(id, encoder)?;
            entries.push(Entry { name: name.clone(), inode, number: self.numbers[id.index()], kind });
        }
        let listing =
            directories::write(&entries, &mut self.listings, encoder).map_err(|error| self.failed(error))?;
        let mut listing =
            listing.ok_or_else(|| self.refused(directory, "it has more names than a squashfs can list"))?;
        listing.parent = match directory {
            Tree::ROOT => self.count() + 1,
            _ => self.numbers[self.parents[directory.index()].index()],
        };
        self.directories[directory.index()] = Some(listing);
        Ok(())
    }

    /// Where a node's inode is, which is written if it is not there yet.
    fn inode(&mut self, id: NodeId, encoder: &mut Encoder) -> Result<(Reference, Type), Error> {
        let node = self.made.tree.node(id);
        let kind = type_of(&node.kind);
        if let Some(place) = self.places[id.index()] {
            return Ok((place, kind));
        }
        let body = self.body(id, node)?;
        let owned_by_root = self.made.options.owned_by_root;
        let [uid, gid] = if owned_by_root { [0, 0] } else { [node.uid, node.gid] };
        let inode = Inode {
            mode: acl::mode_without(node),
            uid: self.ids.place(uid)?,
            gid: self.ids.place(gid)?,
            mtime: self.time(node.mtime),
            number: self.numbers[id.index()],
            links: self.links(id, node),
            xattr: self.xattrs.set(node, encoder).map_err(|error| self.failed(error))?,
            body,
        };
        let place = self.inodes.position();
        if u32::try_from(place.block).is_err() {
            return Err(self.refused(id, "a squashfs has no place for so many files"));
        }
        let mut bytes = Vec::new();
        inode.write(&mut bytes);
        self.inodes.write(&bytes, encoder).map_err(|error| self.failed(error))?;
        self.places[id.index()] = Some(place);
        Ok((place, kind))
    }

    fn body(&mut self, id: NodeId, node: &Node) -> Result<Body, Error> {
        Ok(match &node.kind {
            Kind::Directory(_) => Body::Directory(self.directories[id.index()].take().unwrap_or_default()),
            Kind::File { .. } => Body::File(self.file(id)),
            Kind::Symlink(target) if target.len() > TARGET_LENGTH as usize => {
                return Err(self.refused(id, "the target of the link is longer than 4096 bytes"));
            }
            Kind::Symlink(target) => Body::Symlink(target.as_bytes().to_vec()),
            Kind::BlockDevice(device) => Body::BlockDevice(self.device(id, *device)?),
            Kind::CharDevice(device) => Body::CharDevice(self.device(id, *device)?),
            Kind::Fifo => Body::Fifo,
            Kind::Socket => Body::Socket,
        })
    }

    fn file(&self, id: NodeId) -> File {
        let Some(number) = self.made.contained.of_node[id.index()] else { return File::default() };
        let content = &self.made.contained.contents[number];
        // One without blocks has none.
        let placed =
            self.made.data.files.get(content.blocks_of.unwrap_or(number)).cloned().unwrap_or_default();
        File {
            start: placed.start,
            size: content.size,
            sparse: content.sparse,
            fragment: content.fragment,
            blocks: placed.blocks,
        }
    }

    fn device(&self, id: NodeId, device: Device) -> Result<Device, Error> {
        if device.major >= 1 << 12 || device.minor >= 1 << 20 {
            return Err(self.refused(id, "squashfs has no place for such a device number"));
        }
        Ok(device)
    }

    fn links(&self, id: NodeId, node: &Node) -> u32 {
        match node.names() {
            Some(names) => {
                let directories =
                    names.values().filter(|&&id| self.made.tree.node(id).is_directory()).count();
                u32::try_from(directories).unwrap_or(u32::MAX).saturating_add(2)
            }
            None => self.links[id.index()],
        }
    }

    fn time(&mut self, mtime: i64) -> u32 {
        self.clamped += u64::from(u32::try_from(mtime).is_err());
        let latest = self.made.options.epoch.and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or(u32::MAX);
        u32::try_from(mtime.max(0)).map_or(latest, |mtime| mtime.min(latest))
    }

    fn refused(&self, id: NodeId, reason: &str) -> Error {
        Error::Refused { path: path_of(self.made.tree, id), reason: reason.to_owned() }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io("compress the metadata of", self.made.output)(error)
    }
}

fn type_of(kind: &Kind) -> Type {
    match kind {
        Kind::Directory(_) => Type::Directory,
        Kind::File { .. } => Type::File,
        Kind::Symlink(_) => Type::Symlink,
        Kind::BlockDevice(_) => Type::BlockDevice,
        Kind::CharDevice(_) => Type::CharDevice,
        Kind::Fifo => Type::Fifo,
        Kind::Socket => Type::Socket,
    }
}
