//! `livekit run --trace-boot`: which files a boot reads, the first one first, for `build-iso --order`.
//!
//! The guest's kernel records what comes into its page cache; at shutdown `cleanup` tells a serial port which inodes of
//! which bundles that were; here they get their paths back.

mod paths;
mod reads;
mod watch;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::error::{AtPath, Error, Result};
use crate::output::Output;
use crate::qemu::Recording;
use crate::scratch::Unfinished;

/// Switches the guest's recording on. The parameters before the last are the kernel's (kernel-parameters.txt): what is read
/// first is to be kept when the buffer, which is one for each processor, is full.
pub const PARAMETERS: &str = "trace_event=filemap:mm_filemap_add_to_page_cache trace_buf_size=8M \
    trace_options=nooverwrite livekit.trace=/dev/ttyS1";

/// An order file in the making: not there under its name before it is complete.
pub struct OrderFile {
    path: PathBuf,
    partial: Unfinished,
    partial_path: PathBuf,
    file: File,
}

impl OrderFile {
    /// Makes the file beside its final name: that it cannot be written is known before a machine has run for minutes.
    pub fn create(path: &Path) -> Result<Self> {
        let partial_path = iso::partial_name(path);
        let partial = Unfinished::new(partial_path.clone());
        let file = File::create(&partial_path).at("make", &partial_path)?;
        Ok(OrderFile { path: path.to_owned(), partial, partial_path, file })
    }

    /// Writes one path a line and gives the file its name.
    fn finish(self, paths: &[PathBuf]) -> Result<()> {
        let mut out = BufWriter::new(self.file);
        let write = |out: &mut BufWriter<File>| {
            for path in paths {
                out.write_all(path.as_os_str().as_bytes())?;
                out.write_all(b"\n")?;
            }
            out.flush()
        };
        write(&mut out).at("write", &self.partial_path)?;
        std::fs::rename(&self.partial_path, &self.path).at("write", &self.path)?;
        self.partial.keep();
        Ok(())
    }
}

/// Sees the recorded machine to its end and writes down what it has read of the bundles in `image`. `settle` after the
/// login prompt it is switched off.
pub fn record(
    machine: &mut Child,
    recording: &Recording,
    image: &Path,
    settle: Duration,
    order: OrderFile,
    output: &Output,
) -> Result<()> {
    watch::to_the_end(machine, recording, settle, output)?;
    let text = std::fs::read(&recording.port).at("read", &recording.port)?;
    let reads = reads::parse(&text).ok_or_else(|| {
        Error::new("the system went off without telling what it had read").hint(
            "it has to end by a shutdown that runs its /run/initramfs/shutdown, made by this livekit; \
             --append debug shows more",
        )
    })?;
    let paths = paths::of(&reads, image, output)?;
    if paths.is_empty() {
        return Err(Error::new("the guest's kernel has recorded no reads of the bundles")
            .hint("it needs trace events (CONFIG_EVENT_TRACING), as Debian's kernels have them"));
    }
    let path = order.path.clone();
    order.finish(&paths)?;
    output.status(format!("{}: {} files, the first read first", path.display(), paths.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot.order");
        drop(OrderFile::create(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let order = OrderFile::create(&path).unwrap();
        assert!(!path.exists());
        order.finish(&["usr/bin/init".into(), "etc/a b".into()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "usr/bin/init\netc/a b\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(OrderFile::create(&folder.path().join("none/x")).is_err());
    }
}
