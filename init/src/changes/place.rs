//! The place of the sessions: a folder of the medium, or one on [another disk](super::store), mounted so that it can be
//! written to.

use std::fs;
use std::path::{Path, PathBuf};

use live::error::{AtPath, Error, Result};
use live::layout::{CARRIER, KIT_NAME_FILE, MEDIUM, SESSIONS};
use live::log;
use live::mounts;
use live::options::{DeviceName, From};
use live::sys::mount;

use super::fat;
use super::store::{self, STORE};
use crate::drivers::Drivers;
use crate::medium::{Medium, disks::Machine};

/// The folder of sessions in the live folder.
const FOLDER: &str = "changes";
/// The label of the partition that keeps changes beside an image on the same stick, as with live-boot.
const BESIDE: &str = "persistence";
/// File systems that nobody can write to, or init does not.
const NEVER_WRITTEN: [&str; 4] = ["iso9660", "udf", "squashfs", "erofs"];

/// What the folder of sessions is on.
pub struct Place {
    /// The device's name, such as `sdb1`
    pub device: String,
    /// Whether all on it is encrypted
    pub is_encrypted: bool,
}

/// Mounts the folder of sessions at [`SESSIONS`], writable.
pub fn mount_sessions(medium: &Medium, place: Option<&From>, drivers: &Drivers) -> Result<Place> {
    let asked = place.cloned().unwrap_or_default();
    if asked.device != DeviceName::Any {
        return on_other_disk(&asked, drivers);
    }
    let (mounted, usual) = of_medium(medium)?;
    let fs_type = fs_type(&mounted)?;
    if !NEVER_WRITTEN.contains(&fs_type.as_str()) {
        let folder = asked.path.as_deref().map_or(usual, |path| mounted.join(&path[1..]));
        make_writable(&mounted, &fs_type, medium, drivers)?;
        let shown = show(&folder);
        protect_medium(medium);
        return shown.map(|()| Place { device: medium.device.clone(), is_encrypted: false });
    }
    let Some(beside) = Machine::new(drivers).beside(&medium.device, BESIDE) else {
        let what = format!("the medium, {}, is {fs_type}, which cannot be written to", medium.device);
        return Err(Error::new(what).hint(format!(
            "a partition beside it with the label {BESIDE} keeps changes, or the disk that perchdir=LABEL=NAME or \
             perchdir=/dev/NAME names"
        )));
    };
    on_other_disk(&From { device: DeviceName::Node(beside), ..asked }, drivers)
}

fn on_other_disk(asked: &From, drivers: &Drivers) -> Result<Place> {
    let place = store::mount(&asked.device, drivers)?;
    let folder = match asked.path.as_deref() {
        Some(path) => Path::new(STORE).join(&path[1..]),
        None => Path::new(STORE).join(kit_name()?).join(FOLDER),
    };
    let shown = show(&folder);
    // The folder keeps the file system.
    mount::detach(STORE)?;
    shown.map(|()| place)
}

/// The mount that the medium's files are in, and the usual folder of sessions in it. An ISO file cannot be written to, so
/// they are beside it.
fn of_medium(medium: &Medium) -> Result<(PathBuf, PathBuf)> {
    if medium.is_iso_file {
        let mounted = PathBuf::from(CARRIER);
        let usual = mounted.join(kit_name()?).join(FOLDER);
        return Ok((mounted, usual));
    }
    Ok((MEDIUM.into(), medium.live_folder.join(FOLDER)))
}

fn kit_name() -> Result<String> {
    let name = fs::read_to_string(KIT_NAME_FILE).at("read", KIT_NAME_FILE)?;
    Ok(name.trim().to_owned())
}

/// The kind of the file system that is mounted there.
fn fs_type(mounted: &Path) -> Result<String> {
    let all = mounts::current()?;
    let mount = mounts::at(&all, mounted);
    mount.map(|m| m.fs_type.clone()).ok_or_else(|| Error::at("find", mounted, "nothing is mounted there"))
}

fn make_writable(mounted: &Path, fs_type: &str, medium: &Medium, drivers: &Drivers) -> Result<()> {
    let device = Path::new("/dev").join(&medium.device);
    if fs_type == "vfat" && fat::needs_check(&device) {
        // An ISO file on it is in use already.
        if medium.is_iso_file {
            log::warning(format_args!(
                "{} was not unmounted when it was last used; it is used as it is",
                medium.device
            ));
        } else {
            mount::unmount(mounted).at("unmount", mounted)?;
            fat::check(&device);
            Machine::new(drivers).mount_again(&medium.device, mounted)?;
        }
    }
    mount::remount_writable(mounted).map_err(|e| {
        let e = std::io::Error::from(e);
        Error::at("write to the medium,", &device, e).hint("is a card locked?")
    })
}

/// The medium as it is seen by its own name can only be read, whoever writes to its file system by another.
pub fn protect_medium(medium: &Medium) {
    let mounted = if medium.is_iso_file { CARRIER } else { MEDIUM };
    if let Err(e) = mount::set_attributes(mounted, "ro,noatime") {
        log::debug(format_args!("{e}"));
    }
}

/// Makes the medium read only again: nobody is going to write to it.
pub fn leave_medium(medium: &Medium) {
    let mounted = if medium.is_iso_file { CARRIER } else { MEDIUM };
    if mount::remount_read_only(mounted).is_err() {
        protect_medium(medium);
    }
}

/// Shows a folder, made if it is not there, at [`SESSIONS`].
fn show(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).at("make the directory", folder)?;
    fs::create_dir_all(SESSIONS).at("make the directory", SESSIONS)?;
    mount::attach(&mount::copy_of(folder, false)?, SESSIONS)
}
