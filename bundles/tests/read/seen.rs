//! What a file system shows of a tree.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bundles::Xattr;
use rustix::fs::{lgetxattr, llistxattr};

/// Paths below `root`, parents first, with the root as an empty path.
pub fn paths(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        let full = root.join(&path);
        if full.symlink_metadata().unwrap().is_dir() {
            found.extend(fs::read_dir(full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
        }
    }
    found
}

pub fn xattrs(path: &Path) -> Vec<Xattr> {
    let mut names = vec![0; 65536];
    let length = llistxattr(path, &mut names).unwrap();
    let mut found: Vec<Xattr> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            Xattr { name: OsString::from_vec(name.to_vec()), value }
        })
        .collect();
    found.sort();
    found
}

/// What can be seen of one name.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    device: u64,
    xattrs: Vec<Xattr>,
    /// Of a file: its length and a digest; of a link: where it points.
    content: String,
    links: u64,
    /// The first of its names.
    first: PathBuf,
}

/// Everything below `root` and itself.
pub fn all(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut first = HashMap::new();
    let mut paths = paths(root);
    paths.sort();
    let mut see = |path: &Path| {
        let full = root.join(path);
        let metadata = full.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            format!("{} {}", metadata.len(), blake3::hash(&fs::read(&full).unwrap()))
        } else if metadata.is_symlink() {
            format!("{:?}", fs::read_link(&full).unwrap())
        } else {
            String::new()
        };
        let directory = metadata.is_dir();
        Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.rdev(),
            xattrs: xattrs(&full),
            content,
            links: if directory { 0 } else { metadata.nlink() },
            first: first.entry(metadata.ino()).or_insert_with(|| path.to_owned()).clone(),
        }
    };
    paths.iter().map(|path| (path.clone(), see(path))).collect()
}

/// That two trees look the same; else the names that do not.
pub fn assert_same(expected: &Path, found: &Path) {
    let (expected, found) = (all(expected), all(found));
    let names: Vec<_> = expected.keys().chain(found.keys()).collect();
    let different: BTreeMap<_, _> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| (name, (expected.get(name), found.get(name))))
        .collect();
    assert!(different.is_empty(), "{different:#?}");
}
