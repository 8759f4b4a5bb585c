//! Putting a cover in its place, and in the place of another one: at no moment is there neither.
//!
//! The new cover goes beneath the old one, which then is taken away at once: whoever looks for a path finds the one or the
//! other. Linux 6.5 can put a mount beneath another. Before that, what is mounted on a *copy* of the root shows up in the
//! root by propagation, and where something is mounted already, the kernel puts it beneath by itself.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;

use super::Cover;
use crate::changes::Changes;
use crate::error::{AtPath, Context, Error, Result};
use crate::layout;
use crate::log;
use crate::mounts::{self, MountPoint};
use crate::overlay::{Overlay, kernel_version};
use crate::sys::mount::{self, Mount, Propagation};
use crate::sys::namespace;

/// How often, and how long each time, a file that is open for writing below an old cover is waited for.
const FENCE_TRIES: u32 = 10;
const FENCE_PAUSE: Duration = Duration::from_millis(2);

/// Folders that a mount of no importance can be put on, in a copy of some mount namespace.
const STAGES: [&str; 5] = [layout::RUN_STATE, "/run", "/tmp", "/mnt", "/proc"];

/// Mounts `cover` of `layers` (highest first, at least one) under `changes`, in the place of the cover that is there, if
/// one is. The folder has to be there, in the changes too.
pub fn put(cover: &Cover, layers: &[PathBuf], changes: &Changes) -> Result<()> {
    let path = Path::new("/").join(&cover.place);
    let mounts = mounts::current()?;
    let old = present(&mounts, &cover.place)?;
    let work_name = cover.work_name();
    let work = changes.new_work(&work_name)?;
    let upper = changes.upper().join(&cover.place);
    let overlay = Overlay { source: &cover.source(), lowers: layers, upper: &upper, work: &work };
    let on_it = old.map(|old| mounts_on(&mounts, old)).unwrap_or_default();
    let put = make(&overlay, &path, &on_it).and_then(|tree| match old {
        None => mount::attach(&tree, &path),
        Some(old) => replace(old, &tree, &path, changes),
    });
    put.doing(&format!("the cover of {}", path.display())).inspect_err(|_| {
        // Left over it would only take room; the next call tries again.
        let _ = changes.remove_work(&work_name);
    })
}

/// The cover that is seen at `place` now. A mount of somebody else on top of it is an error.
pub fn present<'a>(mounts: &'a [MountPoint], place: &Path) -> Result<Option<&'a MountPoint>> {
    let path = Path::new("/").join(place);
    let covers = |m: &MountPoint| Cover::parse(&m.source).is_some_and(|c| c.place == place);
    match mounts::at(mounts, &path) {
        Some(top) if covers(top) => Ok(Some(top)),
        Some(top) if mounts.iter().any(|m| m.path == path && covers(m)) => {
            let what = format!("{} ({}) is mounted over it", top.source, top.fs_type);
            Err(Error::at("replace what is at", &path, what).hint("unmount that first"))
        }
        _ => Ok(None),
    }
}

/// Takes the cover at `place` away, for a folder that nothing is looked for in any more.
pub fn take_away(cover: &Cover, changes: &Changes) -> Result<()> {
    detach(&Path::new("/").join(&cover.place))?;
    changes.remove_work(&cover.work_name())
}

/// Takes the topmost cover at `path` away, and fences its view.
pub fn detach(path: &Path) -> Result<()> {
    let held = mount::hold(path)?;
    mount::detach(path)?;
    fence(&held, path);
    Ok(())
}

/// Makes the overlay without a place in the tree, with copies of the mounts `on_it` (relative to `path`). All that needs
/// a place meanwhile happens in a copy of the mount namespace, so nothing shows and nothing can be left over.
fn make(overlay: &Overlay, path: &Path, on_it: &[PathBuf]) -> Result<OwnedFd> {
    if on_it.is_empty()
        && let Some(made) = overlay.meant_for(path)?
    {
        return Ok(made);
    }
    namespace::in_copy(|| {
        let stage = stage()?.join("cover");
        fs::create_dir(&stage).at("make the directory", &stage)?;
        overlay.at(&stage)?;
        for below in on_it {
            let (from, to) = (path.join(below), stage.join(below));
            let copy = mount::copy_of(&from, true)?;
            mount::attach(&copy, &to)
                .doing(&format!("what is mounted on {}", from.display()))
                .hint("unmount it first")?;
        }
        mount::copy_of(&stage, true)
    })
}

/// An empty folder in memory, in a copy of a mount namespace: everything is private from here on.
fn stage() -> Result<PathBuf> {
    mount::make_private("/")?;
    let stage = STAGES.into_iter().map(Path::new).find(|path| path.is_dir());
    let stage = stage.ok_or_else(|| Error::new(format!("none of {} is there", STAGES.join(", "))))?;
    Mount::new("tmpfs", "livekit-stage").at(stage)?;
    Ok(stage.to_owned())
}

/// The new cover goes beneath, the old one away, and its view is fenced.
fn replace(old: &MountPoint, tree: &OwnedFd, path: &Path, changes: &Changes) -> Result<()> {
    insert_beneath(tree, path)?;
    detach(path)?;
    if let Some(old) = Cover::parse(&old.source)
        && let Err(e) = changes.remove_work(&old.work_name())
    {
        log::debug(format_args!("{e}"));
    }
    Ok(())
}

/// Puts a tree of mounts beneath the mount at `path`.
pub fn insert_beneath(tree: &OwnedFd, path: &Path) -> Result<()> {
    if kernel_version(rustix::system::uname().release().to_string_lossy().as_ref()) >= (6, 5) {
        return mount::attach_beneath(tree, path);
    }
    let mounts = mounts::current()?;
    let top =
        mounts::at(&mounts, path).ok_or_else(|| Error::at("replace", path, "nothing is mounted there"))?;
    // Several of ours may lie there; what they all sit on is the mount that does not.
    let mut parent = top;
    while parent.path == path {
        let below = mounts.iter().find(|m| m.id == parent.parent && m.id != parent.id);
        parent = below.ok_or_else(|| Error::at("replace", path, "it sits on nothing"))?;
    }
    if parent.shared {
        return tuck(tree, path, &parent.path);
    }
    mount::set_propagation(&parent.path, Propagation::Shared)?;
    let tucked = tuck(tree, path, &parent.path);
    mount::set_propagation(&parent.path, Propagation::Private)?;
    tucked
}

/// Attaches the tree to a copy of the mount `parent`, from where it comes to `path` by propagation.
fn tuck(tree: &OwnedFd, path: &Path, parent: &Path) -> Result<()> {
    let peer = mount::copy_of(parent, false)?;
    let below = path.strip_prefix(parent).unwrap_or(path);
    namespace::in_copy(|| {
        let place = stage()?.join("peer");
        fs::create_dir(&place).at("make the directory", &place)?;
        mount::attach(&peer, &place)?;
        mount::attach(tree, place.join(below))
    })
}

/// Makes the view of an old cover read only. Who still is inside would else write past the new one: what is created there
/// stays unseen, what is appended to a removed file is lost.
fn fence(held: &OwnedFd, path: &Path) {
    for _ in 0..FENCE_TRIES {
        match mount::make_file_system_read_only(held) {
            Ok(()) => return,
            // Its writer has a file of the changes themselves: what it writes is seen by all.
            Err(Errno::BUSY) => sleep(FENCE_PAUSE),
            Err(e) => {
                let e = std::io::Error::from(e);
                return log::warning(format_args!(
                    "cannot make the old view of {} read only: {e}",
                    path.display()
                ));
            }
        }
    }
    log::info(format_args!("a file below {} stays open for writing in the old view", path.display()));
}

/// The mounts that sit directly on `mount`, relative to it.
fn mounts_on(mounts: &[MountPoint], mount: &MountPoint) -> Vec<PathBuf> {
    let direct = mounts.iter().filter(|m| m.parent == mount.id && m.id != mount.id);
    direct.filter_map(|m| m.path.strip_prefix(&mount.path).ok().map(Path::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"1 0 0:1 / / rw shared:1 - overlay lk:@ rw\n\
        2 1 0:2 / /usr rw shared:2 - overlay lk:usr:3 rw\n\
        3 2 0:3 / /usr/local rw shared:3 - ext4 /dev/sda1 rw\n\
        4 3 0:4 / /usr/local/deep rw shared:4 - tmpfs x rw\n\
        5 1 0:5 / /opt rw shared:5 - overlay lk:opt:1 rw\n\
        6 5 0:6 / /opt rw shared:6 - tmpfs other rw\n\
        7 1 0:7 / /data rw - tmpfs mine rw\n";

    #[test]
    fn what_is_at_a_place() {
        let mounts = mounts::parse(MOUNTS);
        let id = |place: &str| present(&mounts, Path::new(place)).map(|m| m.map(|m| m.id));
        assert_eq!(id("usr"), Ok(Some(2)));
        assert_eq!(id("etc"), Ok(None));
        assert_eq!(id("data"), Ok(None), "it never was a cover");
        let error = id("opt").unwrap_err();
        assert!(error.message().contains("other (tmpfs) is mounted over it"), "{error}");
    }

    #[test]
    fn mounts_on_a_cover_move_with_what_is_on_them() {
        let mounts = mounts::parse(MOUNTS);
        assert_eq!(mounts_on(&mounts, &mounts[1]), [PathBuf::from("local")]);
    }
}
