//! Copies of changes: with owners, modes, times, attributes, hard links, devices and whiteouts.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::sys::{node, xattr};

/// Copies the folder `from` as `to`, which is not there yet. Gives the bytes of the files.
pub fn tree(from: &Path, to: &Path) -> Result<u64> {
    let mut copy = Copy::default();
    copy.one(from, to)?;
    Ok(copy.bytes)
}

/// A copy under way: what is copied with it keeps its hard links.
#[derive(Debug, Default)]
pub(super) struct Copy {
    /// Where the first name of a file with several names went.
    links: HashMap<(u64, u64), PathBuf>,
    bytes: u64,
}

impl Copy {
    /// Copies one file or folder to a path where nothing is.
    pub(super) fn one(&mut self, from: &Path, to: &Path) -> Result<()> {
        let about = fs::symlink_metadata(from).at("look at", from)?;
        let kind = about.file_type();
        if !kind.is_dir() && about.nlink() > 1 {
            let key = (about.dev(), about.ino());
            if let Some(first) = self.links.get(&key) {
                return fs::hard_link(first, to).at("link", to);
            }
            self.links.insert(key, to.to_owned());
        }
        if kind.is_dir() {
            fs::create_dir(to).at("make the directory", to)?;
            for entry in fs::read_dir(from).at("list", from)? {
                let name = entry.at("list", from)?.file_name();
                self.one(&from.join(&name), &to.join(&name))?;
            }
        } else if kind.is_symlink() {
            symlink(fs::read_link(from).at("read", from)?, to).at("make the link", to)?;
        } else if kind.is_file() {
            self.bytes += fs::copy(from, to).at("copy", from)?;
        } else {
            node::make_like(&about, to)?;
        }
        keep(&about, from, to)
    }
}

/// Owner first, for it takes set-user-id away; times last.
fn keep(about: &Metadata, from: &Path, to: &Path) -> Result<()> {
    let (user, group) = (Some(about.uid()), Some(about.gid()));
    if about.is_symlink() {
        lchown(to, user, group).at("set the owner of", to)?;
        return xattr::copy(from, to, |_| true);
    }
    chown(to, user, group).at("set the owner of", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(about.mode() & 0o7777)).at("set the mode of", to)?;
    xattr::copy(from, to, |_| true)?;
    if let (Ok(accessed), Ok(modified), true) =
        (about.accessed(), about.modified(), about.is_file() || about.is_dir())
    {
        let times = fs::FileTimes::new().set_accessed(accessed).set_modified(modified);
        fs::File::open(to).and_then(|file| file.set_times(times)).at("set the times of", to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
    use std::os::unix::fs::FileTypeExt;

    /// Needs root, for owners and whiteouts.
    #[test]
    fn everything_comes_along() {
        let base = std::env::temp_dir().join(format!("livekit-copy-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/file"), "text").unwrap();
        chown(from.join("a/file"), Some(12), Some(34)).unwrap();
        fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(from.join("a/file"), from.join("again")).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        mknodat(CWD, from.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        lsetxattr(from.join("a/b"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        let times = fs::FileTimes::new().set_modified(old);
        fs::File::open(from.join("a")).unwrap().set_times(times).unwrap();

        assert_eq!(tree(&from, &to).unwrap(), 4);

        let about = fs::metadata(to.join("a/file")).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777, about.nlink()), (12, 34, 0o4750, 2));
        assert_eq!(about.ino(), fs::metadata(to.join("again")).unwrap().ino());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        let gone = fs::symlink_metadata(to.join("gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert_eq!(xattr::get(&to.join("a/b"), "trusted.overlay.opaque").unwrap(), b"y");
        assert_eq!(fs::metadata(to.join("a")).unwrap().modified().unwrap(), old);
        assert!(tree(&from, &to).is_err(), "nothing is copied over what is there");
        fs::remove_dir_all(&base).unwrap();
    }
}
