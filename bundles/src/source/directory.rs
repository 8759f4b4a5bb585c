//! A directory as a source. Nothing in it is followed: neither links nor a directory that becomes one meanwhile.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::{Contents, FileReader, FileState, Source};
use crate::{ContentId, Device, Error, Kind, Node, NodeId, Tree, TreeError};

/// What becomes of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It goes into the bundle. What is in a directory is asked for on its own.
    Keep,
    /// It does not; nor does, of a directory, anything below.
    Skip,
    /// A directory that goes in only as the way to something below that is kept. For anything else the same as `Skip`.
    Pass,
}

/// What is `wanted` of the directory `root`, asked for with the path relative to it and what lstat says, parents first,
/// in the order of the names' bytes. The root itself is not asked for. Other file systems mounted below are entered.
///
/// A directory that is an overlay's upper gives a bundle that does to the bundles below it what the upper did to its
/// lowers: whiteouts and opaque directories are kept, what overlayfs notes for itself is left out.
///
/// # Errors
/// The directory or a directory in it cannot be listed, something cannot be examined, or an upper's file or directory
/// has its content in a lower.
pub fn directory(root: &Path, wanted: &mut dyn FnMut(&Path, &Metadata) -> Wanted) -> Result<Source, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, root, flags, Mode::empty());
    let top = File::from(top.map_err(|e| Error::io("list", root)(e.into()))?);
    let metadata = top.metadata().map_err(Error::io("read", root))?;
    let mut walk = Walk {
        root,
        wanted,
        tree: Tree::new(Node::directory()),
        linked: HashMap::new(),
        contents: DirectoryContents {
            root: root.to_owned(),
            top: OwnedFd::from(top.try_clone().map_err(Error::io("open", root))?),
            directories: Vec::new(),
            files: Vec::new(),
        },
        unreadable: 0,
    };
    let node = walk.node(Path::new(""), &top, &metadata, Kind::Directory([].into()))?;
    *walk.tree.node_mut(Tree::ROOT) = node;
    walk.directory(Path::new(""), top.as_fd())?;
    let mut warnings = Vec::new();
    if walk.unreadable > 0 {
        let attributes = if walk.unreadable == 1 { "attribute" } else { "attributes" };
        warnings.push(format!("{} extended {attributes} could not be read", walk.unreadable));
    }
    Ok(Source { tree: walk.tree, contents: Box::new(walk.contents), warnings })
}

struct Walk<'a> {
    root: &'a Path,
    wanted: &'a mut dyn FnMut(&Path, &Metadata) -> Wanted,
    tree: Tree,
    /// Files with several names, by device and inode number.
    linked: HashMap<(u64, u64), NodeId>,
    contents: DirectoryContents,
    /// Extended attributes that are there and cannot be read.
    unreadable: usize,
}

impl Walk<'_> {
    /// Takes what is wanted of one directory; whether that is anything.
    fn directory(&mut self, relative: &Path, directory: BorrowedFd<'_>) -> Result<bool, Error> {
        let names = match names(directory) {
            Ok(names) => names,
            // A directory of a running system may go at any time.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !relative.as_os_str().is_empty() => {
                return Ok(false);
            }
            Err(e) => return Err(Error::io("list", self.full(relative))(e)),
        };
        // Found by its place when its files are read.
        let place = self.contents.directories.len();
        self.contents.directories.push(relative.to_owned());
        let mut any = false;
        for name in names {
            any |= self.entry(relative.join(&name), directory, &name, place)?;
        }
        Ok(any)
    }

    fn entry(
        &mut self,
        relative: PathBuf,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        place: usize,
    ) -> Result<bool, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(Error::io("read", self.full(&relative))(e.into())),
        };
        let metadata = file.metadata().map_err(Error::io("read", self.full(&relative)))?;
        match (self.wanted)(&relative, &metadata) {
            Wanted::Skip => Ok(false),
            Wanted::Pass if !metadata.is_dir() => Ok(false),
            wanted if metadata.is_dir() => {
                let node = self.node(&relative, &file, &metadata, Kind::Directory([].into()))?;
                self.insert(&relative, node)?;
                let any = self.directory(&relative, file.as_fd())?;
                if !any && wanted == Wanted::Pass {
                    self.tree.remove(&relative);
                }
                Ok(any || wanted == Wanted::Keep)
            }
            _ => self.file(relative, &file, &metadata, (place, name)).map(|()| true),
        }
    }

    /// Takes anything but a directory.
    fn file(
        &mut self,
        relative: PathBuf,
        file: &File,
        metadata: &Metadata,
        (place, name): (usize, &OsStr),
    ) -> Result<(), Error> {
        let inode = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(&node) = self.linked.get(&inode)
        {
            return self.tree.link(&relative, node).map_err(|e| self.refused(&relative, e));
        }
        let kind = match self.kind(file, metadata, (place, name)) {
            Ok(kind) => kind,
            Err(e) => return Err(Error::io("read", self.full(&relative))(e)),
        };
        let node = self.node(&relative, file, metadata, kind)?;
        let id = self.insert(&relative, node)?;
        if metadata.nlink() > 1 {
            self.linked.insert(inode, id);
        }
        Ok(())
    }

    fn kind(&mut self, file: &File, metadata: &Metadata, at: (usize, &OsStr)) -> io::Result<Kind> {
        let device =
            Device { major: rustix::fs::major(metadata.rdev()), minor: rustix::fs::minor(metadata.rdev()) };
        let kind = metadata.file_type();
        Ok(if kind.is_file() {
            let content = ContentId(self.contents.files.len() as u64);
            self.contents.files.push(FileRecord {
                directory: at.0,
                name: at.1.to_owned(),
                stamp: Stamp::of(metadata),
            });
            Kind::File { size: metadata.len(), content }
        } else if kind.is_symlink() {
            let target = rustix::fs::readlinkat(file, "", Vec::new())?;
            Kind::Symlink(OsString::from_vec(target.into_bytes()))
        } else if kind.is_block_device() {
            Kind::BlockDevice(device)
        } else if kind.is_char_device() {
            Kind::CharDevice(device)
        } else if kind.is_fifo() {
            Kind::Fifo
        } else {
            Kind::Socket
        })
    }

    fn node(&mut self, relative: &Path, file: &File, metadata: &Metadata, kind: Kind) -> Result<Node, Error> {
        let Attributes { xattrs, unreadable } = attributes::read(file, &self.full(relative))
            .map_err(|e| Error::io("read the extended attributes of", self.full(relative))(e))?;
        self.unreadable += unreadable;
        let xattrs = attributes::of_a_lower(xattrs).map_err(|reason| Error::Refused {
            path: self.full(relative),
            reason: format!("{reason}\nhint: leave it out, or pack a copy of the union"),
        })?;
        Ok(Node {
            kind,
            mode: mode(metadata.mode()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime(),
            xattrs,
        })
    }

    fn insert(&mut self, relative: &Path, node: Node) -> Result<NodeId, Error> {
        self.tree.insert(relative, node).map_err(|e| self.refused(relative, e))
    }

    fn refused(&self, relative: &Path, error: TreeError) -> Error {
        Error::Refused { path: self.full(relative), reason: error.to_string() }
    }

    fn full(&self, relative: &Path) -> PathBuf {
        if relative.as_os_str().is_empty() { self.root.to_owned() } else { self.root.join(relative) }
    }
}

/// The permission bits of a mode.
fn mode(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

/// Everything in a directory that was opened as a path only, sorted by bytes.
fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let listing = open(directory, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::new(listing)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Opens without leaving traces where that is allowed, and without following any link.
fn open(directory: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let with = |flags| match rustix::fs::openat2(
        directory,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    ) {
        // Before Linux 5.6.
        Err(Errno::NOSYS) => rustix::fs::openat(directory, path, flags, Mode::empty()),
        other => other,
    };
    match with(flags | OFlags::NOATIME) {
        // Only its owner and root may read a file so.
        Err(Errno::PERM) => with(flags),
        other => other,
    }
}

/// What tells that a file is still the one examined before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    changed: (i64, i64),
    examined: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            examined: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

struct FileRecord {
    /// Index of its directory.
    directory: usize,
    name: OsString,
    stamp: Stamp,
}

/// The files of a directory, opened one at a time.
struct DirectoryContents {
    root: PathBuf,
    top: OwnedFd,
    /// Relative paths.
    directories: Vec<PathBuf>,
    /// By [`ContentId`].
    files: Vec<FileRecord>,
}

impl Contents for DirectoryContents {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error> {
        let record = usize::try_from(content.0).ok().and_then(|n| self.files.get(n));
        let record = record.ok_or_else(|| Error::Options(format!("there is no file {}", content.0)))?;
        let path = self.directories[record.directory].join(&record.name);
        // A pipe that took the place of the file must not wait for a writer.
        let file = open(self.top.as_fd(), &path, OFlags::RDONLY | OFlags::NONBLOCK);
        let opened = file.map(File::from).map_err(io::Error::from).and_then(|file| {
            let metadata = file.metadata()?;
            metadata.is_file().then_some((file, metadata)).ok_or(io::ErrorKind::NotFound.into())
        });
        // A link in the place of the file or of a directory on the way to it: the file is gone as well.
        let (file, metadata) = opened.map_err(|e| match e.raw_os_error() {
            Some(code) if [Errno::LOOP, Errno::NOTDIR].map(Errno::raw_os_error).contains(&code) => {
                Error::io("read", self.root.join(&path))(io::ErrorKind::NotFound.into())
            }
            _ => Error::io("read", self.root.join(&path))(e),
        })?;
        Ok(Box::new(DirectoryFile {
            stamp: record.stamp,
            // One that grows as fast as it is read would never end.
            limit: metadata.len(),
            position: 0,
            segment: if metadata.blocks() * 512 < metadata.len() {
                Segment { end: 0, hole: false }
            } else {
                Segment { end: metadata.len(), hole: false }
            },
            file,
        }))
    }
}

/// A stretch of a file.
struct Segment {
    end: u64,
    hole: bool,
}

struct DirectoryFile {
    file: File,
    stamp: Stamp,
    /// Size when it was opened.
    limit: u64,
    position: u64,
    /// What the position is in, unless it is at its end.
    segment: Segment,
}

impl DirectoryFile {
    /// What is at the position, as the file system tells it.
    fn find_segment(&mut self) -> io::Result<()> {
        if self.position < self.segment.end || self.position >= self.limit {
            return Ok(());
        }
        let seek = |to| rustix::fs::seek(&self.file, to);
        self.segment = match seek(SeekFrom::Data(self.position)) {
            Ok(data) if data > self.position => Segment { end: data.min(self.limit), hole: true },
            Ok(_) => match seek(SeekFrom::Hole(self.position)) {
                // A hole here and no data before: it changes just now.
                Ok(hole) if hole <= self.position => Segment { end: self.limit, hole: false },
                Ok(hole) => Segment { end: hole.min(self.limit), hole: false },
                Err(_) => Segment { end: self.limit, hole: false },
            },
            // No data from here on.
            Err(Errno::NXIO) => Segment { end: self.limit, hole: true },
            // The file system knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Segment { end: self.limit, hole: false },
            Err(e) => return Err(e.into()),
        };
        Ok(())
    }
}

impl Read for DirectoryFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.find_segment()?;
        let left = self.segment.end.min(self.limit).saturating_sub(self.position);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = if self.segment.hole {
            buffer[..length].fill(0);
            length
        } else {
            self.file.read_at(&mut buffer[..length], self.position)?
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl FileReader for DirectoryFile {
    fn hole(&mut self) -> io::Result<u64> {
        self.find_segment()?;
        let left = self.segment.end.saturating_sub(self.position);
        Ok(if self.segment.hole { left } else { 0 })
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.position = self.position.saturating_add(bytes).min(self.limit);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<FileState> {
        let same = Stamp::of(&self.file.metadata()?) == self.stamp && self.position == self.stamp.size;
        Ok(if same { FileState::Unchanged } else { FileState::Changed })
    }
}
