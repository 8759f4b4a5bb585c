//! Where the bytes of a tree are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes below each directory of a tree.
#[derive(Debug, Default)]
pub struct DirectorySizes {
    below: BTreeMap<PathBuf, u64>,
}

/// Directories that are too near to the top to tell anything: `/` and `/usr`, but not `/usr/share`.
const TOP: usize = 2;

impl DirectorySizes {
    /// Counts a file of `bytes` bytes at `path`, which is relative to the top.
    pub fn add(&mut self, path: &Path, bytes: u64) {
        for folder in path.ancestors().skip(1) {
            if let Some(sum) = self.below.get_mut(folder) {
                *sum += bytes;
            } else {
                self.below.insert(folder.to_owned(), bytes);
            }
        }
    }

    /// The `count` largest directories, none of which is in another; larger ones first. One of which most is in a single
    /// directory, or that is next to the top, gives way to those in it.
    pub fn largest(&self, count: usize) -> Vec<(PathBuf, u64)> {
        let mut children: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
        for folder in self.below.keys() {
            if let Some(parent) = folder.parent() {
                children.entry(parent).or_default().push(folder);
            }
        }
        let mut found = Vec::new();
        let mut open = vec![Path::new("")];
        while let Some(folder) = open.pop() {
            let size = self.below.get(folder).copied().unwrap_or_default();
            let inside = children.get(folder).map_or(&[][..], Vec::as_slice);
            let most = inside.iter().any(|child| self.below[*child] > size / 2);
            if !inside.is_empty() && (most || folder.components().count() < TOP) {
                open.extend(inside);
            } else if size > 0 && folder.parent().is_some() {
                found.push((folder.to_owned(), size));
            }
        }
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(count);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_say_where_the_bytes_are() {
        let mut sizes = DirectorySizes::default();
        for (path, bytes) in [
            ("usr/lib/modules/6.1/kernel/drivers/a.ko", 500),
            ("usr/lib/modules/6.1/kernel/fs/b.ko", 400),
            ("usr/lib/libc.so", 30),
            ("usr/bin/bash", 20),
            ("usr/bin/perl", 25),
            ("usr/share/locale/de/x.mo", 10),
            ("usr/share/locale/fr/x.mo", 10),
            ("usr/share/doc/y", 15),
            ("etc/passwd", 1),
            ("etc/empty/none", 0),
            ("vmlinuz", 90),
        ] {
            sizes.add(Path::new(path), bytes);
        }
        let largest: Vec<(String, u64)> =
            sizes.largest(4).into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)).collect();
        let expected = [
            ("usr/lib/modules/6.1/kernel/drivers", 500),
            ("usr/lib/modules/6.1/kernel/fs", 400),
            ("usr/bin", 45),
            ("usr/share/locale", 20),
        ];
        assert_eq!(largest, expected.map(|(path, bytes)| (path.to_owned(), bytes)));
        assert!(DirectorySizes::default().largest(3).is_empty());
    }
}
