//! Which of a directory's files go into a bundle.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Wanted};

/// What was chosen from a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What is not wanted: no path is below another. In the order of names.
    pub(crate) excluded: Vec<PathBuf>,
    /// Directories that go in with nothing in them, also of what appears there before they are packed: of a running system
    /// whose /proc is such a directory, new processes do not matter. In the order of names.
    pub(crate) emptied: Vec<PathBuf>,
    /// Everything wanted but directories.
    pub(crate) files: u64,
    /// Size of the wanted files in bytes.
    pub(crate) bytes: u64,
}

/// Asks for everything below `source`, parents first, in the order of names.
pub(crate) fn choose(
    source: &Path,
    wanted: &mut dyn FnMut(&Path, &Metadata) -> Wanted,
) -> Result<Choice, Error> {
    let mut walk = Walk { source, wanted, choice: Choice::default() };
    walk.directory(Path::new(""))?;
    Ok(walk.choice)
}

struct Walk<'a> {
    source: &'a Path,
    wanted: &'a mut dyn FnMut(&Path, &Metadata) -> Wanted,
    choice: Choice,
}

impl Walk<'_> {
    /// Chooses from one directory; whether anything in it is kept.
    fn directory(&mut self, relative: &Path) -> Result<bool, Error> {
        let top = relative.as_os_str().is_empty();
        let path = if top { self.source.to_owned() } else { self.source.join(relative) };
        let names: io::Result<Vec<_>> =
            fs::read_dir(&path).and_then(|d| d.map(|e| Ok(e?.file_name())).collect());
        let mut names = match names {
            Ok(names) => names,
            // A directory of a running system may go at any time.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !top => {
                return Ok(false);
            }
            Err(e) => return Err(Error::io("list", path)(e)),
        };
        names.sort();
        let mut any = false;
        for name in names {
            any |= self.entry(relative.join(name))?;
        }
        Ok(any)
    }

    fn entry(&mut self, relative: PathBuf) -> Result<bool, Error> {
        let path = self.source.join(&relative);
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        let wanted = (self.wanted)(&relative, &metadata);
        let kept = match wanted {
            Wanted::Skip => false,
            Wanted::Keep if metadata.is_dir() => {
                let before = self.choice.excluded.len();
                if !self.directory(&relative)? {
                    self.choice.excluded.truncate(before);
                    self.choice.emptied.push(relative);
                }
                return Ok(true);
            }
            Wanted::Keep => {
                self.choice.files += 1;
                self.choice.bytes += if metadata.is_file() { metadata.len() } else { 0 };
                true
            }
            Wanted::Pass if metadata.is_dir() => {
                let before = self.choice.excluded.len();
                let any = self.directory(&relative)?;
                if !any {
                    self.choice.excluded.truncate(before);
                }
                any
            }
            Wanted::Pass => false,
        };
        if !kept {
            self.choice.excluded.push(relative);
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_skip_and_pass() {
        let dir = tempfile::tempdir().unwrap();
        for file in
            ["usr/bin/a", "usr/lib/firmware/x/y.fw", "usr/lib/libc", "srv/empty/deep/z", "var/log/l", "top"]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"four").unwrap();
        }
        let mut asked = Vec::new();
        let choice = choose(dir.path(), &mut |path, metadata| {
            asked.push(path.to_str().unwrap().to_owned());
            match path.to_str().unwrap() {
                p if p.starts_with("usr/lib/firmware") || p == "var" => Wanted::Keep,
                "var/log" => Wanted::Skip,
                _ if metadata.is_dir() => Wanted::Pass,
                _ => Wanted::Skip,
            }
        });
        let choice = choice.unwrap();
        let excluded: Vec<_> = choice.excluded.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(excluded, ["srv", "top", "usr/bin", "usr/lib/libc"]);
        assert_eq!(choice.emptied, [Path::new("var")]);
        assert_eq!((choice.files, choice.bytes), (1, 4));
        assert!(asked.contains(&"srv/empty/deep/z".to_owned()) && !asked.contains(&"var/log/l".to_owned()));
        assert_eq!(&asked[..3], ["srv", "srv/empty", "srv/empty/deep"]);
    }

    #[test]
    fn directories_of_which_nothing_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["proc/1/fd", "srv", "run/lock"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let skipped = ["proc/1", "run/utmp"].map(Path::new);
        fs::write(dir.path().join("run/utmp"), b"").unwrap();
        let mut wanted =
            |path: &Path, _: &Metadata| if skipped.contains(&path) { Wanted::Skip } else { Wanted::Keep };
        let choice = choose(dir.path(), &mut wanted).unwrap();
        assert_eq!(choice.emptied, ["proc", "run/lock", "srv"].map(PathBuf::from));
        assert_eq!(choice.excluded, ["run/utmp"].map(PathBuf::from));
    }

    #[test]
    fn a_missing_source_is_named() {
        let error = choose(Path::new("/nonexistent"), &mut |_, _| Wanted::Keep).unwrap_err();
        assert!(error.to_string().starts_with("cannot list /nonexistent: No such file"));
    }
}
