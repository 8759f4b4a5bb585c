//! Whether overlayfs can write to a file system: by trying, not by its name.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, RenameFlags, XattrFlags, lsetxattr, open, renameat_with};

use crate::error::{AtPath, Result};

/// Whether the folder given, which holds an empty file named `file`, is on a file system that has something.
type Test = fn(&Path) -> bool;

/// What overlayfs needs of the file system it writes to (Documentation/filesystems/overlayfs.rst, "Upper and Lower"),
/// and what else a root cannot do without.
const NEEDS: [(&str, Test); 5] = [
    ("extended attributes", has_attributes),
    ("types in directories", tells_types),
    ("nameless files", makes_nameless_files),
    ("whiteouts", makes_whiteouts),
    ("owners and modes", keeps_modes),
];

/// What the file system of `folder`, which is writable, lacks. Nothing is left behind in it.
pub fn lacks(folder: &Path) -> Result<Vec<&'static str>> {
    let place = folder.join(format!(".livekit-probe-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).at("make the directory", &place)?;
    let made = fs::write(place.join("file"), "").at("write", place.join("file"));
    let lacks = NEEDS.iter().filter(|(_, test)| !test(&place)).map(|(name, _)| *name).collect();
    fs::remove_dir_all(&place).at("remove", &place)?;
    made.map(|()| lacks)
}

fn has_attributes(place: &Path) -> bool {
    lsetxattr(place, "trusted.overlay.probe", b"y", XattrFlags::empty()).is_ok()
}

fn tells_types(place: &Path) -> bool {
    let Ok(folder) = open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    Dir::new(folder).is_ok_and(|entries| {
        entries.flatten().any(|e| e.file_name() == c"file" && e.file_type() == FileType::RegularFile)
    })
}

fn makes_nameless_files(place: &Path) -> bool {
    open(place, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).is_ok()
}

fn makes_whiteouts(place: &Path) -> bool {
    let (from, to) = (place.join("hidden"), place.join("moved"));
    fs::write(&from, "").is_ok()
        && renameat_with(CWD, &from, CWD, &to, RenameFlags::WHITEOUT).is_ok()
        && fs::symlink_metadata(&from)
            .is_ok_and(|about| about.file_type().is_char_device() && about.rdev() == 0)
}

fn keeps_modes(place: &Path) -> bool {
    let file = place.join("file");
    let keeps = |mode, owner: u32| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).is_ok()
            && std::os::unix::fs::chown(&file, Some(owner), Some(owner)).is_ok()
            && fs::metadata(&file).is_ok_and(|about| about.mode() & 0o7777 == mode && about.uid() == owner)
    };
    keeps(0o640, 1234) && keeps(0o755, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mount::{self, Mount};

    /// Needs root, for the mounts.
    #[test]
    fn a_tmpfs_can_and_ramfs_cannot() {
        let place = std::env::temp_dir().join(format!("livekit-probe-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        for (fs_type, expected) in [("tmpfs", vec![]), ("ramfs", vec!["extended attributes"])] {
            Mount::new(fs_type, fs_type).at(&place).unwrap();
            let found = lacks(&place).unwrap();
            let left = fs::read_dir(&place).unwrap().count();
            mount::unmount(&place).unwrap();
            assert_eq!(left, 0, "{fs_type}");
            assert!(expected.iter().all(|e| found.contains(e)), "{fs_type}: {found:?}");
            assert_eq!(expected.is_empty(), found.is_empty(), "{fs_type}: {found:?}");
        }
        fs::remove_dir(&place).unwrap();
    }
}
