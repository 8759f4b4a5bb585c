//! The saved ramfs: the initramfs in a place that `pivot_root` can leave, so that shutdown can come back to it.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use live::error::{AtPath, Error, Result};
use live::layout::{ESCAPE, MODULES};
use live::log;
use live::sys::mount::{self, Mount};
use live::sys::node;
use rustix::io::Errno;
use rustix::process::{chdir, chroot, pivot_root};

/// The ramfs, in a place it can be left from. What only the boot reads is not moved there: it goes with the boot.
pub struct SavedRamfs {
    /// The first root, which has no path any more, where it was left with the modules in it.
    first_root: Option<File>,
}

impl SavedRamfs {
    /// The folder that holds one folder of modules for each kernel release. Needs /proc.
    pub fn modules(&self) -> PathBuf {
        match &self.first_root {
            Some(root) => PathBuf::from(format!("/proc/self/fd/{}{MODULES}", root.as_raw_fd())),
            None => PathBuf::from(MODULES),
        }
    }

    /// Removes the modules, which would take memory as long as the system runs.
    pub fn forget_modules(&self) {
        if let Err(e) = fs::remove_dir_all(self.modules()) {
            log::debug(format_args!("cannot remove the modules: {e}"));
        }
    }
}

/// Makes the present root one that can be left: by leaving it as it is where the kernel allows that, else by moving
/// everything in it to a tmpfs.
pub fn save() -> Result<SavedRamfs> {
    fs::create_dir_all(ESCAPE).at("make the directory", ESCAPE)?;
    Mount::new("tmpfs", "livekit").set("mode", "0755").at(ESCAPE)?;
    if can_be_left()? {
        log::info(format_args!("this kernel lets pivot_root leave the initramfs; nothing is moved"));
        mount::unmount(ESCAPE).at("unmount", ESCAPE)?;
        return Ok(SavedRamfs { first_root: None });
    }
    let first_root = File::open("/").at("open", "/")?;
    let moved = escape()?;
    log::info(format_args!("moved the initramfs to a tmpfs, {moved} files"));
    Ok(SavedRamfs { first_root: Some(first_root) })
}

/// Tries `pivot_root` to the tmpfs and back. The first root of Linux before 7.0 has no mount below it, which
/// the call answers with `EINVAL`.
fn can_be_left() -> Result<bool> {
    let put_old = Path::new(ESCAPE).join("old");
    fs::create_dir(&put_old).at("make the directory", &put_old)?;
    let left = match pivot_root(ESCAPE, &put_old) {
        Ok(()) => {
            let back = Path::new("/old");
            pivot_root(back, back.join(&ESCAPE[1..])).at("return to", back)?;
            true
        }
        Err(Errno::INVAL) => false,
        Err(e) => return Err(Error::at("leave the initramfs for", ESCAPE, std::io::Error::from(e))),
    };
    fs::remove_dir(&put_old).at("remove", &put_old)?;
    Ok(left)
}

/// Moves everything but the modules to the tmpfs, file by file so that memory is never needed twice, and makes it the
/// root. Firmware moves too: the kernel looks for it in the root of PID 1.
fn escape() -> Result<usize> {
    let mut move_ = Move { device: device_of(Path::new("/"))?, links: HashMap::new(), files: 0 };
    move_.contents(Path::new("/"), Path::new(ESCAPE))?;
    chdir(ESCAPE).at("enter", ESCAPE)?;
    mount::move_to(".", "/")?;
    chroot(".").at("make the root", ESCAPE)?;
    chdir("/").at("enter", "/")?;
    Ok(move_.files)
}

fn device_of(path: &Path) -> Result<u64> {
    fs::symlink_metadata(path).map(|m| m.dev()).at("look at", path)
}

/// A tree on its way from one file system to another.
struct Move {
    /// The file system that is emptied; others mounted in it move as they are.
    device: u64,
    /// Where the first name of a file with several names went.
    links: HashMap<u64, PathBuf>,
    files: usize,
}

impl Move {
    fn contents(&mut self, from: &Path, to: &Path) -> Result<()> {
        for entry in fs::read_dir(from).at("list", from)? {
            let entry = entry.at("list", from)?;
            let path = entry.path();
            if ![ESCAPE, MODULES].map(Path::new).contains(&path.as_path()) {
                self.one(&path, &to.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    fn one(&mut self, from: &Path, to: &Path) -> Result<()> {
        let about = fs::symlink_metadata(from).at("look at", from)?;
        let kind = about.file_type();
        if kind.is_dir() {
            fs::DirBuilder::new().mode(about.mode() & 0o7777).create(to).at("make the directory", to)?;
            if about.dev() != self.device {
                return mount::move_to(from, to);
            }
            self.contents(from, to)?;
            keep_owner_and_mode(&about, to)?;
            return match fs::remove_dir(from) {
                // Something in it stays.
                Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed.at("remove", from),
            };
        }
        self.files += 1;
        if let Some(first) = self.links.get(&about.ino()) {
            fs::hard_link(first, to).at("link", to)?;
        } else {
            if kind.is_symlink() {
                let target = fs::read_link(from).at("read", from)?;
                symlink(target, to).at("make the link", to)?;
            } else if kind.is_file() {
                fs::copy(from, to).at("copy", from)?;
            } else {
                node::make_like(&about, to)?;
            }
            if about.nlink() > 1 {
                self.links.insert(about.ino(), to.to_owned());
            }
            keep_owner_and_mode(&about, to)?;
        }
        fs::remove_file(from).at("remove", from)
    }
}

fn keep_owner_and_mode(about: &Metadata, to: &Path) -> Result<()> {
    if about.file_type().is_symlink() {
        return Ok(());
    }
    if (about.uid(), about.gid()) != (0, 0) {
        chown(to, Some(about.uid()), Some(about.gid())).at("set the owner of", to)?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(about.mode() & 0o7777)).at("set the mode of", to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode};
    use std::os::unix::fs::FileTypeExt;

    /// Needs root for the device node and a second file system for nothing: the tree is moved within one.
    #[test]
    fn a_tree_is_moved_with_links_and_modes() {
        let base = std::env::temp_dir().join(format!("livekit-ramfs-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(from.join("a/b/file"), from.join("second")).unwrap();
        symlink("a/b/file", from.join("link")).unwrap();
        rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();

        let mut move_ = Move { device: device_of(&base).unwrap(), links: HashMap::new(), files: 0 };
        move_.contents(&from, &to).unwrap();

        assert_eq!(move_.files, 4);
        assert_eq!(fs::read_dir(&from).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "text");
        let file = fs::metadata(to.join("a/b/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.nlink()), (0o4711, 2));
        assert_eq!(file.ino(), fs::metadata(to.join("second")).unwrap().ino());
        assert!(fs::symlink_metadata(to.join("pipe")).unwrap().file_type().is_fifo());
        fs::remove_dir_all(&base).unwrap();
    }
}
