//! The file the image is written to: under a preliminary name until it is complete.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hadris_io::ErrorType;
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use crate::scratch::ScratchFiles;
use crate::{BLOCK, Error};

/// The name the image at `output` has while it is written. A program that is interrupted removes this file.
pub fn partial_name(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// An image being written. Dropped before [`Output::finish`], it removes its file.
pub(crate) struct Output<'a> {
    file: File,
    path: &'a Path,
    finished: bool,
    written: u64,
    total: u64,
    scratch: ScratchFiles,
    progress: &'a mut dyn FnMut(u64, u64),
    failure: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// Creates the preliminary file, replacing one that an earlier run left behind.
    ///
    /// `total` is the size the image will have, in bytes. `scratch` is given up as the image grows.
    pub(crate) fn create(
        path: &'a Path,
        total: u64,
        scratch: ScratchFiles,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Self, Error> {
        let what = match std::fs::metadata(path).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => Some("a directory"),
            Ok(kind) if !kind.is_file() => Some("a device"),
            _ => None,
        };
        if let Some(what) = what {
            return Err(Error::NotAFile { path: path.to_owned(), what });
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(partial_name(path))
            .map_err(|source| Error::Write { path: path.to_owned(), source, needed: total })?;
        Ok(Self { file, path, finished: false, written: 0, total, scratch, progress, failure: None })
    }

    /// Why writing failed, if it was the output that failed.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take().map(|source| self.error(source))
    }

    /// Reads blocks of what was written.
    pub(crate) fn read(&self, block: u64, blocks: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; blocks as usize * 2048];
        self.file.read_exact_at(&mut bytes, block * BLOCK).map_err(|source| self.error(source))?;
        Ok(bytes)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.error(source))
    }

    /// Gives the file its final length, makes it durable and gives it its final name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let finish = || {
            self.file.set_len(self.total)?;
            self.file.sync_all()?;
            std::fs::rename(partial_name(self.path), self.path)?;
            let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().map_err(|source| self.error(source))?;
        self.finished = true;
        std::mem::take(&mut self.scratch).finish();
        Ok(())
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.to_owned(), source, needed: self.total }
    }

    fn write_sparse(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Zeros stay holes: the file was empty, and finish() sets its length.
        static ZEROS: [u8; 4096] = [0; 4096];
        if bytes.chunks(ZEROS.len()).any(|chunk| *chunk != ZEROS[..chunk.len()]) {
            self.file.write_all_at(bytes, offset)?;
        }
        self.scratch.written_to(offset + bytes.len() as u64);
        self.written += bytes.len() as u64;
        (self.progress)(self.written, self.total);
        Ok(())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing better can be done if this fails, and an error is on its way already.
            let _ = std::fs::remove_file(partial_name(self.path));
        }
    }
}

impl ErrorType for Output<'_> {
    type Error = io::Error;
}

impl BlockDevice for Output<'_> {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(2048).unwrap_or_else(|| unreachable!("2048 is a block size"))
    }

    fn block_count(&self) -> u64 {
        self.total / BLOCK
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(&mut self, first: BlockIndex, buf: &mut [u8]) -> Result<(), hadris_io::Error<io::Error>> {
        self.file
            .read_exact_at(buf, first.get() * BLOCK)
            .map_err(|error| hadris_io::Error::device(error, "cannot read the image back"))
    }

    fn write_blocks(&mut self, first: BlockIndex, buf: &[u8]) -> Result<(), hadris_io::Error<io::Error>> {
        self.write_sparse(first.get() * BLOCK, buf).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            hadris_io::Error::device(kind.into(), "cannot write the image")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_name_appears_only_when_finished() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.iso");
        let mut last = (0, 0);
        let mut progress = |done, total| last = (done, total);
        let output = Output::create(&path, 4096, ScratchFiles::default(), &mut progress).unwrap();
        output.write_at(0, b"x").unwrap();
        assert!(partial_name(&path).exists() && !path.exists());
        drop(output);
        assert!(!partial_name(&path).exists() && !path.exists());

        let mut output = Output::create(&path, 4096, ScratchFiles::default(), &mut progress).unwrap();
        output.write_blocks(BlockIndex::new(0), &[7; 2048]).unwrap();
        output.finish().unwrap();
        assert!(!partial_name(&path).exists());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
        assert_eq!(last, (2048, 4096));
    }

    #[test]
    fn devices_and_directories_are_not_replaced() {
        let message = |path: &str| {
            let mut progress = |_, _| {};
            let output = Output::create(path.as_ref(), 0, ScratchFiles::default(), &mut progress);
            output.err().unwrap().to_string()
        };
        assert_eq!(message("/dev/null"), "cannot write /dev/null: it is a device, not a file");
        assert_eq!(message("/"), "cannot write /: it is a directory, not a file");
    }
}
