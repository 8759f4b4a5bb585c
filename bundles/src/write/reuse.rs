//! What an older bundle has already is taken from there as it is stored: unpacking and comparing costs a fraction of
//! compressing.
//!
//! Blocks of a file are compared with those of the old file of the same name, by whoever would compress them
//! ([`compress`](super::compress)). A fragment block is taken only as a whole, and only if everything in it is still wanted
//! and unchanged, which is known when the last of its members was read. Until then they wait; if one is not as it was, the
//! others are put into new blocks, from what the old one has of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::fragments::Class;
use super::plan::Plan;
use super::queue::Stored;
use crate::format::inode::Fragment;
use crate::read::{StoredBlock, StoredFile};
use crate::{Bundle, Compression, Compressor, Error, Kind, NodeId, PackOptions, Tree};

/// Bytes of old fragment blocks that are kept unpacked.
const KEPT: usize = 16 << 20;

/// An old bundle, and what may be taken from it.
pub(super) struct Reuse<'a> {
    bundle: &'a Bundle,
    /// The old file of the same name, by [`NodeId::index`] of the new one.
    files: HashMap<usize, &'a StoredFile>,
    block_size: u64,
    fragments: BTreeMap<u32, OldFragment>,
    unpacked: VecDeque<(u32, Arc<Vec<u8>>)>,
}

/// An old fragment block of which all members are still wanted.
#[derive(Debug, Default)]
struct OldFragment {
    /// Where each member begins and how long it is.
    members: BTreeSet<Member>,
    /// New files that may have one of them and were not read yet.
    expected: usize,
    /// Members found unchanged.
    confirmed: Vec<Confirmed>,
}

/// Offset and length.
type Member = (u32, u32);

/// A content whose end is in an old fragment block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    /// Its place among all contents.
    pub(super) content: usize,
    pub(super) class: Class,
    member: Member,
}

impl Confirmed {
    /// Its place, if the block is taken over as the one of that number.
    pub(super) fn fragment(&self, index: u32) -> Fragment {
        Fragment { index, offset: self.member.0 }
    }
}

/// What becomes of an old fragment block.
pub(super) enum Decision {
    /// It is taken as it is stored.
    Take(Stored, Vec<Confirmed>),
    /// Its members go into new blocks.
    Repack(Vec<(Confirmed, Vec<u8>)>),
}

impl<'a> Reuse<'a> {
    /// What a bundle has for a new tree.
    ///
    /// # Errors
    /// Why nothing of it can be taken.
    pub(super) fn new(
        bundle: &'a Bundle,
        options: &PackOptions,
        tree: &Tree,
        plan: &Plan,
    ) -> Result<Self, String> {
        let superblock = bundle.superblock();
        let stored = bundle.compressor_options().map_err(|error| error.to_string())?;
        let old = settings(superblock.compression, superblock.block_size, stored);
        let new = settings(
            options.compressor.compression(),
            options.block_size,
            options.compressor.option_block(options.block_size),
        );
        if old != new {
            return Err("it is not packed with these settings".to_owned());
        }
        let mut reuse = Self {
            bundle,
            files: HashMap::new(),
            block_size: options.block_size.into(),
            fragments: BTreeMap::new(),
            unpacked: VecDeque::new(),
        };
        reuse.find_files(tree).map_err(|error| error.to_string())?;
        reuse.find_fragments(plan).map_err(|error| error.to_string())?;
        Ok(reuse)
    }

    fn find_files(&mut self, tree: &Tree) -> Result<(), Error> {
        let old_tree = self.bundle.tree()?;
        let mut walk = tree.walk();
        while let Some((path, _, node)) = walk.advance() {
            if matches!(tree.node(node).kind, Kind::File { .. })
                && let Some(old) = old_tree.find(path)
                && let Kind::File { content, .. } = old_tree.node(old).kind
            {
                self.files.entry(node.index()).or_insert(self.bundle.file(content)?);
            }
        }
        Ok(())
    }

    /// The old fragment blocks that every member may be wanted of.
    fn find_fragments(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut wanted: HashMap<u32, BTreeSet<Member>> = HashMap::new();
        for file in &plan.files {
            if let Some((index, member)) = self.member(file.node, file.size) {
                wanted.entry(index).or_default().insert(member);
                self.fragments.entry(index).or_default().expected += 1;
            }
        }
        let old_tree = self.bundle.tree()?;
        let mut walk = old_tree.walk();
        while let Some((_, _, node)) = walk.advance() {
            if let Kind::File { content, .. } = old_tree.node(node).kind
                && let Some((index, member)) = member(self.bundle.file(content)?, self.block_size)
                && let Some(fragment) = self.fragments.get_mut(&index)
            {
                fragment.members.insert(member);
            }
        }
        self.fragments.retain(|index, fragment| {
            wanted.get(index).is_some_and(|wanted| *wanted == fragment.members)
                && follow_each_other(&fragment.members)
        });
        Ok(())
    }

    /// The old block of a file at that place in it.
    pub(super) fn block(&self, node: NodeId, number: u64) -> Option<StoredBlock> {
        let file = self.files.get(&node.index())?;
        let block = file.blocks().nth(usize::try_from(number).ok()?)?;
        (!block.is_hole()).then_some(block)
    }

    /// Where the end of a file is in an old fragment block, if it has the same length as then.
    fn member(&self, node: NodeId, size: u64) -> Option<(u32, Member)> {
        let file = self.files.get(&node.index()).filter(|file| file.size() == size)?;
        member(file, self.block_size)
    }

    /// Whether the end of a file is in an old fragment block that may be taken. If so it has its place when
    /// [`Reuse::read`] decides.
    pub(super) fn claim(
        &mut self,
        node: NodeId,
        size: u64,
        end: &[u8],
        content: usize,
        class: Class,
    ) -> Result<bool, Error> {
        let Some((index, member)) = self.member(node, size) else { return Ok(false) };
        if !self.fragments.contains_key(&index) {
            return Ok(false);
        }
        let block = self.unpacked(index)?;
        let same = place(&block, member) == Some(end);
        let covered =
            self.fragments[&index].members.last().map(|&(offset, length)| (offset + length) as usize);
        if !same || covered != Some(block.len()) {
            return Ok(false);
        }
        if let Some(fragment) = self.fragments.get_mut(&index) {
            fragment.confirmed.push(Confirmed { content, class, member });
        }
        Ok(true)
    }

    /// A file was read, or is not there: what becomes of its old fragment block, if it was the last.
    pub(super) fn read(&mut self, node: NodeId, size: u64) -> Result<Option<Decision>, Error> {
        let Some((index, _)) = self.member(node, size) else { return Ok(None) };
        let Some(fragment) = self.fragments.get_mut(&index) else { return Ok(None) };
        fragment.expected -= 1;
        if fragment.expected > 0 {
            return Ok(None);
        }
        let Some(OldFragment { members, confirmed, .. }) = self.fragments.remove(&index) else {
            return Ok(None);
        };
        if confirmed.is_empty() {
            return Ok(None);
        }
        if confirmed.iter().map(|confirmed| confirmed.member).collect::<BTreeSet<_>>() == members {
            let block = self.bundle.fragment(index)?;
            let mut bytes = Vec::new();
            self.bundle.read_stored(block, &mut bytes)?;
            return Ok(Some(Decision::Take(Stored { bytes, size: block.size, reused: true }, confirmed)));
        }
        let block = self.unpacked(index)?;
        let bytes =
            |confirmed: Confirmed| (confirmed, place(&block, confirmed.member).unwrap_or_default().to_vec());
        Ok(Some(Decision::Repack(confirmed.into_iter().map(bytes).collect())))
    }

    /// Members are read in turn from as many blocks as there are classes: these are kept.
    fn unpacked(&mut self, index: u32) -> Result<Arc<Vec<u8>>, Error> {
        if let Some((_, block)) = self.unpacked.iter().find(|(kept, _)| *kept == index) {
            return Ok(Arc::clone(block));
        }
        let block = self.bundle.read_fragment(index)?;
        if self.unpacked.len() as u64 >= KEPT as u64 / self.block_size {
            self.unpacked.pop_front();
        }
        self.unpacked.push_back((index, Arc::clone(&block)));
        Ok(block)
    }
}

/// What two bundles must have in common: the compressor, its settings and the size of blocks.
fn settings(
    compression: Compression,
    block_size: u32,
    option_block: Option<Vec<u8>>,
) -> (Compression, u32, Option<Vec<u8>>) {
    // Some writers store the default level as well.
    let default = Compressor::default().compression();
    let level = |bytes: &Vec<u8>| compression != default || bytes != &15_u32.to_le_bytes();
    (compression, block_size, option_block.filter(level))
}

/// The fragment block of an old file's end.
fn member(file: &StoredFile, block_size: u64) -> Option<(u32, Member)> {
    let (index, offset) = file.fragment()?;
    let length = u32::try_from(file.size() % block_size).ok()?;
    Some((index, (offset, length)))
}

fn place(block: &[u8], (offset, length): Member) -> Option<&[u8]> {
    block.get(offset as usize..)?.get(..length as usize)
}

/// Whether there is nothing between them: bytes of a file that is no longer wanted.
fn follow_each_other(members: &BTreeSet<Member>) -> bool {
    let mut end = 0;
    members.iter().all(|&(offset, length)| {
        let follows = offset == end;
        end = offset.saturating_add(length);
        follows
    })
}
