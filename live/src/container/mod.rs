//! Containers: a file system that overlayfs can write to, in files of one that it cannot, such as FAT32.
//!
//! ```text
//! changes.000, changes.001 …   files of at most 4095 MiB
//!   /dev/loopN                 one each
//!     livekit-changes          device-mapper, linear: the loops one after the other
//!       livekit-crypt      device-mapper, crypt, if it is encrypted
//!         ext4
//! ```
//!
//! A container grows while it is mounted: zeros at the end of the last file or a further file, then the loop, the table
//! and last the file system. Each is only ever larger than what stands on it, so a power cut at any moment leaves
//! room that is not used, and never a file system without its end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};
use crate::luks::Volume;
use crate::sys::device_mapper::{self, SECTOR, Target};
use crate::sys::file_system;
use crate::sys::loop_device::{self, LoopDevice};
use crate::sys::mount::Mount;

pub mod encrypted;
pub mod ext4;
pub mod growth;
pub mod parts;

/// The file system's block size, in bytes.
const BLOCK: u64 = 4096;

/// What a new container has, in bytes: enough for a first boot.
pub const FIRST: u64 = 64 << 20;

/// The joined device's name.
pub const DEVICE: &str = "livekit-changes";

/// Writes the files of a new container to `folder`, with `size` bytes. Complete or not there, even after a power cut.
/// Gives what `write_contents` gave.
pub fn create<T>(
    folder: &Path,
    size: u64,
    write_contents: impl FnOnce(&File, &Path) -> Result<T>,
) -> Result<T> {
    let path = folder.join(parts::name(0));
    let partial = path.with_extension("partial");
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&partial);
    let file = file.at("create", &partial)?;
    let written = append_zeros(&file, &partial, 0, size)
        .and_then(|()| write_contents(&file, &partial))
        .and_then(|given| file.sync_all().at("write", &partial).map(|()| given));
    let given = written.inspect_err(|_| drop(fs::remove_file(&partial)))?;
    fs::rename(&partial, &path).at("rename", &partial)?;
    File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)?;
    Ok(given)
}

/// Random bytes of the kernel, for a file system's UUID.
pub fn random_uuid() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut source = File::open("/dev/urandom").at("open", "/dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut bytes).at("read", "/dev/urandom")?;
    // RFC 9562, version 4
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}

/// A container whose files are joined to a device.
pub struct Container {
    folder: PathBuf,
    /// The joined device's node
    node: PathBuf,
    /// Where the file system begins in an encrypted one, in bytes; 0 in others
    offset: u64,
    /// The loop devices, in order
    loops: Vec<Attached>,
}

struct Attached {
    node: PathBuf,
    length: u64,
}

impl Container {
    /// Joins the files in `folder`. `None` if there is no container.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let parts = parts::find(folder)?;
        if parts.is_empty() {
            return Ok(None);
        }
        // Each is held until the joined device holds it.
        let devices =
            parts.iter().map(|part| LoopDevice::attach_writable(&part.path)).collect::<Result<Vec<_>>>()?;
        let loops: Vec<Attached> = devices
            .iter()
            .zip(&parts)
            .map(|(device, part)| Attached { node: device.path().to_owned(), length: part.length })
            .collect();
        // Until the header is read nothing but that it is there has to be known.
        let offset = u64::from(encrypted::is_encrypted(&parts[0].path)?);
        let mut container = Self { folder: folder.to_owned(), node: PathBuf::new(), offset, loops };
        container.node = device_mapper::create(DEVICE, &container.table())?;
        Ok(Some(container))
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.offset > 0
    }

    /// Opens an encrypted one: its file system is at another node then.
    pub fn unlock(&mut self, volume: &Volume) -> Result<()> {
        self.node = encrypted::open(&self.node, volume)?;
        self.offset = volume.offset;
        Ok(())
    }

    /// The container in `folder` that is joined already, by another program, with a file system that begins at `offset`.
    pub fn joined(folder: &Path, offset: u64) -> Result<Self> {
        let parts = parts::find(folder)?;
        let attached = loop_device::attached();
        let ends_with = |file: &str, part: &Path| {
            // The kernel shows the path as it was seen when it was attached.
            Path::new(file).ends_with(part.strip_prefix("/").unwrap_or(part))
        };
        let mut loops = Vec::new();
        for part in parts {
            let device = attached.iter().find(|(_, file)| ends_with(file, &part.path));
            // A further file that no table has yet.
            let Some((node, _)) = device else { break };
            loops.push(Attached { node: node.clone(), length: loop_device::size(node)? });
        }
        Ok(Self { folder: folder.to_owned(), node: PathBuf::new(), offset, loops })
    }

    /// The node that the file system is at.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// Where in the container the file system begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.loops.iter().map(|l| l.length).sum()
    }

    /// Bytes for the file system.
    pub fn room(&self) -> u64 {
        self.size().saturating_sub(self.offset)
    }

    fn table(&self) -> Vec<Target> {
        let row = |part: &Attached| Target {
            sectors: part.length / SECTOR,
            kind: "linear",
            parameters: format!("{} 0", part.node.display()).into(),
        };
        let tail = self.is_encrypted().then(|| encrypted::tail(self.size()));
        self.loops.iter().map(row).chain(tail).collect()
    }

    /// Makes the joined device larger by about `more` bytes; the file system on it does not know yet.
    pub fn enlarge(&mut self, more: u64) -> Result<()> {
        let mut left = more.next_multiple_of(BLOCK);
        while left > 0 {
            let last = self.loops.last().map_or(parts::LARGEST, |l| l.length);
            let number = self.loops.len();
            let step = if last < parts::LARGEST {
                let step = left.min(parts::LARGEST - last);
                let path = self.folder.join(parts::name(number - 1));
                let file = OpenOptions::new().write(true).open(&path).at("open", &path)?;
                append_zeros(&file, &path, last, step)?;
                if let Some(last) = self.loops.last_mut() {
                    loop_device::refresh_size(&last.node)?;
                    last.length += step;
                }
                device_mapper::set_table(DEVICE, &self.table())?;
                step
            } else {
                let step = left.min(parts::LARGEST);
                let path = self.folder.join(parts::name(number));
                let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
                append_zeros(&file.at("create", &path)?, &path, 0, step)?;
                let device = LoopDevice::attach_writable(&path)?;
                self.loops.push(Attached { node: device.path().to_owned(), length: step });
                device_mapper::set_table(DEVICE, &self.table())?;
                step
            };
            left -= step;
        }
        Ok(())
    }
}

/// Mounts the file system of a container.
pub fn mount(node: &Path, place: &Path) -> Result<()> {
    Mount::new("ext4", &node.to_string_lossy()).at(place)
}

/// Has the file system mounted at `place` take all `room`, in bytes.
pub fn fill(place: &Path, room: u64) -> Result<()> {
    file_system::resize_ext4(place, room / BLOCK)
}

/// Writes `length` zeros from `at` on. What was added is taken back if that fails.
fn append_zeros(mut file: &File, path: &Path, at: u64, length: u64) -> Result<()> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0; CHUNK];
    let write = || {
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at))?;
        let mut left = length;
        while left > 0 {
            let chunk = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            file.write_all(&zeros[..chunk])?;
            left -= chunk as u64;
        }
        Ok::<_, std::io::Error>(())
    };
    let mut write = write;
    write().map_err(|e| {
        let _ = file.set_len(at);
        Error::at("enlarge", path, e)
    })
}
