//! What of a source is left out, by patterns.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Wanted;
use crate::{Error, Tree};

/// Patterns in the syntax of .gitignore: a later one counts more than an earlier, `!` takes back in, `/` at the end
/// means directories only, and elsewhere but at the end ties the pattern to the top. What is in a directory that is left
/// out cannot be taken back in.
#[derive(Debug, Clone)]
pub struct Patterns(Gitignore);

impl Patterns {
    /// Of a list in which the last counts most.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, Error> {
        let bad = |pattern: &str, error: &ignore::Error| {
            Error::Options(format!(
                "cannot understand the pattern `{pattern}`: {error}\n\
                 hint: patterns have the syntax of .gitignore: `*.iso`, `/srv/*`, `!/srv/keep`"
            ))
        };
        let mut builder = GitignoreBuilder::new("");
        // A bracket that is not closed is a slip, not a name.
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            let pattern = pattern.as_ref();
            builder.add_line(None, pattern).map_err(|error| bad(pattern, &error))?;
        }
        builder.build().map(Self).map_err(|error| bad("", &error))
    }

    /// What the last pattern that matches says of a relative path: whether it is left out. None matches: none.
    /// Directories above it are not looked at.
    pub fn leave_out(&self, path: &Path, is_directory: bool) -> Option<bool> {
        match self.0.matched(path, is_directory) {
            ignore::Match::Ignore(_) => Some(true),
            ignore::Match::Whitelist(_) => Some(false),
            ignore::Match::None => None,
        }
    }

    /// What decides of a relative path, be it by itself or with a directory above it, the nearest first: the pattern as
    /// it was given, and whether it leaves out or takes back in.
    pub fn deciding(&self, path: &Path, is_directory: bool) -> Option<(&str, bool)> {
        match self.0.matched_path_or_any_parents(path, is_directory) {
            ignore::Match::Ignore(glob) => Some((glob.original(), true)),
            ignore::Match::Whitelist(glob) => Some((glob.original(), false)),
            ignore::Match::None => None,
        }
    }

    /// Whether the directory of that relative path is left out, by itself or with one above it.
    pub fn leave_out_directory(&self, path: &Path) -> bool {
        self.0.matched_path_or_any_parents(path, true).is_ignore()
    }

    /// For [`directory`](super::directory()): what is left out is not read.
    pub fn wanted(&self) -> impl FnMut(&Path, &Metadata) -> Wanted + '_ {
        |path, metadata| match self.leave_out(path, metadata.is_dir()) {
            Some(true) => Wanted::Skip,
            _ => Wanted::Keep,
        }
    }
}

/// Takes what is left out from a tree; how many names, of which none is below another.
pub fn exclude(tree: &mut Tree, patterns: &Patterns) -> u64 {
    let mut out: Vec<PathBuf> = Vec::new();
    let mut walk = tree.walk();
    while let Some((path, _, id)) = walk.advance() {
        let covered = out.last().is_some_and(|above| path.starts_with(above));
        if !covered && patterns.leave_out(path, tree.node(id).is_directory()) == Some(true) {
            out.push(path.to_owned());
        }
    }
    for path in &out {
        tree.remove(path);
    }
    out.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::directory;
    use std::fs;

    #[test]
    fn a_tree_and_a_directory_are_left_the_same() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a.iso",
            "srv/x",
            "srv/keep",
            "srv/d/y",
            "opt/secret/z",
            "opt/deep/secret",
            "var/a.iso",
            "w/srv/x",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let all = "a.iso opt opt/deep opt/deep/secret opt/secret opt/secret/z srv srv/d srv/d/y srv/keep srv/x var \
                   var/a.iso w w/srv w/srv/x";
        for (patterns, gone, count) in [
            (&[][..], "", 0),
            (&["# comment", "", "nothing"], "", 0),
            (&["*.iso"], "a.iso var/a.iso", 2),
            (&["*.iso", "!/var/*.iso"], "a.iso", 1),
            (&["!/var/*.iso", "*.iso"], "a.iso var/a.iso", 2),
            (&["/srv/*", "!/srv/keep"], "srv/d srv/d/y srv/x", 2),
            (&["srv/", "!srv/keep"], "srv srv/d srv/d/y srv/keep srv/x w/srv w/srv/x", 2),
            (&["/srv"], "srv srv/d srv/d/y srv/keep srv/x", 1),
            (&["secret/"], "opt/secret opt/secret/z", 1),
            (&["secret"], "opt/deep/secret opt/secret opt/secret/z", 2),
            (&["**/srv/x"], "srv/x w/srv/x", 2),
            (&["*"], all, 5),
        ] {
            let gone: Vec<_> = gone.split_whitespace().collect();
            let expected: Vec<_> = all.split_whitespace().filter(|name| !gone.contains(name)).collect();
            let patterns = Patterns::new(patterns).unwrap();
            let names = |tree: &Tree| -> Vec<String> {
                tree.walk().map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
            };
            let selected = directory(dir.path(), &mut patterns.wanted()).unwrap();
            assert_eq!(names(&selected.tree), expected, "{patterns:?}");
            let mut tree = directory(dir.path(), &mut |_, _| Wanted::Keep).unwrap().tree;
            assert_eq!(exclude(&mut tree, &patterns), count);
            assert_eq!(names(&tree), expected);
        }
    }

    #[test]
    fn what_decides_may_be_above() {
        let patterns =
            Patterns::new(["/var/log/**", "!/var/log/**/", "*.pid", "/home/*", "!/home/me"]).unwrap();
        for (path, is_directory, expected) in [
            ("etc/x", false, None),
            ("var/log", true, None),
            ("var/log/x", false, Some(("/var/log/**", true))),
            ("var/log/nginx", true, Some(("!/var/log/**/", false))),
            ("var/log/nginx/x", false, Some(("/var/log/**", true))),
            ("usr/x.pid", false, Some(("*.pid", true))),
            ("home/you/a/b", false, Some(("/home/*", true))),
            ("home/me/a/b", false, Some(("!/home/me", false))),
        ] {
            assert_eq!(patterns.deciding(Path::new(path), is_directory), expected, "{path}");
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        let error = Patterns::new(["a", "a["]).unwrap_err().to_string();
        assert!(error.starts_with("cannot understand the pattern `a[`"), "{error}");
    }
}
