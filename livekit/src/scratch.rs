//! Temporary files and directories that never outlive the command: removed when dropped, on error and on signals.

use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::interrupt;

/// A temporary directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

/// What every temporary directory's name begins with; a root that holds one never packs it.
pub const PREFIX: &str = ".livekit-";

impl Scratch {
    /// Makes a fresh directory in `parent`, for its owner only.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let path = interrupt::register(|| {
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map(tempfile::TempDir::keep)
        })
        .at("make a temporary directory in", parent)?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is said by the error that is already on its way, or is a mount only root can judge.
        if let Err(error) = interrupt::remove_tree(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
        interrupt::forget(&self.path);
    }
}

/// A file that is being made under another name and is removed unless it is [kept](Unfinished::keep).
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Takes charge of `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        let Ok(path) = interrupt::register(|| Ok::<_, std::convert::Infallible>(path));
        Unfinished { path }
    }

    /// It is complete, or has become something else.
    pub fn keep(self) {
        interrupt::forget(&self.path);
        std::mem::forget(self);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        interrupt::forget(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outlives_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(parent.path()).unwrap();
        std::fs::create_dir_all(scratch.join("a/b")).unwrap();
        let partial = parent.path().join("x.iso.partial");
        let unfinished = Unfinished::new(partial.clone());
        std::fs::write(&partial, "half").unwrap();
        drop(scratch);
        drop(unfinished);
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_kept_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("done");
        let unfinished = Unfinished::new(path.clone());
        std::fs::write(&path, "whole").unwrap();
        unfinished.keep();
        assert!(path.exists());
    }
}
