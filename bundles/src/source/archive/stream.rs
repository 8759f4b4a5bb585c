//! The bytes of a tar archive, whatever it is packed with and wherever it is.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// What an archive is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// By the first bytes, as file(1) knows them (RFC 1952, xz-file-format 2.1.1.1, RFC 8878).
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A frame to skip, with which parallel compressors begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// How many bytes tell what a file is packed with.
const HEAD: u64 = 6;

/// Memory that an xz archive may ask for: three times what its highest level takes.
const XZ_MEMORY: u64 = 256 << 20;

/// A tar archive: a stretch of a file that can be read at any place.
#[derive(Debug, Clone)]
pub(in crate::source) struct Stream {
    /// For messages: the file that it is in.
    pub(in crate::source) path: PathBuf,
    file: Arc<File>,
    start: u64,
    length: u64,
    pub(in crate::source) packing: Packing,
}

impl Stream {
    /// The archive `path`. A pipe, or what stands for standard input (`-`), is unpacked into a file without a name in
    /// the directory `temporary`.
    pub(in crate::source) fn open(path: &Path, temporary: &Path) -> Result<Self, Error> {
        let file = if path == Path::new("-") {
            let input = rustix::io::dup(io::stdin()).map_err(|e| Error::io("read", path)(e.into()))?;
            File::from(input)
        } else {
            File::open(path).map_err(Error::io("open", path))?
        };
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        // Of a redirected file, something may have been read already.
        let at_start = (&file).stream_position().is_ok_and(|position| position == 0);
        if metadata.is_file() && at_start {
            return Self::of_file(path, Arc::new(file), 0, metadata.len());
        }
        if metadata.is_dir() {
            return Err(Error::io("read", path)(io::ErrorKind::IsADirectory.into()));
        }
        let mut head = Vec::new();
        let mut file = file;
        (&mut file).take(HEAD).read_to_end(&mut head).map_err(Error::io("read", path))?;
        let packing = Packing::of(&head);
        let whole = io::Cursor::new(head).chain(file);
        spool(path, &mut *decoder(packing, BufReader::new(whole)), temporary)
    }

    /// The archive that is `length` bytes of a file from `start` on.
    pub(in crate::source) fn of_file(
        path: &Path,
        file: Arc<File>,
        start: u64,
        length: u64,
    ) -> Result<Self, Error> {
        let mut head = Vec::new();
        let mut part = Part { file: Arc::clone(&file), position: start, end: start + length };
        part.by_ref().take(HEAD).read_to_end(&mut head).map_err(Error::io("read", path))?;
        Ok(Self { path: path.to_owned(), file, start, length, packing: Packing::of(&head) })
    }

    /// The archive that is a part of this plain one, such as a layer in an image.
    pub(in crate::source) fn part(&self, offset: u64, length: u64) -> Result<Self, Error> {
        let start = self.start.saturating_add(offset);
        let end = self.start + self.length;
        Self::of_file(
            &self.path,
            Arc::clone(&self.file),
            start.min(end),
            length.min(end.saturating_sub(start)),
        )
    }

    /// The same, unpacked into a file without a name in the directory `temporary` if it is packed.
    pub(in crate::source) fn unpacked(self, temporary: &Path) -> Result<Self, Error> {
        match self.packing {
            Packing::Plain => Ok(self),
            _ => spool(&self.path, &mut self.input(), temporary),
        }
    }

    /// The bytes as they are stored.
    pub(in crate::source) fn stored(&self) -> Part {
        Part { file: Arc::clone(&self.file), position: self.start, end: self.start + self.length }
    }

    /// The tar archive from its beginning.
    pub(in crate::source) fn input(&self) -> Input {
        match self.packing {
            Packing::Plain => Input::Plain(self.stored()),
            packing => {
                let stored = BufReader::with_capacity(256 << 10, self.stored());
                Input::Packed(BufReader::with_capacity(64 << 10, decoder(packing, stored)))
            }
        }
    }

    /// What tells that the file is still the same.
    pub(in crate::source) fn stamp(&self) -> io::Result<(u64, i64, i64, i64, i64)> {
        let m = self.file.metadata()?;
        Ok((m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
    }
}

/// A stretch of a file.
#[derive(Debug)]
pub(in crate::source) struct Part {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..length], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// A tar archive that is read from its beginning to its end.
pub(in crate::source) enum Input {
    Plain(Part),
    Packed(BufReader<Box<dyn Read + Send>>),
}

impl Input {
    /// Passes over `bytes` bytes.
    pub(in crate::source) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Plain(part) if part.end - part.position < bytes => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Plain(part) => {
                part.position += bytes;
                Ok(())
            }
            Self::Packed(reader) => {
                let skipped = io::copy(&mut reader.take(bytes), &mut io::sink())?;
                if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
        }
    }

    /// Reads a packed archive to its end: that is where its checksums are.
    pub(in crate::source) fn drain(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Packed(reader) => io::copy(reader, &mut io::sink()).map(drop),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(part) => part.read(buffer),
            Self::Packed(reader) => reader.read(buffer),
        }
    }
}

fn decoder(packing: Packing, reader: impl io::BufRead + Send + 'static) -> Box<dyn Read + Send> {
    match packing {
        Packing::Plain => Box::new(reader),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Packing::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            match liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags) {
                Ok(stream) => Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream)),
                Err(e) => Box::new(Failing(Some(e.into()))),
            }
        }
        Packing::Zstd => match zstd::stream::read::Decoder::with_buffer(reader) {
            Ok(decoder) => Box::new(decoder),
            Err(e) => Box::new(Failing(Some(e))),
        },
    }
}

/// A decoder that there was no memory for.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::OutOfMemory.into()))
    }
}

/// Copies a plain archive into a file without a name.
fn spool(path: &Path, reader: &mut dyn Read, temporary: &Path) -> Result<Stream, Error> {
    let mut file = tempfile::tempfile_in(temporary).map_err(Error::io("make a file in", temporary))?;
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                let reason = super::entries::reason(&e);
                return Err(Error::Archive { path: path.to_owned(), offset: length, reason });
            }
        };
        io::Write::write_all(&mut file, &buffer[..read]).map_err(Error::io("write a file in", temporary))?;
        length += read as u64;
    }
    Stream::of_file(path, Arc::new(file), 0, length)
}
