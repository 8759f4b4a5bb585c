//! Changes: what is written while the system runs, and where it is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::options::MemorySize;
use crate::session::past;
use crate::sys::mount::Mount;

pub mod copy;
pub mod directories;
pub mod merge;
pub mod probe;

/// The folder that holds what was changed and the kernel's workshops beside it, on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    home: PathBuf,
}

/// The workshop of the root's own overlay.
const ROOT_WORK: &str = "@";

impl Changes {
    /// Keeps changes in memory: a tmpfs at `home`, limited to `size`, else to half of the machine's memory, as tmpfs does.
    pub fn in_memory(home: &Path, size: Option<MemorySize>) -> Result<Self> {
        fs::create_dir_all(home).at("make the directory", home)?;
        let size = size.unwrap_or(MemorySize::Percent(50)).for_tmpfs();
        Mount::new("tmpfs", "lk:changes").set("mode", "0755").set("size", &size).at(home)?;
        Self::in_folder(home)
    }

    /// Keeps changes in a folder of a mounted file system that nothing else uses. Workshops of an earlier run are
    /// emptied: they hold only what was not finished.
    pub fn in_folder(home: &Path) -> Result<Self> {
        let changes = Self::at(home);
        let work = changes.work();
        if work.is_dir() {
            fs::remove_dir_all(&work).at("empty", &work)?;
        }
        for folder in [&changes.upper(), &work] {
            fs::create_dir_all(folder).at("make the directory", folder)?;
        }
        // The upper's mode is the mode of the union's root.
        let upper = changes.upper();
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).at("set the mode of", &upper)?;
        Ok(changes)
    }

    /// The changes that are in use at `home`.
    pub fn at(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// Where they are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What was changed.
    pub fn upper(&self) -> PathBuf {
        self.home.join("upper")
    }

    /// The kernel's workshops, a folder for each mounted overlay.
    pub fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// Earlier changes that these lie on, lowest first: snapshots, and a session that is not written to at once.
    pub fn below(&self) -> Result<Vec<PathBuf>> {
        let session = self.home.with_file_name("session");
        let mut found = past::layers(&session)?;
        found.extend(Some(session.join("upper")).filter(|upper| upper.is_dir()));
        found.extend(past::layers(&self.home)?);
        Ok(found)
    }

    /// Makes the workshop of the root's overlay.
    pub fn root_work(&self) -> Result<PathBuf> {
        self.new_work(ROOT_WORK)
    }

    /// Makes the workshop `name`, empty. One that is there already must not be in use: it was left behind by a crash.
    pub fn new_work(&self, name: &str) -> Result<PathBuf> {
        let folder = self.work().join(name);
        if folder.is_dir() {
            self.remove_work(name)?;
        }
        fs::create_dir(&folder).at("make the directory", &folder)?;
        Ok(folder)
    }

    /// Removes the workshop `name`, if no overlay uses it.
    pub fn remove_work(&self, name: &str) -> Result<()> {
        let folder = self.work().join(name);
        fs::remove_dir_all(&folder).at("remove", &folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workshops_of_an_earlier_run_are_emptied_and_changes_kept() {
        let home = std::env::temp_dir().join(format!("livekit-changes-{}", std::process::id()));
        fs::create_dir_all(home.join("work/@/work")).unwrap();
        fs::create_dir_all(home.join("upper/etc")).unwrap();
        let changes = Changes::in_folder(&home).unwrap();
        assert!(home.join("upper/etc").is_dir());
        assert_eq!(changes.root_work().unwrap(), home.join("work/@"));
        assert_eq!(fs::read_dir(home.join("work/@")).unwrap().count(), 0);
        fs::create_dir(home.join("work/@/left")).unwrap();
        assert_eq!(fs::read_dir(changes.new_work("@").unwrap()).unwrap().count(), 0);
        changes.remove_work("@").unwrap();
        assert_eq!(fs::read_dir(changes.work()).unwrap().count(), 0);
        fs::remove_dir_all(&home).unwrap();
    }
}
