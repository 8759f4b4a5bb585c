//! The last image of a kit: the next build takes from its bundles what has not changed.
//!
//! A record below the cache directory says where the image is, and where in it its bundles lie. It may be out of date:
//! whoever uses it proves what is read there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use iso::Place;
use serde::{Deserialize, Serialize};

use crate::error::{AtPath, Error, Result};
use crate::root::RootChoice;
use crate::scratch::Unfinished;

/// The record of one kit name and one root.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    path: PathBuf,
    name: String,
    root: String,
}

/// An image, and where in it bundles lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastImage {
    name: String,
    root: String,
    /// Absolute.
    pub path: PathBuf,
    bundles: BTreeMap<String, Bytes>,
}

/// A [`Place`] as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bytes {
    offset: u64,
    length: u64,
}

impl Record {
    /// For the kit called `name` of `root`; none where this user has no cache directory.
    pub fn of(name: &str, root: &RootChoice) -> Option<Self> {
        let folder = cache_folder(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))?;
        Some(Record::in_folder(&folder, name, root))
    }

    fn in_folder(folder: &Path, name: &str, root: &RootChoice) -> Self {
        let root = match root {
            RootChoice::Running => "running".to_owned(),
            RootChoice::Directory(path) => format!("directory {}", path.display()),
            RootChoice::Archive(path) => format!("archive {}", path.display()),
            // With other packages most of it is the same.
            RootChoice::Debian(options) => format!("debian {}", options.suite),
        };
        let path = folder.join(format!("{name}-{:016x}.json", fnv1a(root.as_bytes())));
        Record { path, name: name.to_owned(), root }
    }

    /// What is written down; none if nothing is, or of another kit or root.
    pub fn read(&self) -> Result<Option<LastImage>> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.at("read", &self.path)?,
        };
        let image: LastImage = serde_json::from_slice(&text)
            .map_err(|error| Error::new(format!("cannot understand {}: {error}", self.path.display())))?;
        Ok(Some(image).filter(|image| image.name == self.name && image.root == self.root))
    }

    /// Writes down where the bundles lie in the image at `path`, an absolute path.
    pub fn write(&self, path: &Path, bundles: impl IntoIterator<Item = (String, Place)>) -> Result<()> {
        let bytes = |place: Place| Bytes { offset: place.offset, length: place.length };
        let image = LastImage {
            name: self.name.clone(),
            root: self.root.clone(),
            path: path.to_owned(),
            bundles: bundles.into_iter().map(|(name, place)| (name, bytes(place))).collect(),
        };
        let text = serde_json::to_vec_pretty(&image)
            .map_err(|error| Error::new(format!("cannot write {}: {error}", self.path.display())))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).at("make the directory", folder)?;
        let partial_path = self.path.with_extension("json.partial");
        let partial = Unfinished::new(partial_path.clone());
        fs::write(&partial_path, text).at("write", &partial_path)?;
        fs::rename(&partial_path, &self.path).at("write", &self.path)?;
        partial.keep();
        Ok(())
    }
}

impl LastImage {
    /// Where the bundle with this file name begins in the image, in bytes; none if it is not in it, or the image is
    /// too short for it.
    pub fn offset_of(&self, bundle: &str) -> Option<u64> {
        let place = self.bundles.get(bundle)?;
        let length = self.path.metadata().ok().filter(fs::Metadata::is_file)?.len();
        let end = place.offset.checked_add(place.length)?;
        (end <= length).then_some(place.offset)
    }
}

/// As the XDG base directory specification has it: relative paths do not count.
fn cache_folder(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute(xdg).or_else(|| Some(absolute(home)?.join(".cache")));
    Some(cache?.join("livekit"))
}

/// The hash FNV-1a of 64 bits: short names for records, whose contents say what they are of.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::DebianOptions;

    fn place(offset: u64, length: u64) -> Place {
        Place { offset, length }
    }

    #[test]
    fn an_image_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("deep/livekit");
        let image = dir.path().join("x.iso");
        fs::write(&image, vec![0; 5000]).unwrap();
        let record = Record::in_folder(&folder, "rescue", &RootChoice::Running);
        assert_eq!(record.read().unwrap(), None);
        let bundles = [
            ("00-core.sb", place(2048, 2000)),
            ("05-desktop.sb", place(4096, 904)),
            ("06-cut.sb", place(4096, 905)),
            ("07-far.sb", place(u64::MAX, 2)),
        ];
        record.write(&image, bundles.map(|(name, place)| (name.to_owned(), place))).unwrap();
        record.write(&image, bundles.map(|(name, place)| (name.to_owned(), place))).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let last = record.read().unwrap().unwrap();
        assert_eq!(last.path, image);
        for (bundle, offset) in [
            ("00-core.sb", Some(2048)),
            ("05-desktop.sb", Some(4096)),
            ("06-cut.sb", None),
            ("07-far.sb", None),
            ("08-none.sb", None),
        ] {
            assert_eq!(last.offset_of(bundle), offset, "{bundle}");
        }
        fs::remove_file(&image).unwrap();
        assert_eq!(last.offset_of("00-core.sb"), None);
    }

    #[test]
    fn each_kit_and_root_has_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let debian = |packages: &[&str]| {
            RootChoice::Debian(DebianOptions {
                suite: "bookworm".to_owned(),
                packages: packages.iter().map(|&package| package.to_owned()).collect(),
                mirror: None,
                hostname: "x".to_owned(),
            })
        };
        let record = |name, root: &RootChoice| Record::in_folder(dir.path(), name, root);
        let mut paths: Vec<PathBuf> = [
            record("a", &RootChoice::Running),
            record("b", &RootChoice::Running),
            record("a", &RootChoice::Directory("/srv".into())),
            record("a", &RootChoice::Archive("/srv".into())),
            record("a", &debian(&[])),
        ]
        .map(|record| record.path)
        .to_vec();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 5);
        assert_eq!(record("a", &debian(&["vim"])), record("a", &debian(&[])));
        // What another wrote under the same name is not ours.
        let ours = record("a", &RootChoice::Running);
        let other = Record { path: ours.path.clone(), name: "a".to_owned(), root: "directory /x".to_owned() };
        other.write(Path::new("/x.iso"), []).unwrap();
        assert_eq!(ours.read().unwrap(), None);
        fs::write(&ours.path, "{}").unwrap();
        assert!(ours.read().unwrap_err().message().starts_with("cannot understand"));
    }

    #[test]
    fn where_the_cache_is() {
        for (xdg, home, folder) in [
            (Some("/c"), Some("/h"), Some("/c/livekit")),
            (Some("c"), Some("/h"), Some("/h/.cache/livekit")),
            (Some(""), Some("/h"), Some("/h/.cache/livekit")),
            (None, Some("/h"), Some("/h/.cache/livekit")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let found = cache_folder(xdg.map(Into::into), home.map(Into::into));
            assert_eq!(found, folder.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }
}
