//! The kernel's messages about devices that come, go and change (netlink(7), NETLINK_KOBJECT_UEVENT).

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};

use crate::error::{Error, Result};

/// What happened to a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uevent {
    /// `add`, `change`, `remove`, ...
    pub action: String,
    /// `block`, `usb`, ...
    pub subsystem: String,
    /// The text that finds the device's driver.
    pub modalias: Option<String>,
    /// The device's name below /dev.
    pub node: Option<String>,
}

/// The stream of events since it was opened.
pub struct Uevents(OwnedFd);

/// The multicast group the kernel itself sends to; udevd's is 2.
const KERNEL_GROUP: u32 = 1;

/// Room for the burst of a cold start, in bytes.
const BUFFER: usize = 4 << 20;

impl Uevents {
    /// Starts listening.
    pub fn open() -> Result<Self> {
        let open = || -> rustix::io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
            sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)?;
            bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
            Ok(socket)
        };
        open()
            .map(Self)
            .map_err(|e| Error::new(format!("cannot listen for devices: {}", std::io::Error::from(e))))
    }

    /// Waits for an event until `limit` is over. `None`: nothing came.
    pub fn next(&self, limit: Duration) -> Option<Uevent> {
        let mut buffer = vec![0u8; 16 << 10];
        loop {
            match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some(event) = parse(&buffer[..length]) {
                        return Some(event);
                    }
                }
                // Events were lost; whoever waits looks at all devices again anyway.
                Err(Errno::NOBUFS) => return Some(Uevent::default()),
                Err(Errno::INTR) => {}
                Err(_) => {
                    let mut waiting = [PollFd::new(&self.0, PollFlags::IN)];
                    let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
                    match poll(&mut waiting, Some(&limit)) {
                        Ok(0) => return None,
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(_) => return None,
                    }
                }
            }
        }
    }
}

/// Reads `action@path\0KEY=value\0...`. udevd's own messages start with `libudev` and are not for us.
fn parse(message: &[u8]) -> Option<Uevent> {
    let mut fields = message.split(|&b| b == 0).map(String::from_utf8_lossy);
    let (action, _) = fields.next()?.split_once('@').map(|(a, p)| (a.to_owned(), p.to_owned()))?;
    let mut event = Uevent { action, ..Uevent::default() };
    for field in fields {
        match field.split_once('=') {
            Some(("SUBSYSTEM", value)) => value.clone_into(&mut event.subsystem),
            Some(("MODALIAS", value)) => event.modalias = Some(value.to_owned()),
            Some(("DEVNAME", value)) => event.node = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_sends() {
        let message = b"add@/devices/pci0000:00/usb1/1-1:1.0\0ACTION=add\0SUBSYSTEM=usb\0MODALIAS=usb:v46F4p0001\0SEQNUM=7\0";
        let event = parse(message).unwrap();
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "usb"));
        assert_eq!(event.modalias.as_deref(), Some("usb:v46F4p0001"));
        let message = b"add@/devices/x/block/sda/sda1\0SUBSYSTEM=block\0DEVNAME=sda1\0";
        assert_eq!(parse(message).unwrap().node.as_deref(), Some("sda1"));
    }

    #[test]
    fn other_messages_are_passed_over() {
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe"), None);
        assert_eq!(parse(b""), None);
    }
}
