//! Putting a bundle on the medium. The medium is mounted read only; it is writable as long as it has to be, and not a
//! moment longer, so that it can be pulled out.

use std::fs;
use std::path::{Path, PathBuf};

use live::layout::{MEDIUM, SESSIONS};
use live::mounts::{self, MountPoint};
use live::sys::mount;

use super::source::copy_whole;
use super::system::{in_ramfs, live_folder};
use crate::error::{AtPath, Error, Result};
use crate::output::Output;

/// The folder of the live folder whose bundles every boot takes.
pub const MODULES: &str = "modules";

/// The medium, writable until this value goes.
pub struct Writable {
    path: PathBuf,
    was_read_only: bool,
    /// Whether a session on it is written to all the time
    has_session: bool,
}

impl Writable {
    pub fn medium() -> Result<Self> {
        let path = in_ramfs(MEDIUM);
        let mounts = mounts::current()?;
        let medium =
            mounts::at(&mounts, &path).ok_or_else(|| Error::at("write to", &path, "no medium is there"))?;
        can_be_written(medium)?;
        let was_read_only = medium.options.split(',').any(|o| o == "ro");
        if was_read_only {
            mount::remount_writable(&path).map_err(|e| {
                let e = std::io::Error::from(e);
                Error::at("write to the medium", &path, e).hint("is it locked, or damaged?")
            })?;
        }
        let has_session = mounts.iter().any(|m| m.path == in_ramfs(SESSIONS) && m.device == medium.device);
        Ok(Self { path, was_read_only, has_session })
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        if !self.was_read_only {
            return;
        }
        let ended = if self.has_session {
            mount::set_attributes(&self.path, "ro,noatime").map_err(|e| e.to_string())
        } else {
            mount::remount_read_only(&self.path).map_err(|e| std::io::Error::from(e).to_string())
        };
        if let Err(e) = ended {
            live::log::warning(format_args!("cannot make {} read only again: {e}", self.path.display()));
        }
    }
}

/// Refuses media that keep nothing.
fn can_be_written(medium: &MountPoint) -> Result<()> {
    let place = format!("the medium ({})", medium.source);
    match (medium.fs_type.as_str(), medium.source.as_str()) {
        ("iso9660" | "udf" | "squashfs" | "erofs", _) => {
            Err(Error::at("write to", place, format!("{} cannot be written", medium.fs_type))
                .hint("a stick with the image's files on FAT32 or ext4 can; without --keep and --persist the bundle lasts until power-off"))
        }
        ("tmpfs", "lk:toram") => Err(Error::at("write to", place, "it is a copy in memory, which power-off ends")
            .hint("boot without toram to change the stick")),
        _ => Ok(()),
    }
}

/// Has `fill` put a bundle into the medium's modules/, and gives its path.
fn fill_modules(fill: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let folder = live_folder()?.join(MODULES);
    let _writable = Writable::medium()?;
    fs::create_dir_all(&folder).at("make the directory", &folder)?;
    fill(&folder)
}

/// Copies the bundle `file` into the medium's modules/ and gives its path there. One that is there already and has the
/// same bytes will do; another one of that name is not overwritten.
pub fn keep(file: &Path, name: &str, output: &Output) -> Result<PathBuf> {
    let target = live_folder()?.join(MODULES).join(name);
    if target.exists() {
        if same_bytes(file, &target)? {
            return Ok(target);
        }
        return Err(Error::at("write", &target, "another bundle of that name is there")
            .hint("give yours another name, or remove that one"));
    }
    fill_modules(|_| copy_whole(file, &target, output).map(|()| target.clone()))
}

/// Moves a bundle of the medium into its modules/, so that every boot takes it.
pub fn promote(file: &Path, name: &str) -> Result<PathBuf> {
    let target = live_folder()?.join(MODULES).join(name);
    if target.exists() {
        return Err(Error::at("move to", &target, "another bundle of that name is there"));
    }
    fill_modules(|folder| {
        fs::rename(file, &target).at(&format!("move {} to", file.display()), &target)?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)?;
        Ok(target.clone())
    })
}

fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    use std::io::Read;
    let (mut left, mut right) = (fs::File::open(a).at("open", a)?, fs::File::open(b).at("open", b)?);
    if left.metadata().at("look at", a)?.len() != right.metadata().at("look at", b)?.len() {
        return Ok(false);
    }
    let (mut one, mut two) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = left.read(&mut one).at("read", a)?;
        if read == 0 {
            return Ok(true);
        }
        right.read_exact(&mut two[..read]).at("read", b)?;
        if one[..read] != two[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_that_keep_nothing() {
        for (line, part) in [
            ("1 0 11:0 / /run/initramfs/memory/data ro - iso9660 /dev/sr0 ro", Some("iso9660 cannot")),
            ("1 0 0:9 / /run/initramfs/memory/data ro - tmpfs lk:toram ro", Some("copy in memory")),
            ("1 0 8:1 / /run/initramfs/memory/data ro - vfat /dev/sda1 ro", None),
        ] {
            let medium = mounts::parse(line.as_bytes()).remove(0);
            match (can_be_written(&medium), part) {
                (Ok(()), None) => {}
                (Err(e), Some(part)) => assert!(e.message().contains(part) && e.hint_text().is_some(), "{e}"),
                (found, part) => panic!("{found:?}, not {part:?}"),
            }
        }
    }

    #[test]
    fn files_are_compared_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let long = vec![7; 200_000];
        let mut other = long.clone();
        other[199_999] = 8;
        let a = write("a", &long);
        for (name, text, same) in
            [("b", &long, true), ("c", &other, false), ("d", &long[1..].to_vec(), false)]
        {
            assert_eq!(same_bytes(&a, &write(name, text)).unwrap(), same, "{name}");
        }
    }
}
