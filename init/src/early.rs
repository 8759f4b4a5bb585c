//! What the boot itself stands on: the kernel's file systems and the command line.

use std::fs;

use live::error::{AtPath, Result};
use live::log;
use live::options::BootOptions;
use live::sys::mount::Mount;

/// The kernel's file systems: where, type, options.
pub const KERNEL_FILESYSTEMS: [(&str, &str, &str); 3] = [
    ("/proc", "proc", "nosuid,nodev,noexec"),
    ("/sys", "sysfs", "nosuid,nodev,noexec"),
    ("/dev", "devtmpfs", "nosuid"),
];

/// Mounts them.
pub fn mount_kernel_filesystems() -> Result<()> {
    for (path, fs_type, attributes) in KERNEL_FILESYSTEMS {
        fs::create_dir_all(path).at("make the directory", path)?;
        Mount::new(fs_type, fs_type).attributes(attributes).at(path)?;
    }
    Ok(())
}

/// Reads the kernel command line, and says what of it is unclear, or in the words of others.
pub fn options() -> Result<BootOptions> {
    let path = "/proc/cmdline";
    let text = fs::read_to_string(path).at("read", path)?;
    let options = BootOptions::parse(&text);
    for read in &options.read_as {
        log::info(format_args!("{read}"));
    }
    for unclear in &options.unclear {
        log::warning(format_args!("{unclear}; ignored"));
    }
    log::debug(format_args!("{options:?}"));
    Ok(options)
}
