//! A directory becomes a bundle.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf, absolute};

use crate::format::superblock::valid_block_size;
use crate::mksquashfs::{self, Report};
use crate::wanted::choose;
use crate::{Compressor, Error, Superblock, Wanted};

/// How a bundle is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Processors to use; all by default.
    pub processors: Option<usize>,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            compressor: Compressor::default(),
            block_size: 128 << 10,
            epoch: None,
            owned_by_root: false,
            processors: None,
        }
    }
}

/// How far packing has come. Bytes are those of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes packed.
    pub done: u64,
    /// Bytes to pack in all.
    pub total: u64,
}

/// A finished bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Size of the bundle.
    pub bytes: u64,
    /// Files, links and devices in it; directories are not counted.
    pub files: u64,
    /// What is not in the bundle as it is in the source, in sentences.
    pub warnings: Vec<String>,
}

/// Makes a bundle of what is `wanted` of the directory `source`, with owners, modes, times, extended attributes, hard links
/// and devices. `wanted` is asked with the path relative to `source`, parents first. Nothing is left at `output` unless all
/// went well; an older file there is replaced.
///
/// Access control lists are extended attributes squashfs has no place for: they are lost, which is a warning.
///
/// # Errors
/// The source cannot be read, mksquashfs is missing or fails, or the output cannot be written.
pub fn pack(
    source: &Path,
    wanted: &mut dyn FnMut(&Path, &Metadata) -> Wanted,
    output: &Path,
    options: &PackOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, Error> {
    // A path that begins with a dash is an option to mksquashfs.
    let source = absolute(source).map_err(Error::io("find", source))?;
    let output = absolute(output).map_err(Error::io("find", output))?;
    let choice = choose(&source, wanted)?;
    let partial = Temporary::create(with_suffix(&output, ".partial"))?;
    let exclude = Temporary::create(with_suffix(&output, ".exclude"))?;
    mksquashfs::write_exclude_file(&choice, &exclude.0)?;
    let arguments = arguments(&source, &partial.0, &exclude.0, options)?;
    let total = choice.bytes;
    let report = mksquashfs::run(&arguments, options.epoch, &mut |done, of| {
        let done = u128::from(total) * u128::from(done) / u128::from(of.max(1));
        progress(Progress { done: u64::try_from(done).unwrap_or(total), total });
    })?;
    if !report.status.success() {
        return Err(failure(&report, &output));
    }
    let superblock = Superblock::read(&partial.0)?;
    debug_assert_eq!(superblock.compression, options.compressor.compression());
    let bytes = partial.keep_as(&output)?;
    Ok(Packed { bytes, files: choice.files, warnings: warnings(&report.messages) })
}

fn arguments(
    source: &Path,
    output: &Path,
    exclude: &Path,
    options: &PackOptions,
) -> Result<Vec<OsString>, Error> {
    if !valid_block_size(options.block_size) {
        let message =
            format!("a block size is a power of two from 4096 to 1048576, not {}", options.block_size);
        return Err(Error::Options(message));
    }
    if options.epoch.is_some_and(|epoch| u32::try_from(epoch).is_err()) {
        return Err(Error::Options("a squashfs has no times after the year 2106".to_owned()));
    }
    let mut arguments: Vec<OsString> = vec![source.into(), output.into()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&[
        "-noappend",
        "-no-recovery",
        "-quiet",
        "-xattrs",
        "-wildcards",
        "-b",
        &options.block_size.to_string(),
    ]);
    if options.owned_by_root {
        add(&["-all-root"]);
    }
    if let Some(processors) = options.processors {
        add(&["-processors", &processors.max(1).to_string()]);
    }
    let compressor = options.compressor.arguments()?;
    arguments.extend(compressor.into_iter().map(OsString::from));
    arguments.extend([OsStr::new("-ef"), exclude.as_os_str()].map(OsStr::to_owned));
    Ok(arguments)
}

/// What its last message says, without its own word for an error.
fn failure(report: &Report, output: &Path) -> Error {
    let output = output.to_owned();
    if report.messages.iter().any(|m| m.contains("No space left on device")) {
        return Error::DiskFull { output };
    }
    let fatal = report.messages.iter().find_map(|m| m.strip_prefix("FATAL ERROR:"));
    let last = fatal.or(report.messages.last().map(String::as_str));
    let message = last.map_or_else(|| report.status.to_string(), |m| m.trim().to_owned());
    Error::Mksquashfs { output, message }
}

/// Access control lists are counted; everything else that was said is passed on.
fn warnings(messages: &[String]) -> Vec<String> {
    let lost = |m: &&String| m.contains("system.posix_acl_");
    let lists = messages.iter().filter(lost).count();
    let mut warnings: Vec<String> = messages.iter().filter(|m| !lost(m)).cloned().collect();
    if lists > 0 {
        warnings
            .push(format!("{lists} access control lists are not in the bundle: squashfs cannot store them"));
    }
    warnings
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A file removed when it is no longer needed, unless it is kept.
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: PathBuf) -> Result<Self, Error> {
        File::create(&path).map_err(Error::io("create", &path))?;
        Ok(Self(path))
    }

    /// Gives the file its name; returns its size.
    fn keep_as(self, output: &Path) -> Result<u64, Error> {
        let bytes = fs::metadata(&self.0).map_err(Error::io("read", &self.0))?.len();
        fs::rename(&self.0, output).map_err(Error::io("rename", &self.0))?;
        Ok(bytes)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing under this name.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn report(messages: &[&str]) -> Report {
        Report {
            status: ExitStatus::from_raw(256),
            messages: messages.iter().map(|&m| m.to_owned()).collect(),
        }
    }

    #[test]
    fn what_failures_say() {
        let table: &[(&[&str], &str)] = &[
            (&[], "mksquashfs could not write /x.sb: exit status: 1"),
            (&["FATAL ERROR:Out of memory", "clean up"], "mksquashfs could not write /x.sb: Out of memory"),
            (&["strange"], "mksquashfs could not write /x.sb: strange"),
            (
                &[
                    "Write on output file failed because No space left on device",
                    "FATAL ERROR:Failed to write",
                ],
                "cannot write /x.sb: No space left on device",
            ),
        ];
        for (messages, expected) in table {
            assert_eq!(failure(&report(messages), Path::new("/x.sb")).to_string(), *expected);
        }
    }

    #[test]
    fn options_no_squashfs_has() {
        let with = |options| {
            pack(Path::new("."), &mut |_, _| Wanted::Skip, Path::new("/tmp/x"), &options, &mut |_| {})
        };
        let default = PackOptions::default();
        for (options, expected) in [
            (
                PackOptions { block_size: 5000, ..default },
                "a block size is a power of two from 4096 to 1048576, not 5000",
            ),
            (PackOptions { epoch: Some(1 << 33), ..default }, "a squashfs has no times after the year 2106"),
            (
                PackOptions { compressor: Compressor::Zstd { level: 23 }, ..default },
                "zstd has levels 1 to 22, not 23",
            ),
        ] {
            assert_eq!(with(options).unwrap_err().to_string(), expected);
        }
    }
}
