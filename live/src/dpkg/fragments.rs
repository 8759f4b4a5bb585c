//! What bundles bring to dpkg's databases.

use std::fs;
use std::path::Path;

use super::merge::Fragment;
use super::pieces::{Form, Id, Index};
use crate::error::{AtPath, Result};

/// Where a bundle has its fragments, each named as the database below var/lib/dpkg that it belongs to. The path is the same in
/// every bundle, so they are read where the bundle is mounted, not in the union.
pub const FRAGMENTS: &str = "usr/share/livekit/dpkg";

/// The database of packages.
pub const STATUS: &str = "status";

/// A whole database of packages, as the base has it.
const WHOLE: &str = "var/lib/dpkg/status";

/// How the database of that name is written; none for what is not merged.
pub fn form(database: &str) -> Option<Form> {
    match database {
        STATUS => Some(Form::Paragraphs),
        "diversions" => Some(Form::Lines(3)),
        "statoverride" => Some(Form::Lines(1)),
        other => {
            let name = other.strip_prefix("triggers/")?;
            (!name.starts_with('.') && !name.contains([' ', '/'])).then_some(Form::Lines(1))
        }
    }
}

/// What belongs to each database, by its name below var/lib/dpkg.
pub type ByDatabase<T> = Vec<(String, Vec<T>)>;

/// What belongs to the database of that name; nothing, if it is not there yet.
pub fn of<'a, T>(all: &'a mut ByDatabase<T>, database: &str) -> &'a mut Vec<T> {
    let place = all.iter().position(|(name, _)| name == database).unwrap_or_else(|| {
        all.push((database.to_owned(), Vec::new()));
        all.len() - 1
    });
    &mut all[place].1
}

/// The fragments of `bundles`, lowest first.
pub fn read(bundles: &[(&str, &Path)]) -> Result<ByDatabase<Fragment>> {
    let mut found = Vec::new();
    for (place, (name, mount)) in bundles.iter().enumerate() {
        let below: Vec<&Path> = bundles[..place].iter().map(|(_, mount)| *mount).collect();
        if let Some(fragment) = fragment_of(name, mount, &below)? {
            of(&mut found, STATUS).push(fragment);
        }
        for database in others(&mount.join(FRAGMENTS))? {
            if let Some(text) = read_file(&mount.join(FRAGMENTS).join(&database))? {
                let bundle = (*name).to_owned();
                of(&mut found, &database).push(Fragment { bundle, text, whole: false });
            }
        }
    }
    Ok(found)
}

/// The packages of the bundle `name` at `mount`, over those mounted at `below`: its fragment, or, where it has a whole
/// database instead, what that one has and none below it. The lowest whole database is the base's, and no fragment.
pub fn fragment_of(name: &str, mount: &Path, below: &[&Path]) -> Result<Option<Fragment>> {
    let bundle = name.to_owned();
    if let Some(text) = read_file(&mount.join(FRAGMENTS).join(STATUS))? {
        return Ok(Some(Fragment { bundle, text, whole: false }));
    }
    let Some(text) = read_file(&mount.join(WHOLE))? else { return Ok(None) };
    let mut others = Vec::new();
    for other in below {
        others.extend(read_file(&other.join(WHOLE))?);
    }
    if others.is_empty() {
        return Ok(None);
    }
    let text = beyond(&text, &others);
    Ok((!text.is_empty()).then_some(Fragment { bundle, text, whole: true }))
}

/// The packages that `status` has and none of `others`.
fn beyond(status: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let form = Form::Paragraphs;
    let known: Vec<Id> =
        others.iter().flat_map(|text| form.pieces(text)).filter_map(|piece| piece.id).collect();
    let mut places = Index::default();
    known.iter().enumerate().for_each(|(place, id)| places.put(id, place));
    let is_new = |id: &Id| !places.named(id).iter().any(|&place| known[place].excludes(id));
    let pieces = form.pieces(status).into_iter();
    let new = pieces.filter(|piece| piece.id.as_ref().is_some_and(is_new));
    new.map(|piece| piece.text).collect::<Vec<_>>().concat()
}

/// Databases other than that of packages that a folder has fragments of.
fn others(folder: &Path) -> Result<Vec<String>> {
    let mut names = vec!["diversions".to_owned(), "statoverride".to_owned()];
    let triggers = folder.join("triggers");
    match fs::read_dir(&triggers) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.at("list", &triggers)?.file_name();
                names.extend(name.to_str().map(|name| format!("triggers/{name}")));
            }
        }
        Err(e) if absent(&e) => {}
        Err(e) => return Err(e).at("list", &triggers),
    }
    names.retain(|name| form(name).is_some());
    Ok(names)
}

/// What is in a file; nothing if it is not there or is none.
pub fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => fs::read(path).at("read", path).map(Some),
        Ok(_) => Ok(None),
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(e).at("look at", path),
    }
}

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}
