//! A bundle, or a part of it, becomes a directory again.
//!
//! Whatever the bundle holds, nothing is written outside of the target: every name is made in a directory that was
//! opened from its parent without following links, and nothing is opened that was not made just before.

mod attributes;
mod place;
mod plan;
mod workers;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Bundle, Selection};
use crate::{Device, Error, Kind, Node, NodeId, Tree};

use attributes::{Lost, Restore};
use place::Place;
use plan::{Named, Plan};

/// How a bundle is unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtractOptions {
    /// What of it: see [`Selection`]. Empty for all.
    pub only: Vec<PathBuf>,
    /// Whether files get their owners, which only root can do. Otherwise they belong to who unpacks, and lose set-user-id
    /// and set-group-id.
    pub owners: bool,
    /// Whether the target may have files in it. Those of the same names are replaced, directories are shared.
    pub force: bool,
    /// Processors to use; all by default.
    pub processors: Option<usize>,
}

/// How far unpacking has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtractProgress {
    /// Regular files written.
    pub files: u64,
    /// Regular files to write.
    pub total_files: u64,
    /// Bytes of them written, holes included.
    pub bytes: u64,
    /// Bytes of them in all.
    pub total_bytes: u64,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extracted {
    /// Regular files, a hard link not counted again.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is not in the target as it is in the bundle, in sentences.
    pub warnings: Vec<String>,
}

/// Unpacks into `target`, which must be missing or empty, with modes, times, extended attributes, hard links, devices
/// and holes. Symbolic links, neither the bundle's nor those in the target, are followed. After a failure a target that was
/// missing is missing again.
///
/// # Errors
/// The bundle is damaged, nothing is of the names asked for, or a file cannot be written; the error names it.
pub fn extract(
    bundle: &Bundle,
    target: &Path,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(ExtractProgress),
) -> Result<Extracted, Error> {
    let tree = bundle.tree()?;
    let mut selection = Selection::new(&options.only)?;
    let plan = Plan::new(tree, &mut selection);
    if let Some(pattern) = selection.unused() {
        let message = format!("nothing in {} is called {}", bundle.path().display(), pattern.display());
        return Err(Error::Options(message));
    }
    let made = prepare(target, options.force)?;
    let result = fill(bundle, target, &plan, options, progress);
    if result.is_err() && made {
        // The error that led here is the one to tell.
        let _ = fs::remove_dir_all(target);
    }
    result
}

/// Sees that the target is there and empty. Returns whether it was missing.
fn prepare(target: &Path, force: bool) -> Result<bool, Error> {
    match fs::create_dir(target) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("create", target)(error)),
    }
    let mut names = fs::read_dir(target).map_err(Error::io("read", target))?;
    if !force && names.next().is_some() {
        return Err(Error::io("unpack into", target)(Errno::NOTEMPTY.into()));
    }
    Ok(false)
}

/// What all steps need.
struct Job<'a> {
    bundle: &'a Bundle,
    tree: &'a Tree,
    plan: &'a Plan<'a>,
    target: &'a Path,
    /// The target, open.
    root: BorrowedFd<'a>,
    replace: bool,
    restore: Restore,
    lost: &'a Lost,
}

fn fill(
    bundle: &Bundle,
    target: &Path,
    plan: &Plan<'_>,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(ExtractProgress),
) -> Result<Extracted, Error> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, target, flags, Mode::empty())
        .map_err(|errno| Error::io("open", target)(errno.into()))?;
    let lost = Lost::default();
    let job = Job {
        bundle,
        tree: bundle.tree()?,
        plan,
        target,
        root: root.as_fd(),
        replace: options.force,
        restore: Restore::new(options.owners),
        lost: &lost,
    };
    job.make_directories()?;
    job.make_others()?;
    let done = workers::write_files(&job, options.processors, progress)?;
    job.make_links()?;
    job.finish_directories()?;
    Ok(Extracted { files: done.files, bytes: done.bytes, warnings: lost.warnings() })
}

impl<'a> Job<'a> {
    fn place(&self) -> Place<'a> {
        Place::new(self.root, &self.plan.directories)
    }

    /// That something could not be done to a file of the target.
    fn error(&self, doing: &'static str, named: Named<'_>, errno: Errno) -> Error {
        let path = self.target.join(self.plan.path(named));
        Error::io(doing, path)(errno.into())
    }

    fn make_directories(&self) -> Result<(), Error> {
        let mut place = self.place();
        for &named in &self.plan.directory_order {
            let failed = |errno| self.error("create", named, errno);
            let parent = place.enter(named.directory).map_err(failed)?;
            match rustix::fs::mkdirat(parent, named.name, Mode::RWXU) {
                // What is there must be a directory: it is entered without following links.
                Err(Errno::EXIST) if self.replace => drop(place.enter(named.id).map_err(failed)?),
                result => result.map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Takes away what is in the way, if that is wanted.
    fn clear(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        if !self.replace {
            return Ok(());
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// Links, devices, pipes and sockets.
    fn make_others(&self) -> Result<(), Error> {
        let mut place = self.place();
        for &named in &self.plan.others {
            let failed = |errno| self.error("create", named, errno);
            let directory = place.enter(named.directory).map_err(failed)?;
            let node = self.tree.node(named.id);
            self.clear(directory, named.name).map_err(failed)?;
            match make(directory, named.name, node) {
                Err(Errno::PERM) if is_device(node) => {
                    self.lost.device(named.id);
                    continue;
                }
                result => result.map_err(failed)?,
            }
            self.restore
                .by_name(directory, named.name, node, self.lost)
                .map_err(|errno| self.error("restore the attributes of", named, errno))?;
        }
        Ok(())
    }

    fn make_links(&self) -> Result<(), Error> {
        let (mut from, mut to) = (self.place(), self.place());
        for &(first, named) in &self.plan.links {
            if self.lost.is_lost(named.id) {
                continue;
            }
            let failed = |errno| self.error("link", named, errno);
            let old = from.enter(first.directory).map_err(failed)?;
            let new = to.enter(named.directory).map_err(failed)?;
            self.clear(new, named.name).map_err(failed)?;
            rustix::fs::linkat(old, first.name, new, named.name, AtFlags::empty()).map_err(failed)?;
        }
        Ok(())
    }

    /// Directories come last, those further down first: making files in them changes their times, and some modes forbid it.
    fn finish_directories(&self) -> Result<(), Error> {
        let mut place = self.place();
        for &named in self.plan.directory_order.iter().rev() {
            let failed = |errno| self.error("restore the attributes of", named, errno);
            let directory = place.enter(named.id).map_err(failed)?;
            self.restore.open(directory, self.tree.node(named.id), self.lost).map_err(failed)?;
        }
        self.restore
            .open(self.root, self.tree.node(Tree::ROOT), self.lost)
            .map_err(|errno| Error::io("restore the attributes of", self.target)(errno.into()))
    }
}

/// Makes what is neither a directory nor a regular file.
fn make(directory: BorrowedFd<'_>, name: &OsStr, node: &Node) -> Result<(), Errno> {
    let special = |kind, device: Device| {
        let device = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(directory, name, kind, Mode::RUSR | Mode::WUSR, device)
    };
    match &node.kind {
        Kind::Symlink(target) => rustix::fs::symlinkat(target.as_os_str(), directory, name),
        Kind::BlockDevice(device) => special(FileType::BlockDevice, *device),
        Kind::CharDevice(device) => special(FileType::CharacterDevice, *device),
        Kind::Socket => special(FileType::Socket, Device::WHITEOUT),
        _ => special(FileType::Fifo, Device::WHITEOUT),
    }
}

fn is_device(node: &Node) -> bool {
    matches!(node.kind, Kind::BlockDevice(_) | Kind::CharDevice(_))
}

/// Where the directories of a target are in each other, by [`NodeId::index`].
type Directories<'a> = Vec<Option<(NodeId, &'a OsStr)>>;
