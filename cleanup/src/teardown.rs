//! Teardown: unmounting everything, in passes, for as long as that gains something.
//!
//! The medium is at the bottom of a circle: its bundles are loop devices, the loops are layers, the layers are the
//! union, and the union has the medium mounted inside it, at /run/initramfs. So the ramfs's mounts are first moved
//! out of the old root; then the union goes, and what it stood on follows from the top down.

use std::fs;
use std::path::{Path, PathBuf};

use live::layout::{OLD_ROOT, SAVED_RAMFS};
use live::log;
use live::mounts::{self, MountPoint};
use live::sys::mount;

use crate::{holders, storage};

/// What the way down takes from the world, so that the order of things can be tried without one.
trait World {
    fn mounts(&mut self) -> Vec<MountPoint>;
    /// The error is the kernel's word for why not.
    fn unmount(&mut self, path: &Path) -> Result<(), String>;
    /// Moves a mount to a path that is made for it.
    fn move_to(&mut self, from: &Path, to: &Path) -> Result<(), String>;
    /// Devices that stand between file systems and hold them. True if one went.
    fn detach_devices(&mut self) -> bool;
}

/// Moves the medium, the bundles and the changes to where the boot had them.
pub fn take_out() {
    take_out_ramfs_mounts(&mut Machine);
}

/// Takes everything apart but the ramfs and the kernel's own file systems, and tells what would not go.
pub fn unmount_everything() {
    let left = unmount_all(&mut Machine);
    let mounts = Machine.mounts();
    for (path, reason) in left {
        report(&path, &reason, &mounts);
    }
    // Said only of what is seen: a list of mounts that cannot be read has no root either.
    if mounts.iter().any(|m| m.path == Path::new("/")) && mounts.iter().all(stays) {
        log::info(format_args!("everything is unmounted, the medium is free"));
    }
}

/// The passes. What is left comes back with the reason, what sits on top first.
fn unmount_all(world: &mut dyn World) -> Vec<(PathBuf, String)> {
    take_out_ramfs_mounts(world);
    loop {
        let mut failed = Vec::new();
        let mut gained = false;
        for mount in mounts::topmost_first(world.mounts()) {
            if stays(&mount) {
                continue;
            }
            match world.unmount(&mount.path) {
                Ok(()) => {
                    log::debug(format_args!("unmounted {}", mount.path.display()));
                    gained = true;
                }
                Err(reason) => failed.push((mount.path, reason)),
            }
        }
        gained |= world.detach_devices();
        if failed.is_empty() || !gained {
            return failed;
        }
    }
}

/// Moves the medium, the bundles and the changes from /oldroot/run/initramfs/memory/… to /memory/….
fn take_out_ramfs_mounts(world: &mut dyn World) {
    let home = PathBuf::from(format!("{OLD_ROOT}{SAVED_RAMFS}"));
    let mounts = world.mounts();
    // A mount moves with all that is on it, so only those that sit on the ramfs itself are moved.
    let ours = |m: &&MountPoint| m.path.starts_with(&home) && m.path != home;
    for mount in mounts.iter().filter(ours) {
        let carried = mounts.iter().filter(ours).any(|other| other.id == mount.parent);
        let Ok(below) = mount.path.strip_prefix(&home) else { continue };
        // systemd's own binds of /proc and the rest into its new root are not ours.
        if carried || stays_at(&Path::new("/").join(below)) {
            continue;
        }
        if let Err(reason) = world.move_to(&mount.path, &Path::new("/").join(below)) {
            log::warning(format_args!("cannot move {} out of the old root: {reason}", mount.path.display()));
        }
    }
}

/// Whether a mount is to be there at the end: the ramfs, and the kernel's file systems in it.
fn stays(mount: &MountPoint) -> bool {
    mount.path == Path::new("/") || stays_at(&mount.path)
}

fn stays_at(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|kernel| path.starts_with(kernel))
}

/// Tells why a mount is still there and makes the best of it.
fn report(path: &Path, reason: &str, mounts: &[MountPoint]) {
    let holders = holders::of(path, mounts);
    let who = if holders.is_empty() { String::new() } else { format!("; in use by {}", holders.join(", ")) };
    log::error(format_args!("cannot unmount {}: {reason}{who}", path.display()));
    // What it holds is on the disk then, and the disk's file system is marked clean.
    match mount::remount_read_only(path) {
        Ok(()) => log::warning(format_args!("{} is read only now", path.display())),
        Err(e) => {
            let e = std::io::Error::from(e);
            log::error(format_args!("cannot make {} read only: {e}", path.display()));
        }
    }
}

/// This machine.
struct Machine;

impl World for Machine {
    fn mounts(&mut self) -> Vec<MountPoint> {
        mounts::current().unwrap_or_else(|e| {
            log::error(format_args!("{e}"));
            Vec::new()
        })
    }

    fn unmount(&mut self, path: &Path) -> Result<(), String> {
        mount::unmount(path).map_err(|e| std::io::Error::from(e).to_string())
    }

    fn move_to(&mut self, from: &Path, to: &Path) -> Result<(), String> {
        fs::create_dir_all(to).map_err(|e| e.to_string())?;
        mount::move_to(from, to).map_err(|e| e.to_string())
    }

    fn detach_devices(&mut self) -> bool {
        // A loop that a user has set up stays when its file system goes, and holds the one its file is on.
        let mappings = storage::remove_mappings();
        storage::detach_loops() || mappings
    }
}

#[cfg(test)]
mod tests;
