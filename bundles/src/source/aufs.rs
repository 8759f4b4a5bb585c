//! Whiteouts as aufs writes them, and images of containers after it, become overlayfs'.
//!
//! aufs(5) and Documentation/filesystems/aufs of its patches: an empty file `.wh.NAME` hides NAME of the branches below,
//! `.wh..wh..opq` in a directory hides all that they have in it, and other names that begin with `.wh..wh.` are aufs' own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{Device, Kind, Node, NodeId, Tree, Xattr};

/// What begins the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// What begins the names of aufs' own.
const OWN: &[u8] = b".wh..wh.";
/// The file that makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The directory of pseudo links: files whose further names are in other branches.
const PSEUDO_LINKS: &str = ".wh..wh.plnk";

/// What a name means to aufs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The directory it is in is opaque.
    Opaque,
    /// The file of that name is hidden.
    Hides(&'a OsStr),
    /// Nothing that anyone sees.
    Own,
}

/// What a name means; none if it is that of a file.
pub(super) fn meaning(name: &OsStr) -> Option<Meaning<'_>> {
    match name.as_bytes() {
        OPAQUE => Some(Meaning::Opaque),
        own if own.starts_with(OWN) => Some(Meaning::Own),
        bytes => bytes.strip_prefix(WHITEOUT).map(|hidden| match hidden {
            b"" | b"." | b".." => Meaning::Own,
            hidden => Meaning::Hides(OsStr::from_bytes(hidden)),
        }),
    }
}

/// What was done to a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translated {
    /// Names that are hidden, as overlayfs writes it.
    pub whiteouts: u64,
    /// Directories that are opaque, as overlayfs writes it.
    pub opaque: u64,
    /// Files and directories of aufs' own that are left out.
    pub dropped: u64,
    /// What the tree does not do as it did, in sentences.
    pub warnings: Vec<String>,
}

/// Whether a name is one that means something to aufs, and no file's.
pub fn is_name(name: &OsStr) -> bool {
    meaning(name).is_some()
}

/// Whether a tree has anything that aufs wrote.
pub fn is_aufs(tree: &Tree) -> bool {
    let mut walk = tree.walk();
    while let Some((_, name, _)) = walk.advance() {
        if is_name(name) {
            return true;
        }
    }
    false
}

/// Makes of aufs' whiteouts those of overlayfs: character devices 0:0, and the attribute `trusted.overlay.opaque` of
/// directories. aufs' own files are left out.
///
/// Where NAME and `.wh.NAME` are both there, NAME stays: aufs leaves both behind when the power fails between the two
/// halves of a creation or a deletion, and of the two to show what was deleted loses less than to hide what was created.
/// In an image of a container both mean that NAME is new. A directory that stays so is opaque, since what is below it
/// was hidden.
pub fn translate(tree: &mut Tree) -> Translated {
    let mut done = Translated::default();
    let mut found: Vec<(PathBuf, NodeId)> = Vec::new();
    let mut walk = tree.walk();
    while let Some((path, name, id)) = walk.advance() {
        // What is in aufs' own directories goes with them.
        let covered = found.last().is_some_and(|(above, _)| path.starts_with(above));
        if is_name(name) && !covered {
            found.push((path.to_owned(), id));
        }
    }
    let pseudo = pseudo_links(tree);
    for (path, id) in found {
        let parent = path.parent().unwrap_or(Path::new(""));
        let mtime = tree.node(id).mtime;
        tree.remove(&path);
        match path.file_name().and_then(meaning) {
            Some(Meaning::Opaque) if parent.as_os_str().is_empty() => {
                done.warnings
                    .push("the top directory was opaque to aufs; no overlay can have that".to_owned());
            }
            Some(Meaning::Opaque) => done.opaque += make_opaque(tree, parent),
            Some(Meaning::Hides(name)) => {
                let hidden = parent.join(name);
                match tree.find(&hidden) {
                    Some(there) if tree.node(there).is_directory() => {
                        done.opaque += make_opaque(tree, &hidden);
                    }
                    Some(_) => {}
                    None => {
                        // Its parent is there, and the name is a name.
                        done.whiteouts += u64::from(tree.insert(&hidden, whiteout(mtime)).is_ok());
                    }
                }
            }
            Some(Meaning::Own) | None => done.dropped += 1,
        }
    }
    let counts = tree.link_counts();
    let lost = pseudo.iter().filter(|id| counts[id.index()] == 0).count();
    if lost > 0 {
        done.warnings.push(format!(
            "{lost} files changed under aufs that had several names, in the bundles below: their changes are lost, \
             since only aufs knows the names"
        ));
    }
    done
}

/// The files that aufs keeps names of for itself.
fn pseudo_links(tree: &Tree) -> Vec<NodeId> {
    let directory = tree.find(Path::new(PSEUDO_LINKS)).map(|id| tree.node(id));
    directory.and_then(Node::names).map(|names| names.values().copied().collect()).unwrap_or_default()
}

/// What overlayfs takes for a name that is not there.
pub(super) fn whiteout(mtime: i64) -> Node {
    Node { kind: Kind::CharDevice(Device::WHITEOUT), mode: 0, mtime, ..Node::directory() }
}

/// How many directories became opaque.
fn make_opaque(tree: &mut Tree, path: &Path) -> u64 {
    let Some(id) = tree.find(path) else { return 0 };
    let name = OsString::from("trusted.overlay.opaque");
    let xattrs = &mut tree.node_mut(id).xattrs;
    let before = xattrs.len();
    xattrs.retain(|xattr| xattr.name != name);
    let new = xattrs.len() == before;
    xattrs.push(Xattr { name, value: b"y".to_vec() });
    xattrs.sort();
    u64::from(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContentId;

    fn file() -> Node {
        Node {
            kind: Kind::File { size: 0, content: ContentId(0) },
            mode: 0o444,
            mtime: 7,
            ..Node::directory()
        }
    }

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::new(Node::directory());
        for name in names {
            let node = if name.ends_with('/') { Node::directory() } else { file() };
            tree.insert(Path::new(name), node).unwrap();
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<String> {
        let brief = |(path, id): (PathBuf, NodeId)| {
            let node = tree.node(id);
            let opaque = node.xattrs.iter().any(|x| x.name == "trusted.overlay.opaque" && x.value == b"y");
            let mark = match node.kind {
                Kind::Directory(_) if opaque => "/ opaque",
                Kind::Directory(_) => "/",
                Kind::CharDevice(Device::WHITEOUT) => " hidden",
                _ => "",
            };
            format!("{}{mark}", path.display())
        };
        tree.walk().map(brief).collect()
    }

    #[test]
    fn whiteouts_become_the_others() {
        for (before, after, counts) in [
            (&["a", "d/b", "d/.whx", "d/.wh"][..], &["a", "d/", "d/.wh", "d/.whx", "d/b"][..], (0, 0, 0)),
            (&["d/.wh.b", ".wh.e"], &["d/", "d/b hidden", "e hidden"], (2, 0, 0)),
            (&["d/.wh..wh..opq", "d/x"], &["d/ opaque", "d/x"], (0, 1, 0)),
            (&[".wh.a", "a"], &["a"], (0, 0, 0)),
            (&[".wh.a", "a/", "a/x"], &["a/ opaque", "a/x"], (0, 1, 0)),
            (&[".wh.a", "a/", "a/.wh..wh..opq"], &["a/ opaque"], (0, 1, 0)),
            (&[".wh..wh.aufs", ".wh..wh.plnk/", ".wh..wh.orph/.wh.1", "a"], &["a"], (0, 0, 3)),
            (&["d/.wh..wh.123.tmp", "d/.wh.", "d/.wh...", "d/.wh.."], &["d/"], (0, 0, 4)),
            (&[".wh..hidden", ".wh.\u{e4} b"], &[".hidden hidden", "\u{e4} b hidden"], (2, 0, 0)),
        ] {
            let mut tree = tree(before);
            assert_eq!(is_aufs(&tree), counts != (0, 0, 0) || names(&tree) != after, "{before:?}");
            let done = translate(&mut tree);
            assert_eq!(
                (names(&tree), (done.whiteouts, done.opaque, done.dropped)),
                (after.iter().map(|&name| name.to_owned()).collect(), counts)
            );
            assert!(done.warnings.is_empty());
            assert!(!is_aufs(&tree));
        }
    }

    #[test]
    fn a_whiteout_is_of_root_and_of_no_mode() {
        let mut tree = tree(&["d/.wh.a"]);
        translate(&mut tree);
        let node = tree.node(tree.find(Path::new("d/a")).unwrap());
        assert_eq!((node.mode, node.uid, node.gid, node.mtime), (0, 0, 0, 7));
    }

    #[test]
    fn pseudo_links_without_another_name_are_told() {
        let mut tree = tree(&["a", ".wh..wh.plnk/123.456"]);
        let a = tree.find(Path::new("a")).unwrap();
        tree.link(Path::new(".wh..wh.plnk/123.457"), a).unwrap();
        let done = translate(&mut tree);
        assert_eq!(done.warnings.len(), 1);
        assert!(done.warnings[0].starts_with("1 files changed"), "{:?}", done.warnings);
        let mut tree = super::tests::tree(&[".wh..wh..opq"]);
        assert!(translate(&mut tree).warnings[0].contains("top directory"));
    }
}
