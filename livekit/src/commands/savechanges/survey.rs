//! What is in a save and what is not, counted.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bundles::source::is_opaque;
use bundles::{Kind, Tree};
use serde::Serialize;

use super::rules::is_whiteout;

/// Names and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// All but directories.
    pub files: u64,
    /// Not compressed; of a file with several names once.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// A secret that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// From the top, with the leading slash. Bytes that are not UTF-8 are U+FFFD.
    pub path: String,
    pub kind: &'static str,
    pub bytes: u64,
}

/// All that is told of a save.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// What is saved, by the folder at the top that it is in. Files at the top are below `/`.
    pub folders: BTreeMap<String, Sum>,
    /// Marks of removed files in it.
    pub whiteouts: u64,
    /// Folders in it that hide all that is below them.
    pub opaque: u64,
    /// What is left out as volatile or generated, by what it is.
    pub left_out: BTreeMap<&'static str, Sum>,
    /// Sorted by path.
    pub secrets: Vec<Secret>,
}

impl Survey {
    /// Counts a file that is left out.
    pub fn leave_out(&mut self, reason: &'static str, bytes: u64) {
        self.left_out.entry(reason).or_default().add(bytes);
    }

    /// Counts a secret, by its relative path. One that is in several saves is one.
    pub fn keep_secret(&mut self, path: &Path, kind: &'static str, bytes: u64) {
        let path = format!("/{}", path.display());
        let place = self.secrets.partition_point(|secret| secret.path < path);
        if self.secrets.get(place).is_none_or(|secret| secret.path != path) {
            self.secrets.insert(place, Secret { path, kind, bytes });
        }
    }

    /// Counts what is saved. Whether there is anything.
    pub fn keep(&mut self, tree: &Tree) -> bool {
        let mut seen = HashSet::new();
        let mut any = false;
        for (path, id) in tree.walk() {
            any = true;
            let node = tree.node(id);
            self.whiteouts += u64::from(is_whiteout(node));
            self.opaque += u64::from(is_opaque(node));
            let bytes = match node.kind {
                Kind::Directory(_) => continue,
                Kind::File { size, .. } if seen.insert(id) => size,
                _ => 0,
            };
            self.folders.entry(top(&path)).or_default().add(bytes);
        }
        any
    }

    /// What is saved, in all.
    pub fn saved(&self) -> Sum {
        sum(self.folders.values())
    }

    /// What is left out as volatile or generated, in all.
    pub fn left_out(&self) -> Sum {
        sum(self.left_out.values())
    }
}

fn sum<'a>(sums: impl Iterator<Item = &'a Sum>) -> Sum {
    sums.fold(Sum::default(), |all, one| Sum { files: all.files + one.files, bytes: all.bytes + one.bytes })
}

fn top(path: &Path) -> String {
    let mut components = path.components();
    let first = components.next();
    match components.next().and(first) {
        Some(first) => format!("/{}", PathBuf::from(first.as_os_str()).display()),
        None => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::{ContentId, Device, Node};

    #[test]
    fn everything_is_counted_once() {
        let mut tree = Tree::new(Node::directory());
        let file = |size| Node { kind: Kind::File { size, content: ContentId(0) }, ..Node::directory() };
        let id = tree.insert(Path::new("etc/a"), file(10)).unwrap();
        tree.link(Path::new("usr/b"), id).unwrap();
        tree.insert(Path::new("c"), file(5)).unwrap();
        let whiteout = Node { kind: Kind::CharDevice(Device::WHITEOUT), ..Node::directory() };
        tree.insert(Path::new("etc/gone"), whiteout).unwrap();
        let mut survey = Survey::default();
        assert!(survey.keep(&tree));
        let sum = |files, bytes| Sum { files, bytes };
        let folders: Vec<_> = survey.folders.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
        assert_eq!(folders, [("/", sum(1, 5)), ("/etc", sum(2, 10)), ("/usr", sum(1, 0))]);
        assert_eq!((survey.whiteouts, survey.opaque, survey.saved()), (1, 0, sum(4, 15)));
        for path in ["etc/shadow", "etc/gshadow", "etc/shadow"] {
            survey.keep_secret(Path::new(path), "password hashes", 7);
        }
        let paths: Vec<_> = survey.secrets.iter().map(|secret| secret.path.as_str()).collect();
        assert_eq!(paths, ["/etc/gshadow", "/etc/shadow"]);
        assert!(!Survey::default().keep(&Tree::new(Node::directory())));
    }
}
