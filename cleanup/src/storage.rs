//! Swap, loop and device-mapper devices: what holds file systems up from below.

use std::fs;
use std::path::{Path, PathBuf};

use live::log;
use live::sys::{device_mapper, loop_device, power};

/// Stops swapping, so that no file or partition is in use for it.
pub fn stop_swapping() {
    let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for path in swaps(&text) {
        match power::swap_off(&path) {
            Ok(()) => log::info(format_args!("stopped swapping to {}", path.display())),
            Err(e) => log::warning(format_args!("{e}")),
        }
    }
}

/// The devices and files of /proc/swaps. The first line has headings; a file that was seen through another root is
/// marked as deleted.
fn swaps(text: &str) -> Vec<PathBuf> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next())
        .map(|path| PathBuf::from(path.replace("\\040(deleted)", "").replace("\\040", " ")))
        .collect()
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
    fn reads_swaps() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 9 0 100\n/mnt/my\\040swap\\040(deleted) file 9 0 -2\n";
        assert_eq!(swaps(text), [PathBuf::from("/dev/zram0"), PathBuf::from("/mnt/my swap")]);
    }

    #[test]
    fn optical_drives() {
        for (node, expected) in
            [("/dev/sr0", true), ("/dev/sr", false), ("/dev/sra", false), ("/dev/sda", false)]
        {
            assert_eq!(is_optical(node), expected, "{node}");
        }
    }
}
