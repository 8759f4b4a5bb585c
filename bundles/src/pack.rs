//! What a source has becomes a bundle.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::format::superblock::valid_block_size;
use crate::{Bundle, Compressor, Error, Source, write};

/// How a bundle is made.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// How data are compressed.
    pub compressor: Compressor,
    /// Size of a data block in bytes, a power of two from 4 KiB to 1 MiB. Larger blocks make a smaller bundle and a slower
    /// boot: with 1 MiB a Debian takes a quarter longer to its login than with 128 KiB, and saves a twentieth.
    pub block_size: u32,
    /// The latest time in the bundle, in seconds since 1970: its own, and that of files changed later. Without it the
    /// bundle carries the present time.
    pub epoch: Option<u64>,
    /// Whether everything in the bundle belongs to root, whoever owns it in the source: for a tree laid out by a build, which
    /// any user may run.
    pub owned_by_root: bool,
    /// Processors to use; all by default. The bundle does not depend on it.
    pub processors: Option<usize>,
    /// Paths of files whose data come first, in this order: those that are read first when a system starts. What is not
    /// there is passed over.
    pub order: Vec<PathBuf>,
    /// An older bundle of much the same files. What did not change is taken from it as it is stored, which is much faster
    /// than compressing; every byte is compared. It must be packed with the same compressor, level and block size, or else
    /// nothing is taken, which is a warning. Small files stay together as they are in the old bundle, whatever the order.
    pub reuse: Option<Arc<Bundle>>,
    /// Whether a file that is at the output when the bundle is complete is replaced. Otherwise that is an error, and the
    /// file stays.
    pub replace: bool,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            compressor: Compressor::default(),
            block_size: 128 << 10,
            epoch: None,
            owned_by_root: false,
            processors: None,
            order: Vec::new(),
            reuse: None,
            replace: true,
        }
    }
}

/// How far packing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Regular files read.
    pub files: u64,
    /// Regular files to read in all.
    pub total_files: u64,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Bytes to read in all, as far as the source knows.
    pub total_bytes: u64,
    /// Length of the bundle so far, in bytes.
    pub written: u64,
}

/// A finished bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Size of the bundle.
    pub bytes: u64,
    /// Files, links and devices in it, each name counted; directories are not.
    pub files: u64,
    /// Files whose content was in the bundle already.
    pub duplicates: u64,
    /// Bytes that were taken from an older bundle as they were stored there.
    pub reused_bytes: u64,
    /// Files that changed while they were read: what is in the bundle may be a mixture.
    pub changed: Vec<PathBuf>,
    /// Files that were gone when they were to be read: they are not in the bundle.
    pub vanished: Vec<PathBuf>,
    /// What else is not in the bundle as it is in the source, in sentences.
    pub warnings: Vec<String>,
}

impl Packed {
    /// Everything that is not in the bundle as it is in the source, in sentences.
    pub fn all_warnings(&self) -> Vec<String> {
        let changed = self.changed.iter().map(|path| format!("{} changed while it was read", path.display()));
        let vanished =
            self.vanished.iter().map(|path| format!("{} vanished before it was read", path.display()));
        changed.chain(vanished).chain(self.warnings.iter().cloned()).collect()
    }
}

/// Makes a bundle of a source, with owners, modes, times, extended attributes, hard links and devices. While it is made it is
/// called like [`partial_name`] says; nothing is left at `output` unless all went well, and an older file there is replaced
/// if the options say so.
///
/// The same source gives the same bytes with any number of processors, if there is an epoch.
///
/// Access control lists are extended attributes squashfs has no place for: they are lost, which is a warning. The mode of
/// such a file has then what the list allows the owning group.
///
/// # Errors
/// The options are none squashfs knows, the source cannot be read, or the output cannot be written.
pub fn pack(
    source: Source,
    output: &Path,
    options: &PackOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, Error> {
    check(options)?;
    let partial = Partial::create(partial_name(output))?;
    let packed = write::write(source, &partial.file, output, options, progress)?;
    if options.replace {
        fs::rename(&partial.path, output).map_err(Error::io("rename", &partial.path))?;
    } else {
        rename_to_free(&partial.path, output).map_err(Error::io("write", output))?;
    }
    Ok(packed)
}

/// Renames unless something has the new name.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The kernel or the file system does not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        },
        other => Ok(other?),
    }
}

/// The name of the bundle `output` while it is being made, in the same directory.
pub fn partial_name(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn check(options: &PackOptions) -> Result<(), Error> {
    if !valid_block_size(options.block_size) {
        let message =
            format!("a block size is a power of two from 4096 to 1048576, not {}", options.block_size);
        return Err(Error::Options(message));
    }
    if options.epoch.is_some_and(|epoch| u32::try_from(epoch).is_err()) {
        return Err(Error::Options("a squashfs has no times after the year 2106".to_owned()));
    }
    options.compressor.check()
}

/// A file that is removed unless it got another name.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(path: PathBuf) -> Result<Self, Error> {
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path, file })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_replaced_only_if_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let output = dir.path().join("x.sb");
        fs::write(&output, "old").unwrap();
        let packed = |replace| {
            let source = crate::source::directory(&tree, &mut |_, _| crate::Wanted::Keep).unwrap();
            pack(source, &output, &PackOptions { replace, ..PackOptions::default() }, &mut |_| {})
        };
        let error = packed(false).unwrap_err().to_string();
        assert!(error.contains("x.sb"), "{error}");
        assert_eq!(fs::read(&output).unwrap(), b"old");
        assert!(!partial_name(&output).exists());
        packed(true).unwrap();
        assert!(fs::read(&output).unwrap().starts_with(b"hsqs"));
        fs::remove_file(&output).unwrap();
        packed(false).unwrap();
        assert!(output.exists());
    }

    #[test]
    fn options_no_squashfs_has() {
        let default = PackOptions::default();
        for (options, expected) in [
            (
                PackOptions { block_size: 5000, ..default.clone() },
                "a block size is a power of two from 4096 to 1048576, not 5000",
            ),
            (
                PackOptions { block_size: 2 << 20, ..default.clone() },
                "a block size is a power of two from 4096 to 1048576, not 2097152",
            ),
            (
                PackOptions { epoch: Some(1 << 33), ..default.clone() },
                "a squashfs has no times after the year 2106",
            ),
            (
                PackOptions { compressor: Compressor::Zstd { level: 23 }, ..default.clone() },
                "zstd has levels 1 to 22, not 23",
            ),
            (
                PackOptions { compressor: Compressor::Zstd { level: 0 }, ..default },
                "zstd has levels 1 to 22, not 0",
            ),
        ] {
            assert_eq!(check(&options).unwrap_err().to_string(), expected);
        }
    }
}
