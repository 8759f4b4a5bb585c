//! Device-mapper devices (linux/dm-ioctl.h): what is there, making them, giving them other tables, taking them away.
#![expect(unsafe_code, reason = "ioctl")]

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use zeroize::Zeroizing;

use crate::error::{AtPath, Error, Result};

const CONTROL: &str = "/dev/mapper/control";
const HEADER: usize = 312;
const ROOM: usize = 16 << 10;

/// A call's buffer: `struct dm_ioctl`, and room for what the kernel answers behind it.
#[repr(C, align(8))]
struct Request([u8; ROOM]);

/// The kernel declares the calls with the header's size, whatever follows it.
const fn call(number: u8) -> Opcode {
    opcode::from_components(rustix::ioctl::Direction::ReadWrite, 0xfd, number, HEADER)
}
const DM_LIST_DEVICES: Opcode = call(2);
const DM_DEV_CREATE: Opcode = call(3);
const DM_DEV_REMOVE: Opcode = call(4);
const DM_DEV_SUSPEND: Opcode = call(6);
const DM_TABLE_LOAD: Opcode = call(9);

/// Of `struct dm_ioctl`
const DATA_SIZE_AT: usize = 12;
const DATA_START_AT: usize = 16;
const TARGETS_AT: usize = 20;
const FLAGS_AT: usize = 28;
const DEVICE_AT: usize = 40;
const NAME_AT: usize = 48;
const NAME_ROOM: usize = 128;

/// The file system on the device is not frozen while the table is exchanged: it is the same before and after.
const DM_SKIP_LOCKFS_FLAG: u32 = 1 << 10;
/// What the kernel copied of the table is wiped: there is a key in it.
const DM_SECURE_DATA_FLAG: u32 = 1 << 15;

/// The size of `struct dm_target_spec`, which the text of its parameters follows.
const SPEC: usize = 40;
/// The unit of a table.
pub const SECTOR: u64 = 512;

/// A row of a table: so many sectors of the device, and what serves them (Documentation/admin-guide/device-mapper).
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// In units of [`SECTOR`]
    pub sectors: u64,
    /// Such as `linear` or `crypt`
    pub kind: &'static str,
    /// As the target's documentation has them; there may be a key in it
    pub parameters: Zeroizing<String>,
}

impl Request {
    fn new(name: &str) -> Self {
        let mut bytes = [0u8; ROOM];
        let length = name.len().min(NAME_ROOM - 1);
        bytes[NAME_AT..NAME_AT + length].copy_from_slice(&name.as_bytes()[..length]);
        let mut request = Self(bytes);
        // version 4.0.0
        request.put(0, 4);
        request.put(DATA_SIZE_AT, u32::try_from(ROOM).unwrap_or(u32::MAX));
        request.put(DATA_START_AT, u32::try_from(HEADER).unwrap_or(u32::MAX));
        request
    }
}

impl Request {
    /// With a table. `None` if it does not fit.
    fn with_table(name: &str, table: &[Target]) -> Option<Self> {
        let mut request = Self::new(name);
        request.put(TARGETS_AT, u32::try_from(table.len()).ok()?);
        request.put(FLAGS_AT, DM_SECURE_DATA_FLAG);
        let (mut at, mut start) = (HEADER, 0u64);
        for target in table {
            let text = target.parameters.as_bytes();
            // The text ends with a NUL; the next row is aligned.
            let length = (SPEC + text.len() + 1).next_multiple_of(8);
            let row = request.0.get_mut(at..at + length)?;
            row[..8].copy_from_slice(&start.to_ne_bytes());
            row[8..16].copy_from_slice(&target.sectors.to_ne_bytes());
            row[20..24].copy_from_slice(&u32::try_from(length).ok()?.to_ne_bytes());
            row[24..24 + target.kind.len()].copy_from_slice(target.kind.as_bytes());
            row[SPEC..SPEC + text.len()].copy_from_slice(text);
            at += length;
            start += target.sectors;
        }
        Some(request)
    }

    fn put(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // A table may have had a key.
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// Makes the device `name` with this table, and gives its node.
pub fn create(name: &str, table: &[Target]) -> Result<PathBuf> {
    let doing = "make the device-mapper device";
    let mut request = Request::new(name);
    let device = perform::<DM_DEV_CREATE>(&open_control()?, &mut request)
        .map_err(|e| Error::at(doing, name, std::io::Error::from(e)))
        .map(|()| u64::from_ne_bytes(std::array::from_fn(|i| request.0[DEVICE_AT + i])))?;
    set_table(name, table).inspect_err(|_| drop(remove(name)))?;
    let (minor, extended) = (device & 0xff, device >> 12 & 0xfff_ff00);
    Ok(PathBuf::from(format!("/dev/dm-{}", minor | extended)))
}

/// Gives the device `name` another table. Reads and writes meanwhile wait.
pub fn set_table(name: &str, table: &[Target]) -> Result<()> {
    let doing = "set the table of the device-mapper device";
    let control = open_control()?;
    let mut request =
        Request::with_table(name, table).ok_or_else(|| Error::at(doing, name, "it is too long"))?;
    perform::<DM_TABLE_LOAD>(&control, &mut request)
        .map_err(|e| Error::at(doing, name, std::io::Error::from(e)))?;
    let mut resume = Request::new(name);
    resume.put(FLAGS_AT, DM_SKIP_LOCKFS_FLAG);
    perform::<DM_DEV_SUSPEND>(&control, &mut resume)
        .map_err(|e| Error::at(doing, name, std::io::Error::from(e)))
}

fn open_control() -> Result<File> {
    OpenOptions::new().read(true).write(true).open(CONTROL).at("open", CONTROL)
}

/// The names of all device-mapper devices. None where the kernel has no device-mapper.
pub fn names() -> Vec<String> {
    let Ok(control) = open_control() else { return Vec::new() };
    let mut request = Request::new("");
    if perform::<DM_LIST_DEVICES>(&control, &mut request).is_err() {
        return Vec::new();
    }
    parse_names(&request.0[HEADER..])
}

/// Takes a device away. Fails with `EBUSY` while it is used.
pub fn remove(name: &str) -> Result<()> {
    let mut request = Request::new(name);
    perform::<DM_DEV_REMOVE>(&open_control()?, &mut request)
        .map_err(|e| Error::at("remove the device-mapper device", name, std::io::Error::from(e)))
}

fn perform<const CALL: Opcode>(control: &File, request: &mut Request) -> rustix::io::Result<()> {
    // SAFETY: the buffer starts with a valid `struct dm_ioctl` whose data_size is the buffer's size, so the kernel
    // reads and writes inside it.
    unsafe { ioctl(control, Updater::<CALL, Request>::new(request)) }
}

/// Reads a chain of `struct dm_name_list`: u64 device, u32 offset of the next one, the terminated name.
fn parse_names(mut list: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let (Some(device), Some(next), Some(text)) = (list.get(..8), list.get(8..12), list.get(12..)) {
        // An empty list is one entry without a device.
        if device == [0; 8] {
            break;
        }
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        names.push(String::from_utf8_lossy(&text[..end]).into_owned());
        let next = next.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b));
        if next == 0 {
            break;
        }
        list = list.get(next..).unwrap_or(&[]);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_table_follow_each_other() {
        let table = [(8, "7:0 0"), (16, "7:1 0")].map(|(sectors, p)| Target {
            sectors,
            kind: "linear",
            parameters: p.to_owned().into(),
        });
        let request = Request::with_table("x", &table).unwrap();
        let number = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| request.0[at + i]));
        assert_eq!(number(TARGETS_AT), 2);
        for (row, start, sectors, text) in [(0, 0, 8, "7:0 0"), (1, 8, 16, "7:1 0")] {
            let at = HEADER + row * 48;
            assert_eq!([number(at), number(at + 8), number(at + 20)], [start, sectors, 48]);
            assert_eq!(&request.0[at + 24..at + 31], b"linear\0");
            assert_eq!(&request.0[at + SPEC..at + 46], [text.as_bytes(), b"\0"].concat());
        }
        let long = Target { sectors: 8, kind: "crypt", parameters: "x".repeat(ROOM).into() };
        assert!(Request::with_table("x", &[long]).is_none());
    }

    #[test]
    fn reads_the_chain_of_names() {
        let mut list = Vec::new();
        list.extend_from_slice(&7u64.to_ne_bytes());
        list.extend_from_slice(&24u32.to_ne_bytes());
        list.extend_from_slice(b"changes\0\0\0\0\0");
        list.extend_from_slice(&8u64.to_ne_bytes());
        list.extend_from_slice(&0u32.to_ne_bytes());
        list.extend_from_slice(b"crypt\0");
        assert_eq!(parse_names(&list), ["changes", "crypt"]);
        assert_eq!(parse_names(&[0; 40]), [""; 0]);
    }
}
