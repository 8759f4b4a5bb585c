//! The bytes of an image, wherever in a file it lies.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::codec::Decoder;
use crate::{Compression, Error, Superblock};

/// An open image. Places are in bytes from its beginning, those in errors from the beginning of the file.
pub(crate) struct Image {
    file: File,
    path: PathBuf,
    /// Where in the file it begins.
    start: u64,
    length: u64,
    compression: Compression,
    /// Those that no thread has in use.
    decoders: Mutex<Vec<Decoder>>,
}

impl Image {
    pub(crate) fn open(path: &Path, start: u64) -> Result<(Self, Superblock), Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len().saturating_sub(start);
        let mut image = Self {
            file,
            path: path.to_owned(),
            start,
            length,
            compression: Compression::Zstd,
            decoders: Mutex::default(),
        };
        let mut bytes = [0; Superblock::SIZE];
        if length < bytes.len() as u64 {
            return Err(image.malformed(0, "not a squashfs: too short"));
        }
        image.read(0, &mut bytes)?;
        let superblock = Superblock::parse(&bytes).map_err(|error| image.malformed(0, error.to_string()))?;
        if length < superblock.bytes_used {
            let what = format!(
                "torn: the image has {} bytes, and only {length} of them are there",
                superblock.bytes_used
            );
            return Err(image.malformed(length, what));
        }
        image.length = superblock.bytes_used;
        image.compression = superblock.compression;
        image.decoders = Mutex::new(vec![image.decoder()?]);
        Ok((image, superblock))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// That the image is wrong `at` some place of it.
    pub(crate) fn malformed(&self, at: u64, what: impl Into<String>) -> Error {
        let offset = self.start.saturating_add(at.min(self.length));
        Error::Malformed { path: self.path.clone(), offset, what: what.into() }
    }

    /// Whether so many bytes are there.
    pub(crate) fn has(&self, at: u64, length: u64) -> bool {
        at.checked_add(length).is_some_and(|end| end <= self.length)
    }

    /// Fills `bytes`.
    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), Error> {
        if !self.has(at, bytes.len() as u64) {
            let what = format!("{} bytes at byte {at} of the image lie outside of it", bytes.len());
            return Err(self.malformed(at, what));
        }
        self.file.read_exact_at(bytes, self.start + at).map_err(Error::io("read", &self.path))
    }

    /// As many bytes as there are of an entry.
    pub(crate) fn array<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Unpacks what is stored `at` that place, to `limit` bytes at most.
    pub(crate) fn unpack(
        &self,
        at: u64,
        stored: &[u8],
        unpacked: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), Error> {
        let free = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decoder = free.map_or_else(|| self.decoder(), Ok)?;
        let result = decoder.decompress(stored, limit, unpacked);
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        result.map_err(|error| self.malformed(at, error.to_string()))
    }

    fn decoder(&self) -> Result<Decoder, Error> {
        Decoder::new(self.compression).map_err(Error::io("read", &self.path))?.ok_or_else(|| {
            let what = format!(
                "it is compressed with {}, which cannot be unpacked here: only zstd, xz, gzip and lz4 can",
                self.compression
            );
            // Where the superblock names it.
            self.malformed(20, what)
        })
    }
}
