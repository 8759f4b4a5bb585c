//! The real disks: /sys/class/block, superblocks, trial mounts.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use live::error::{AtPath, Error, Result as LiveResult};
use live::ext4::Torn;
use live::layout;
use live::log;
use live::options::DeviceName;
use live::sys::loop_device::LoopDevice;
use live::sys::mount::{self, Mount};

use super::{Disks, Medium, Refusal, Wanted};
use crate::drivers::Drivers;
use crate::superblock::{self, Superblock};

/// This machine's disks.
pub struct Machine<'a> {
    drivers: &'a Drivers,
}

impl<'a> Machine<'a> {
    pub fn new(drivers: &'a Drivers) -> Self {
        Self { drivers }
    }
}

/// A file system that can be a medium: the modules it needs, how it is mounted to be used, and what keeps a look
/// from writing to it (a journal that is replayed).
struct Mountable {
    fs_type: &'static str,
    modules: &'static [&'static str],
    options: &'static str,
    look_only: &'static str,
}

impl Mountable {
    fn of(fs_type: &str) -> Option<&'static Self> {
        MOUNTABLE.iter().find(|m| m.fs_type == fs_type)
    }

    fn load(&self, drivers: &Drivers) -> LiveResult<()> {
        self.modules.iter().chain([&self.fs_type]).try_for_each(|module| drivers.load(module))
    }

    /// What a power cut tore, which keeps it from being mounted.
    fn torn<'a>(&self, node: &'a Path) -> LiveResult<Option<Torn<'a>>> {
        if self.fs_type == "ext4" { Torn::on(node) } else { Ok(None) }
    }
}

const MOUNTABLE: [Mountable; 10] = [
    Mountable { fs_type: "iso9660", modules: &[], options: "", look_only: "" },
    Mountable { fs_type: "udf", modules: &["nls_utf8"], options: "", look_only: "" },
    // The code page that names are stored in and the default character set of Debian's and of other kernels. There
    // is nobody in the initramfs who would load them when the kernel asks.
    Mountable {
        fs_type: "vfat",
        modules: &["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"],
        options: "utf8",
        look_only: "",
    },
    Mountable { fs_type: "exfat", modules: &["nls_utf8"], options: "", look_only: "" },
    Mountable { fs_type: "ntfs3", modules: &["nls_utf8"], options: "iocharset=utf8", look_only: "" },
    Mountable { fs_type: "ext4", modules: &["crc32c", "crc32c_generic"], options: "", look_only: "noload" },
    Mountable {
        fs_type: "xfs",
        modules: &["crc32c", "crc32c_generic"],
        options: "",
        look_only: "norecovery",
    },
    Mountable {
        fs_type: "btrfs",
        modules: &["crc32c", "crc32c_generic"],
        options: "",
        look_only: "rescue=nologreplay",
    },
    Mountable { fs_type: "f2fs", modules: &["crc32", "crc32_generic"], options: "", look_only: "norecovery" },
    Mountable { fs_type: "erofs", modules: &[], options: "", look_only: "" },
];

impl Disks for Machine<'_> {
    fn list(&mut self) -> Vec<String> {
        let Ok(entries) = fs::read_dir("/sys/class/block") else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|name| !["loop", "ram", "zram", "fd", "nbd"].iter().any(|kind| is_kind(name, kind)))
            .collect();
        // On a stick written from an ISO the disk and its first partition are the same file system. Mounting the
        // disk would keep the user from its other partitions.
        names.sort_by_key(|name| (!is_partition(name), name.clone()));
        names
    }

    fn identify(&mut self, device: &str) -> Result<Superblock, Refusal> {
        let node = Path::new("/dev").join(device);
        let mut start = vec![0; superblock::LOOK_AT];
        let read = File::open(&node).and_then(|mut file| read_up_to(&mut file, &mut start));
        let length = read.map_err(|e| match e.raw_os_error() {
            Some(code) if code == rustix::io::Errno::NOMEDIUM.raw_os_error() => {
                Refusal { reason: "no disc or card in it".to_owned(), may_change: true }
            }
            _ => Refusal { reason: format!("cannot read it: {e}"), may_change: true },
        })?;
        if length == 0 {
            return Err(Refusal { reason: "empty".to_owned(), may_change: true });
        }
        superblock::identify(&start[..length])
            .ok_or_else(|| Refusal::for_good("no file system that is known"))
    }

    fn look_inside(&mut self, device: &str, holds: &Superblock, wanted: &Wanted) -> Result<Medium, Refusal> {
        let Some(how) = Mountable::of(holds.fs_type) else {
            return Err(Refusal::for_good(format!("{}, which cannot be a medium", holds.fs_type)));
        };
        self.mount_and_look(device, how, wanted)
            .map_err(|reason| Refusal::for_good(format!("{}: {reason}", holds.fs_type)))
    }
}

impl Machine<'_> {
    /// The device of that name, if it is there now.
    pub fn named(&mut self, name: &DeviceName) -> Option<String> {
        self.list().into_iter().find(|device| match name {
            DeviceName::Any => false,
            DeviceName::Node(node) => node == device,
            DeviceName::Label(asked) => self.identify(device).is_ok_and(|s| is_same(s.label.as_ref(), asked)),
            DeviceName::Uuid(asked) => self.identify(device).is_ok_and(|s| is_same(s.uuid.as_ref(), asked)),
        })
    }

    /// The partition with that label on the same disk as `device`, if there is one.
    pub fn beside(&mut self, device: &str, label: &str) -> Option<String> {
        self.list().into_iter().find(|other| {
            are_on_one_disk(device, other)
                && self.identify(other).is_ok_and(|s| is_same(s.label.as_ref(), label))
        })
    }

    pub fn is_fat(&mut self, device: &str) -> bool {
        self.identify(device).is_ok_and(|holds| holds.fs_type == "vfat")
    }

    /// Mounts a device to be written to.
    pub fn mount_writable(&mut self, device: &str, place: &Path) -> LiveResult<()> {
        self.mount(device, place, "noatime")
    }

    /// Mounts the medium once more, to be read.
    pub fn mount_again(&mut self, device: &str, place: &Path) -> LiveResult<()> {
        self.mount(device, place, "ro")
    }

    fn mount(&mut self, device: &str, place: &Path, attributes: &str) -> LiveResult<()> {
        let node = format!("/dev/{device}");
        let holds = self.identify(device).map_err(|refusal| Error::at("use", &node, refusal.reason))?;
        let how = Mountable::of(holds.fs_type)
            .ok_or_else(|| Error::at("use", &node, format!("{} cannot be mounted here", holds.fs_type)))?;
        how.load(self.drivers)?;
        if let Some(torn) = how.torn(node.as_ref())? {
            torn.mend()?;
        }
        let mount = Mount::new(how.fs_type, &node).options(how.options);
        if attributes == "ro" { mount.read_only().at(place) } else { mount.attributes(attributes).at(place) }
    }

    fn mount_and_look(&self, device: &str, how: &Mountable, wanted: &Wanted) -> Result<Medium, String> {
        let node = format!("/dev/{device}");
        how.load(self.drivers).map_err(|e| e.to_string())?;
        let place = Path::new(layout::MEDIUM);
        fs::create_dir_all(place).map_err(|e| e.to_string())?;
        let mount = |more: &str| {
            Mount::new(how.fs_type, &node).read_only().options(how.options).options(more).at(place)
        };

        let torn = how.torn(node.as_ref()).map_err(|e| e.to_string())?;
        // By its copy; the option counts in units of 1 KiB.
        let look_only = torn.as_ref().map_or_else(
            || how.look_only.to_owned(),
            |torn| format!("{},sb={}", how.look_only, torn.copy() >> 10),
        );
        mount(&look_only).map_err(|e| e.to_string())?;
        let found = search_folder(place, wanted);
        if found.is_err() || !how.look_only.is_empty() {
            mount::unmount(place).map_err(|e| format!("cannot unmount it: {e}"))?;
        }
        let found = found?;
        if !how.look_only.is_empty() {
            // It is ours: now with its journal, which has the truth after a power cut.
            if let Some(torn) = torn {
                torn.mend().map_err(|e| e.to_string())?;
            }
            mount("").map_err(|e| e.to_string())?;
        }
        match found {
            Found::Folder(live_folder) => {
                Ok(Medium { device: device.to_owned(), live_folder, is_iso_file: false })
            }
            Found::Iso(path) => {
                let live_folder = self.open_iso(&path, wanted).inspect_err(|_| {
                    // The device is the carrier only if the ISO file could be tried at all.
                    let _ = mount::unmount(layout::CARRIER).or_else(|_| mount::unmount(place));
                })?;
                Ok(Medium { device: device.to_owned(), live_folder, is_iso_file: true })
            }
        }
    }

    /// Mounts an ISO file of the mounted device in its place; the device becomes the carrier.
    fn open_iso(&self, path: &str, wanted: &Wanted) -> Result<PathBuf, String> {
        let inner = || -> LiveResult<PathBuf> {
            for module in ["loop", "iso9660"] {
                self.drivers.load(module)?;
            }
            fs::create_dir_all(layout::CARRIER).at("make the directory", layout::CARRIER)?;
            mount::move_to(layout::MEDIUM, layout::CARRIER)?;
            let file = Path::new(layout::CARRIER).join(&path[1..]);
            let device = LoopDevice::attach(&file)?;
            let node = device.path().to_string_lossy().into_owned();
            Mount::new("iso9660", &node).read_only().at(layout::MEDIUM)?;
            Ok(file)
        };
        inner().map_err(|e| e.to_string())?;
        let inside = Wanted { from: None, ..wanted.clone() };
        match search_folder(Path::new(layout::MEDIUM), &inside) {
            Ok(Found::Folder(folder)) => Ok(folder),
            Ok(Found::Iso(_)) => Err(format!("{path}: an ISO file in an ISO file")),
            Err(reason) => {
                let _ = mount::unmount(layout::MEDIUM);
                Err(format!("{path}: {reason}"))
            }
        }
    }
}

/// What a mounted device has.
enum Found {
    Folder(PathBuf),
    Iso(String),
}

/// Looks for the live folder, or the ISO file, on what is mounted at `place`.
fn search_folder(place: &Path, wanted: &Wanted) -> Result<Found, String> {
    let path = wanted.path();
    let target = place.join(&path[1..]);
    if wanted.from.as_ref().is_some_and(live::options::From::is_iso) {
        return if target.is_file() { Ok(Found::Iso(path)) } else { Err(format!("no {path}")) };
    }
    // from= may name the live folder or the folder that it is in.
    let named = wanted.from.as_ref().is_some_and(|f| f.path.is_some());
    let candidates = if named { vec![target.clone(), target.join(&wanted.name)] } else { vec![target] };
    let folder = candidates.iter().find(|folder| has_bundle(folder)).ok_or_else(|| {
        if candidates[0].is_dir() { format!("no bundle in {path}") } else { format!("no {path}") }
    })?;
    if let Some(id) = &wanted.id
        && !folder.join(layout::id_file(id)).exists()
    {
        if wanted.from.is_none() {
            return Err(format!("{path} is of another build"));
        }
        log::warning(format_args!("{path} is not of build {id}; taken because from= names it"));
    }
    Ok(Found::Folder(folder.clone()))
}

fn is_same(has: Option<&String>, asked: &str) -> bool {
    has.is_some_and(|has| has.eq_ignore_ascii_case(asked))
}

fn has_bundle(folder: &Path) -> bool {
    let has = |folder: &Path| {
        fs::read_dir(folder)
            .is_ok_and(|list| list.flatten().any(|e| e.file_name().as_encoded_bytes().ends_with(b".sb")))
    };
    has(folder) || has(&folder.join("modules"))
}

fn is_partition(name: &str) -> bool {
    Path::new("/sys/class/block").join(name).join("partition").exists()
}

/// Whether both are the same device, or partitions of one disk.
pub fn are_on_one_disk(one: &str, other: &str) -> bool {
    one == other || disk_of(one).is_some_and(|disk| disk_of(other) == Some(disk))
}

/// The disk that has the partition, as a folder of sysfs. `None` if it is none.
fn disk_of(partition: &str) -> Option<PathBuf> {
    if !is_partition(partition) {
        return None;
    }
    let place = fs::canonicalize(Path::new("/sys/class/block").join(partition)).ok()?;
    place.parent().map(Path::to_owned)
}

/// `loop7` is of the kind `loop`; `loopy` is not.
fn is_kind(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Fills as much of `buffer` as the device has.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // A disc may end before what was asked for.
            Err(_) if length > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}
