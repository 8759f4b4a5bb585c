//! Which names of a bundle are meant.

use std::path::{Component, Path, PathBuf};

use bundles::{NodeId, Selection, Tree};

use super::from_bundle;
use crate::error::{Error, Result};

/// `path` as a tree has it: relative to the root, without `.`; a leading slash is the root's.
pub fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).collect()
}

/// The node that `path` names.
pub fn find(tree: &Tree, path: &Path, bundle: &Path) -> Result<NodeId> {
    tree.find(&relative(path)).ok_or_else(|| missing(path, bundle))
}

/// The names that paths and patterns choose, with what is below them; parents first. Without any, all.
pub fn chosen(tree: &Tree, patterns: &[PathBuf], bundle: &Path) -> Result<Vec<(PathBuf, NodeId)>> {
    let mut selection = Selection::new(patterns).map_err(|error| from_bundle(&error))?;
    let mut above = selection.takes(Path::new("")).then(PathBuf::new);
    let mut names = Vec::new();
    let mut walk = tree.walk();
    while let Some((path, _, id)) = walk.advance() {
        // Below a name that is taken patterns are asked as well: they may be unused otherwise.
        let taken = selection.takes(path);
        let below = above.as_ref().is_some_and(|above| path.starts_with(above));
        if taken && !below {
            above = Some(path.to_owned());
        }
        if taken || below {
            names.push((path.to_owned(), id));
        }
    }
    selection.unused().map_or(Ok(names), |pattern| Err(missing(pattern, bundle)))
}

fn missing(path: &Path, bundle: &Path) -> Error {
    Error::new(format!("{} is not in {}", path.display(), bundle.display()))
        .hint("paths are those that `livekit bundle list` shows; links are not followed")
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
        let names = |patterns: &[&str]| {
            let patterns: Vec<PathBuf> = patterns.iter().map(PathBuf::from).collect();
            chosen(&tree, &patterns, Path::new("x.sb"))
        };
        let all = ["etc", "etc/ssh", "etc/ssh/config", "etc/sshd"];
        for (patterns, expected) in [
            (&[][..], &all[..]),
            (&["/"], &all),
            (&["./etc/ssh/"], &["etc/ssh", "etc/ssh/config"]),
            (&["/etc/sshd", "etc/ssh/config"], &["etc/ssh/config", "etc/sshd"]),
            (&["etc", "etc/sshd"], &all),
            (&["*/ssh"], &["etc/ssh", "etc/ssh/config"]),
        ] {
            let found: Vec<String> =
                names(patterns).unwrap().into_iter().map(|(path, _)| path.display().to_string()).collect();
            assert_eq!(found, expected, "{patterns:?}");
        }
        for pattern in ["none", "etc/../etc", "etc/x*"] {
            let error = names(&[pattern]).unwrap_err();
            assert_eq!(error.message(), format!("{pattern} is not in x.sb"));
        }
        assert!(find(&tree, Path::new("/etc/./ssh"), Path::new("x.sb")).is_ok());
    }
}
