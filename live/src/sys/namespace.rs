//! Mount namespaces (mount_namespaces(7)): work on a thread that sees other mounts than the rest of the process.
//!
//! The thread's root and working directory are its own as well. File descriptors are shared: what it opens can be used
//! everywhere.
#![expect(unsafe_code, reason = "unshare")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::{AtPath, Error, Result};

/// Does `work` in a copy of this process's mount namespace, which goes with it.
pub fn in_copy<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_thread(|| {
        unshare(UnshareFlags::NEWNS).at("copy", "/proc/self/ns/mnt")?;
        work()
    })
}

/// Does `work` in the mount namespace that `namespace` was opened as (`/proc/PID/ns/mnt`).
pub fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_thread(|| {
        enter(namespace)?;
        work()
    })
}

fn enter(namespace: &File) -> Result<()> {
    // A namespace cannot be entered by one of several that share a working directory.
    unshare(UnshareFlags::FS).at("unshare", "the working directory")?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .at("enter", "a mount namespace")
}

/// What /proc has of a thread, opened where /proc is mounted.
pub struct ThreadInProc(OwnedFd);

impl ThreadInProc {
    /// Opens a file of it to read.
    pub fn open(&self, name: &str) -> std::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }
}

/// Does `work` in a mount namespace that may have no /proc: with what this one's has of the thread inside.
pub fn with_proc_of_thread<T: Send>(
    namespace: &File,
    work: impl FnOnce(&ThreadInProc) -> Result<T> + Send,
) -> Result<T> {
    on_thread(|| {
        let path = "/proc/thread-self";
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let thread = ThreadInProc(rustix::fs::open(path, flags, Mode::empty()).at("open", path)?);
        enter(namespace)?;
        work(&thread)
    })
}

/// Leaves the mount namespace of this process's parent for a copy. Only while the process has no other thread that
/// would stay behind.
pub fn leave() -> Result<()> {
    unshare(UnshareFlags::NEWNS).at("copy", "/proc/self/ns/mnt")
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: file descriptors stay shared between threads: FILES is never among the flags.
    unsafe { unshare_unsafe(flags) }
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Error::new(format!("cannot start a thread: {e}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
