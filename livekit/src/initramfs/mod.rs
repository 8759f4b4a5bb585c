//! The initramfs: a compressed cpio archive with the programs of the boot and the shutdown, and the kernel modules that
//! reach a medium.

mod contents;
mod cpio;
mod firmware;
mod indices;
pub(crate) mod libraries;
mod module_file;
mod modules;
pub(crate) mod programs;
mod selection;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use live::error::{AtPath, Result};

use contents::Contents;
use cpio::{Archive, Entry};
pub(crate) use selection::ModuleSet;

/// Compression of the archive. What is worth compressing in it is small: modules already are.
const LEVEL: i32 = 19;

/// log2 of the decompressor's window, which the kernel allocates while it unpacks: 2 MiB, enough for the two programs to be
/// seen as one. The kernel takes up to 8 MiB.
const WINDOW_LOG: u32 = 21;

/// A kernel of the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelTree {
    /// What `uname -r` will say: `6.1.0-56-amd64`.
    pub(crate) version: String,
    /// The directory with its modules.dep.
    pub(crate) modules_dir: PathBuf,
}

/// What goes in besides the modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The static program that becomes /init.
    pub(crate) init: PathBuf,
    /// The static program that becomes /shutdown.
    pub(crate) cleanup: PathBuf,
    /// A static busybox for the rescue shell.
    pub(crate) busybox: Option<PathBuf>,
    /// Other programs and what they need: where each is to be, and its file.
    pub(crate) tools: BTreeMap<String, PathBuf>,
    /// /lib/firmware of the root.
    pub(crate) firmware_dir: Option<PathBuf>,
    /// Name of the kit: of its folder on the medium.
    pub(crate) name: String,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    /// Size of the initramfs, in bytes.
    pub(crate) bytes: u64,
    /// Size of the archive before it was compressed, in bytes.
    pub(crate) unpacked: u64,
    /// Number of modules and their stored bytes, by directory of the kernel: `drivers/ata`, `fs`.
    pub(crate) modules: BTreeMap<String, (usize, u64)>,
    /// Firmware files included, relative to /lib/firmware.
    pub(crate) firmware: Vec<String>,
    /// Firmware files the root has but the initramfs has not, because they are too large.
    pub(crate) firmware_left_out: Vec<String>,
}

/// Builds an initramfs at `output`. The same input gives the same bytes; `epoch` is the time of every file, in seconds since
/// 1970. Nothing is left at `output` unless all went well.
///
/// # Errors
/// A part or a module cannot be read, a named module does not exist, or the output cannot be written.
pub(crate) fn build(
    kernel: &KernelTree,
    parts: &Parts,
    set: &ModuleSet,
    epoch: u64,
    output: &Path,
) -> Result<Summary> {
    let contents = Contents::gather(kernel, parts, set)?;
    let mut summary = Summary {
        modules: by_directory(&contents.modules),
        firmware: contents.firmware.clone(),
        firmware_left_out: contents.firmware_left_out.clone(),
        ..Summary::default()
    };
    let partial = Partial::create(output)?;
    summary.unpacked = pack(&contents.into_entries(), epoch, &partial.file).at("write", &partial.path)?;
    summary.bytes = partial.keep_as(output)?;
    Ok(summary)
}

/// Writes the compressed archive and returns its size before compression.
fn pack(entries: &[Entry], epoch: u64, output: &File) -> io::Result<u64> {
    let mut encoder = zstd::stream::write::Encoder::new(io::BufWriter::new(output), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    let mut archive = Archive::new(encoder, epoch);
    for entry in entries {
        archive.add(entry)?;
    }
    let (encoder, unpacked) = archive.finish()?;
    encoder.finish()?.flush()?;
    Ok(unpacked)
}

fn by_directory(modules: &[(PathBuf, u64)]) -> BTreeMap<String, (usize, u64)> {
    let mut sums = BTreeMap::new();
    for (path, bytes) in modules {
        let path = path.strip_prefix("kernel").unwrap_or(path);
        let depth = if path.starts_with("drivers") { 2 } else { 1 };
        let directory: PathBuf = path.components().take(depth).collect();
        let sum = sums.entry(directory.display().to_string()).or_insert((0, 0));
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    sums
}

/// A file under a name that says it is not finished; removed unless kept.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn create(output: &Path) -> Result<Self> {
        let mut path = output.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        Ok(Self { file: File::create(&path).at("create", &path)?, path })
    }

    /// Gives the file its name; returns its size.
    fn keep_as(self, output: &Path) -> Result<u64> {
        let bytes = self.file.metadata().at("read", &self.path)?.len();
        self.file.sync_all().at("write", &self.path)?;
        fs::rename(&self.path, output).at("rename", &self.path)?;
        Ok(bytes)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
