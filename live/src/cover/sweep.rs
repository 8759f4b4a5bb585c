//! The other mount namespaces: services that systemd shuts off have one, with covers of their own, read only maybe.
//!
//! Most take part in what is mounted outside, so that a switch reaches them by itself; only the attributes of the old
//! cover have to be given to the new one. Where a namespace takes part in nothing, and where a folder of a cover is bound
//! to another place, the old view is still there and is replaced one by one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use super::{Cover, switch};
use crate::error::{AtPath, Result};
use crate::log;
use crate::mounts::{self, MountPoint};
use crate::sys::mount::{self, Propagation};
use crate::sys::namespace;

/// A mount namespace, held open: the file, a process that is in it, and its mounts of ours.
struct Namespace {
    file: File,
    pid: u32,
    mounts: Vec<MountPoint>,
}

/// What all mount namespaces show of the covers.
pub struct Views(Vec<Namespace>);

impl Views {
    /// Looks at every mount namespace that some process is in, this one's too. Those without a cover are left out, and
    /// those that cannot be looked at: their processes have ended.
    pub fn now() -> Self {
        let mut namespaces = BTreeMap::new();
        for pid in processes() {
            let link = format!("/proc/{pid}/ns/mnt");
            let Ok(name) = fs::read_link(&link) else { continue };
            if namespaces.contains_key(&name) {
                continue;
            }
            let Ok(file) = File::open(&link) else { continue };
            let mut mounts = mounts_inside(&file).unwrap_or_default();
            mounts.retain(|m| Cover::parse(&m.source).is_some());
            namespaces.insert(name, Namespace { file, pid, mounts });
        }
        Self(namespaces.into_values().filter(|n| !n.mounts.is_empty()).collect())
    }

    /// After these `covers` have come to their places: brings them wherever older ones were seen. What cannot be done is
    /// told.
    pub fn follow(&self, covers: &[Cover]) {
        for namespace in &self.0 {
            if let Err(e) = follow_in(namespace, covers) {
                log::warning(format_args!("the mounts of process {}: {e}", namespace.pid));
            }
        }
    }
}

fn follow_in(before: &Namespace, covers: &[Cover]) -> Result<()> {
    let now = mounts_inside(&before.file)?;
    for mount in &now {
        let Some(shown) = Cover::parse(&mount.source) else { continue };
        let Some(cover) = covers.iter().find(|c| c.place == shown.place) else { continue };
        if shown.generation == cover.generation {
            let old = before.mounts.iter().rev().find(|m| m.path == mount.path);
            if let Some(old) = old.filter(|old| old.options != mount.options) {
                namespace::inside(&before.file, || mount::set_attributes(&mount.path, &old.options))?;
            }
        } else if mounts::at(&now, &mount.path).is_some_and(|top| top.id == mount.id) {
            replace(before, &now, mount)?;
        }
    }
    Ok(())
}

/// Puts what is at the cover's place here into the place of an old view in another namespace, or elsewhere in this one.
fn replace(namespace: &Namespace, mounts: &[MountPoint], old: &MountPoint) -> Result<()> {
    let Some(cover) = Cover::parse(&old.source) else { return Ok(()) };
    let seen = old.root.strip_prefix("/").unwrap_or(&old.root);
    // A copy can be made only here.
    let copy = mount::copy_of(Path::new("/").join(&cover.place).join(seen), false)?;
    let on_it: Vec<&Path> =
        mounts.iter().filter(|m| m.parent == old.id && m.id != old.id).map(|m| m.path.as_path()).collect();
    namespace::inside(&namespace.file, || {
        let carried: Vec<_> = on_it.iter().map(|path| mount::copy_of(path, true)).collect::<Result<_>>()?;
        switch::insert_beneath(&copy, &old.path)?;
        mount::detach(&old.path)?;
        // It shares with its origin in the other namespace: what is mounted here must not show up there.
        mount::set_propagation(&old.path, Propagation::Slave)?;
        if !old.shared && !old.slave {
            mount::set_propagation(&old.path, Propagation::Private)?;
        }
        mount::set_attributes(&old.path, &old.options)?;
        for (path, copy) in on_it.iter().zip(&carried) {
            mount::attach(copy, path)?;
        }
        Ok(())
    })
}

/// The mounts of a namespace as its own root sees them: a process in it may see less.
fn mounts_inside(namespace: &File) -> Result<Vec<MountPoint>> {
    let path = "/proc/thread-self/mountinfo";
    namespace::with_proc_of_thread(namespace, |thread| {
        let mut text = Vec::new();
        let mut file = thread.open("mountinfo").at("read", path)?;
        std::io::Read::read_to_end(&mut file, &mut text).at("read", path)?;
        Ok(mounts::parse(&text))
    })
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
