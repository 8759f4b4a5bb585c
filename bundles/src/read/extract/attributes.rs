//! Owners, modes, times and extended attributes of what was unpacked.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;

use crate::{Kind, Node, NodeId};

const SET_ID: u16 = 0o6000;

/// What is restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restore {
    owners: bool,
}

/// What could not be restored.
#[derive(Debug, Default)]
pub(super) struct Lost {
    devices: Mutex<HashSet<NodeId>>,
    set_ids: AtomicU64,
    /// How many there were, and the first one's name and reason.
    xattrs: Mutex<(u64, Option<(OsString, Errno)>)>,
}

impl Restore {
    pub(super) fn new(owners: bool) -> Self {
        Self { owners }
    }

    /// The mode that is safe: a program that ran as somebody must not run as whoever unpacked it.
    fn mode(self, node: &Node, lost: &Lost) -> u16 {
        let directory = node.is_directory();
        if self.owners || directory || node.mode & SET_ID == 0 {
            return node.mode;
        }
        lost.set_ids.fetch_add(1, Ordering::Relaxed);
        node.mode & !SET_ID
    }

    /// Of a file or directory that is open.
    pub(super) fn open(self, file: BorrowedFd<'_>, node: &Node, lost: &Lost) -> Result<(), Errno> {
        if self.owners {
            // Clears set-user-id and capabilities, so they come later.
            fchown(file, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)))?;
        }
        for xattr in &node.xattrs {
            let result = fsetxattr(file, xattr.name.as_os_str(), &xattr.value, XattrFlags::empty());
            lost.xattr(&xattr.name, result)?;
        }
        fchmod(file, Mode::from_raw_mode(self.mode(node, lost).into()))?;
        futimens(file, &times(node))
    }

    /// Of what cannot be opened, or should not be: links, devices, pipes, sockets.
    pub(super) fn by_name(
        self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        node: &Node,
        lost: &Lost,
    ) -> Result<(), Errno> {
        if self.owners {
            let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
            chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // There are no calls that take a directory: the path goes through what is open, and has one name more.
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        for xattr in &node.xattrs {
            let result = lsetxattr(&path, xattr.name.as_os_str(), &xattr.value, XattrFlags::empty());
            lost.xattr(&xattr.name, result)?;
        }
        if !matches!(node.kind, Kind::Symlink(_)) {
            let file =
                openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let mode = Permissions::from_mode(self.mode(node, lost).into());
            fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        utimensat(directory, name, &times(node), AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn times(node: &Node) -> Timestamps {
    let time = Timespec { tv_sec: node.mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

impl Lost {
    /// A device only root could have made.
    pub(super) fn device(&self, id: NodeId) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(super) fn is_lost(&self, id: NodeId) -> bool {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Counts an attribute that the file system or the kernel does not take from this user.
    fn xattr(&self, name: &OsStr, result: Result<(), Errno>) -> Result<(), Errno> {
        let errno = match result {
            Err(errno @ (Errno::PERM | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::RANGE)) => errno,
            result => return result,
        };
        let mut xattrs = self.xattrs.lock().unwrap_or_else(PoisonError::into_inner);
        xattrs.0 += 1;
        xattrs.1.get_or_insert_with(|| (name.to_owned(), errno));
        Ok(())
    }

    /// A sentence for each kind of loss.
    pub(super) fn warnings(self) -> Vec<String> {
        let mut warnings = Vec::new();
        let devices = self.devices.into_inner().unwrap_or_else(PoisonError::into_inner).len();
        if devices > 0 {
            warnings.push(format!("{devices} devices were left out: only root can make them"));
        }
        if let (count, Some((name, errno))) = self.xattrs.into_inner().unwrap_or_else(PoisonError::into_inner)
        {
            let name = name.display();
            warnings
                .push(format!("{count} extended attributes were not restored, the first is {name}: {errno}"));
        }
        let set_ids = self.set_ids.into_inner();
        if set_ids > 0 {
            warnings.push(format!(
                "{set_ids} files lost set-user-id or set-group-id, as their owners were not restored"
            ));
        }
        warnings
    }
}
