//! Swap, loop and device-mapper devices: what holds file systems up from below.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use live::log;
use live::sys::{device_mapper, loop_device, swap};

/// Stops swapping, so that no file or partition is in use for it. Compressed memory may stay: what is swapped to it may not
/// fit elsewhere, and changes that are to be written yet can be in it.
pub fn stop_swapping() {
    for path in swap::areas().into_iter().filter(|path| !is_memory(path)) {
        match swap::swap_off(&path) {
            Ok(()) => log::info(format_args!("stopped swapping to {}", path.display())),
            Err(e) => log::warning(format_args!("{e}")),
        }
    }
}

/// Whether an area is zram that keeps nothing on a disk (Documentation/admin-guide/blockdev/zram.rst, `backing_dev`).
fn is_memory(area: &Path) -> bool {
    // By its last name alone: /proc/swaps shows a path through mounts that may be gone.
    let Some(name) = area.file_name().filter(|name| name.as_bytes().starts_with(b"zram")) else {
        return false;
    };
    let disk = fs::read_to_string(Path::new("/sys/block").join(name).join("backing_dev"));
    // Most kernels are built without.
    disk.map_or(true, |disk| disk.trim() == "none")
}

/// Detaches the loop devices that did not go with their file systems. True if one did.
pub fn detach_loops() -> bool {
    let before = loop_device::attached();
    for (device, file) in &before {
        if let Err(e) = loop_device::detach(device) {
            log::debug(format_args!("{file}: {e}"));
        }
    }
    loop_device::attached().len() < before.len()
}

/// Tells which loop devices would not go.
pub fn report_loops() {
    for (device, file) in loop_device::attached() {
        log::warning(format_args!("{} still shows {file}", device.display()));
    }
}

/// Removes device-mapper devices that nothing uses any more. True if one went.
pub fn remove_mappings() -> bool {
    let mut gone = false;
    for name in device_mapper::names() {
        match device_mapper::remove(&name) {
            Ok(()) => {
                log::info(format_args!("removed the device-mapper device {name}"));
                gone = true;
            }
            Err(e) => log::debug(format_args!("{e}")),
        }
    }
    gone
}

/// Whether the block device `node` is an optical drive: the kernel names them sr0, sr1, ...
pub fn is_optical(node: &str) -> bool {
    Path::new(node)
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("sr"))
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optical_drives() {
        for (node, expected) in
            [("/dev/sr0", true), ("/dev/sr", false), ("/dev/sra", false), ("/dev/sda", false)]
        {
            assert_eq!(is_optical(node), expected, "{node}");
        }
    }
}
