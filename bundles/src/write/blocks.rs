//! The one who reads: opens the files in the order of the plan, finds those that are there already, and hands over blocks.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::content::{Digest, Piece, Pieces};
use super::fragments::{Class, Fragments};
use super::plan::{Plan, Planned};
use super::queue::{Closed, Item, Queue};
use super::reuse::{Decision, Reuse};
use crate::format::inode::Fragment;
use crate::{Contents, Error, FileState, NodeId, Tree};

/// How far reading has come.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// What is known of a content besides where its blocks are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) size: u64,
    /// Bytes in holes.
    pub(super) sparse: u64,
    pub(super) fragment: Option<Fragment>,
    /// Another content that has the same blocks, and another end.
    pub(super) blocks_of: Option<usize>,
}

/// What reading found.
#[derive(Debug, Default)]
pub(super) struct Contained {
    /// Every content once.
    pub(super) contents: Vec<Content>,
    /// Which of them a node has, by [`NodeId::index`]; nothing for one that vanished.
    pub(super) of_node: Vec<Option<usize>>,
    /// Files whose content was there already.
    pub(super) duplicates: u64,
    pub(super) changed: Vec<NodeId>,
    pub(super) vanished: Vec<NodeId>,
}

/// Why reading ended early.
pub(super) enum Stop {
    Closed,
    Error(Error),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

pub(super) struct Reader<'a> {
    pub(super) tree: &'a Tree,
    pub(super) queue: Queue,
    pub(super) block_size: usize,
    pub(super) counters: &'a Counters,
    reuse: Option<Reuse<'a>>,
    fragments: Fragments,
    found: Contained,
    /// Contents that another may be equal to.
    known: HashMap<blake3::Hash, usize>,
    /// The same for their blocks alone, without the end in a fragment.
    known_blocks: HashMap<blake3::Hash, usize>,
    /// Their numbers of blocks and first blocks, if they have several: what is neither here was never seen before.
    begun: HashSet<(u64, blake3::Hash)>,
    spare: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        queue: Queue,
        block_size: usize,
        counters: &'a Counters,
        reuse: Option<Reuse<'a>>,
    ) -> Self {
        let found = Contained { of_node: vec![None; tree.capacity()], ..Contained::default() };
        Self {
            tree,
            queue,
            block_size,
            counters,
            reuse,
            fragments: Fragments::new(block_size),
            found,
            known: HashMap::new(),
            known_blocks: HashMap::new(),
            begun: HashSet::new(),
            spare: Vec::new(),
        }
    }

    /// Reads everything.
    pub(super) fn read(mut self, plan: &Plan, contents: &mut dyn Contents) -> Result<Contained, Stop> {
        let mut files = plan.files.iter().peekable();
        while let Some(file) = files.next() {
            self.file(file, contents)?;
            self.settle(file)?;
            self.counters.files.fetch_add(1, Ordering::Relaxed);
            if file.class == Class::FIRST && files.peek().is_none_or(|next| next.class != Class::FIRST) {
                // Beside the blocks of the same files, not at the end of the bundle.
                self.fragments.close(Class::FIRST, &self.queue)?;
            }
        }
        self.fragments.finish(&self.queue)?;
        Ok(self.found)
    }

    fn file(&mut self, file: &Planned, contents: &mut dyn Contents) -> Result<(), Stop> {
        let again = !contents.stored_order();
        let Some(mut pieces) = self.open(file, contents)? else { return Ok(()) };
        let spare = std::mem::take(&mut self.spare);
        let mut first = self.piece(file, &mut pieces, spare)?;
        let mut digest = file.has_twin.then(Digest::default);
        if let (Some(digest), Some(first)) = (&mut digest, &first) {
            digest.add(first);
        }
        if let (Some(begin), true) = (&mut digest, pieces.length >= self.block_size as u64)
            && !self.begun.insert((file.size / self.block_size as u64, begin.value()))
            && again
        {
            // Begins like one that is there. Reading costs little, compressing in vain a lot.
            while let Some(piece) = {
                let spare = spare_of(first.take());
                self.piece(file, &mut pieces, spare)?
            } {
                begin.add(&piece);
                first = Some(piece);
            }
            if let Some(&content) = self.known.get(&begin.value()) {
                self.duplicate(file, content);
                return self.finish(file, pieces);
            }
            // It will be read once more.
            self.counters.bytes.fetch_sub(pieces.length, Ordering::Relaxed);
            drop(pieces);
            let Some(reopened) = self.open(file, contents)? else { return Ok(()) };
            pieces = reopened;
            first = self.piece(file, &mut pieces, Vec::new())?;
            digest = Some(Digest::default());
            if let (Some(digest), Some(first)) = (&mut digest, &first) {
                digest.add(first);
            }
        }
        self.pack(file, &mut pieces, first, digest)?;
        self.finish(file, pieces)
    }

    /// Hands over the blocks of a file of which the first piece was read. It may still turn out to be there already: if it
    /// could not be read twice, or is small.
    fn pack(
        &mut self,
        file: &Planned,
        pieces: &mut Pieces<'_>,
        first: Option<Piece>,
        mut digest: Option<Digest>,
    ) -> Result<(), Stop> {
        let number = self.found.contents.len();
        let class = match &first {
            Some(Piece::Data(begin)) => file.class.with_content(begin),
            _ => file.class,
        };
        let mut content = Content::default();
        let mut block_number = 0;
        let mut end = Vec::new();
        let mut blocks_hash = None;
        let mut next = first;
        while let Some(piece) = next {
            let mut spare = Vec::new();
            match piece {
                Piece::Hole(bytes) => {
                    content.sparse += bytes;
                    let count = bytes.div_ceil(self.block_size as u64);
                    self.queue.item(Item::Holes { file: number, count })?;
                    block_number += count;
                }
                Piece::Data(block) if block.len() == self.block_size => {
                    let old = self.reuse.as_ref().and_then(|reuse| reuse.block(file.node, block_number));
                    self.queue.block(number, block, old)?;
                    block_number += 1;
                }
                Piece::Data(block) => end = block,
            }
            if end.is_empty() {
                spare = std::mem::take(&mut self.spare);
            }
            next = self.piece(file, pieces, spare)?;
            if let (Some(digest), Some(piece)) = (&mut digest, &next) {
                if matches!(piece, Piece::Data(block) if block.len() < self.block_size) {
                    blocks_hash = Some(digest.value());
                }
                digest.add(piece);
            }
        }
        content.size = pieces.length;
        let hash = digest.map(|mut digest| digest.value());
        let before = hash.and_then(|hash| self.known.get(&hash).copied());
        let blocks_hash = blocks_hash.or(hash).filter(|_| block_number > 0);
        content.blocks_of = blocks_hash.and_then(|hash| self.known_blocks.get(&hash).copied());
        if block_number > 0 && before.or(content.blocks_of).is_some() {
            self.queue.item(Item::TakeBack { file: number })?;
        }
        if let Some(before) = before {
            self.duplicate(file, before);
        } else {
            if content.blocks_of.is_none() {
                self.known_blocks.extend(blocks_hash.map(|hash| (hash, number)));
            }
            if !end.is_empty() && !self.claim(file, class, content.size, &end, number)? {
                content.fragment = Some(self.fragments.add(class, &end, &self.queue)?);
            }
            self.known.extend(hash.map(|hash| (hash, number)));
            self.found.contents.push(content);
            self.found.of_node[file.node.index()] = Some(number);
        }
        self.spare = end;
        Ok(())
    }

    /// Whether the end of a file waits for an old fragment block.
    fn claim(
        &mut self,
        file: &Planned,
        class: Class,
        size: u64,
        end: &[u8],
        content: usize,
    ) -> Result<bool, Stop> {
        let Some(reuse) = &mut self.reuse else { return Ok(false) };
        reuse.claim(file.node, size, end, content, class).map_err(Stop::Error)
    }

    /// Gives the ends that waited for an old fragment block their places, if this was the last of its files.
    fn settle(&mut self, file: &Planned) -> Result<(), Stop> {
        let Some(reuse) = &mut self.reuse else { return Ok(()) };
        match reuse.read(file.node, file.size).map_err(Stop::Error)? {
            None => {}
            Some(Decision::Take(block, members)) => {
                let index = self.fragments.add_stored(block, &self.queue)?;
                for member in members {
                    self.found.contents[member.content].fragment = Some(member.fragment(index));
                }
            }
            Some(Decision::Repack(members)) => {
                for (member, end) in members {
                    let fragment = self.fragments.add(member.class, &end, &self.queue)?;
                    self.found.contents[member.content].fragment = Some(fragment);
                }
            }
        }
        Ok(())
    }

    fn duplicate(&mut self, file: &Planned, content: usize) {
        self.found.of_node[file.node.index()] = Some(content);
        self.found.duplicates += 1;
    }

    /// Nothing, which is noted, if the file is no longer there.
    fn open<'c>(
        &mut self,
        file: &Planned,
        contents: &'c mut dyn Contents,
    ) -> Result<Option<Pieces<'c>>, Stop> {
        match contents.open(file.content) {
            Ok(opened) => Ok(Some(Pieces::new(opened, self.block_size))),
            Err(error) if error.is_vanished() => {
                self.found.vanished.push(file.node);
                Ok(None)
            }
            Err(error) => Err(Stop::Error(error)),
        }
    }

    fn piece(&self, file: &Planned, pieces: &mut Pieces<'_>, spare: Vec<u8>) -> Result<Option<Piece>, Stop> {
        let before = pieces.length;
        let piece = pieces.next(spare).map_err(|error| self.failed(file, error))?;
        self.counters.bytes.fetch_add(pieces.length - before, Ordering::Relaxed);
        Ok(piece)
    }

    fn finish(&mut self, file: &Planned, pieces: Pieces<'_>) -> Result<(), Stop> {
        let length = pieces.length;
        let state = pieces.into_file().finish().map_err(|error| self.failed(file, error))?;
        if state == FileState::Changed || length != file.size {
            self.found.changed.push(file.node);
        }
        Ok(())
    }

    fn failed(&self, file: &Planned, error: io::Error) -> Stop {
        Stop::Error(Error::io("read", path_of(self.tree, file.node))(error))
    }
}

/// The memory of a piece that is done with.
fn spare_of(piece: Option<Piece>) -> Vec<u8> {
    if let Some(Piece::Data(block)) = piece { block } else { Vec::new() }
}

/// The first name of a node. Looked for only when there is something to say of it.
pub(super) fn path_of(tree: &Tree, node: NodeId) -> PathBuf {
    let mut walk = tree.walk();
    while let Some((path, _, id)) = walk.advance() {
        if id == node {
            return path.to_owned();
        }
    }
    PathBuf::new()
}
