//! The check of a FAT file system that was not unmounted: the kernel mounts it as it is, and never takes the mark away.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use live::log;

/// The build host's checker, where it had one.
const CHECKER: &str = "/sbin/fsck.fat";

/// Whether the FAT file system that begins so was in use when its machine stopped (linux/msdos_fs.h: FAT_STATE_DIRTY in
/// `fat_boot_sector.fat32.state` and `.fat16.state`).
fn is_dirty(boot_sector: &[u8; 512]) -> bool {
    // FAT32 has no count of sectors for one FAT in the old place.
    let is_fat32 = boot_sector[22..24] == [0, 0];
    boot_sector[if is_fat32 { 0x41 } else { 0x25 }] & 1 != 0
}

/// Whether `device` has to be checked before it is written to.
pub fn needs_check(device: &Path) -> bool {
    let mut boot_sector = [0; 512];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut boot_sector, 0));
    read.is_ok() && is_dirty(&boot_sector)
}

/// Checks and repairs the file system of a device that is not mounted. What cannot be repaired is told.
pub fn check(device: &Path) {
    let shown = device.display();
    if !Path::new(CHECKER).exists() {
        log::warning(format_args!(
            "{shown} was not unmounted when it was last used, and there is no fsck.fat to check it; it is used as it is"
        ));
        return;
    }
    let mut command = Command::new(CHECKER);
    // Everything that can be repaired is, at once on the disk.
    command.args(["-a", "-w"]).arg(device).env_clear().stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            for line in said.lines() {
                log::debug(format_args!("fsck.fat: {line}"));
            }
            // fsck.fat(8), exit status: 0 nothing was wrong, 1 what was wrong is repaired.
            match output.status.code() {
                Some(0 | 1) => {
                    log::info(format_args!("{shown} was not unmounted when it was last used; it is checked"));
                }
                _ => log::error(format_args!(
                    "{shown} has errors that cannot be repaired here: {}",
                    last_line(&said)
                )),
            }
        }
        Err(e) => log::error(format_args!("cannot check {shown}: {e}")),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("fsck.fat says nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_where_the_kernel_has_it() {
        for (fat16_sectors, at, expected) in
            [(0, 0x41, true), (0, 0x25, false), (9, 0x25, true), (9, 0x41, false)]
        {
            let mut sector = [0; 512];
            sector[22] = fat16_sectors;
            assert!(!is_dirty(&sector));
            sector[at] = 1;
            assert_eq!(is_dirty(&sector), expected, "{at:#x}");
        }
    }
}
