//! Device-mapper devices (linux/dm-ioctl.h): what is there, and taking it away.
#![expect(unsafe_code, reason = "ioctl")]

use std::fs::{File, OpenOptions};

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

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
const DM_DEV_REMOVE: Opcode = call(4);
const DM_LIST_DEVICES: Opcode = call(2);

const NAME_AT: usize = 48;
const NAME_ROOM: usize = 128;

impl Request {
    fn new(name: &str) -> Self {
        let mut bytes = [0u8; ROOM];
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        // version 4.0.0, data_size, data_start
        put(0, 4);
        put(12, u32::try_from(ROOM).unwrap_or(u32::MAX));
        put(16, u32::try_from(HEADER).unwrap_or(u32::MAX));
        let length = name.len().min(NAME_ROOM - 1);
        bytes[NAME_AT..NAME_AT + length].copy_from_slice(&name.as_bytes()[..length]);
        Self(bytes)
    }
}

/// The names of all device-mapper devices. None where the kernel has no device-mapper.
pub fn names() -> Vec<String> {
    let Ok(control) = OpenOptions::new().read(true).write(true).open(CONTROL) else { return Vec::new() };
    let mut request = Request::new("");
    if perform::<DM_LIST_DEVICES>(&control, &mut request).is_err() {
        return Vec::new();
    }
    parse_names(&request.0[HEADER..])
}

/// Takes a device away. Fails with `EBUSY` while it is used.
pub fn remove(name: &str) -> Result<()> {
    let control = OpenOptions::new().read(true).write(true).open(CONTROL).at("open", CONTROL)?;
    let mut request = Request::new(name);
    perform::<DM_DEV_REMOVE>(&control, &mut request)
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
