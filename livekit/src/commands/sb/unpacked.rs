//! Directories that sb2dir made, and what may be done to a directory as a whole.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, renameat_with, utimensat};
use rustix::io::Errno;

use crate::error::{AtPath, Error, Result};

/// The file in a directory that says sb2dir made it.
pub const MARKER: &str = ".livekit-sb2dir";

/// Marks `directory`, which was just made of a bundle. Its times stay as they are.
pub fn mark(directory: &Path) -> Result<()> {
    let times = fs::metadata(directory).at("look at", directory)?;
    let path = directory.join(MARKER);
    // A bundle may bring a file of that name, or a link that leads elsewhere.
    if fs::symlink_metadata(&path).is_ok() {
        fs::remove_file(&path).at("remove", &path)?;
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).at("make", &path)?;
    file.write_all(b"This directory was made by `livekit sb sb2dir`. `livekit sb rmsbdir` removes it.\n")
        .at("write", &path)?;
    restore_times(directory, &times)
}

fn restore_times(directory: &Path, metadata: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let times = Timestamps {
        last_access: Timespec { tv_sec: metadata.atime(), tv_nsec: metadata.atime_nsec() },
        last_modification: Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() },
    };
    utimensat(CWD, directory, &times, AtFlags::empty()).at("set the times of", directory)
}

/// Whether `directory` has the mark.
pub fn is_marked(directory: &Path) -> bool {
    fs::symlink_metadata(directory.join(MARKER)).is_ok_and(|metadata| metadata.is_file())
}

/// The real path of `directory`, if it may be removed or replaced as a whole: no link, no mount point, nothing mounted
/// below.
pub fn whole(directory: &Path) -> Result<PathBuf> {
    // `x/` names what a link x leads to.
    let named: PathBuf = directory.components().collect();
    let metadata = fs::symlink_metadata(&named).at("look at", &named)?;
    if metadata.is_symlink() {
        return Err(Error::new(format!("{} is a symbolic link", named.display()))
            .hint("name the directory it leads to"));
    }
    if !metadata.is_dir() {
        return Err(Error::new(format!("{} is not a directory", named.display())));
    }
    let real = named.canonicalize().at("find", &named)?;
    check_mounts(&real, live::mounts::current()?.iter().map(|mount| mount.path.as_path()))?;
    Ok(real)
}

/// Puts `new` under the name of `old` and `old` under that of `new`, at once where the file system can.
pub fn exchange(new: &Path, old: &Path) -> Result<()> {
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        result => return result.at("replace", old),
    }
    let aside = new.with_extension("aside");
    fs::rename(old, &aside).at("replace", old)?;
    fs::rename(new, old).at("replace", old).inspect_err(|_| {
        // The error that led here is the one to tell.
        let _ = fs::rename(&aside, old);
    })
}

fn check_mounts<'a>(directory: &Path, mounts: impl Iterator<Item = &'a Path>) -> Result<()> {
    let Some(mount) = mounts.into_iter().find(|mount| mount.starts_with(directory)) else { return Ok(()) };
    let text = if mount == directory {
        format!("{} is a mount point", directory.display())
    } else {
        format!("{} is mounted in {}", mount.display(), directory.display())
    };
    Err(Error::new(text).hint(format!("umount {}", mount.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_forbid() {
        let mounts = ["/", "/proc", "/srv/x/dev", "/srv/xy"].map(Path::new);
        for (directory, error) in [
            ("/srv/x", Some("/srv/x/dev is mounted in /srv/x")),
            ("/srv/xy", Some("/srv/xy is a mount point")),
            ("/srv/x/y", None),
            ("/home", None),
        ] {
            let found = check_mounts(Path::new(directory), mounts.into_iter()).err();
            assert_eq!(found.map(|error| error.message()).as_deref(), error, "{directory}");
        }
    }

    #[test]
    fn links_and_files_are_no_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        assert!(whole(&dir.path().join("real")).is_ok());
        for (name, says) in [
            ("link", "is a symbolic link"),
            ("link/", "is a symbolic link"),
            ("file", "is not a directory"),
            ("none", "No such file"),
        ] {
            let error = whole(&dir.path().join(name)).unwrap_err();
            assert!(error.message().contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn marks_are_files_and_leave_the_times() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "stays").unwrap();
        let made = dir.path().join("made");
        fs::create_dir(&made).unwrap();
        std::os::unix::fs::symlink("../outside", made.join(MARKER)).unwrap();
        assert!(!is_marked(&made));
        let before = fs::metadata(&made).unwrap().modified().unwrap();
        mark(&made).unwrap();
        assert!(is_marked(&made));
        assert_eq!(fs::metadata(&made).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read(dir.path().join("outside")).unwrap(), b"stays");
    }
}
