//! What is made in which order.

use std::collections::btree_map;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::Directories;
use crate::read::Selection;
use crate::{ContentId, Kind, NodeId, Tree};

/// A name in a directory. Paths are made of it only for errors: a tree may be deep, and full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) directory: NodeId,
    pub(super) name: &'a OsStr,
    pub(super) id: NodeId,
}

/// A regular file to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) named: Named<'a>,
    pub(super) size: u64,
    pub(super) content: ContentId,
}

#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) directories: Directories<'a>,
    /// All directories but the target, parents first.
    pub(super) directory_order: Vec<Named<'a>>,
    pub(super) files: Vec<File<'a>>,
    /// What is neither.
    pub(super) others: Vec<Named<'a>>,
    /// First names and further names.
    pub(super) links: Vec<(Named<'a>, Named<'a>)>,
}

/// A directory that is being walked through.
struct Level<'a> {
    id: NodeId,
    names: btree_map::Iter<'a, OsString, NodeId>,
    /// Whether all of it is wanted.
    wanted: bool,
    /// Whether it is planned to be made.
    planned: bool,
    name: &'a OsStr,
}

impl<'a> Plan<'a> {
    pub(super) fn new(tree: &'a Tree, selection: &mut Selection) -> Self {
        let mut plan = Self {
            directories: vec![None; tree.capacity()],
            directory_order: Vec::new(),
            files: Vec::new(),
            others: Vec::new(),
            links: Vec::new(),
        };
        let mut first: Vec<Option<Named<'a>>> = vec![None; tree.capacity()];
        let mut path = PathBuf::new();
        let wanted = selection.takes(&path);
        let mut stack: Vec<Level<'a>> = Vec::new();
        if let Some(names) = tree.node(Tree::ROOT).names() {
            stack.push(Level {
                id: Tree::ROOT,
                names: names.iter(),
                wanted,
                planned: true,
                name: OsStr::new(""),
            });
        }
        while let Some(level) = stack.last_mut() {
            let Some((name, &id)) = level.names.next() else {
                stack.pop();
                path.pop();
                continue;
            };
            let named = Named { directory: level.id, name, id };
            path.push(name);
            // Asked below what is wanted as well: a pattern that takes something there is not unused.
            let wanted = selection.takes(&path) || level.wanted;
            if let Some(names) = tree.node(id).names() {
                stack.push(Level { id, names: names.iter(), wanted, planned: false, name });
                if wanted {
                    plan.add_directories(&mut stack);
                }
                continue;
            }
            path.pop();
            if !wanted {
                continue;
            }
            plan.add_directories(&mut stack);
            match first.get_mut(id.index()) {
                Some(Some(first)) => plan.links.push((*first, named)),
                Some(place) => {
                    *place = Some(named);
                    plan.add(tree, named);
                }
                None => {}
            }
        }
        plan
    }

    /// The directories on the way are made when there is something to be made in them.
    fn add_directories(&mut self, stack: &mut [Level<'a>]) {
        let from = stack.iter().rposition(|level| level.planned).unwrap_or(0);
        let mut directory = stack.get(from).map_or(Tree::ROOT, |level| level.id);
        for level in stack.iter_mut().skip(from + 1) {
            level.planned = true;
            if let Some(place) = self.directories.get_mut(level.id.index()) {
                *place = Some((directory, level.name));
            }
            self.directory_order.push(Named { directory, name: level.name, id: level.id });
            directory = level.id;
        }
    }

    fn add(&mut self, tree: &Tree, named: Named<'a>) {
        if let Kind::File { size, content } = tree.node(named.id).kind {
            self.files.push(File { named, size, content });
        } else {
            self.others.push(named);
        }
    }

    pub(super) fn path(&self, named: Named<'_>) -> PathBuf {
        let mut names = vec![named.name];
        let mut at = named.directory;
        while let Some(Some((parent, name))) = self.directories.get(at.index()) {
            names.push(name);
            at = *parent;
        }
        names.into_iter().rev().collect()
    }
}
