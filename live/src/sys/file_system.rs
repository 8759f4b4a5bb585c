//! What a mounted file system is told to do: to grow (fs/ext4/ext4.h), to hold still (linux/fs.h).
#![expect(unsafe_code, reason = "ioctl")]

use std::fs::File;
use std::path::Path;

use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};

use crate::error::{AtPath, Result};

const EXT4_IOC_RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);
const FIFREEZE: Opcode = opcode::read_write::<i32>(b'X', 119);
const FITHAW: Opcode = opcode::read_write::<i32>(b'X', 120);

/// Has the ext4 mounted at `path` grow to so many blocks. Needs CAP_SYS_RESOURCE.
pub fn resize_ext4(path: &Path, blocks: u64) -> Result<()> {
    let root = File::open(path).at("open", path)?;
    // SAFETY: the call reads a u64.
    unsafe { ioctl(&root, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }
        .at("grow the file system at", path)
}

/// A file system whose writers wait until this value goes.
pub struct Frozen(File);

/// Has everybody who writes to the file system mounted at `path` wait; what they wrote is on the disk then.
pub fn freeze(path: &Path) -> Result<Frozen> {
    let root = File::open(path).at("open", path)?;
    // SAFETY: the kernel ignores the argument.
    unsafe { ioctl(&root, NoArg::<FIFREEZE>::new()) }.at("freeze", path)?;
    Ok(Frozen(root))
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: as for FIFREEZE.
        if let Err(e) = unsafe { ioctl(&self.0, NoArg::<FITHAW>::new()) } {
            crate::log::error(format_args!("cannot thaw the changes: {e}"));
        }
    }
}
