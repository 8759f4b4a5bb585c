//! Which mounted file systems belong to the running system, and what swaps on it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use live::cover::Cover;
use live::mounts::MountPoint;

/// Hierarchies of a system that may be file systems of their own.
const SYSTEM: &[&str] = &["/usr", "/var", "/home", "/boot", "/opt", "/srv", "/root", "/etc"];

/// File systems that live on a disk, or stand in for one.
const ON_DISK: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "erofs",
    "squashfs", "overlay",
];

/// Where others keep the mounts of their containers and images; what is mounted there is no part of the system.
const NOT_BELOW: &[&str] =
    &["/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/var/lib/snapd"];

/// A mount whose contents stay out of the image; its directory is kept, empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: PathBuf,
    pub fs_type: String,
    /// It may hold something the user wants: worth a word.
    pub notable: bool,
}

/// Sorts out the mounts of the running system: those whose contents do not belong to it.
pub fn left_out(mounts: &[MountPoint]) -> Vec<LeftOut> {
    // The last mount at a path is the one that is seen.
    let paths: BTreeSet<&Path> = mounts.iter().map(|mount| mount.path.as_path()).collect();
    let seen = paths.into_iter().filter_map(|path| live::mounts::at(mounts, path));
    seen.filter(|mount| mount.path != Path::new("/") && !belongs(mount))
        .map(|mount| LeftOut {
            path: mount.path.clone(),
            fs_type: mount.fs_type.clone(),
            notable: ON_DISK.contains(&mount.fs_type.as_str()) && !below_any(&mount.path, NOT_BELOW),
        })
        .collect()
}

fn belongs(mount: &MountPoint) -> bool {
    // A cover is a part of the union that this system runs on, wherever it lies.
    if Cover::parse(&mount.source).is_some_and(|cover| mount.path == Path::new("/").join(cover.place)) {
        return true;
    }
    ON_DISK.contains(&mount.fs_type.as_str())
        && below_any(&mount.path, SYSTEM)
        && !below_any(&mount.path, NOT_BELOW)
        // An image or a union deep in the tree is an application's; at the top it is the system itself.
        && (!["squashfs", "erofs", "overlay"].contains(&mount.fs_type.as_str())
            || SYSTEM.iter().any(|top| mount.path == Path::new(top)))
}

fn below_any(path: &Path, tops: &[&str]) -> bool {
    tops.iter().any(|top| path.starts_with(top))
}

/// The files in use as swap, from the text of /proc/swaps.
pub fn swap_files(swaps: &[u8]) -> Vec<PathBuf> {
    swaps
        .split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
            let path = fields.next()?;
            (fields.next()? == b"file").then(|| std::ffi::OsString::from_vec(path.to_vec()).into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, fs_type: &str) -> MountPoint {
        let line = format!("1 0 8:1 / {path} rw - {fs_type} none rw");
        live::mounts::parse(line.as_bytes()).remove(0)
    }

    #[test]
    fn the_systems_own_file_systems_go_in() {
        for (path, fs_type, goes_in, notable) in [
            ("/usr", "ext4", true, false),
            ("/home", "btrfs", true, false),
            ("/var/log", "xfs", true, false),
            ("/boot", "ext4", true, false),
            ("/usr", "overlay", true, false),
            ("/boot/efi", "vfat", false, false),
            ("/proc", "proc", false, false),
            ("/home/me/mnt", "fuse.sshfs", false, false),
            ("/home", "nfs4", false, false),
            ("/data", "ext4", false, true),
            ("/usr/share/app", "squashfs", false, true),
            ("/snap/core/1", "squashfs", false, true),
            ("/var/lib/docker/overlay2/x/merged", "overlay", false, false),
        ] {
            let left = left_out(&[mount("/", "ext4"), mount(path, fs_type)]);
            assert_eq!(left.is_empty(), goes_in, "{path} {fs_type}");
            assert_eq!(left.first().is_some_and(|left| left.notable), notable, "{path} {fs_type}");
        }
    }

    #[test]
    fn covers_are_the_system() {
        let text = b"1 0 0:1 / / rw - overlay lk:@ rw\n2 1 0:2 / /lib rw - overlay lk:lib:0 rw\n\
            3 1 0:3 / /var/lib/tool rw - overlay lk:var/lib/tool:4 rw\n\
            4 1 0:2 / /srv/chroot/lib rw - overlay lk:lib:0 rw\n";
        let left = left_out(&live::mounts::parse(text));
        let paths: Vec<&Path> = left.iter().map(|left| left.path.as_path()).collect();
        assert_eq!(paths, [Path::new("/srv/chroot/lib")]);
    }

    #[test]
    fn the_uppermost_mount_counts() {
        let mounts = [mount("/", "ext4"), mount("/home", "ext4"), mount("/home", "tmpfs")];
        assert_eq!(left_out(&mounts)[0].fs_type, "tmpfs");
    }

    #[test]
    fn swap_files_are_found_and_partitions_are_not() {
        let text = b"Filename\t\t\tType\t\tSize\n/dev/sda2                               partition\t1\n/swap.d/a   file 2 0 -2\n";
        assert_eq!(swap_files(text), [PathBuf::from("/swap.d/a")]);
        assert!(swap_files(b"").is_empty());
    }
}
