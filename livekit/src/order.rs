//! The order in which a bundle's files are laid out: what a boot reads first comes first.
//!
//! A text file with a path on each line, absolute or from the top of the root; empty lines and those that begin with `#`
//! do not count.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{AtPath, Error, Result};
use crate::root::RealPaths;

/// Paths relative to the top of a root, the first first, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order(Vec<PathBuf>);

impl Order {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).at("read the order", path)?;
        Order::parse(&text).map_err(|error| error.doing(format!("order {}", path.display())))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let mut paths = Vec::new();
        let mut seen = HashSet::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            let path = Path::new(OsStr::from_bytes(line));
            if line.contains(&0) || path.components().any(|part| part == Component::ParentDir) {
                return Err(Error::new(format!("line {number}: `{}` is no path of a root", path.display()))
                    .hint("one path on each line, without `..`"));
            }
            let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
            let relative: PathBuf = names.collect();
            if !relative.as_os_str().is_empty() && seen.insert(relative.clone()) {
                paths.push(relative);
            }
        }
        Ok(Order(paths))
    }

    /// The same files as they lie in `root`, whose links may lead elsewhere; those that are not there are left out.
    pub fn in_root(&self, root: &Path) -> Vec<PathBuf> {
        let mut real = RealPaths::new(root);
        let mut seen = HashSet::new();
        let found = self.0.iter().filter_map(|path| real.folder(path));
        found.filter(|path| seen.insert(path.clone())).collect()
    }

    /// The paths, as a tree has them.
    pub fn into_paths(self) -> Vec<PathBuf> {
        self.0
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_read_in_their_order() {
        let text = b"# boot\n/usr/bin/sh\r\nusr/lib/libc.so\n\n  \n//etc/./passwd\n/usr/bin/sh\n/#odd\n/ \n/a b \n/\n";
        let order = Order::parse(text).unwrap();
        let expected = ["usr/bin/sh", "usr/lib/libc.so", "etc/passwd", "#odd", " ", "a b "];
        assert_eq!(order.0, expected.map(PathBuf::from));
        assert_eq!(Order::parse(b"").unwrap().len(), 0);
        for text in [&b"a\n/usr/../etc\n"[..], b"\na\0b"] {
            let error = Order::parse(text).unwrap_err();
            assert!(error.message().starts_with("line 2: `"), "{error}");
            assert_eq!(error.hint_text(), Some("one path on each line, without `..`"));
        }
    }

    #[test]
    fn links_of_the_root_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::fs::write(root.join("usr/lib/libc.so.6"), "").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/lib/libc.so.6", root.join("usr/lib/libc.so")).unwrap();
        let order = Order::parse(b"/none\n/lib/libc.so\n/usr/lib/libc.so.6\nusr").unwrap();
        assert_eq!(order.in_root(root), ["usr/lib/libc.so.6", "usr"].map(PathBuf::from));
    }
}
