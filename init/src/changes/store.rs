//! Another disk than the medium, for sessions: waited for, opened if it is encrypted, mounted.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use live::container::encrypted;
use live::error::{AtPath, Error, Result};
use live::options::{DeviceName, From};
use live::sys::device_mapper;

use super::place::Place;
use super::{container, fat, passphrase};
use crate::drivers::Drivers;
use crate::medium::disks::Machine;

/// Where the disk is mounted until its folder of sessions is.
pub const STORE: &str = "/memory/store";

/// The name of the device that an encrypted disk is opened as.
const DEVICE: &str = "livekit-store";

/// How long a named disk is waited for.
const WAIT: Duration = Duration::from_secs(30);

/// Mounts the disk of that name at [`STORE`], writable.
pub fn mount(name: &DeviceName, drivers: &Drivers) -> Result<Place> {
    let mut disks = Machine::new(drivers);
    let deadline = Instant::now() + WAIT;
    let mut asked_all = false;
    loop {
        if let Some(device) = disks.named(name) {
            let inner = unlock(&device, drivers)?;
            let holder = inner.as_ref().unwrap_or(&device);
            mount_writable(holder, &mut disks).inspect_err(|_| close())?;
            return Ok(Place { is_encrypted: inner.is_some(), device });
        }
        if !asked_all {
            // The search for the medium has left drivers out.
            drivers.load_all();
            asked_all = true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let written = From { device: name.clone(), path: None }.written();
            let seconds = WAIT.as_secs();
            return Err(Error::new(format!("no disk {written} in {seconds} s")).hint("perchdir= names it"));
        }
        let _ = drivers.next_event(left.min(Duration::from_secs(1)));
    }
}

fn mount_writable(device: &str, disks: &mut Machine<'_>) -> Result<()> {
    fs::create_dir_all(STORE).at("make the directory", STORE)?;
    let node = Path::new("/dev").join(device);
    if disks.is_fat(device) && fat::needs_check(&node) {
        fat::check(&node);
    }
    disks.mount_writable(device, STORE.as_ref())
}

/// Opens an encrypted disk with a passphrase that is asked for. Gives the name of the device that is in it; none if the disk
/// is not encrypted.
fn unlock(device: &str, drivers: &Drivers) -> Result<Option<String>> {
    let node = Path::new("/dev").join(device);
    if !encrypted::is_encrypted(&node)? {
        return Ok(None);
    }
    drivers.load("dm_mod")?;
    container::load_ciphers(drivers);
    let key = passphrase::unlock(&format!("the disk {device}"), |given| encrypted::find_key(&node, given))?;
    let opened = encrypted::open_disk(&node, DEVICE, &key)?;
    Ok(opened.file_name().map(|name| name.to_string_lossy().into_owned()))
}

/// Closes what was opened, if anything was.
pub fn close() {
    let _ = device_mapper::remove(DEVICE);
}
