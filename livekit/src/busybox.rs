//! The busybox of the rescue shell: it must run where there is no library.

use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};
use crate::initramfs::programs::{find_busybox, is_static};
use crate::root::resolve;

/// Which one is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The first static one of the [usual places](PLACES) in the root, else this system's, if there is any.
    Find,
    /// This one.
    File(PathBuf),
    /// None: a failed boot has no shell.
    Without,
}

const PLACES: &[&str] =
    &["usr/bin/busybox", "bin/busybox", "bin/busybox.static", "usr/lib/busybox/bin/busybox"];

/// The file to use. In the root first: it fits the system.
pub fn find(choice: &Choice, root: &Path) -> Result<Option<PathBuf>> {
    match choice {
        Choice::Without => Ok(None),
        Choice::File(path) => match is_static(&std::fs::read(path).at("read busybox", path)?) {
            true => Ok(Some(path.clone())),
            false => Err(Error::new(format!("{} is not a static program for x86-64", path.display()))
                .hint("Debian has one in the package busybox-static; `--busybox none` does without")),
        },
        Choice::Find => {
            let in_root = PLACES.iter().filter_map(|place| resolve(root, Path::new(place)));
            let is_static = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| is_static(&bytes));
            Ok(in_root.into_iter().find(is_static).or_else(find_busybox))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_static_programs_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        fs::write(&text, "#!/bin/sh\n").unwrap();
        // This test is itself static, as every program here.
        let myself = std::env::current_exe().unwrap();
        assert_eq!(find(&Choice::File(myself.clone()), dir.path()).unwrap(), Some(myself));
        assert_eq!(find(&Choice::Without, dir.path()).unwrap(), None);
        let error = find(&Choice::File(text), dir.path()).unwrap_err();
        assert!(error.message().ends_with("is not a static program for x86-64"), "{error}");
    }

    #[test]
    fn the_roots_own_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bin")).unwrap();
        fs::copy(std::env::current_exe().unwrap(), dir.path().join("bin/busybox")).unwrap();
        assert_eq!(find(&Choice::Find, dir.path()).unwrap(), Some(dir.path().join("bin/busybox")));
    }
}
