//! What the running system is to be: which bundles came and went since the boot, and which covers belong to that.
//!
//! It is written before anything is changed, so that whoever comes after a crash knows what was meant, and finishes it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use live::cover::Cover;
use serde::{Deserialize, Serialize};

use crate::error::{AtPath, Error, Result};

/// Kept until power-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// That of the cover made last.
    pub generation: u64,
    /// Bundles that came since the boot, the latest last: it lies on top.
    pub activated: Vec<Activated>,
    /// Bundles that are mounted, but in no cover yet.
    pub arriving: Vec<Activated>,
    /// Bundles of the boot that were taken out of the covers.
    pub hidden: Vec<String>,
    /// Bundles that are not in any cover any more, but still mounted.
    pub leaving: Vec<Activated>,
    /// Whether a change is under way: other mount namespaces may be behind.
    pub unfinished: bool,
    /// The covers that are not the boot's.
    pub covers: Vec<Wanted>,
}

/// A bundle that came since the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// Its file name.
    pub name: String,
    /// What the user called it: a path or an address.
    pub origin: String,
    /// The file that is attached.
    pub file: PathBuf,
    /// Whether that file is a copy of ours, which goes with the bundle.
    pub copied: bool,
    /// When it came, in seconds since 1970.
    pub since: u64,
    /// The same, in hundredths of a second since the kernel started, as /proc has the starts of processes.
    pub since_boot: u64,
    /// Who brought it: the user's name, as far as it is known.
    pub by: String,
}

/// A cover that is to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// See [`Cover::place`].
    pub place: PathBuf,
    /// See [`Cover::generation`].
    pub generation: u64,
}

impl State {
    /// Reads it; that of a system as it was booted if there is none yet.
    pub fn load(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| {
                Error::at("read", path, e).hint("after a restart the system knows its bundles again")
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).at("read", path),
        }
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| Error::at("write", path, e))?;
        write_whole(path, &text)
    }

    /// The cover that is to be at `place`; the boot's if no other is named.
    pub fn cover(&self, place: &Path) -> Cover {
        let named = self.covers.iter().find(|c| c.place == place);
        Cover { place: place.to_owned(), generation: named.map_or(0, |c| c.generation) }
    }

    /// Asks for a new cover at `place`.
    pub fn renew(&mut self, place: &Path) {
        self.generation += 1;
        let generation = self.generation;
        match self.covers.iter_mut().find(|c| c.place == place) {
            Some(cover) => cover.generation = generation,
            None => self.covers.push(Wanted { place: place.to_owned(), generation }),
        }
    }

    /// The activated bundle of that name.
    pub fn activated(&self, name: &str) -> Option<&Activated> {
        self.activated.iter().find(|a| a.name == name)
    }

    /// Whether the boot's bundle `name` was taken out.
    pub fn is_hidden(&self, name: &str) -> bool {
        self.hidden.iter().any(|h| h == name)
    }
}

/// Replaces a file in one step.
pub fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().at("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(State::load(&path).unwrap(), State::default());
        let mut state = State { hidden: vec!["01-x.sb".into()], ..State::default() };
        state.renew(Path::new("usr"));
        state.renew(Path::new("etc"));
        state.renew(Path::new("usr"));
        state.save(&path).unwrap();
        let read = State::load(&path).unwrap();
        assert_eq!(read, state);
        assert_eq!(["usr", "etc", "opt"].map(|p| read.cover(Path::new(p)).generation), [3, 2, 0]);
        fs::write(&path, "{").unwrap();
        assert!(State::load(&path).unwrap_err().message().contains("state.json"));
    }
}
