//! Where paths that others wrote down lie in a root: package lists, traces of a boot.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::resolve;

/// Follows links inside a root, and remembers the directories it has been to: lists name thousands of files in each.
#[derive(Debug)]
pub struct RealPaths {
    root: PathBuf,
    folders: HashMap<PathBuf, Option<PathBuf>>,
}

impl RealPaths {
    /// For paths in `root`.
    pub fn new(root: &Path) -> Self {
        RealPaths { root: root.to_owned(), folders: HashMap::new() }
    }

    /// Where the directory `path` really is, relative to the root; none if there is nothing.
    pub fn folder(&mut self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.folders.get(path) {
            return known.clone();
        }
        let found = resolve(&self.root, path);
        let found = found.and_then(|real| real.strip_prefix(&self.root).ok().map(Path::to_owned));
        self.folders.insert(path.to_owned(), found.clone());
        found
    }

    /// Where the entry `path` is, relative to the root: links above it are followed, itself it may be one. Whether it
    /// exists is not asked; none if its directory does not.
    pub fn entry(&mut self, path: &Path) -> Option<PathBuf> {
        let name: &OsStr = path.file_name()?;
        Some(self.folder(path.parent()?)?.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_last_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib/a")).unwrap();
        fs::write(root.join("usr/lib/a/file"), "").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/lib/a/../../../..", root.join("usr/up")).unwrap();
        symlink("a/file", root.join("usr/lib/link")).unwrap();
        let mut paths = RealPaths::new(root);
        for (path, entry, folder) in [
            ("/lib", Some("lib"), Some("usr/lib")),
            ("/lib/a", Some("usr/lib/a"), Some("usr/lib/a")),
            ("lib/a/file", Some("usr/lib/a/file"), Some("usr/lib/a/file")),
            ("/lib/link", Some("usr/lib/link"), Some("usr/lib/a/file")),
            ("/usr/up/etc", Some("etc"), None),
            ("/lib/none", Some("usr/lib/none"), None),
            ("/none/x", None, None),
            ("/lib/a/file/x", Some("usr/lib/a/file/x"), None),
            ("/", None, Some("")),
        ] {
            assert_eq!(paths.entry(Path::new(path)), entry.map(PathBuf::from), "{path}");
            assert_eq!(paths.folder(Path::new(path)), folder.map(PathBuf::from), "{path}");
        }
    }
}
