//! Files of bundles that were copied into the running system, because the folder they belong to has no cover: /var, /home
//! and /root are full of open files, and are never switched.
//!
//! A copy is in the changes. What was copied is therefore written down beside them, and taken back when the bundle
//! goes, unless the user has changed it: then it is the user's.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use live::cover;
use live::sys::{node, xattr};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde::{Deserialize, Serialize};

use super::state::write_whole;
use crate::error::{AtPath, Error, Result};

/// The record of all copies. It lies beside the changes and lives as long as they do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copies {
    entries: Vec<Copied>,
}

/// One copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Copied {
    /// The bundle it is of.
    bundle: String,
    /// Where it is, without the leading slash.
    path: PathBuf,
    /// How it looked when it was made.
    looks: Looks,
}

/// By what a file that was changed is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Looks {
    mode: u32,
    owner: (u32, u32),
    /// 0 for folders, which have what is in them, and the length of the target for links.
    length: u64,
    /// Seconds and nanoseconds; 0 for folders.
    modified: (i64, i64),
}

/// The file of the record, below the folder of the changes.
const RECORD: &str = "livekit/copies.json";

/// What a file is called until it is whole.
const PARTIAL: &str = ".livekit-partial";

impl Copies {
    /// Reads the record of the changes in `changes`.
    pub fn load(changes: &Path) -> Result<Self> {
        let path = changes.join(RECORD);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| Error::at("read", &path, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).at("read", &path),
        }
    }

    /// Asks by the path below the changes, and what lstat says there, whether something is a copy as it was made: then it is
    /// not the user's.
    pub fn unchanged(&self) -> impl Fn(&Path, &Metadata) -> bool + '_ {
        let looks: HashMap<&Path, &Looks> =
            self.entries.iter().map(|copied| (copied.path.as_path(), &copied.looks)).collect();
        move |path, about| looks.get(path).is_some_and(|&looks| *looks == Looks::of(about))
    }

    fn save(&self, changes: &Path) -> Result<()> {
        let path = changes.join(RECORD);
        let folder = path.parent().unwrap_or(changes);
        if self.entries.is_empty() && !path.exists() {
            return Ok(());
        }
        fs::create_dir_all(folder).at("make the directory", folder)?;
        let text = serde_json::to_vec(self).map_err(|e| Error::at("write", &path, e))?;
        write_whole(&path, &text)
    }

    /// Whether there are copies of bundles that `is_there` does not know.
    pub fn has_any_of_others(&self, is_there: impl Fn(&str) -> bool) -> bool {
        !self.entries.iter().all(|e| is_there(&e.bundle))
    }

    /// Whether a path is a copy, of whichever bundle.
    pub fn has(&self, path: &Path) -> bool {
        self.entries.iter().any(|e| e.path == path)
    }

    /// Copies `paths` of the bundle mounted at `mount` into the system at `root`. What is meant is written down first: what
    /// a crash leaves half done is known. Names that have come into being meanwhile are left alone. On an error what was
    /// copied is taken back.
    pub fn make(
        &mut self,
        changes: &Path,
        root: &Path,
        bundle: &str,
        mount: &Path,
        paths: &BTreeSet<PathBuf>,
    ) -> Result<usize> {
        let mut wanted = Vec::new();
        for path in paths {
            collect(mount, path, &mut wanted)?;
        }
        wanted.retain(|(path, _)| fs::symlink_metadata(root.join(path)).is_err());
        for (path, about) in &wanted {
            let looks = Looks::of(about);
            self.entries.push(Copied { bundle: bundle.to_owned(), path: path.clone(), looks });
        }
        self.save(changes)?;
        for (path, about) in &wanted {
            let made = one(&mount.join(path), &root.join(path), about);
            made.inspect_err(|_| {
                // The first error is the one to tell.
                let _ = self.take_back(changes, root, |name| name != bundle);
            })?;
        }
        Ok(wanted.len())
    }

    /// Removes the copies of bundles that are not there any more, as `is_there` says, and gives back how many of them the
    /// user has changed: those stay.
    pub fn take_back(
        &mut self,
        changes: &Path,
        root: &Path,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<usize> {
        let (keep, gone): (Vec<Copied>, Vec<Copied>) =
            std::mem::take(&mut self.entries).into_iter().partition(|e| is_there(&e.bundle));
        self.entries = keep;
        let mut changed = 0;
        // What is in a folder comes after it in the record.
        for copied in gone.iter().rev() {
            let path = root.join(&copied.path);
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            if about.is_dir() {
                // Something of the user's is in it.
                if fs::remove_dir(&path).is_err() {
                    changed += 1;
                }
            } else if Looks::of(&about) == copied.looks {
                fs::remove_file(&path).at("remove", &path)?;
            } else {
                changed += 1;
            }
        }
        self.save(changes)?;
        Ok(changed)
    }
}

impl Looks {
    fn of(about: &Metadata) -> Self {
        let is_folder = about.is_dir();
        Self {
            mode: about.mode(),
            owner: (about.uid(), about.gid()),
            length: if is_folder { 0 } else { about.len() },
            modified: if is_folder { (0, 0) } else { (about.mtime(), about.mtime_nsec()) },
        }
    }
}

/// A path of the bundle and all that is below it, folders before what is in them. Marks of removed files are nothing to
/// copy.
fn collect(mount: &Path, path: &Path, into: &mut Vec<(PathBuf, Metadata)>) -> Result<()> {
    let at = mount.join(path);
    let about = fs::symlink_metadata(&at).at("look at", &at)?;
    let is_folder = about.is_dir();
    if !cover::is_whiteout(&about) {
        into.push((path.to_owned(), about));
    }
    if is_folder {
        let mut names: Vec<_> = fs::read_dir(&at)
            .and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect())
            .at("list", &at)?;
        names.sort();
        for name in names {
            collect(mount, &path.join(name), into)?;
        }
    }
    Ok(())
}

/// Copies one file with owner, mode, attributes and times. It has its name only when it is whole.
fn one(from: &Path, to: &Path, about: &Metadata) -> Result<()> {
    if about.is_dir() {
        fs::create_dir(to).at("make the directory", to)?;
        return cover::like(from, to);
    }
    let partial = to.with_file_name(PARTIAL);
    match fs::remove_file(&partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).at("remove", &partial),
        _ => {}
    }
    let made = fill(from, &partial, about).and_then(|()| fs::rename(&partial, to).at("write", to));
    made.inspect_err(|_| drop(fs::remove_file(&partial)))
}

fn fill(from: &Path, to: &Path, about: &Metadata) -> Result<()> {
    let kind = about.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(from).at("read", from)?;
        symlink(target, to).at("make the link", to)?;
    } else if kind.is_file() {
        fs::copy(from, to).at("copy to", to)?;
    } else {
        node::make_like(about, to)?;
    }
    lchown(to, Some(about.uid()), Some(about.gid())).at("set the owner of", to)?;
    if !kind.is_symlink() {
        let mode = fs::Permissions::from_mode(about.mode() & 0o7777);
        fs::set_permissions(to, mode).at("set the mode of", to)?;
    }
    xattr::copy(from, to, |name| !name.starts_with("trusted.overlay."))?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(about.atime(), about.atime_nsec()),
        last_modification: time(about.mtime(), about.mtime_nsec()),
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).at("set the times of", to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(bundle: &str, path: &str, home: &Path) -> PathBuf {
        let at = home.join(bundle).join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, path).unwrap();
        home.join(bundle)
    }

    #[test]
    fn copies_come_and_go_and_what_the_user_changed_stays() {
        let home = tempfile::tempdir().unwrap();
        let (root, changes) = (home.path().join("root"), home.path().join("changes"));
        fs::create_dir_all(root.join("var/lib")).unwrap();
        fs::create_dir_all(&changes).unwrap();
        let mount = made("a.sb", "var/lib/one/deep/x", home.path());
        made("a.sb", "var/lib/two", home.path());
        made("a.sb", "var/lib/three", home.path());
        symlink("two", mount.join("var/lib/link")).unwrap();
        fs::set_permissions(mount.join("var/lib/two"), fs::Permissions::from_mode(0o4711)).unwrap();
        let paths = ["var/lib/one", "var/lib/two", "var/lib/three", "var/lib/link"].map(PathBuf::from).into();

        let mut copies = Copies::load(&changes).unwrap();
        assert_eq!(copies.make(&changes, &root, "a.sb", &mount, &paths).unwrap(), 6);
        let two = fs::metadata(root.join("var/lib/two")).unwrap();
        assert_eq!(two.mode() & 0o7777, 0o4711);
        assert_eq!(
            two.modified().unwrap(),
            fs::metadata(mount.join("var/lib/two")).unwrap().modified().unwrap()
        );
        assert_eq!(fs::read_link(root.join("var/lib/link")).unwrap(), Path::new("two"));

        // Made once more, nothing is done twice.
        assert_eq!(copies.make(&changes, &root, "b.sb", &mount, &paths).unwrap(), 0);

        fs::write(root.join("var/lib/three"), "mine").unwrap();
        let unchanged = copies.unchanged();
        for (path, expected) in [
            ("var/lib/one", true),
            ("var/lib/one/deep/x", true),
            ("var/lib/link", true),
            ("var/lib/three", false),
            ("var/lib", false),
        ] {
            let about = fs::symlink_metadata(root.join(path)).unwrap();
            assert_eq!(unchanged(Path::new(path), &about), expected, "{path}");
        }
        fs::write(root.join("var/lib/one/mine"), "mine").unwrap();
        let mut again = Copies::load(&changes).unwrap();
        assert_eq!(again, copies);
        assert_eq!(again.take_back(&changes, &root, |name| name != "a.sb").unwrap(), 2);
        let mut left: Vec<_> =
            fs::read_dir(root.join("var/lib")).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["one", "three"]);
        assert!(!root.join("var/lib/one/deep").exists() && root.join("var/lib/one/mine").exists());
        assert_eq!(Copies::load(&changes).unwrap(), Copies::default());
    }
}
