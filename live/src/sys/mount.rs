//! Mounting with the file system context calls of Linux 5.2 (fsopen, fsconfig, fsmount, move_mount), because they
//! alone tell why a mount failed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
    MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, fspick, move_mount, open_tree,
};

use crate::error::{AtPath, Error, Result};

/// A mount to be made.
pub struct Mount<'a> {
    fs_type: &'a str,
    source: &'a str,
    options: Vec<(&'a str, Option<&'a str>)>,
    attributes: MountAttrFlags,
}

impl<'a> Mount<'a> {
    /// A mount of `source`, which file systems without a device show in /proc/mounts and else ignore.
    pub fn new(fs_type: &'a str, source: &'a str) -> Self {
        Self { fs_type, source, options: Vec::new(), attributes: MountAttrFlags::empty() }
    }

    /// Sets an option that has a value.
    #[must_use]
    pub fn set(mut self, name: &'a str, value: &'a str) -> Self {
        self.options.push((name, Some(value)));
        self
    }

    /// Sets an option that is a word.
    #[must_use]
    pub fn flag(mut self, name: &'a str) -> Self {
        self.options.push((name, None));
        self
    }

    /// Sets options written as mount(8) has them: `mode=755,nodev`.
    #[must_use]
    pub fn options(mut self, text: &'a str) -> Self {
        for word in text.split(',').filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                Some((name, value)) => self.options.push((name, Some(value))),
                None => self.options.push((word, None)),
            }
        }
        self
    }

    /// Read only, the file system and the mount.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.flag("ro").attributes("ro")
    }

    /// Sets attributes of the mount, written as in fstab(5): `ro`, `nosuid`, `nodev`, `noexec`, `noatime`.
    #[must_use]
    pub fn attributes(mut self, words: &str) -> Self {
        for word in words.split(',') {
            self.attributes |= match word {
                "ro" => MountAttrFlags::MOUNT_ATTR_RDONLY,
                "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
                "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
                "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
                _ => unreachable!("{word} is not an attribute"),
            };
        }
        self
    }

    /// Makes the mount visible at `target`.
    pub fn at(&self, target: impl AsRef<Path>) -> Result<()> {
        attach(&self.meant_for(&target)?, target)
    }

    /// Makes the mount without a place in the tree. `target`, where it is to be later, is for the error.
    pub fn meant_for(&self, target: impl AsRef<Path>) -> Result<OwnedFd> {
        self.detached().map_err(|cause| {
            let target = target.as_ref().display();
            Error::at("mount", format!("{} ({}) on {target}", self.source, self.fs_type), cause)
        })
    }

    fn detached(&self) -> std::result::Result<OwnedFd, String> {
        let context = fsopen(self.fs_type, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| match e {
            Errno::NODEV => format!("this kernel does not have {}", self.fs_type),
            e => describe(e),
        })?;
        let configure = || {
            fsconfig_set_string(&context, "source", self.source)?;
            for (name, value) in &self.options {
                match value {
                    Some(value) => fsconfig_set_string(&context, *name, *value)?,
                    None => fsconfig_set_flag(&context, *name)?,
                }
            }
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)
        };
        configure().map_err(|e| {
            let said = kernel_messages(&context);
            if said.is_empty() { describe(e) } else { format!("{} ({said})", describe(e)) }
        })
    }
}

fn describe(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// What the kernel left to read in a file system context: lines of a letter, a space and the text.
fn kernel_messages(context: &OwnedFd) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut buffer = [0u8; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer[..]) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        lines.push(line.trim_end().chars().skip(2).collect());
    }
    lines.join("; ")
}

/// Mounts with mount(2), for what the newer calls cannot say: an option longer than 255 bytes.
pub fn mount_with_data(source: &str, target: &Path, fs_type: &str, data: &str) -> Result<()> {
    // One byte of the page is the terminator; the kernel cuts silently (copy_mount_options).
    const PAGE: usize = 4096;
    if data.len() >= PAGE {
        return Err(Error::at(
            "mount",
            target,
            format!("{} bytes of options, the kernel takes {PAGE}", data.len()),
        ));
    }
    let data = std::ffi::CString::new(data).map_err(|e| Error::at("mount", target, e))?;
    rustix::mount::mount(source, target, fs_type, MountFlags::empty(), data.as_c_str())
        .at(&format!("mount {fs_type} on"), target)
}

/// A copy of the mount that `path` is on, seen from `path` down, without a place in the tree yet; with the mounts on it
/// if `with_mounts_on_it`.
pub fn copy_of(path: impl AsRef<Path>, with_mounts_on_it: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if with_mounts_on_it {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, path.as_ref(), flags).at("copy the mount of", path)
}

/// Gives a mount without a place one.
pub fn attach(mount: &OwnedFd, path: impl AsRef<Path>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, c"", CWD, path.as_ref(), flags).at("attach a mount at", path)
}

/// Gives a mount without a place one beneath the mount at `path`, where it is not seen before that is gone (Linux 6.5).
pub fn attach_beneath(mount: &OwnedFd, path: impl AsRef<Path>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_BENEATH;
    move_mount(mount, c"", CWD, path.as_ref(), flags).at("attach a mount beneath", path)
}

/// Opens what is at `path` only to name it: it is neither read nor kept from anything but being freed.
pub fn hold(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path.as_ref(), flags, Mode::empty()).at("open", path)
}

/// Makes the file system of which `held` is the mounted root read only, wherever it is still in use. `EBUSY` while a file
/// in it is open for writing.
pub fn make_file_system_read_only(held: impl AsFd) -> rustix::io::Result<()> {
    let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
    let context = fspick(held, c"", flags)?;
    fsconfig_set_flag(&context, c"ro")?;
    fsconfig_reconfigure(&context)
}

/// Moves a mount, with everything on it.
pub fn move_to(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rustix::mount::mount_move(from, to).at(&format!("move the mount {} to", from.display()), to)
}

/// Shows a folder in a second place, with everything mounted on it.
pub fn bind(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rustix::mount::mount_bind_recursive(from, to).at(&format!("bind {} to", from.display()), to)
}

/// Keeps what is mounted from here on, at `path` and below, from showing up elsewhere.
pub fn make_private(path: impl AsRef<Path>) -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(path.as_ref(), flags).at("make private", path)
}

/// How a mount shares what is mounted on it with its copies (mount_namespaces(7), "shared subtrees").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Shared,
    /// Takes part in what happens at its origin, and tells nothing back.
    Slave,
}

/// Sets how the one mount at `path` shares.
pub fn set_propagation(path: impl AsRef<Path>, propagation: Propagation) -> Result<()> {
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
    };
    rustix::mount::mount_change(path.as_ref(), flags).at("set how mounts are shared at", path)
}

/// Sets the attributes of the one mount at `path`, as mountinfo shows them: of its words, `ro`, `nosuid`, `nodev`,
/// `noexec`, `noatime`, `nodiratime` and `relatime` count. Those that are not named are cleared.
pub fn set_attributes(path: impl AsRef<Path>, words: &str) -> Result<()> {
    let flags = words.split(',').fold(MountFlags::BIND, |flags, word| {
        flags
            | match word {
                "ro" => MountFlags::RDONLY,
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                "noatime" => MountFlags::NOATIME,
                "nodiratime" => MountFlags::NODIRATIME,
                "relatime" => MountFlags::RELATIME,
                _ => MountFlags::empty(),
            }
    });
    rustix::mount::mount_remount(path.as_ref(), flags, c"").at("set the attributes of the mount at", path)
}

/// Takes a mount away at once, with everything on it; what still uses it keeps it until it ends.
pub fn detach(path: impl AsRef<Path>) -> Result<()> {
    rustix::mount::unmount(path.as_ref(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at("detach", path)
}

/// Takes a mount away. Fails with `EBUSY` while it is used.
pub fn unmount(path: impl AsRef<Path>) -> rustix::io::Result<()> {
    rustix::mount::unmount(path.as_ref(), UnmountFlags::NOFOLLOW)
}

/// Makes a file system writable where it is mounted.
pub fn remount_writable(path: impl AsRef<Path>) -> rustix::io::Result<()> {
    rustix::mount::mount_remount(path.as_ref(), MountFlags::NOATIME, c"")
}

/// Makes a file system read only where it is mounted, which writes out what it holds and marks it clean.
pub fn remount_read_only(path: impl AsRef<Path>) -> rustix::io::Result<()> {
    rustix::mount::mount_remount(path.as_ref(), MountFlags::RDONLY, c"")
}
