//! Loop devices (linux/loop.h).
#![expect(unsafe_code, reason = "ioctl")]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl};

use crate::error::{AtPath, Error, Result};

const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CLR_FD: Opcode = 0x4C01;
const LOOP_SET_CAPACITY: Opcode = 0x4C07;
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// A loop device that shows a file as a block device, through the page cache. The kernel detaches it when the last user
/// is gone; until something is mounted from it, that is this value.
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// Attaches `file` to a free loop device, to be read.
    pub fn attach(file: &Path) -> Result<Self> {
        Self::attach_opened(file, &File::open(file).at("open", file)?, LO_FLAGS_READ_ONLY)
    }

    /// Attaches `file` to a free loop device, to be read and written. Where the file system below can, what is written does
    /// not stay in its cache, too.
    pub fn attach_writable(file: &Path) -> Result<Self> {
        let backing = OpenOptions::new().read(true).write(true).open(file).at("open", file)?;
        Self::attach_opened(file, &backing, LO_FLAGS_DIRECT_IO)
    }

    fn attach_opened(file: &Path, backing: &File, flags: u32) -> Result<Self> {
        let control_path = "/dev/loop-control";
        let control =
            OpenOptions::new().read(true).write(true).open(control_path).map_err(|e| none_free(file, e))?;
        // Another process may take the free device before us.
        for _ in 0..16 {
            let number = free_number(&control).map_err(|e| none_free(file, std::io::Error::from(e)))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let writable = flags & LO_FLAGS_READ_ONLY == 0;
            let device = match OpenOptions::new().read(true).write(writable).open(&path) {
                Ok(device) => device,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::at("open", &path, e).hint("is devtmpfs mounted on /dev?"));
                }
                Err(e) => return Err(Error::at("open", &path, e)),
            };
            match configure(&device, backing, file, flags) {
                Ok(()) => return Ok(Self { path, _open: device }),
                Err(Errno::BUSY) => {}
                Err(e) => {
                    let e = std::io::Error::from(e);
                    return Err(Error::at(&format!("attach {} to", file.display()), path, e));
                }
            }
        }
        Err(none_free(file, "each was taken by somebody else just before"))
    }

    /// The device's node.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn none_free(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::at("attach", file, format!("there is no free loop device: /dev/loop-control: {why}"))
        .hint("`losetup -D` frees those that nothing uses; the boot parameter max_loop=64 makes more")
}

fn configure(device: &File, backing: &File, name: &Path, flags: u32) -> rustix::io::Result<()> {
    let mut file_name = [0u8; 64];
    let bytes = name.as_os_str().as_encoded_bytes();
    let length = bytes.len().min(file_name.len() - 1);
    file_name[..length].copy_from_slice(&bytes[..length]);
    let config = LoopConfig {
        // A file descriptor is never negative.
        fd: backing.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: flags | LO_FLAGS_AUTOCLEAR,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which LoopConfig lays out.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}

/// `LOOP_CTL_GET_FREE`: no argument, the number is the result.
struct GetFree;

// SAFETY: the call takes no argument; its result is read from the return value alone.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut std::ffi::c_void) -> rustix::io::Result<u32> {
        Ok(out.cast_unsigned())
    }
}

fn free_number(control: &File) -> rustix::io::Result<u32> {
    // SAFETY: GetFree describes the call.
    unsafe { ioctl(control, GetFree) }
}

/// Has a loop device show all of a file that has grown.
pub fn refresh_size(device: &Path) -> Result<()> {
    let open: OwnedFd = File::open(device).at("open", device)?.into();
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    unsafe { ioctl(&open, NoArg::<LOOP_SET_CAPACITY>::new()) }.at("resize", device)
}

/// The size of what a loop device shows, in bytes.
pub fn size(device: &Path) -> Result<u64> {
    let mut open = File::open(device).at("open", device)?;
    std::io::Seek::seek(&mut open, std::io::SeekFrom::End(0)).at("measure", device)
}

/// Takes the file off a loop device.
pub fn detach(device: &Path) -> Result<()> {
    let open: OwnedFd = File::open(device).at("open", device)?.into();
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(&open, NoArg::<LOOP_CLR_FD>::new()) }.at("detach", device)
}

/// The loop devices that show a file now, as nodes with the file's name.
pub fn attached() -> Vec<(PathBuf, String)> {
    let Ok(blocks) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    let mut found: Vec<_> = blocks
        .flatten()
        .filter_map(|entry| {
            let file = std::fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            Some((Path::new("/dev").join(entry.file_name()), file.trim_end().to_owned()))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_large_as_the_kernels() {
        assert_eq!(size_of::<LoopInfo64>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
