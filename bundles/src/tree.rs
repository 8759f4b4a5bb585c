//! What a bundle holds, apart from the contents of its files: the one form that sources give, the writer takes and the
//! reader gives back.

use std::collections::{BTreeMap, btree_map};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// A node of a [`Tree`]. Several names for one node are hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl NodeId {
    /// Its place in an array with an element for each node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names the content of a file to the [`Contents`](crate::Contents) the tree came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub u64);

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// 12 bits.
    pub major: u32,
    /// 20 bits.
    pub minor: u32,
}

impl Device {
    /// What overlayfs takes a character device for: a name that hides the one below it
    /// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
    pub const WHITEOUT: Self = Self { major: 0, minor: 0 };
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// The whole name, such as `security.capability`.
    pub name: OsString,
    /// Its value.
    pub value: Vec<u8>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory with its names, sorted by their bytes.
    Directory(BTreeMap<OsString, NodeId>),
    /// A regular file.
    File {
        /// Length in bytes, as far as it is known before it is read.
        size: u64,
        /// Where its bytes are.
        content: ContentId,
    },
    /// A symbolic link and where it points.
    Symlink(OsString),
    /// A block device.
    BlockDevice(Device),
    /// A character device, or overlayfs' whiteout.
    CharDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What is known of a file, whatever its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permissions: the lowest twelve bits of a mode.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of its content, in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes, sorted by name, no name twice.
    pub xattrs: Vec<Xattr>,
}

impl Node {
    /// A directory of root's without names.
    pub fn directory() -> Self {
        Self {
            kind: Kind::Directory(BTreeMap::new()),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: Vec::new(),
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The names in it, if it is a directory.
    pub fn names(&self) -> Option<&BTreeMap<OsString, NodeId>> {
        if let Kind::Directory(names) = &self.kind { Some(names) } else { None }
    }
}

/// Why a tree did not take a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// An absolute path, or one with `..`, or an empty one.
    #[error("the path leads out of the tree")]
    Outside,
    /// A part of the path is there and is no directory.
    #[error("a part of the path is not a directory")]
    NotADirectory,
    /// Directories have one name.
    #[error("a directory cannot have a second name")]
    DirectoryLink,
    /// More nodes than a squashfs can number.
    #[error("too many files")]
    Full,
}

/// Names and what they stand for. Paths are relative to the root, which is the empty path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree of a root alone.
    ///
    /// # Panics
    /// `root` is not a directory.
    pub fn new(root: Node) -> Self {
        assert!(root.is_directory(), "the root of a tree is a directory");
        Self { nodes: vec![root] }
    }

    /// Nodes ever put in, with those no longer named: one more than the largest [`NodeId::index`].
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// The node of that number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The same, to change it. What it is must stay a directory, or no directory.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    /// The node of that name; links are not followed.
    pub fn find(&self, path: &Path) -> Option<NodeId> {
        path.components().try_fold(Self::ROOT, |at, component| match component {
            Component::CurDir => Some(at),
            Component::Normal(name) => self.node(at).names()?.get(name).copied(),
            _ => None,
        })
    }

    /// Puts `node` at `path`. What was there is replaced, except that a directory over a directory keeps its names;
    /// missing parents become directories of root's with the time of the node.
    ///
    /// # Errors
    /// The path is none of this tree's, or there are too many nodes.
    pub fn insert(&mut self, path: &Path, mut node: Node) -> Result<NodeId, TreeError> {
        if path.components().all(|c| c == Component::CurDir) {
            let (Kind::Directory(names), Kind::Directory(old)) = (&mut node.kind, &mut self.nodes[0].kind)
            else {
                return Err(TreeError::NotADirectory);
            };
            names.append(old);
            self.nodes[0] = node;
            return Ok(Self::ROOT);
        }
        let (parent, name) = self.parent(path, node.mtime)?;
        if let Some(old) = self.node(parent).names().and_then(|names| names.get(&name)).copied()
            && let (Kind::Directory(names), Kind::Directory(before)) =
                (&mut node.kind, &mut self.node_mut(old).kind)
        {
            names.append(before);
            *self.node_mut(old) = node;
            return Ok(old);
        }
        let id = self.add(node)?;
        self.set(parent, name, id);
        Ok(id)
    }

    /// Gives `node` the further name `path`: a hard link.
    ///
    /// # Errors
    /// The path is none of this tree's, or the node is a directory.
    pub fn link(&mut self, path: &Path, node: NodeId) -> Result<(), TreeError> {
        if self.node(node).is_directory() {
            return Err(TreeError::DirectoryLink);
        }
        let (parent, name) = self.parent(path, self.node(node).mtime)?;
        self.set(parent, name, node);
        Ok(())
    }

    /// Takes a name away, with everything below it. Returns what it stood for.
    pub fn remove(&mut self, path: &Path) -> Option<NodeId> {
        let parent = self.find(path.parent()?)?;
        let Kind::Directory(names) = &mut self.node_mut(parent).kind else { return None };
        names.remove(path.file_name()?)
    }

    /// Every name but the root's, parents before what is in them, in the order of their bytes within a directory.
    pub fn walk(&self) -> Walk<'_> {
        let top = self.node(Self::ROOT).names().map(BTreeMap::iter);
        Walk { tree: self, path: PathBuf::new(), stack: top.into_iter().collect(), below: false }
    }

    /// How many names each node has, by [`NodeId::index`]; 1 for the root.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        counts[0] = 1;
        let mut directories = vec![Self::ROOT];
        while let Some(directory) = directories.pop() {
            for &id in self.node(directory).names().into_iter().flat_map(BTreeMap::values) {
                counts[id.index()] += 1;
                if self.node(id).is_directory() {
                    directories.push(id);
                }
            }
        }
        counts
    }

    /// A node without a name yet, for those who read many names of a directory at once.
    pub(crate) fn add(&mut self, node: Node) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len()).ok().filter(|&n| n < u32::MAX).ok_or(TreeError::Full)?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    /// Gives a node a name in a directory, and returns the one that had it.
    pub(crate) fn set(&mut self, directory: NodeId, name: OsString, id: NodeId) -> Option<NodeId> {
        let Kind::Directory(names) = &mut self.node_mut(directory).kind else { return None };
        names.insert(name, id)
    }

    /// The directory that `path` is in, made where it is missing, and the last name.
    fn parent(&mut self, path: &Path, mtime: i64) -> Result<(NodeId, OsString), TreeError> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => names.push(name),
                _ => return Err(TreeError::Outside),
            }
        }
        let last = names.pop().ok_or(TreeError::Outside)?;
        let mut at = Self::ROOT;
        for name in names {
            at = match self.node(at).names().ok_or(TreeError::NotADirectory)?.get(name) {
                Some(&next) => next,
                None => {
                    let id = self.add(Node { mtime, ..Node::directory() })?;
                    self.set(at, name.to_owned(), id);
                    id
                }
            };
        }
        if !self.node(at).is_directory() {
            return Err(TreeError::NotADirectory);
        }
        Ok((at, last.to_owned()))
    }
}

/// See [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    /// Of the last name given.
    path: PathBuf,
    /// What is left of the directories on the way to it, the topmost first.
    stack: Vec<btree_map::Iter<'a, OsString, NodeId>>,
    /// Whether the path still has a name of the innermost directory.
    below: bool,
}

impl<'a> Walk<'a> {
    /// Like `next`, without a copy of the path.
    pub fn advance(&mut self) -> Option<(&Path, &'a OsStr, NodeId)> {
        loop {
            if std::mem::take(&mut self.below) {
                self.path.pop();
            }
            let Some((name, &id)) = self.stack.last_mut()?.next() else {
                self.stack.pop();
                self.below = !self.stack.is_empty();
                continue;
            };
            self.path.push(name);
            match self.tree.node(id).names() {
                Some(names) => self.stack.push(names.iter()),
                None => self.below = true,
            }
            return Some((&self.path, name, id));
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = (PathBuf, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|(path, _, id)| (path.to_owned(), id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: u64) -> Node {
        Node { kind: Kind::File { size: 1, content: ContentId(content) }, mode: 0o644, ..Node::directory() }
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.walk().map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_walk_goes_by_bytes_parents_first() {
        let mut tree = Tree::new(Node::directory());
        for (n, path) in ["b", "a/y/2", "a-b", "a/y/1", "./a/x", "c/d/e/f"].iter().enumerate() {
            tree.insert(Path::new(path), file(n as u64)).unwrap();
        }
        tree.insert(Path::new("empty"), Node::directory()).unwrap();
        let expected =
            ["a", "a/x", "a/y", "a/y/1", "a/y/2", "a-b", "b", "c", "c/d", "c/d/e", "c/d/e/f", "empty"];
        assert_eq!(names(&tree), expected);
    }

    #[test]
    fn the_last_of_a_name_stands() {
        let mut tree = Tree::new(Node::directory());
        tree.insert(Path::new("d/f"), file(1)).unwrap();
        let again = Node { mode: 0o700, ..Node::directory() };
        tree.insert(Path::new("d"), again).unwrap();
        let d = tree.find(Path::new("d")).unwrap();
        assert_eq!((tree.node(d).mode, names(&tree)), (0o700, vec!["d".to_owned(), "d/f".to_owned()]));
        tree.insert(Path::new("d"), file(2)).unwrap();
        assert_eq!(names(&tree), ["d"]);
        tree.insert(Path::new("."), Node { uid: 5, ..Node::directory() }).unwrap();
        assert_eq!((tree.node(Tree::ROOT).uid, names(&tree)), (5, vec!["d".to_owned()]));
        assert!(tree.remove(Path::new("d")).is_some() && tree.remove(Path::new("d")).is_none());
        assert!(names(&tree).is_empty());
    }

    #[test]
    fn hard_links_are_counted() {
        let mut tree = Tree::new(Node::directory());
        let id = tree.insert(Path::new("f"), file(1)).unwrap();
        tree.link(Path::new("d/g"), id).unwrap();
        assert_eq!(tree.find(Path::new("d/g")), Some(id));
        assert_eq!(tree.link_counts()[id.index()], 2);
        assert_eq!(tree.link(Path::new("e"), Tree::ROOT), Err(TreeError::DirectoryLink));
    }

    #[test]
    fn paths_that_are_refused() {
        let mut tree = Tree::new(Node::directory());
        tree.insert(Path::new("f"), file(1)).unwrap();
        for (path, expected) in [
            ("/etc/passwd", TreeError::Outside),
            ("../x", TreeError::Outside),
            ("d/../../x", TreeError::Outside),
            ("f/x", TreeError::NotADirectory),
        ] {
            assert_eq!(tree.insert(Path::new(path), file(2)), Err(expected), "{path}");
        }
        assert_eq!(tree.find(Path::new("..")), None);
    }
}
