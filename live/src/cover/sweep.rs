//! The other mount namespaces: services that systemd shuts off have one, with covers of their own, read only maybe.
//!
//! Most take part in what is mounted outside, so that a switch reaches them by itself; only the attributes of the old
//! cover have to be given to the new one. Where a namespace takes part in nothing, and where a folder of a cover is bound
//! to another place, the old view is still there and is replaced one by one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::{Cover, switch};
use crate::error::{AtPath, Result};
use crate::log;
use crate::mounts::{self, MountPoint};
use crate::sys::mount::{self, Propagation};
use crate::sys::namespace;
use crate::union;

/// Old views in one namespace that are replaced at most: a bound to a loop that the kernel decides on.
const ROUNDS: usize = 64;

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
    // Each round replaces one old view with all that lies on it.
    for _ in 0..ROUNDS {
        let now = mounts_inside(&before.file)?;
        let Some(old) = outermost_old(&now, covers) else { break };
        replace(before, &now, old, covers)?;
    }
    let now = mounts_inside(&before.file)?;
    for mount in &now {
        if covers.iter().any(|c| mount.source == c.source())
            && let Some(options) = options_due(mount, before, &now)
        {
            namespace::inside(&before.file, || mount::set_attributes(&mount.path, options))?;
        }
    }
    for cover in covers.iter().filter(|cover| is_missing(&now, cover)) {
        add(before, &now, cover)?;
    }
    Ok(())
}

/// The first mount that shows an older one of these covers, on no other such one. One that is hidden by another mount in
/// its very place stays: nobody looks into it, and to lay that bare would be worse.
fn outermost_old<'a>(mounts: &'a [MountPoint], covers: &[Cover]) -> Option<&'a MountPoint> {
    let on_another = |m: &MountPoint| ancestors(mounts, m).any(|above| is_old(above, covers));
    let seen = |m: &MountPoint| !mounts.iter().any(|other| other.parent == m.id && other.path == m.path);
    mounts.iter().find(|m| is_old(m, covers) && seen(m) && !on_another(m))
}

fn is_old(mount: &MountPoint, covers: &[Cover]) -> bool {
    Cover::parse(&mount.source).is_some_and(|shown| {
        covers.iter().any(|cover| cover.place == shown.place && cover.generation != shown.generation)
    })
}

/// The mounts that a mount sits on, the nearest first.
fn ancestors<'a>(mounts: &'a [MountPoint], mount: &'a MountPoint) -> impl Iterator<Item = &'a MountPoint> {
    let below =
        move |m: &&'a MountPoint| mounts.iter().find(|other| other.id == m.parent && other.id != m.id);
    std::iter::successors(below(&mount), below).take(mounts.len())
}

/// The options that a new cover ought to have in a namespace, if they are not those it has: those of the one it replaces;
/// where there was none, it is read only if what it lies on is.
fn options_due<'a>(mount: &MountPoint, before: &'a Namespace, now: &'a [MountPoint]) -> Option<&'a str> {
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    let old = before.mounts.iter().rev().find(|m| m.path == mount.path);
    let model = old.or_else(|| {
        let parent = now.iter().find(|m| m.id == mount.parent);
        parent.filter(|parent| is_read_only(&parent.options))
    });
    model.map(|m| m.options.as_str()).filter(|options| *options != mount.options)
}

/// Puts the new view in the place of an old one, in another namespace or elsewhere in this one, and what was mounted on the
/// old one on the new one: of covers their new views too.
fn replace(namespace: &Namespace, mounts: &[MountPoint], old: &MountPoint, covers: &[Cover]) -> Result<()> {
    let on_it: Vec<&MountPoint> =
        mounts.iter().filter(|m| ancestors(mounts, m).any(|above| above.id == old.id)).collect();
    // Where the rest came by propagation, something mounted on the old one has kept it.
    let is_beneath = mounts
        .iter()
        .any(|m| m.id == old.parent && m.path == old.path && covers.iter().any(|c| m.source == c.source()));
    let new = if is_beneath { None } else { Some(new_view(old)?) };
    // A copy of a cover can be made only here, one of anything else only there.
    let views: Vec<_> =
        on_it.iter().map(|m| is_old(m, covers).then(|| new_view(m)).transpose()).collect::<Result<_>>()?;
    namespace::inside(&namespace.file, || {
        let mut carried = Vec::new();
        for (mount, view) in on_it.iter().zip(views) {
            let is_view = view.is_some();
            let copy = view.map_or_else(|| mount::copy_of(&mount.path, false), Ok)?;
            carried.push((mount, copy, is_view));
        }
        if let Some(new) = &new {
            switch::insert_beneath(new, &old.path)?;
        }
        mount::detach(&old.path)?;
        if new.is_some() {
            settle(old)?;
        }
        mount::set_attributes(&old.path, &old.options)?;
        for (mount, copy, is_view) in &carried {
            mount::attach(copy, &mount.path)?;
            if *is_view {
                settle(mount)?;
                mount::set_attributes(&mount.path, &mount.options)?;
            }
        }
        Ok(())
    })
}

/// What an old view shows, as it is now.
fn new_view(old: &MountPoint) -> Result<OwnedFd> {
    let place = Cover::parse(&old.source).map(|cover| cover.place).unwrap_or_default();
    let seen = old.root.strip_prefix("/").unwrap_or(&old.root);
    mount::copy_of(Path::new("/").join(place).join(seen), false)
}

/// Lets a view share what its predecessor shared. It is a copy of a mount of another namespace: what is mounted on it must
/// not show up there.
fn settle(old: &MountPoint) -> Result<()> {
    mount::set_propagation(&old.path, Propagation::Slave)?;
    if !old.shared && !old.slave {
        mount::set_propagation(&old.path, Propagation::Private)?;
    }
    Ok(())
}

/// Whether a namespace has the union's root, and in it the folder of a cover, but not the cover: one that takes part in
/// nothing does not get what is new.
fn is_missing(mounts: &[MountPoint], cover: &Cover) -> bool {
    let path = Path::new("/").join(&cover.place);
    let has = |m: &MountPoint| Cover::parse(&m.source).is_some_and(|shown| shown.place == cover.place);
    let home = mounts.iter().filter(|m| path.starts_with(&m.path)).max_by_key(|m| m.path.as_os_str().len());
    !mounts.iter().any(has) && home.is_some_and(|m| m.source == union::SOURCE && m.path == Path::new("/"))
}

fn add(namespace: &Namespace, mounts: &[MountPoint], cover: &Cover) -> Result<()> {
    let path = Path::new("/").join(&cover.place);
    let view = mount::copy_of(&path, false)?;
    let root = mounts::at(mounts, Path::new("/")).map(|root| root.options.clone()).unwrap_or_default();
    namespace::inside(&namespace.file, || {
        // It may have another folder there, or none.
        if !path.is_dir() {
            return Ok(());
        }
        mount::attach(&view, &path)?;
        mount::set_propagation(&path, Propagation::Private)?;
        mount::set_attributes(&path, &root)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As a service with `ReadOnlyPaths=/usr/share` and `InaccessiblePaths=/opt` had it on Linux 6.12 after a switch.
    const SERVICE: &[u8] = b"1 0 0:1 / / rw master:1 - overlay lk:@ rw\n\
        2 1 0:5 / /usr rw master:9 - overlay lk:usr:4 rw\n\
        3 2 0:2 / /usr rw master:2 - overlay lk:usr:3 rw\n\
        4 3 0:2 /share /usr/share ro master:2 - overlay lk:usr:3 rw\n\
        5 4 0:9 / /usr/share/own rw - tmpfs own rw\n\
        6 1 0:6 / /opt rw master:3 - overlay lk:opt:3 rw\n\
        7 6 0:7 / /opt ro - tmpfs inaccessible rw\n\
        8 1 0:8 / /var/tmp rw - tmpfs tmp rw\n";

    fn covers(list: &[(&str, u64)]) -> Vec<Cover> {
        list.iter()
            .map(|(place, generation)| Cover { place: place.into(), generation: *generation })
            .collect()
    }

    #[test]
    fn old_views_from_the_outside_in() {
        let mounts = mounts::parse(SERVICE);
        let first = |list: &[(&str, u64)]| outermost_old(&mounts, &covers(list)).map(|m| m.id);
        assert_eq!(first(&[("usr", 4)]), Some(3));
        assert_eq!(first(&[("opt", 4)]), None, "what is hidden stays hidden");
        assert_eq!(first(&[("etc", 4)]), None);
        let names: Vec<u32> = ancestors(&mounts, &mounts[4]).map(|m| m.id).collect();
        assert_eq!(names, [4, 3, 2, 1]);
    }

    #[test]
    fn namespaces_without_a_new_cover() {
        let mounts = mounts::parse(SERVICE);
        for (place, missing) in
            [("new", true), ("usr", false), ("opt", false), ("var/tmp/x", false), ("var/lib/x", true)]
        {
            assert_eq!(is_missing(&mounts, &covers(&[(place, 4)])[0]), missing, "{place}");
        }
    }
}
