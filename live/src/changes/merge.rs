//! Changes that were held in memory, written into a session all at once.
//!
//! They are first copied beside it, as `incoming.partial`, and get the name `incoming` when all of them are on the disk.
//! From then on they count: what follows is the same whether it is done now or, after a power cut, at the next boot, and
//! however far it came before.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::XattrFlags;

use super::copy::Copy;
use crate::cover::{self, Kind, OPAQUE};
use crate::error::{AtPath, Result};
use crate::session::sync_folder;

const INCOMING: &str = "incoming";
const PARTIAL: &str = "incoming.partial";
const UPPER: &str = "upper";

/// Writes the changes in `upper` into the session at `home`. Gives the bytes of the files. If the disk is full before
/// all are on it, the session is as it was.
pub fn into_session(upper: &Path, home: &Path) -> Result<u64> {
    let partial = home.join(PARTIAL);
    remove(&partial)?;
    let copied = super::copy::tree(upper, &partial).inspect_err(|_| drop(remove(&partial)))?;
    rustix::fs::syncfs(fs::File::open(home).at("open", home)?).at("write", home)?;
    fs::rename(&partial, home.join(INCOMING)).at("rename", &partial)?;
    sync_folder(home)?;
    finish(home)?;
    Ok(copied)
}

/// Finishes what a power cut kept from being done. True if there was something.
pub fn finish(home: &Path) -> Result<bool> {
    let (incoming, upper) = (home.join(INCOMING), home.join(UPPER));
    remove(&home.join(PARTIAL))?;
    if !incoming.is_dir() {
        return Ok(false);
    }
    if upper.is_dir() {
        let mut copy = Copy::default();
        folder(&incoming, &upper, &mut copy)?;
        rustix::fs::syncfs(fs::File::open(home).at("open", home)?).at("write", home)?;
        // Half of it must not count as the whole.
        fs::rename(&incoming, home.join(PARTIAL)).at("rename", &incoming)?;
        remove(&home.join(PARTIAL))?;
    } else {
        fs::rename(&incoming, &upper).at("rename", &incoming)?;
    }
    sync_folder(home)?;
    Ok(true)
}

/// Lays the folder `from` over the folder `to`.
fn folder(from: &Path, to: &Path, copy: &mut Copy) -> Result<()> {
    for entry in fs::read_dir(from).at("list", from)? {
        let name = entry.at("list", from)?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        match (cover::kind(&source)?, cover::kind(&target)?) {
            (Kind::Folder, Kind::Folder | Kind::OpaqueFolder) => {
                folder(&source, &target, copy)?;
                cover::like(&source, &target)?;
            }
            (_, Kind::Missing) => copy.one(&source, &target)?,
            (kind, _) => {
                remove(&target)?;
                copy.one(&source, &target)?;
                // What was there has hidden the layers below; so does what comes in its place.
                if kind == Kind::Folder {
                    let flags = XattrFlags::empty();
                    rustix::fs::lsetxattr(&target, OPAQUE, b"y", flags).at("mark", &target)?;
                }
            }
        }
    }
    Ok(())
}

/// Removes a file or a whole folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::collections::BTreeMap;

    /// Makes what a line says: `d NAME`, `o NAME` for an opaque folder, `w NAME` for a whiteout, `f NAME TEXT`.
    fn make(root: &Path, lines: &[&str]) {
        fs::create_dir_all(root).unwrap();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let path = root.join(words[1]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match words[0] {
                "d" => fs::create_dir_all(&path).unwrap(),
                "o" => {
                    fs::create_dir_all(&path).unwrap();
                    rustix::fs::lsetxattr(&path, OPAQUE, b"y", XattrFlags::empty()).unwrap();
                }
                "w" => mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap(),
                _ => fs::write(&path, words[2]).unwrap(),
            }
        }
    }

    fn look(root: &Path, below: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let name = below.join(entry.unwrap().file_name());
            let path = root.join(&name);
            let what = match cover::kind(&path).unwrap() {
                Kind::Folder => "d".to_owned(),
                Kind::OpaqueFolder => "o".to_owned(),
                Kind::Whiteout => "w".to_owned(),
                _ => fs::read_to_string(&path).unwrap(),
            };
            found.insert(name.display().to_string(), what.clone());
            if what == "d" || what == "o" {
                look(root, &name, found);
            }
        }
    }

    /// Needs root, for whiteouts.
    #[test]
    fn what_comes_is_laid_over_what_is_there() {
        let base = std::env::temp_dir().join(format!("livekit-merge-{}", std::process::id()));
        let (memory, home) = (base.join("memory"), base.join("home"));
        let session = [
            "f kept old",
            "f replaced old",
            "f removed old",
            "f d/kept old",
            "f d/gone old",
            "w back",
            "f file old",
            "f o/old old",
            "f t/x old",
        ];
        let changes = [
            "f replaced new",
            "w removed",
            "w d/gone",
            "f d/new new",
            "f back/x new",
            "f file/x new",
            "o o",
            "f o/new new",
            "f t new",
            "w absent",
        ];
        make(&home.join(UPPER), &session);
        make(&memory, &changes);
        let expected: BTreeMap<String, String> = [
            ("kept", "old"),
            ("replaced", "new"),
            ("removed", "w"),
            ("d", "d"),
            ("d/kept", "old"),
            ("d/gone", "w"),
            ("d/new", "new"),
            ("back", "o"),
            ("back/x", "new"),
            ("file", "o"),
            ("file/x", "new"),
            ("o", "o"),
            ("o/new", "new"),
            ("t", "new"),
            ("absent", "w"),
        ]
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .into();
        let found = || {
            let mut found = BTreeMap::new();
            look(&home.join(UPPER), Path::new(""), &mut found);
            found
        };
        into_session(&memory, &home).unwrap();
        assert_eq!(found(), expected);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "nothing is left beside it");

        // A power cut in the middle: the next boot does it again.
        crate::changes::copy::tree(&memory, &home.join(INCOMING)).unwrap();
        fs::remove_file(home.join("upper/d/new")).unwrap();
        assert!(finish(&home).unwrap());
        assert_eq!(found(), expected);
        // One before it was complete: as if nothing had been.
        make(&home.join(PARTIAL), &["f half new"]);
        assert!(!finish(&home).unwrap());
        assert_eq!(found(), expected);
        fs::remove_dir_all(&base).unwrap();
    }
}
