//! Block devices and optical drives (linux/cdrom.h).
#![expect(unsafe_code, reason = "ioctl")]

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::ioctl::{IntegerSetter, NoArg, Opcode, ioctl};

use crate::error::{AtPath, Result};

const CDROM_EJECT: Opcode = 0x5309;
const CDROM_CLOSE_TRAY: Opcode = 0x5319;
const CDROM_LOCK_DOOR: Opcode = 0x5329;

/// An optical drive, opened whether or not there is a disc in it.
pub struct OpticalDrive(File);

impl OpticalDrive {
    /// Opens the drive at `node`.
    pub fn open(node: &Path) -> Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().read(true).custom_flags(flags).open(node).at("open", node).map(Self)
    }

    /// Unlocks the door and opens the tray.
    pub fn eject(&self) -> std::io::Result<()> {
        // SAFETY: CDROM_LOCKDOOR takes an integer, CDROMEJECT nothing.
        unsafe {
            ioctl(self.0.as_fd(), IntegerSetter::<CDROM_LOCK_DOOR>::new_usize(0))?;
            ioctl(self.0.as_fd(), NoArg::<CDROM_EJECT>::new())?;
        }
        Ok(())
    }

    /// Closes the tray.
    pub fn close_tray(&self) -> std::io::Result<()> {
        // SAFETY: CDROMCLOSETRAY takes nothing.
        unsafe { ioctl(self.0.as_fd(), NoArg::<CDROM_CLOSE_TRAY>::new())? };
        Ok(())
    }
}
