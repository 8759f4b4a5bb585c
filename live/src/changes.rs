//! Changes: what is written while the system runs, and where it is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::sys::mount::Mount;

/// The upper and the work directory of the union, always on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What was changed.
    pub upper: PathBuf,
    /// The kernel's workshop beside it.
    pub work: PathBuf,
}

impl Changes {
    /// Keeps changes in memory: a tmpfs at `home`, limited to half of the machine's memory, as tmpfs does.
    pub fn in_memory(home: &Path) -> Result<Self> {
        std::fs::create_dir_all(home).at("make the directory", home)?;
        Mount::new("tmpfs", "lk:changes").set("mode", "0755").at(home)?;
        Self::in_folder(home)
    }

    /// Keeps changes in a folder of a mounted file system.
    fn in_folder(home: &Path) -> Result<Self> {
        let changes = Self { upper: home.join("upper"), work: home.join("work") };
        for folder in [&changes.upper, &changes.work] {
            std::fs::create_dir_all(folder).at("make the directory", folder)?;
            // The upper's mode is the mode of the union's root.
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
                .at("set the mode of", folder)?;
        }
        Ok(changes)
    }
}
