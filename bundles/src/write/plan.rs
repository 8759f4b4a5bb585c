//! In which order the contents of files are packed, and with which other files their ends share a block.

use std::collections::HashMap;
use std::path::PathBuf;

use super::fragments::Class;
use crate::{ContentId, Kind, NodeId, Tree};

/// A file to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) node: NodeId,
    pub(super) content: ContentId,
    /// As far as it is known.
    pub(super) size: u64,
    /// Whether another file has that size, or as many blocks, and may be the same or have the same blocks.
    pub(super) has_twin: bool,
    pub(super) class: Class,
}

/// What is to be packed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order of their data: first what was asked to be, then as in the tree; or all as a stream has them.
    pub(super) files: Vec<Planned>,
    /// Sum of their sizes.
    pub(super) bytes: u64,
    /// Asked to be first, and not there.
    pub(super) warnings: Vec<String>,
}

/// Plans all files of a tree. `first` are the paths of those to begin with.
pub(super) fn plan(tree: &Tree, first: &[PathBuf], stored_order: bool, block_size: u64) -> Plan {
    let mut plan = Plan::default();
    let mut seen = vec![false; tree.capacity()];
    if stored_order && !first.is_empty() {
        plan.warnings.push("the files are not in the order asked for: the source is a stream".to_owned());
    } else {
        for path in first {
            if let Some(node) = tree.find(path) {
                plan.add(tree, node, Class::FIRST, &mut seen);
            }
        }
    }
    let mut walk = tree.walk();
    while let Some((_, name, node)) = walk.advance() {
        plan.add(tree, node, Class::by_name(name), &mut seen);
    }
    if stored_order {
        plan.files.sort_by_key(|file| file.content);
    }
    // Those of a block or more are told apart by the number of their blocks.
    let sort = |size: u64| (size / block_size, if size < block_size { size } else { 0 });
    let mut sizes: HashMap<(u64, u64), u32> = HashMap::new();
    for file in &plan.files {
        *sizes.entry(sort(file.size)).or_default() += 1;
    }
    for file in &mut plan.files {
        file.has_twin = sizes[&sort(file.size)] > 1;
        plan.bytes += file.size;
    }
    plan
}

impl Plan {
    fn add(&mut self, tree: &Tree, node: NodeId, class: Class, seen: &mut [bool]) {
        if let Kind::File { size, content } = tree.node(node).kind
            && !std::mem::replace(&mut seen[node.index()], true)
        {
            self.files.push(Planned { node, content, size, has_twin: false, class });
        }
    }
}
