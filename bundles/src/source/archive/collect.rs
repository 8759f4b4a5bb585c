//! Entries of archives become a tree.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::contents::ArchiveContents;
use super::entries::{Broken, Entries, Entry, EntryKind};
use super::stream::Stream;
use crate::source::attributes::of_a_lower;
use crate::{Error, Kind, Node, NodeId, Tree, TreeError};

/// How many links a path may lead over, as in the kernel (include/linux/namei.h, MAXSYMLINKS).
const LINKS: usize = 40;

/// Makes a tree of one archive after the other.
#[derive(Debug, Default)]
pub(in crate::source) struct Collector {
    pub(in crate::source) contents: ArchiveContents,
    /// Files with access control lists, which are dropped.
    acls: u64,
    /// Entries of a kind that is no file.
    others: BTreeMap<char, u64>,
    /// Archives without an end mark.
    endless: u64,
}

impl Collector {
    /// Makes a tree of an archive. It lies above `base`: the parents of its files and what its hard links lead to may be
    /// there.
    pub(in crate::source) fn take(&mut self, stream: Stream, base: Option<&Tree>) -> Result<Tree, Error> {
        let path = stream.path.clone();
        let root = base.map_or_else(Node::directory, |base| without_names(base.node(Tree::ROOT)));
        let mut entries = Entries::new(stream.input());
        let mut layer = Layer { tree: Tree::new(root), base, contents: &mut self.contents };
        layer.contents.add_stream(stream);
        let failed = |Broken { offset, reason }| Error::Archive { path: path.clone(), offset, reason };
        while let Some(entry) = entries.next().map_err(failed)? {
            if let EntryKind::Other(letter) = entry.kind {
                *self.others.entry(letter).or_default() += 1;
                continue;
            }
            self.acls += u64::from(entry.acl);
            let offset = entry.offset;
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            layer
                .entry(entry)
                .map_err(|reason| failed(Broken { offset, reason: format!("{name}: {reason}") }))?;
        }
        self.endless += u64::from(!entries.ended);
        Ok(layer.tree)
    }

    /// What is not in the trees as it is in the archives, since this was last asked.
    pub(in crate::source) fn warnings(&mut self) -> Vec<String> {
        let (acls, endless) = (std::mem::take(&mut self.acls), std::mem::take(&mut self.endless));
        let others = std::mem::take(&mut self.others);
        let mut warnings = Vec::new();
        if acls > 0 {
            warnings.push(format!(
                "access control lists of {acls} files are not in the bundle: squashfs cannot store them"
            ));
        }
        for (letter, count) in others {
            // V names the archive.
            if letter != 'V' {
                warnings.push(format!("{count} entries of the unknown type {letter:?} are left out"));
            }
        }
        if endless > 0 {
            warnings.push("the archive has no end mark: it may be cut off".to_owned());
        }
        warnings
    }
}

struct Layer<'a> {
    tree: Tree,
    base: Option<&'a Tree>,
    contents: &'a mut ArchiveContents,
}

impl Layer<'_> {
    fn entry(&mut self, entry: Entry) -> Result<(), String> {
        let path = relative(&entry.name)?;
        let kind = match entry.kind {
            EntryKind::Link(target) => return self.hard_link(&path, &target),
            EntryKind::File(data) => {
                let size = data.size;
                Kind::File { size, content: self.contents.add(data)? }
            }
            EntryKind::Symlink(target) => Kind::Symlink(OsString::from_vec(target)),
            EntryKind::Directory => Kind::Directory(BTreeMap::new()),
            EntryKind::BlockDevice(device) => Kind::BlockDevice(device),
            EntryKind::CharDevice(device) => Kind::CharDevice(device),
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::Other(_) => return Ok(()),
        };
        let Entry { mode, uid, gid, mtime, xattrs, .. } = entry;
        let path = self.place(&path, mtime)?;
        let xattrs = of_a_lower(xattrs)?;
        let node = Node { kind, mode, uid, gid, mtime, xattrs };
        self.tree.insert(&path, node).map(drop).map_err(|e| e.to_string())
    }

    fn hard_link(&mut self, path: &Path, target: &[u8]) -> Result<(), String> {
        let name = String::from_utf8_lossy(target).into_owned();
        let target = self.place(&relative(target)?, 0)?;
        if target == path {
            return Ok(());
        }
        let missing = || format!("a hard link to {name}, which is not there");
        let node = match self.tree.find(&target) {
            Some(node) => node,
            // In a layer below: it becomes a file of this one, with the same content.
            None => {
                let base = self.base.ok_or_else(missing)?;
                let below = base.find(&target).ok_or_else(missing)?;
                self.tree.insert(&target, base.node(below).clone()).map_err(|e| e.to_string())?
            }
        };
        let mtime = self.tree.node(node).mtime;
        let path = self.place(path, mtime)?;
        self.tree.link(&path, node).map_err(|e| e.to_string())
    }

    /// Where a file of that name is: links on the way to it are followed, within the tree, as unpacking does it. Parents
    /// that only the base has are taken from it, so that they stay as they are.
    fn place(&mut self, path: &Path, mtime: i64) -> Result<PathBuf, String> {
        let mut rest: Vec<OsString> = path.iter().map(OsStr::to_owned).collect();
        let Some(last) = rest.pop() else { return Ok(PathBuf::new()) };
        rest.reverse();
        let (mut at, mut links) = (PathBuf::new(), 0);
        while let Some(name) = rest.pop() {
            match Path::new(&name).components().next() {
                Some(Component::ParentDir) => drop(at.pop()),
                Some(Component::Normal(_)) => {
                    at.push(&name);
                    let Some(target) = self.step(&at, mtime)? else { continue };
                    links += 1;
                    if links > LINKS {
                        return Err("too many links on the way to it".to_owned());
                    }
                    at.pop();
                    if target.is_absolute() {
                        at = PathBuf::new();
                    }
                    rest.extend(target.iter().rev().map(OsStr::to_owned));
                }
                _ => {}
            }
        }
        at.push(last);
        Ok(at)
    }

    /// Sees to it that the directory `at` is there; returns where the link leads that is there instead.
    fn step(&mut self, at: &Path, mtime: i64) -> Result<Option<PathBuf>, String> {
        if let Some(own) = self.tree.find(at) {
            return match &self.tree.node(own).kind {
                Kind::Symlink(target) => Ok(Some(PathBuf::from(target))),
                Kind::Directory(_) => Ok(None),
                _ => Err(format!("{} is not a directory", at.display())),
            };
        }
        let below = self.base.and_then(|base| Some(base.node(base.find(at)?)));
        let parent = match below.map(|node| (&node.kind, node)) {
            Some((Kind::Symlink(target), _)) => return Ok(Some(PathBuf::from(target))),
            Some((Kind::Directory(_), node)) => without_names(node),
            // Nothing, or what this layer replaces.
            _ => Node { mtime, ..Node::directory() },
        };
        self.tree.insert(at, parent).map_err(|e| e.to_string())?;
        Ok(None)
    }
}

/// A directory as it is, with nothing in it.
pub(in crate::source) fn without_names(node: &Node) -> Node {
    Node { kind: Kind::Directory(BTreeMap::new()), xattrs: node.xattrs.clone(), ..*node }
}

/// The path of a name in an archive: absolute ones are taken from the root.
pub(in crate::source) fn relative(name: &[u8]) -> Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("the name leads out of the archive".to_owned()),
            _ if component.contains(&0) => return Err("a name with a zero in it".to_owned()),
            _ => path.push(OsStr::from_bytes(component)),
        }
    }
    Ok(path)
}

/// The tree below the only directory of `tree`, if that is one with a system in it: an archive made of a folder from
/// outside (`tar c rootfs/`).
pub(in crate::source) fn enter_single_folder(tree: Tree) -> Tree {
    let names = tree.node(Tree::ROOT).names();
    let only = names.filter(|names| names.len() == 1).and_then(BTreeMap::first_key_value);
    let Some((name, &id)) = only else { return tree };
    let inside = |name: &str| {
        let names = tree.node(id).names()?;
        Some(tree.node(*names.get(OsStr::new(name))?).is_directory())
    };
    if inside("etc") == Some(true) && inside("usr") == Some(true) {
        let mut entered = Tree::new(without_names(tree.node(id)));
        let top = Path::new(name);
        let below = tree.walk().filter_map(|(path, id)| Some((path.strip_prefix(top).ok()?.to_owned(), id)));
        // Paths of a tree are paths of a tree.
        if copy(&tree, &mut entered, below.filter(|(path, _)| !path.as_os_str().is_empty())).is_ok() {
            return entered;
        }
    }
    tree
}

/// Puts the nodes of `from` into `to`, each under its path. Those with several names stay one.
pub(in crate::source) fn copy(
    from: &Tree,
    to: &mut Tree,
    paths: impl Iterator<Item = (PathBuf, NodeId)>,
) -> Result<(), TreeError> {
    let mut copied: Vec<Option<NodeId>> = vec![None; from.capacity()];
    for (path, id) in paths {
        let node = from.node(id);
        if let Some(there) = copied[id.index()] {
            to.link(&path, there)?;
        } else if node.is_directory() {
            to.insert(&path, without_names(node))?;
        } else {
            copied[id.index()] = Some(to.insert(&path, node.clone())?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        for (name, expected) in [
            ("./a/b", Some("a/b")),
            ("/a//b/", Some("a/b")),
            (".", Some("")),
            ("a/./b", Some("a/b")),
            ("../a", None),
            ("a/../b", None),
            ("a\0b", None),
        ] {
            assert_eq!(relative(name.as_bytes()).ok().as_deref(), expected.map(Path::new), "{name}");
        }
    }

    #[test]
    fn an_archive_of_a_folder_is_entered() {
        for (names, expected) in [
            (&["rootfs/etc", "rootfs/usr/bin"][..], &["etc", "usr", "usr/bin"][..]),
            (&["rootfs/etc"], &["rootfs", "rootfs/etc"]),
            (&["rootfs/etc", "rootfs/usr", "x"], &["rootfs", "rootfs/etc", "rootfs/usr", "x"]),
        ] {
            let mut tree = Tree::new(Node::directory());
            for name in names {
                tree.insert(Path::new(name), Node::directory()).unwrap();
            }
            let entered: Vec<_> = enter_single_folder(tree).walk().map(|(path, _)| path).collect();
            assert_eq!(entered, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
