//! Sessions: numbered folders that keep what was changed, one for each state of the system that a user wants to come
//! back to.
//!
//! ```text
//! changes/                    on the medium, or where perchdir= says
//! ├── last_session.txt        the number of the one to go on with
//! ├── 1/
//! │   ├── about               name, times
//! │   ├── upper, work         on file systems that overlayfs can write to
//! │   └── past/1 …            what upper was when a snapshot was taken, oldest first
//! └── 2/
//!     ├── about
//!     └── changes.000 …       on others: a container, with the same inside
//! ```

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{AtPath, Error, Result};
use crate::options::Which;

pub use about::{About, now};
pub use current::{Current, Kind};

mod about;
mod current;
pub mod directories;
pub mod past;

/// The name that Linux Live Kit gave the file.
const DEFAULT_FILE: &str = "last_session.txt";

/// A folder of sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    folder: PathBuf,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub number: u32,
    pub folder: PathBuf,
    pub about: About,
}

impl Sessions {
    /// The sessions in `folder`, which exists.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// All of them, by number.
    pub fn list(&self) -> Result<Vec<Session>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).at("list", &self.folder)? {
            let entry = entry.at("list", &self.folder)?;
            let Some(number) = entry.file_name().to_str().and_then(number) else { continue };
            if entry.path().is_dir() {
                found.push(self.read(number));
            }
        }
        found.sort_by_key(|session| session.number);
        Ok(found)
    }

    /// The session of that number.
    pub fn get(&self, number: u32) -> Result<Session> {
        let session = self.read(number);
        if session.folder.is_dir() {
            return Ok(session);
        }
        let there: Vec<String> = self.list()?.iter().map(|s| s.number.to_string()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Err(Error::new(format!("there is no session {number} in {}", self.folder.display()))
            .hint(format!("sessions there: {there}")))
    }

    fn read(&self, number: u32) -> Session {
        let folder = self.folder.join(number.to_string());
        Session { number, about: About::read(&folder), folder }
    }

    /// The number of the session to go on with, if that was noted.
    pub fn noted(&self) -> Option<u32> {
        number(fs::read_to_string(self.folder.join(DEFAULT_FILE)).ok()?.trim())
    }

    /// Notes the session to go on with.
    pub fn note(&self, number: u32) -> Result<()> {
        replace(&self.folder.join(DEFAULT_FILE), &format!("{number}\n"))
    }

    /// The session to go on with: the noted one, else the last used; none if there is none.
    pub fn resumed(&self) -> Result<Option<Session>> {
        let all = self.list()?;
        let noted = self.noted();
        Ok(all
            .iter()
            .find(|s| Some(s.number) == noted)
            .or_else(|| all.iter().max_by_key(|s| (s.about.used, s.number)))
            .cloned())
    }

    /// Makes a new session, with a number that no other has had since.
    pub fn create(&self, about: &About) -> Result<Session> {
        let next = self.list()?.last().map_or(1, |last| last.number + 1);
        for number in next..next + 16 {
            let folder = self.folder.join(number.to_string());
            match fs::create_dir(&folder) {
                Ok(()) => {
                    about.write(&folder)?;
                    return Ok(Session { number, folder, about: about.clone() });
                }
                // A file of that name, or someone was faster.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::at("make the directory", &folder, e)),
            }
        }
        Err(Error::at("make a session in", &self.folder, "its next numbers are taken by files"))
    }

    /// The session that `which` means, without asking anyone: `None` for a new one.
    pub fn meant(&self, which: Which) -> Result<Option<Session>> {
        match which {
            Which::New => Ok(None),
            Which::Number(number) => self.get(number).map(Some),
            Which::Resume | Which::Ask => self.resumed(),
        }
    }
}

impl Session {
    /// Its name, else its number.
    pub fn title(&self) -> String {
        self.about.name.clone().unwrap_or_else(|| format!("session {}", self.number))
    }

    /// Bytes that it takes on its disk, as far as they may be read, and could be counted until `deadline`.
    pub fn size(&self, deadline: Option<Instant>) -> u64 {
        bytes_below(&self.folder, deadline)
    }
}

fn bytes_below(folder: &Path, deadline: Option<Instant>) -> u64 {
    let in_time = || deadline.is_none_or(|deadline| Instant::now() < deadline);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take_while(|_| in_time());
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_below(&entry.path(), deadline),
        // Units of st_blocks, whatever the file system's (stat(2)).
        Ok(about) => about.blocks() * 512 / about.nlink().max(1),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Folder names that are numbers of sessions: no sign, no zeros in front.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|n: &u32| *n > 0 && n.to_string() == name)
}

/// Replaces a file by one with `text`, so that a power cut leaves the old or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial).at("create", &partial)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).at("write", &partial)?;
    fs::rename(&partial, path).at("replace", path)?;
    sync_folder(path.parent().unwrap_or(Path::new("/")))
}

/// Has a folder's names on the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    fs::File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)
}

#[cfg(test)]
mod tests;
