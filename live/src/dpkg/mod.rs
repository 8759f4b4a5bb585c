//! dpkg's databases, kept right while bundles come and go: `dpkg -l` shows the packages of the active ones.
//!
//! The databases are whole files in /var, so of several bundles only one could bring them. A bundle has a fragment
//! instead, and [`converge`] merges those of the active bundles into what the running system has. It works from a list of
//! bundles, not from a change of it: whatever happened since, the next call puts all right.

mod fragments;
mod lock;
mod merge;
mod own;
mod pieces;
mod record;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_on_disk;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

pub use fragments::{ByDatabase, FRAGMENTS, form, fragment_of};
pub use lock::Lock;
pub use merge::{Earlier, Entry, Fragment, Merged, REPLACES, State, merge};
pub use own::{Own, laid_over, own};
pub use pieces::{Form, Id, Piece, field, is_installed};

use crate::error::{AtPath, Error, Result};
use record::Record;

/// dpkg's folder in a root.
pub const HOME: &str = "var/lib/dpkg";

/// The record of what was merged, in the folder of the changes.
const RECORD: &str = "livekit/dpkg";

/// What a call of [`converge`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Packages that are shown now, or in another version.
    pub added: Vec<String>,
    /// Packages that are no longer shown, or as before.
    pub removed: Vec<String>,
}

/// A database that has to be written.
struct Database {
    path: PathBuf,
    text: Vec<u8>,
}

/// What was merged into each database of the changes in `changes`, the folder that holds `upper`; and whether a merge may be
/// under way.
pub fn merged_into(changes: &Path) -> Result<(ByDatabase<Entry>, bool)> {
    Record::read(&changes.join(RECORD)).map(|record| (record.databases, record.pending))
}

/// Makes dpkg's databases in `root` show what is there with exactly `bundles` active: names and mounts, lowest first.
/// `changes` is the folder that holds `upper`; the record of what was merged is kept in it. Nothing is written where all
/// is right already, or where there is no dpkg. The caller holds the [`Lock`].
pub fn converge(root: &Path, changes: &Path, bundles: &[(&str, &Path)]) -> Result<Changed> {
    bring(root, changes, bundles, |_| true)
}

/// The same for the bundles of a boot, before anybody else runs. A database that the changes do not have is as these
/// bundles have it: what the record of an earlier boot says of it does not count.
pub fn converge_at_boot(root: &Path, changes: &Path, bundles: &[(&str, &Path)]) -> Result<Changed> {
    let own = changes.join("upper").join(HOME);
    bring(root, changes, bundles, |database| own.join(database).is_file())
}

/// `counts` tells of which databases the record counts.
fn bring(
    root: &Path,
    changes: &Path,
    bundles: &[(&str, &Path)],
    counts: impl Fn(&str) -> bool,
) -> Result<Changed> {
    let Some(home) = home(root)? else { return Ok(Changed::default()) };
    let place = changes.join(RECORD);
    let stored = Record::read(&place)?;
    let fragments = fragments::read(bundles)?;
    if fragments.is_empty() && stored == Record::default() {
        return Ok(Changed::default());
    }
    let own = changes.join("upper").join(HOME);
    let mut earlier = stored.clone();
    earlier.databases.retain(|(database, _)| counts(database));

    let mut next = Record::default();
    let mut writes = Vec::new();
    let mut changed = Changed::default();
    let known = |database: &String| earlier.databases.iter().any(|(name, _)| name == database);
    let new = fragments.iter().map(|(database, _)| database).filter(|database| !known(database));
    for database in earlier.databases.iter().map(|(database, _)| database).chain(new) {
        let Some(form) = fragments::form(database) else { continue };
        let path = home.join(database);
        let text = fragments::read_file(&path)?.unwrap_or_default();
        let brought = fragments.iter().find(|(name, _)| name == database);
        let brought = brought.map_or(&[][..], |(_, fragments)| fragments);
        let untouched = !own.join(database).is_file();
        // What nobody has written to, nobody has removed anything from.
        let pending = earlier.pending || untouched;
        let before = Earlier { entries: earlier.of(database), pending, untouched };
        let merged = merge(form, &text, brought, before);
        if form == Form::Paragraphs {
            (changed.added, changed.removed) = (merged.added, merged.removed);
        }
        if !merged.entries.is_empty() {
            next.databases.push((database.clone(), merged.entries));
        }
        if merged.text != text {
            writes.push(Database { path, text: merged.text });
        }
    }
    store(&place, &stored, &earlier, &next, &writes)?;
    Ok(changed)
}

/// Writes databases and record so that whatever a power cut leaves is understood by the next call.
fn store(place: &Path, stored: &Record, earlier: &Record, next: &Record, writes: &[Database]) -> Result<()> {
    if !writes.is_empty() {
        write(place, &earlier.towards(next).text(), 0o600)?;
    }
    for Database { path, text } in writes {
        // dpkg removes the list of a trigger that nobody waits for.
        let list =
            path.parent().is_some_and(|folder| folder.ends_with("triggers")) && !path.ends_with("File");
        if text.is_empty() && list {
            fs::remove_file(path).at("remove", path)?;
        } else {
            write(path, text, 0o644)?;
        }
    }
    if next.is_empty() {
        return match fs::remove_file(place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", place),
            _ => Ok(()),
        };
    }
    if writes.is_empty() && next == stored { Ok(()) } else { write(place, &next.text(), 0o600) }
}

/// dpkg's folder; none if the root has no dpkg.
fn home(root: &Path) -> Result<Option<PathBuf>> {
    let home = root.join(HOME);
    if !home.join(fragments::STATUS).is_file() {
        return Ok(None);
    }
    // Before the union is the root, an absolute link in it leads elsewhere.
    let real = home.canonicalize().at("find", &home)?;
    let top = root.canonicalize().at("find", root)?;
    if !real.starts_with(&top) {
        return Err(Error::at("use", &home, format!("it leads out of the root, to {}", real.display())));
    }
    Ok(Some(real))
}

/// Replaces a file at once. Owner and mode stay; a new file has `mode`.
fn write(path: &Path, text: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).at("make the directory", folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.join(format!(".livekit-{name}"));
    let before = fs::metadata(path).ok();
    let mode = before.as_ref().map_or(mode, |before| before.mode() & 0o7777);
    let fill = || -> Result<()> {
        let mut file = File::create(&partial).at("create", &partial)?;
        if let Some(before) = before {
            fchown(&file, Some(before.uid()), Some(before.gid())).at("set the owner of", &partial)?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode)).at("set the mode of", &partial)?;
        file.write_all(text).at("write", &partial)?;
        file.sync_all().at("write", &partial)?;
        fs::rename(&partial, path).at("replace", path)
    };
    fill().inspect_err(|_| drop(fs::remove_file(&partial)))?;
    File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)
}
