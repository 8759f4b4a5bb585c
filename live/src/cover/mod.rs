//! Covers: overlays of their own over folders of the root, so that bundles can come and go while the system runs.
//!
//! overlayfs takes no further layer once it is mounted. So the union is not one overlay but several: one of the whole
//! root, and on each folder that bundles may bring something to a cover, with that folder of the same bundles below and
//! the same folder of the changes on top. A bundle comes or goes by a new cover with other layers, put in the place of
//! the old one ([`switch`]).
//!
//! The root's overlay must never be seen below a cover: what it knows of that folder is as old as the cover. A place
//! that once was covered stays covered.

pub mod sweep;
pub mod switch;

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::sys::xattr;

/// Folders of the root that no bundle brings anything to: they belong to the kernel, to the boot or to the moment.
pub const NOT_OF_BUNDLES: [&str; 9] =
    ["boot", "dev", "lost+found", "media", "mnt", "proc", "run", "sys", "tmp"];

/// Folders of the root that are not covered as a whole: services keep working directories, locks and sockets in them,
/// which a switch would leave behind. What is new in them is covered by itself.
pub const OF_THE_SYSTEM: [&str; 3] = ["home", "root", "var"];

/// What mounts of ours are named, with the place behind it.
const PREFIX: &str = "lk:";

/// The mark of an opaque folder: nothing below it is seen (overlayfs.rst, "whiteouts and opaque directories").
pub const OPAQUE: &str = "trusted.overlay.opaque";

/// A cover, as its name in /proc/mounts tells it: `lk:usr:3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cover {
    /// The folder it is mounted on, without the leading slash: `usr`, `var/lib/foo`.
    pub place: PathBuf,
    /// Counts the covers made since the boot, whose own have 0.
    pub generation: u64,
}

impl Cover {
    /// Its name in /proc/mounts.
    pub fn source(&self) -> String {
        format!("{PREFIX}{}:{}", self.place.display(), self.generation)
    }

    /// Reads such a name. Nothing for other mounts, the root's overlay among them.
    pub fn parse(source: &str) -> Option<Self> {
        let (place, generation) = source.strip_prefix(PREFIX)?.rsplit_once(':')?;
        let generation = generation.parse().ok()?;
        (!place.is_empty()).then(|| Self { place: place.into(), generation })
    }

    /// The name of its folder below `work` of the changes.
    pub fn work_name(&self) -> String {
        // The generation alone tells them apart.
        format!("{}.{}", self.place.to_string_lossy().replace('/', "-"), self.generation)
    }
}

/// What a path is in a layer or in the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is there, what is below is seen.
    Missing,
    /// A folder, which is merged with those below.
    Folder,
    /// A folder that hides those below.
    OpaqueFolder,
    /// The path was removed, which hides what is below.
    Whiteout,
    /// Anything else hides what is below too.
    Other,
}

/// Looks at `path`, last link not followed.
pub fn kind(path: &Path) -> Result<Kind> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(Kind::Missing),
        Err(e) => return Err(crate::error::Error::at("look at", path, e)),
    };
    Ok(if about.is_dir() {
        if xattr::get(path, OPAQUE).is_some_and(|v| v == b"y") { Kind::OpaqueFolder } else { Kind::Folder }
    } else if is_whiteout(&about) {
        Kind::Whiteout
    } else {
        Kind::Other
    })
}

/// Whether this marks a removed file: a character device of number 0:0.
pub fn is_whiteout(about: &Metadata) -> bool {
    about.file_type().is_char_device() && about.rdev() == 0
}

/// What of `layers`, highest first, makes the folder `place`: the folders of that path, as far down as they are seen.
/// None if the highest that has the path has no folder there, or removes it.
pub fn layers_at(layers: &[PathBuf], place: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for layer in layers {
        let (kind, hides) = kind_below(layer, place)?;
        if matches!(kind, Kind::Folder | Kind::OpaqueFolder) {
            found.push(layer.join(place));
        }
        if hides {
            break;
        }
    }
    Ok(found)
}

/// What `place` is in a layer, and whether this layer hides it in those below: by itself or by a folder above it.
pub fn kind_below(layer: &Path, place: &Path) -> Result<(Kind, bool)> {
    let mut at = layer.to_owned();
    let mut hides = false;
    for part in place.components() {
        at.push(part);
        match kind(&at)? {
            Kind::Missing => return Ok((Kind::Missing, hides)),
            Kind::Folder => {}
            Kind::OpaqueFolder => hides = true,
            other @ (Kind::Whiteout | Kind::Other) => {
                let last = at == layer.join(place);
                return Ok((if last { other } else { Kind::Missing }, true));
            }
        }
    }
    Ok((if hides { Kind::OpaqueFolder } else { Kind::Folder }, hides))
}

/// The places that are covered from the boot on: the folders at the top of `layers` (highest first) and of `upper`, less
/// those that are not switched as a whole. Where a link or a removed folder is seen, there is nothing to cover.
pub fn at_boot(layers: &[PathBuf], upper: &Path) -> Result<Vec<PathBuf>> {
    let mut names = BTreeSet::new();
    for layer in layers {
        for entry in fs::read_dir(layer).at("list", layer)? {
            let entry = entry.at("list", layer)?;
            let name = entry.file_name();
            let known = |list: &[&str]| list.iter().any(|n| name == **n);
            if !known(&NOT_OF_BUNDLES) && !known(&OF_THE_SYSTEM) && name.to_str().is_some() {
                names.insert(PathBuf::from(name));
            }
        }
    }
    let mut places = Vec::new();
    for name in names {
        let seen = match kind(&upper.join(&name))? {
            Kind::Missing | Kind::Folder => !layers_at(layers, &name)?.is_empty(),
            // The user's own folder, or none.
            Kind::OpaqueFolder | Kind::Whiteout | Kind::Other => false,
        };
        if seen {
            places.push(name);
        }
    }
    Ok(places)
}

/// Makes the folder `place` of the changes, where writes under its cover go, with owner, mode and attributes of the
/// folder that is seen there. Only before anything is mounted with these changes.
pub fn make_upper(upper: &Path, place: &Path, seen: &Path) -> Result<PathBuf> {
    let folder = upper.join(place);
    if kind(&folder)? == Kind::Missing {
        fs::create_dir_all(&folder).at("make the directory", &folder)?;
        like(seen, &folder)?;
    }
    Ok(folder)
}

/// Gives the folder `to` owner, mode, times and attributes of the folder `from`.
pub fn like(from: &Path, to: &Path) -> Result<()> {
    let about = fs::symlink_metadata(from).at("look at", from)?;
    chown(to, Some(about.uid()), Some(about.gid())).at("set the owner of", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(about.mode() & 0o7777)).at("set the mode of", to)?;
    xattr::copy(from, to, |name| !name.starts_with("trusted.overlay."))?;
    if let (Ok(accessed), Ok(modified)) = (about.accessed(), about.modified()) {
        let times = fs::FileTimes::new().set_accessed(accessed).set_modified(modified);
        fs::File::open(to).and_then(|folder| folder.set_times(times)).at("set the times of", to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
