//! Ways through the directories of a target that never follow a link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::Directories;
use crate::NodeId;

/// Directories on the way that are kept open. Further down only the last one is: a process may have few files open.
const KEPT: usize = 32;

/// The directory one is in, and those on the way to it.
pub(super) struct Place<'a> {
    root: BorrowedFd<'a>,
    directories: &'a Directories<'a>,
    /// From the one in the root to the last.
    way: Vec<(NodeId, Option<OwnedFd>)>,
}

impl<'a> Place<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, directories: &'a Directories<'a>) -> Self {
        Self { root, directories, way: Vec::new() }
    }

    /// Goes to a directory, from the nearest one that is open.
    pub(super) fn enter(&mut self, directory: NodeId) -> Result<BorrowedFd<'_>, Errno> {
        if self.way.last().map(|(id, _)| *id) != Some(directory) {
            self.go(directory)?;
        }
        Ok(self.way.last().and_then(|(_, open)| open.as_ref()).map_or(self.root, AsFd::as_fd))
    }

    fn go(&mut self, directory: NodeId) -> Result<(), Errno> {
        let mut names = Vec::new();
        let mut at = directory;
        while let Some(Some((parent, name))) = self.directories.get(at.index()) {
            names.push((at, *name));
            at = *parent;
        }
        names.reverse();
        let same = self.way.iter().zip(&names).take_while(|((old, _), (new, _))| old == new).count();
        let open = self.way.iter().take(same).rposition(|(_, open)| open.is_some()).map_or(0, |at| at + 1);
        self.way.truncate(open);
        for &(id, name) in names.iter().skip(open) {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            let above = self.way.last().and_then(|(_, open)| open.as_ref()).map_or(self.root, AsFd::as_fd);
            let next = openat(above, name, flags, Mode::empty())?;
            if self.way.len() > KEPT
                && let Some((_, open)) = self.way.last_mut()
            {
                *open = None;
            }
            self.way.push((id, Some(next)));
        }
        Ok(())
    }
}
