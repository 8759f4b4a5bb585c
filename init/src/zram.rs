//! Swap to compressed memory (Documentation/admin-guide/blockdev/zram.rst): what programs and changes leave untouched for a
//! while takes a half or a third of its room.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use live::error::{AtPath, Result};
use live::log;
use live::options::{BootOptions, Compression};
use live::sys::{mount, swap};

use crate::drivers::Drivers;

/// A device more than there are. The first one is left to what the distribution may set up by its name.
const MORE: &str = "/sys/class/zram-control/hot_add";
/// What the kernel needs. From 6.12 on it has the compression in itself.
const MODULES: [&str; 2] = ["lzo_rle", "zram"];
/// Before any swap that is on a disk.
const PRIORITY: u8 = 100;

/// Has memory compressed when it is short. No boot fails for it.
pub fn start(options: &BootOptions, drivers: &Drivers) {
    let Some(bytes) = options.zram.of(rustix::system::sysinfo().totalram) else { return };
    match device(bytes, drivers) {
        Ok(path) => {
            let name = path.display();
            log::info(format_args!("{} MiB can be swapped to compressed memory, {name}", bytes >> 20));
        }
        Err(e) if options.zram == Compression::ByItself => {
            log::info(format_args!("no memory will be compressed: {e}"));
        }
        Err(e) => log::warning(format_args!("zram=: {e}")),
    }
}

/// Sets a device up that takes so many bytes, and swaps to it.
fn device(bytes: u64, drivers: &Drivers) -> Result<PathBuf> {
    for module in MODULES {
        if let Err(e) = drivers.load(module) {
            log::debug(format_args!("{e}"));
        }
    }
    let number = fs::read_to_string(MORE)
        .at("have a device made by", MORE)
        .map_err(|e| e.hint("the kernel needs the module zram, built in or in the initramfs"))?;
    let name = format!("zram{}", number.trim());
    let size = Path::new("/sys/block").join(&name).join("disksize");
    fs::write(&size, bytes.to_string()).at("set", &size)?;
    let node = Path::new("/dev").join(&name);
    swap::make_area(&node, bytes)?;
    // What is swapped to keeps the mount of its name busy, to the end: a mount that is in no tree keeps nothing else. And
    // nobody finds the name that /proc/swaps shows then: the distribution's shutdown, which would have no room for all that
    // was swapped, leaves it as it is.
    let devices = mount::copy_of("/dev", false)?;
    let seen = PathBuf::from(format!("/proc/self/fd/{}", devices.as_raw_fd())).join(&name);
    swap::swap_on(&seen, PRIORITY)?;
    Ok(node)
}
