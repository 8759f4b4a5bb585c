//! What is in the files of archives.

use std::io::{self, Read};
use std::sync::Arc;

use super::entries::{Data, reason};
use super::stream::{Input, Packing, Stream};
use crate::source::{Contents, FileReader, FileState};
use crate::{ContentId, Error};

/// A file in an archive.
#[derive(Debug, Clone)]
struct Member {
    /// Which archive.
    stream: usize,
    data: Data,
}

/// The files of one archive or of several.
#[derive(Debug, Default)]
pub(in crate::source) struct ArchiveContents {
    streams: Arc<Vec<(Stream, Stamp)>>,
    /// By [`ContentId`]; so in the order of the archives.
    members: Arc<Vec<Member>>,
    running: Option<Running>,
}

type Stamp = Option<(u64, i64, i64, i64, i64)>;

/// An archive that is being read.
struct Running {
    stream: usize,
    input: Input,
    /// Bytes of it that were read.
    position: u64,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.stream, self.position)
    }
}

impl ArchiveContents {
    /// A further archive; files that are added are of it.
    pub(super) fn add_stream(&mut self, stream: Stream) {
        let stamp = stream.stamp().ok();
        Arc::make_mut(&mut self.streams).push((stream, stamp));
    }

    /// A further file.
    pub(super) fn add(&mut self, data: Data) -> Result<ContentId, String> {
        let stream = self.streams.len().checked_sub(1).ok_or("a file of no archive")?;
        Arc::make_mut(&mut self.members).push(Member { stream, data });
        Ok(ContentId(self.members.len() as u64 - 1))
    }

    /// The same files, to be read apart from these.
    pub(in crate::source) fn share(&self) -> Self {
        Self { streams: Arc::clone(&self.streams), members: Arc::clone(&self.members), running: None }
    }

    /// Brings the archive `stream` to `offset`: from its beginning if that is behind.
    fn advance(&mut self, stream: usize, offset: u64) -> io::Result<&mut Running> {
        let input = || self.streams[stream].0.input();
        let running = match self.running.take() {
            Some(running) if running.stream == stream && running.position <= offset => running,
            _ => Running { stream, input: input(), position: 0 },
        };
        let running = self.running.insert(running);
        let bytes = offset - running.position;
        running.position = offset;
        running.input.skip(bytes).inspect_err(|_| running.position = u64::MAX)?;
        Ok(running)
    }
}

impl Contents for ArchiveContents {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error> {
        let member = usize::try_from(content.0).ok().and_then(|n| self.members.get(n));
        let member = member.ok_or_else(|| Error::Options(format!("there is no file {}", content.0)))?;
        let (stream, data) = (member.stream, member.data.clone());
        if let Err(e) = self.advance(stream, data.offset) {
            let path = self.streams[stream].0.path.clone();
            return Err(Error::Archive { path, offset: data.offset, reason: reason(&e) });
        }
        let (from, stamp) = &self.streams[stream];
        let running = self.running.as_mut();
        let running = running.ok_or_else(|| Error::Options(format!("there is no file {}", content.0)))?;
        Ok(Box::new(MemberFile { running, from, stamp, data, position: 0, next: 0, stored: 0 }))
    }

    fn stored_order(&self) -> bool {
        self.streams.iter().any(|(stream, _)| stream.packing != Packing::Plain)
    }
}

struct MemberFile<'a> {
    running: &'a mut Running,
    from: &'a Stream,
    stamp: &'a Stamp,
    data: Data,
    /// In the file.
    position: u64,
    /// The first stretch of a sparse file that does not end before the position.
    next: usize,
    /// How many bytes the stretches before that have.
    stored: u64,
}

impl MemberFile<'_> {
    /// What is at the position: bytes of a hole, and bytes of data behind it.
    fn ahead(&mut self) -> (u64, u64) {
        let Some(extents) = &self.data.extents else { return (0, self.data.size - self.position) };
        while let Some(extent) = extents.get(self.next) {
            if extent.offset + extent.length > self.position {
                let hole = extent.offset.saturating_sub(self.position);
                return (hole, extent.offset + extent.length - self.position - hole);
            }
            self.stored += extent.length;
            self.next += 1;
        }
        (self.data.size - self.position, 0)
    }

    /// Where the byte at the position is in the archive.
    fn place(&self) -> u64 {
        let within = self.data.extents.as_ref().and_then(|extents| extents.get(self.next));
        let within = within.map_or(self.position, |extent| self.stored + (self.position - extent.offset));
        self.data.offset + within
    }
}

impl Read for MemberFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (hole, data) = self.ahead();
        let left = if hole > 0 { hole } else { data };
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        if length == 0 {
            return Ok(0);
        }
        if hole > 0 {
            buffer.fill(0);
            self.position += length as u64;
            return Ok(length);
        }
        let at = self.place();
        debug_assert_eq!(at, self.running.position);
        let read = match self.running.input.read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        match read {
            Ok(read) => {
                self.position += read as u64;
                self.running.position += read as u64;
                Ok(read)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                // Whatever comes next begins anew.
                self.running.position = u64::MAX;
                let place = format!("{} at byte {at}: {}", self.from.path.display(), reason(&e));
                Err(io::Error::new(e.kind(), place))
            }
        }
    }
}

impl FileReader for MemberFile<'_> {
    fn hole(&mut self) -> io::Result<u64> {
        Ok(self.ahead().0)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let (hole, _) = self.ahead();
        self.position += bytes.min(hole);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<FileState> {
        let same = self.stamp.is_none_or(|stamp| self.from.stamp().is_ok_and(|now| now == stamp));
        Ok(if same { FileState::Unchanged } else { FileState::Changed })
    }
}
