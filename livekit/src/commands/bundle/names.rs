//! Which names of a bundle are meant.

use std::path::{Component, Path, PathBuf};

use bundles::{NodeId, Tree};

use crate::error::{Error, Result};

/// `path` as a tree has it: relative to the root, without `.`; a leading slash is the root's.
pub fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).collect()
}

/// The node that `path` names.
pub fn find(tree: &Tree, path: &Path, bundle: &Path) -> Result<NodeId> {
    tree.find(&relative(path)).ok_or_else(|| {
        Error::new(format!("{} is not in {}", path.display(), bundle.display()))
            .hint("paths are those that `livekit bundle list` shows; links are not followed")
    })
}

/// What paths on the command line choose; without any, all.
#[derive(Debug)]
pub struct Chosen(Vec<PathBuf>);

impl Chosen {
    /// Every path must be there.
    pub fn new(paths: &[PathBuf], tree: &Tree, bundle: &Path) -> Result<Self> {
        for path in paths {
            find(tree, path, bundle)?;
        }
        Ok(Chosen(paths.iter().map(|path| relative(path)).collect()))
    }

    /// Whether `path` is named, or below what is named.
    pub fn has(&self, path: &Path) -> bool {
        self.0.is_empty() || self.0.iter().any(|chosen| path.starts_with(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Node;

    #[test]
    fn names_and_what_is_below() {
        let mut tree = Tree::new(Node::directory());
        for path in ["etc/ssh/config", "etc/sshd"] {
            tree.insert(Path::new(path), Node::directory()).unwrap();
        }
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let all = ["etc", "etc/ssh", "etc/ssh/config", "etc/sshd"];
        for (named, chosen) in [
            (&[][..], &all[..]),
            (&["/"], &all),
            (&["./etc/ssh/"], &["etc/ssh", "etc/ssh/config"]),
            (&["/etc/sshd", "etc/ssh/config"], &["etc/ssh/config", "etc/sshd"]),
        ] {
            let choice = Chosen::new(&paths(named), &tree, Path::new("x.sb")).unwrap();
            let found: Vec<&str> = all.into_iter().filter(|path| choice.has(Path::new(path))).collect();
            assert_eq!(found, chosen, "{named:?}");
        }
        let error = Chosen::new(&paths(&["etc/../etc"]), &tree, Path::new("x.sb")).unwrap_err();
        assert_eq!(error.message(), "etc/../etc is not in x.sb");
    }
}
