//! The system that packages are installed over.

use std::path::{Path, PathBuf};

use live::mounts::{self, MountPoint};
use live::overlay::Overlay;
use live::sys::loop_device::LoopDevice;
use live::sys::mount::Mount;
use rustix::fs::StatVfsMountFlags;

use super::union::Place;
use crate::cli::from_packages::FromPackages;
use crate::error::{AtPath, Error, Result};

/// Folders of a system that may be file systems of their own, or have such in them.
const SYSTEM: &[&str] = &["etc", "opt", "srv", "usr", "var"];

/// Where containers and applications have mounts of their own.
const NOT_BELOW: &[&str] = &["var/lib/docker", "var/lib/containers", "var/lib/containerd", "var/lib/snapd"];

/// File systems that may hold a part of a system.
const HOLDING: &[&str] =
    &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "overlay", "tmpfs"];

/// A system, all of it at one path.
#[derive(Debug)]
pub struct Base {
    pub path: PathBuf,
    /// What is mounted in it and belongs to it, relative, the outer first: an overlay does not show that by itself.
    pub parts: Vec<PathBuf>,
}

impl Base {
    /// The one that the flags name.
    pub fn open(flags: &FromPackages, place: &Place<'_>) -> Result<Self> {
        let path = match &flags.root {
            Some(root) => root.canonicalize().at("find the root", root)?,
            None if flags.base.is_empty() => PathBuf::from("/"),
            None => return Self::of_bundles(&flags.base, place),
        };
        let base = Base { parts: parts(&path, &mounts::current()?), path };
        base.check()
    }

    /// Bundles laid over each other, the last on top.
    fn of_bundles(files: &[PathBuf], place: &Place<'_>) -> Result<Self> {
        let mut lowers = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let path = place.folder(&format!("bundle-{number}"))?;
            let device = LoopDevice::attach(file)?;
            let source = device.path().to_string_lossy().into_owned();
            Mount::new("squashfs", &source).read_only().at(&path)?;
            lowers.insert(0, path);
        }
        let (upper, work) = (place.folder("base-changes/upper")?, place.folder("base-changes/work")?);
        let path = place.folder("base")?;
        Overlay { source: "livekit-base", lowers: &lowers, upper: &upper, work: &work }.at(&path)?;
        // As in the running system: with the packages of all of them.
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let lowest_first = lowers.iter().rev().map(PathBuf::as_path);
        let bundles: Vec<(&str, &Path)> = names.iter().map(String::as_str).zip(lowest_first).collect();
        live::dpkg::converge_at_boot(&path, &place.folder("base-changes")?, &bundles)?;
        Base { path, parts: Vec::new() }.check()
    }

    fn check(self) -> Result<Self> {
        if self.path.join(live::dpkg::HOME).join("status").is_file()
            && self.path.join("usr/bin/apt-get").exists()
        {
            return Ok(self);
        }
        let error = Error::new(format!("{} has no dpkg and apt", self.path.display()));
        Err(error.hint("--root names a directory with a Debian in it, --base its bundles"))
    }

    /// Whether its locks can be taken; nobody installs packages on what is read only.
    pub fn writable(&self) -> bool {
        let stat = rustix::fs::statvfs(self.path.join(live::dpkg::HOME));
        stat.is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::RDONLY))
    }
}

/// Mounts below `root` that belong to the system there.
fn parts(root: &Path, mounts: &[MountPoint]) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = mounts
        .iter()
        .filter_map(|mount| {
            let part = mount.path.strip_prefix(root).ok()?;
            (belongs(part, mount) && mount.path.is_dir()).then(|| part.to_owned())
        })
        .collect();
    parts.sort();
    parts.dedup();
    parts
}

fn belongs(part: &Path, mount: &MountPoint) -> bool {
    // Covers of a live system may be anywhere; other unions deep in the tree are an application's.
    let cover = mount.fs_type == "overlay" && mount.source.starts_with("lk:");
    let deep = part.components().count() > 1;
    SYSTEM.iter().any(|top| part.starts_with(top))
        && !NOT_BELOW.iter().any(|other| part.starts_with(other))
        && !part.starts_with("var/tmp")
        && HOLDING.contains(&mount.fs_type.as_str())
        && (cover || !deep || !["overlay", "tmpfs"].contains(&mount.fs_type.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_system() {
        for (path, fs_type, source, expected) in [
            ("/usr", "ext4", "/dev/sda2", true),
            ("/var/lib", "xfs", "/dev/sda3", true),
            ("/usr", "overlay", "lk:usr:3", true),
            ("/var/lib/vim", "overlay", "lk:var/lib/vim:1", true),
            ("/var/lib/app/merged", "overlay", "overlay", false),
            ("/var/lib/docker/x", "ext4", "/dev/sdb", false),
            ("/home", "ext4", "/dev/sda4", false),
            ("/proc", "proc", "proc", false),
            ("/run", "tmpfs", "tmpfs", false),
            ("/", "ext4", "/dev/sda1", false),
        ] {
            let line = format!("1 0 8:1 / {path} rw - {fs_type} {source} rw");
            let mount = mounts::parse(line.as_bytes()).remove(0);
            let part = mount.path.strip_prefix("/").unwrap();
            assert_eq!(belongs(part, &mount), expected, "{path} {fs_type}");
        }
    }
}
