//! Swap: areas made, used and left.
#![expect(unsafe_code, reason = "swapon and swapoff have no safe wrapper")]

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};

/// Where the kernel looks for what is in use.
const IN_USE: &str = "/proc/swaps";
/// Flag of swapon(2): its lower bits are the priority.
const PREFER: i32 = 0x8000;

/// Makes the device at `path` an empty swap area of `bytes`.
pub fn make_area(path: &Path, bytes: u64) -> Result<()> {
    let header = header(rustix::param::page_size(), bytes).map_err(|e| Error::at("make swap of", path, e))?;
    let write = || {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.sync_all()
    };
    write().at("make swap of", path)
}

/// The first page of an area (include/linux/swap.h `union swap_header`, version 1): 1024 bytes of nobody, version, last page
/// and number of bad pages, each of 32 bits in the machine's order; the magic at the end.
fn header(page: usize, bytes: u64) -> std::result::Result<Vec<u8>, &'static str> {
    const MAGIC: &[u8] = b"SWAPSPACE2";
    // The kernel wants more than the header's page.
    let pages = bytes / page as u64;
    if pages < 2 {
        return Err("it is too small");
    }
    let last = u32::try_from(pages - 1).map_err(|_| "it is too large")?;
    let mut header = vec![0; page];
    for (index, number) in [1, last, 0].into_iter().enumerate() {
        header[1024 + 4 * index..][..4].copy_from_slice(&u32::to_ne_bytes(number));
    }
    header[page - MAGIC.len()..].copy_from_slice(MAGIC);
    Ok(header)
}

/// Starts to swap to an area, before others of a lower `priority`.
pub fn swap_on(path: &Path, priority: u8) -> Result<()> {
    let name = name(path, "swap to")?;
    // SAFETY: `name` is a terminated string that outlives the call.
    let result = unsafe { libc::swapon(name.as_ptr(), PREFER | i32::from(priority)) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).at("swap to", path) }
}

/// Stops swapping to a device or file.
pub fn swap_off(path: &Path) -> Result<()> {
    let name = name(path, "stop swapping to")?;
    // SAFETY: `name` is a terminated string that outlives the call.
    let result = unsafe { libc::swapoff(name.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).at("stop swapping to", path) }
}

fn name(path: &Path, doing: &'static str) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|e| Error::at(doing, path, e))
}

/// Devices and files that are swapped to.
pub fn areas() -> Vec<PathBuf> {
    parse(&fs::read_to_string(IN_USE).unwrap_or_default())
}

/// The first line has headings; a file that was seen through another root is marked as deleted.
fn parse(text: &str) -> Vec<PathBuf> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().next())
        .map(|path| PathBuf::from(path.replace("\\040(deleted)", "").replace("\\040", " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_read() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 9 0 100\n/mnt/my\\040swap\\040(deleted) file 9 0 -2\n";
        assert_eq!(parse(text), [PathBuf::from("/dev/zram0"), PathBuf::from("/mnt/my swap")]);
    }

    #[test]
    fn a_header_is_as_mkswap_writes_it() {
        let made = header(4096, 10 << 12).unwrap();
        assert_eq!(made.len(), 4096);
        assert_eq!(made[1024..1036], [1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&made[4086..], b"SWAPSPACE2");
        assert!(made[..1024].iter().chain(&made[1036..4086]).all(|&byte| byte == 0));
        assert!(header(4096, 8191).is_err());
        assert!(header(4096, 1 << 45).is_err());
    }
}
