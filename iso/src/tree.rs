use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hadris_fs::{Content, Node, Permissions, SetAttr};

use crate::Error;

/// Where the bytes of a file come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of the build host, opened and read while the image is written. Symbolic links are followed.
    Path(PathBuf),
    /// A file made for the image alone, which is given up while the image is written: what was copied is freed, and in
    /// the end the file is removed. If the image cannot be written, a file of which a part is gone already is removed
    /// too. No symbolic link, and the source of one path only.
    Scratch(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    File(Source),
    /// A symbolic link, with its target.
    Link(String),
}

/// The files of an image, by their absolute paths on it. The order in which they are added does not matter.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    /// Of files and directories that do not have the usual one.
    modes: BTreeMap<String, u32>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. Missing directories above it are added too.
    ///
    /// Fails if `path` is no absolute path or already taken. The source is not looked at yet.
    pub fn add_file(&mut self, path: &str, source: Source) -> Result<(), Error> {
        Self::check(path)?;
        if self.entries.contains_key(path) {
            return Err(self.occupied(path));
        }
        self.imply_parents(path)?;
        self.entries.insert(path.to_owned(), Entry::File(source));
        Ok(())
    }

    /// Adds a symbolic link, which nobody follows here.
    ///
    /// Fails as [`Tree::add_file`] does.
    pub fn add_link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        Self::check(path)?;
        if self.entries.contains_key(path) {
            return Err(self.occupied(path));
        }
        self.imply_parents(path)?;
        self.entries.insert(path.to_owned(), Entry::Link(target.to_owned()));
        Ok(())
    }

    /// Gives the file or directory at `path`, which is to be added too, the permission bits of `mode`. Others have 0644
    /// and 0755.
    pub fn set_mode(&mut self, path: &str, mode: u32) {
        self.modes.insert(path.to_owned(), mode & 0o7777);
    }

    /// Adds a directory, and those above it. Adding it again changes nothing.
    pub fn add_directory(&mut self, path: &str) -> Result<(), Error> {
        Self::check(path)?;
        self.imply_parents(path)?;
        match self.entries.get(path) {
            Some(Entry::File(_) | Entry::Link(_)) => Err(self.occupied(path)),
            _ => {
                self.entries.insert(path.to_owned(), Entry::Directory);
                Ok(())
            }
        }
    }

    /// Whether there is a file or directory at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// The files, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(source) => Some((path.as_str(), source)),
            Entry::Directory | Entry::Link(_) => None,
        })
    }

    /// The symbolic links with their targets, ordered by path.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Link(target) => Some((path.as_str(), target.as_str())),
            Entry::Directory | Entry::File(_) => None,
        })
    }

    /// What does not have the usual permission bits, with those it has, ordered by path.
    pub fn modes(&self) -> impl Iterator<Item = (&str, u32)> {
        self.modes.iter().map(|(path, mode)| (path.as_str(), *mode))
    }

    /// The directories but for the root, ordered by path.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::Directory))
            .map(|(path, _)| path.as_str())
    }

    fn check(path: &str) -> Result<(), Error> {
        let error = |reason| Err(Error::TreePath { path: path.to_owned(), reason });
        let Some(relative) = path.strip_prefix('/') else {
            return error("it does not start with /");
        };
        for name in relative.split('/') {
            match name {
                "" => return error("it has an empty name in it"),
                "." | ".." => return error("it has . or .. in it"),
                _ if name.len() > 255 => return error("it has a name of more than 255 bytes in it"),
                _ if name.contains('\0') => return error("it has a NUL in it"),
                _ => {}
            }
        }
        Ok(())
    }

    fn imply_parents(&mut self, path: &str) -> Result<(), Error> {
        for (end, _) in path.match_indices('/').skip(1) {
            let parent = &path[..end];
            match self.entries.get(parent) {
                Some(Entry::Directory) => {}
                Some(Entry::File(_) | Entry::Link(_)) => return Err(self.occupied(parent)),
                None => {
                    self.entries.insert(parent.to_owned(), Entry::Directory);
                }
            }
        }
        Ok(())
    }

    fn occupied(&self, path: &str) -> Error {
        let what = match self.entries.get(path) {
            Some(Entry::Directory) => "a directory",
            _ => "a file",
        };
        Error::Occupied { path: path.to_owned(), what }
    }

    /// The same tree as the writer wants it, with every input opened once and measured.
    pub(crate) fn measured(&self) -> Result<hadris_fs::Tree, Error> {
        let mut tree = hadris_fs::Tree::new();
        for (path, entry) in &self.entries {
            let node = match entry {
                Entry::Directory => Node::dir(),
                Entry::File(source) => Node::file(source.measured()?),
                Entry::Link(target) => Node::symlink(target),
            };
            let node = match self.modes.get(path) {
                Some(&mode) => node.with_attrs(SetAttr::new().with_permissions(Permissions::new(mode))),
                None => node,
            };
            tree.insert(path.as_bytes(), node)
                .map_err(|error| Error::Layout { what: path.clone(), reason: error.to_string() })?;
        }
        Ok(tree)
    }
}

impl Source {
    fn measured(&self) -> Result<Content, Error> {
        let (path, metadata) = match self {
            Source::Bytes(bytes) => return Ok(Content::bytes(bytes.clone())),
            Source::Path(path) => (path, std::fs::metadata(path)),
            Source::Scratch(path) => (path, std::fs::symlink_metadata(path)),
        };
        let read_error = |source| Error::Read { path: path.clone(), source };
        // Before opening: that would wait for ever on a FIFO.
        let kind = metadata.map_err(read_error)?.file_type();
        if kind.is_dir() {
            return Err(read_error(std::io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Err(read_error(std::io::Error::other("not a regular file")));
        }
        // The error of opening it again is the one with the errno in it.
        std::fs::File::open(path).map_err(read_error)?;
        hadris_fs::host::file(path).map_err(|error| read_error(std::io::Error::other(error.to_string())))
    }

    /// The bytes, if they are in memory.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Source::Bytes(bytes) => Some(bytes),
            Source::Path(_) | Source::Scratch(_) => None,
        }
    }

    /// The file of the build host, if it is one.
    pub(crate) fn host_path(&self) -> Option<&Path> {
        match self {
            Source::Path(path) | Source::Scratch(path) => Some(path),
            Source::Bytes(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Source {
        Source::Bytes(b"x".to_vec())
    }

    #[test]
    fn directories_are_implied() {
        let mut tree = Tree::new();
        tree.add_file("/livekit/boot/vmlinuz", bytes()).unwrap();
        tree.add_directory("/livekit/rootcopy").unwrap();
        tree.add_directory("/livekit/rootcopy").unwrap();
        assert_eq!(
            tree.directories().collect::<Vec<_>>(),
            ["/livekit", "/livekit/boot", "/livekit/rootcopy"]
        );
        assert_eq!(tree.files().map(|(path, _)| path).collect::<Vec<_>>(), ["/livekit/boot/vmlinuz"]);
    }

    #[test]
    fn bad_paths_are_refused() {
        for (path, reason) in [
            ("livekit", "does not start"),
            ("", "does not start"),
            ("/", "empty name"),
            ("/a//b", "empty name"),
            ("/a/", "empty name"),
            ("/a/../b", ". or .."),
            ("/./b", ". or .."),
        ] {
            let message = Tree::new().add_file(path, bytes()).unwrap_err().to_string();
            assert!(message.contains(reason), "{path:?}: {message}");
            assert!(Tree::new().add_directory(path).is_err(), "{path:?}");
        }
        assert!(Tree::new().add_file(&format!("/{}", "n".repeat(256)), bytes()).is_err());
    }

    #[test]
    fn one_thing_at_a_path() {
        let mut tree = Tree::new();
        tree.add_file("/a/file", bytes()).unwrap();
        for result in [
            tree.clone().add_file("/a/file", bytes()),
            tree.clone().add_file("/a/file/below", bytes()),
            tree.clone().add_directory("/a/file"),
            tree.clone().add_directory("/a/file/below"),
        ] {
            assert_eq!(result.unwrap_err().to_string(), "/a/file is already on the image as a file");
        }
        assert_eq!(
            tree.add_file("/a", bytes()).unwrap_err().to_string(),
            "/a is already on the image as a directory"
        );
    }
}
