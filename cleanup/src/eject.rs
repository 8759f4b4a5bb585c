//! A disc that the system came from is given back.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use live::layout;
use live::log;
use live::mounts::{self, MountPoint};
use live::sys::block_device::OpticalDrive;
use live::sys::power::Action;

use crate::storage;

/// How long a tray stays open for the disc to be taken before a restart, which would not find the drive closed.
const TAKE_IT: Duration = Duration::from_secs(6);

/// The drive the system's disc is in.
pub struct OpticalMedium {
    node: PathBuf,
}

/// Finds the drive, while the medium is still mounted. `None`: the medium is no disc, or is not in use any more.
pub fn optical_medium() -> Option<OpticalMedium> {
    let mounts = mounts::current().ok()?;
    drive_of(&mounts).map(|node| OpticalMedium { node: node.into() })
}

fn drive_of(mounts: &[MountPoint]) -> Option<&str> {
    let places = [layout::MEDIUM, layout::CARRIER];
    mounts
        .iter()
        .find(|m| places.iter().any(|p| m.path.ends_with(&p[1..])) && storage::is_optical(&m.source))
        .map(|m| m.source.as_str())
}

impl OpticalMedium {
    /// Opens the tray; on the way to a restart closes it again after a while.
    pub fn release(&self, action: Action) {
        // PID 1 of some inits stays on the disc until the end; taken from under it, the kernel would panic.
        if mounts::current().is_ok_and(|mounts| drive_of(&mounts).is_some()) {
            return log::info(format_args!("{} is still in use and stays in", self.node.display()));
        }
        let drive = match OpticalDrive::open(&self.node) {
            Ok(drive) => drive,
            Err(e) => return log::warning(format_args!("{e}")),
        };
        if let Err(e) = drive.eject() {
            return log::warning(format_args!("cannot eject {}: {e}", self.node.display()));
        }
        log::info(format_args!("ejected {}", self.node.display()));
        if matches!(action, Action::Reboot | Action::Kexec) {
            sleep(TAKE_IT);
            // A drive without a motor cannot.
            let _ = drive.close_tray();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drive_of_the_medium() {
        let table: [(&[u8], Option<&str>); 3] = [
            (b"1 0 11:0 / /oldroot/run/initramfs/memory/data ro - iso9660 /dev/sr0 ro\n", Some("/dev/sr0")),
            (b"1 0 8:1 / /memory/data ro - vfat /dev/sda1 ro\n", None),
            (b"1 0 11:0 / /media/disc ro - iso9660 /dev/sr0 ro\n", None),
        ];
        for (text, expected) in table {
            assert_eq!(drive_of(&mounts::parse(text)), expected);
        }
    }
}
