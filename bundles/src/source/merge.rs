//! Several sources as one.

use std::collections::HashMap;
use std::path::Path;

use super::{Contents, FileReader, Source};
use crate::{ContentId, Device, Error, Kind, Node, NodeId, Tree, Xattr};

/// Lays sources over each other as overlayfs does layers, the first at the bottom: what a later one has replaces what is
/// there by that name, but for directories, which get the names of both. Whiteouts and opaque directories take away what
/// is below them, and stay for the bundles further down: so does what an earlier one hides, where a later one has a
/// directory.
///
/// # Errors
/// There are more files than a bundle can have.
pub fn merge(sources: Vec<Source>) -> Result<Source, Error> {
    let mut merged = Tree::new(Node::directory());
    let mut contents = Merged { parts: Vec::new() };
    let mut warnings = Vec::new();
    let mut first = 0;
    for source in sources {
        let next = lay_over(&mut merged, &source.tree, first)?;
        contents.parts.push((first, source.contents));
        warnings.extend(source.warnings);
        first = next;
    }
    Ok(Source { tree: merged, contents: Box::new(contents), warnings })
}

/// Copies a tree, whose contents are counted from `first` on, over another. Returns the first number that is free.
fn lay_over(merged: &mut Tree, tree: &Tree, first: u64) -> Result<u64, Error> {
    let mut next = first;
    let mut copy = |merged: &mut Tree, path: &Path, id: NodeId| {
        let mut node = tree.node(id).clone();
        match &mut node.kind {
            Kind::Directory(names) => names.clear(),
            Kind::File { content, .. } => {
                content.0 += first;
                next = next.max(content.0 + 1);
            }
            _ => {}
        }
        if is_opaque(&node) {
            forget_below(merged, path);
        } else if let Some(opaque) = hides(merged, path)
            && node.is_directory()
        {
            node.xattrs.push(opaque);
            node.xattrs.sort();
        }
        let refused =
            |error: crate::TreeError| Error::Refused { path: path.to_owned(), reason: error.to_string() };
        merged.insert(path, node).map_err(refused)
    };
    copy(merged, Path::new(""), Tree::ROOT)?;
    let links = tree.link_counts();
    let mut copied: HashMap<NodeId, NodeId> = HashMap::new();
    let mut walk = tree.walk();
    while let Some((path, _, id)) = walk.advance() {
        if matches!(tree.node(id).kind, Kind::CharDevice(Device::WHITEOUT)) && below_opaque(merged, path) {
            merged.remove(path);
            continue;
        }
        if let Some(&node) = copied.get(&id) {
            let refused =
                |error: crate::TreeError| Error::Refused { path: path.to_owned(), reason: error.to_string() };
            merged.link(path, node).map_err(refused)?;
            continue;
        }
        let node = copy(merged, path, id)?;
        if links[id.index()] > 1 && !tree.node(id).is_directory() {
            copied.insert(id, node);
        }
    }
    Ok(next)
}

/// The attribute of a directory that hides what is below it (overlayfs.rst, "whiteouts and opaque directories").
const OPAQUE: &str = "trusted.overlay.opaque";

/// Whether a node is a directory that hides all that bundles below have in it.
pub fn is_opaque(node: &Node) -> bool {
    opaque(node).is_some()
}

fn opaque(node: &Node) -> Option<&Xattr> {
    let is =
        |xattr: &Xattr| (xattr.name == OPAQUE || xattr.name == "user.overlay.opaque") && xattr.value == b"y";
    node.xattrs.iter().find(|xattr| node.is_directory() && is(xattr))
}

/// What a directory that is laid over `path` must have to hide what is there hides of the bundles further down: an
/// opaque directory does, and whatever is no directory.
fn hides(merged: &Tree, path: &Path) -> Option<Xattr> {
    let node = merged.node(merged.find(path)?);
    if node.is_directory() {
        return opaque(node).cloned();
    }
    Some(Xattr { name: OPAQUE.into(), value: b"y".to_vec() })
}

/// Whether nothing further down shows at `path`. A whiteout there has nothing to hide, and would itself be listed:
/// overlayfs hides whiteouts only where it merges directories.
fn below_opaque(merged: &Tree, path: &Path) -> bool {
    let above = path.ancestors().skip(1);
    above.filter_map(|folder| merged.find(folder)).any(|id| is_opaque(merged.node(id)))
}

fn forget_below(tree: &mut Tree, path: &Path) {
    if let Some(id) = tree.find(path)
        && let Kind::Directory(names) = &mut tree.node_mut(id).kind
    {
        names.clear();
    }
}

struct Merged {
    /// The number of the first content of each source, and its contents.
    parts: Vec<(u64, Box<dyn Contents>)>,
}

impl Contents for Merged {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error> {
        let after = self.parts.partition_point(|(first, _)| *first <= content.0);
        // Sources without files have the same first number as the one after them, which is the last of those.
        let (first, contents) = &mut self.parts[after.saturating_sub(1)];
        contents.open(ContentId(content.0 - *first))
    }

    fn stored_order(&self) -> bool {
        self.parts.iter().any(|(_, contents)| contents.stored_order())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;
    use crate::Wanted;
    use crate::source::directory;

    fn source(top: &Path, files: &[(&str, &str)]) -> Source {
        for (name, text) in files {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(top).unwrap();
        directory(top, &mut |_, _| Wanted::Keep).unwrap()
    }

    /// Names with what is in the files; directories end in a slash.
    fn view(source: &mut Source) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, id) in source.tree.walk() {
            let path = path.display();
            lines.push(match &source.tree.node(id).kind {
                Kind::Directory(_) => format!("{path}/"),
                Kind::File { content, .. } => {
                    let mut text = String::new();
                    source.contents.open(*content).unwrap().read_to_string(&mut text).unwrap();
                    format!("{path}={text}")
                }
                other => format!("{path} {other:?}"),
            });
        }
        lines
    }

    #[test]
    fn later_ones_win_and_directories_are_shared() {
        let dir = tempfile::tempdir().unwrap();
        let one = source(&dir.path().join("1"), &[("etc/a", "1"), ("etc/b", "1"), ("file/below", "1")]);
        let none = source(&dir.path().join("2"), &[]);
        let three = source(&dir.path().join("3"), &[("etc/b", "3"), ("file", "3"), ("usr/c", "3")]);
        fs::hard_link(dir.path().join("3/usr/c"), dir.path().join("3/usr/d")).unwrap();
        drop(three);
        let three = source(&dir.path().join("3"), &[]);
        let mut merged = merge(vec![one, none, three]).unwrap();
        assert_eq!(view(&mut merged), ["etc/", "etc/a=1", "etc/b=3", "file=3", "usr/", "usr/c=3", "usr/d=3"]);
        let find = |name: &str| merged.tree.find(Path::new(name)).unwrap();
        assert_eq!(find("usr/c"), find("usr/d"));
        assert!(!merged.contents.stored_order());
    }

    #[test]
    fn what_hides_takes_away_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let below = source(&dir.path().join("1"), &[("a/x", "1"), ("b/y", "1"), ("c", "1")]);
        let mut above = source(&dir.path().join("2"), &[("a/z", "2")]);
        let id = above.tree.find(Path::new("a")).unwrap();
        let opaque = Xattr { name: "trusted.overlay.opaque".into(), value: b"y".to_vec() };
        above.tree.node_mut(id).xattrs.push(opaque.clone());
        for name in ["b", "c"] {
            let kind = Kind::CharDevice(Device::WHITEOUT);
            above.tree.insert(Path::new(name), Node { kind, ..Node::directory() }).unwrap();
        }
        let mut merged = merge(vec![below, above]).unwrap();
        let whiteout = "CharDevice(Device { major: 0, minor: 0 })";
        assert_eq!(view(&mut merged), ["a/", "a/z=2", &format!("b {whiteout}"), &format!("c {whiteout}")]);
        let id = merged.tree.find(Path::new("a")).unwrap();
        assert_eq!(merged.tree.node(id).xattrs, [opaque]);
    }

    #[test]
    fn a_directory_hides_what_the_one_it_lies_over_hid() {
        let dir = tempfile::tempdir().unwrap();
        let mut below = source(&dir.path().join("1"), &[("a/x", "1"), ("b/y", "1"), ("file", "1")]);
        let opaque = Xattr { name: OPAQUE.into(), value: b"y".to_vec() };
        let id = below.tree.find(Path::new("a")).unwrap();
        below.tree.node_mut(id).xattrs.push(opaque.clone());
        let whiteout = Node { kind: Kind::CharDevice(Device::WHITEOUT), ..Node::directory() };
        below.tree.insert(Path::new("gone"), whiteout).unwrap();
        let above =
            source(&dir.path().join("2"), &[("a/z", "2"), ("b/z", "2"), ("gone/z", "2"), ("file/z", "2")]);
        let merged = merge(vec![below, above]).unwrap();
        for (name, expected) in [("a", true), ("b", false), ("gone", true), ("file", true)] {
            let id = merged.tree.find(Path::new(name)).unwrap();
            assert_eq!(merged.tree.node(id).xattrs == [opaque.clone()], expected, "{name}");
        }
        let names: Vec<_> = merged.tree.walk().map(|(path, _)| path).collect();
        let names: Vec<_> = names.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, ["a", "a/x", "a/z", "b", "b/y", "b/z", "file", "file/z", "gone", "gone/z"]);
        // Where nothing shows from further down, a whiteout takes away and is not needed afterwards.
        let mut last = source(&dir.path().join("3"), &[]);
        for name in ["a/x", "b/y", "gone/z"] {
            let whiteout = Node { kind: Kind::CharDevice(Device::WHITEOUT), ..Node::directory() };
            last.tree.insert(Path::new(name), whiteout).unwrap();
        }
        let all = merge(vec![merged, last]).unwrap();
        let has = |name: &str| all.tree.find(Path::new(name)).is_some();
        assert_eq!(["a/x", "a/z", "b/y", "gone/z"].map(has), [false, true, true, false]);
    }
}
