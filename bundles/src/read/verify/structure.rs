//! Tables, directories, links and numbers.

use std::ops::Range;

use super::Findings;
use crate::format::METADATA_SIZE;
use crate::format::inode::{Body, Directory};
use crate::read::load::{Loaded, Run};
use crate::read::tables::Lookup;
use crate::{NodeId, Tree};

/// Unpacks all metadata.
pub(super) fn tables(findings: &mut Findings<'_>) {
    let tables = &findings.bundle.tables;
    chain(findings, &tables.inodes, "inode");
    chain(findings, &tables.directories, "directory");
    let xattrs = tables.xattrs.as_ref();
    if let Some(xattrs) = xattrs {
        // The sets lie behind the attributes.
        let end = xattrs.sets.block_place(&findings.bundle.image, 0);
        let end = end.ok().filter(|end| xattrs.pairs.contains(end)).unwrap_or(xattrs.pairs.end);
        chain(findings, &(xattrs.pairs.start..end), "xattr");
    }
    let sets = xattrs.map(|table| table.sets);
    let all = [Some(tables.id_table), tables.fragments, tables.export, sets];
    all.into_iter().flatten().for_each(|table| lookup(findings, table));
}

/// Metadata blocks that follow each other.
fn chain(findings: &mut Findings<'_>, table: &Range<u64>, name: &str) {
    let bundle = findings.bundle;
    let mut at = table.start;
    while at < table.end {
        match bundle.cache.block(&bundle.image, at, table.end) {
            Ok(block) => {
                at = block.next;
                findings.verified.metadata_blocks += 1;
            }
            Err(error) => {
                findings.error(None, &error);
                findings.wrong(at, None, format!("the rest of the {name} table cannot be examined"));
                return;
            }
        }
    }
}

/// Metadata blocks with entries, by the list of their places.
fn lookup(findings: &mut Findings<'_>, table: Lookup) {
    let bundle = findings.bundle;
    let mut before = 0;
    for number in 0..table.blocks() {
        let result = table
            .block_place(&bundle.image, number)
            .and_then(|at| Ok((at, bundle.cache.block(&bundle.image, at, table.index)?)));
        let (at, block) = match result {
            Ok(found) => found,
            Err(error) => {
                findings.error(None, &error);
                continue;
            }
        };
        findings.verified.metadata_blocks += 1;
        let expected = table.block_bytes(number);
        if block.bytes.len() as u64 != expected {
            let what = format!(
                "a block of the {} table has {} bytes instead of {expected}",
                table.name,
                block.bytes.len()
            );
            findings.wrong(at, None, what);
        }
        if at < before {
            findings.wrong(at, None, format!("two blocks of the {} table overlap", table.name));
        }
        before = block.next;
    }
}

/// Numbers of names, of inodes, and of parents.
pub(super) fn links(findings: &mut Findings<'_>, loaded: &Loaded) {
    let names = loaded.tree.link_counts();
    let count = u32::try_from(loaded.nodes.len()).unwrap_or(u32::MAX);
    if count != findings.bundle.superblock.inodes {
        let what =
            format!("{count} inodes have names, where there should be {}", findings.bundle.superblock.inodes);
        findings.wrong(4, None, what);
    }
    // Its own is found by many names; those of a directory are its subdirectories', its own and `.`.
    let mut expected = names;
    for (id, _) in ids(loaded) {
        let subdirectories = loaded
            .tree
            .node(id)
            .names()
            .map(|names| names.values().filter(|&&below| loaded.tree.node(below).is_directory()).count());
        if let (Some(count), Some(expected)) = (subdirectories, expected.get_mut(id.index())) {
            *expected = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(2);
        }
    }
    for (id, node) in ids(loaded) {
        let expected = expected.get(id.index()).copied().unwrap_or(0);
        if node.links != expected {
            findings.node(loaded, id, format!("it has {expected} links, and says {}", node.links));
        }
        let parent = loaded.nodes.get(node.parent.index()).map_or(0, |parent| parent.number);
        if id != Tree::ROOT && loaded.tree.node(id).is_directory() && node.parent_number != parent {
            let what = format!("it is in directory {parent}, and says {}", node.parent_number);
            findings.node(loaded, id, what);
        }
    }
}

fn ids(loaded: &Loaded) -> impl Iterator<Item = (NodeId, &crate::read::load::StoredNode)> {
    loaded.by_number.values().filter_map(|&id| Some((id, loaded.nodes.get(id.index())?)))
}

/// Order and indexes, without which the kernel does not find a name.
pub(super) fn directories(findings: &mut Findings<'_>, loaded: &Loaded) {
    let mut budget = findings.budget();
    let bundle = findings.bundle;
    for (id, node) in ids(loaded).filter(|(id, _)| loaded.tree.node(*id).is_directory()) {
        let result = bundle.inode(node.reference, &mut budget).and_then(|(inode, _)| match inode.body {
            Body::Directory(directory) => Ok(Some((bundle.runs(&directory, &mut budget)?, directory))),
            _ => Ok(None),
        });
        // What cannot be read was found when the tree was.
        let Ok(Some((runs, directory))) = result else { continue };
        let names = || runs.iter().flat_map(|run| run.entries.iter().map(|entry| (&entry.name, run.at)));
        if let Some(((_, _), (name, at))) = names().zip(names().skip(1)).find(|((a, _), (b, _))| a >= b) {
            let what = format!("the names of a directory are not in order: {}", name.display());
            findings.wrong(at, Some(loaded.path_of(id)), what);
        }
        if let Some(number) = directory
            .index
            .iter()
            .position(|index| !leads_to_a_run(&directory, index, &runs, bundle.tables.directories.start))
        {
            findings.node(loaded, id, format!("entry {number} of the index of a directory leads nowhere"));
        }
    }
}

/// Whether an index entry is the place of a header and the name behind it.
fn leads_to_a_run(
    directory: &Directory,
    index: &crate::format::inode::Index,
    runs: &[Run],
    table: u64,
) -> bool {
    let place = runs.binary_search_by_key(&u64::from(index.position), |run| run.position);
    let run = place.ok().and_then(|place| runs.get(place));
    // The kernel takes the offset in the block from the position.
    let offset = (u64::from(directory.offset) + u64::from(index.position)) % METADATA_SIZE as u64;
    run.is_some_and(|run| {
        let first = run.entries.first().is_some_and(|entry| entry.name.as_encoded_bytes() == index.name);
        first && run.at == table.saturating_add(index.start.into()) && run.offset as u64 == offset
    })
}

/// Places of inodes by their number.
pub(super) fn export(findings: &mut Findings<'_>, loaded: &Loaded) {
    let bundle = findings.bundle;
    for (id, node) in ids(loaded) {
        match bundle.tables.exported(&bundle.image, &bundle.cache, node.number) {
            Ok(place) if place.is_none_or(|place| place == node.reference) => {}
            Ok(_) => {
                let what = format!("the export table has another place for inode {}", node.number);
                findings.node(loaded, id, what);
            }
            Err(error) => {
                findings.error(None, &error);
                return;
            }
        }
    }
}
