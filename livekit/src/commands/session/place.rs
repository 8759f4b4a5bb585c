//! Where the sessions are, and which of them may be touched.

use std::fs;
use std::path::{Path, PathBuf};

use live::container::parts;
use live::layout::{SESSION_FILE, SESSIONS};
use live::mounts;
use live::options::Use;
use live::session::{Current, Session, Sessions};

use crate::activation::medium::Writable;
use crate::activation::system::{in_ramfs, live_folder};
use crate::error::{AtPath, Error, Result};

/// The folder of sessions on a medium.
const FOLDER: &str = "changes";

/// The sessions that a command is about.
pub struct Place {
    pub sessions: Sessions,
    pub folder: PathBuf,
    /// The session that the running system uses, if it is one of these.
    pub current: Option<Current>,
    _writable: Option<Writable>,
}

impl Place {
    pub fn to_read(folder: Option<&Path>) -> Result<Self> {
        Self::find(folder, false)
    }

    /// Where the sessions are on the medium and none is in use, the medium is writable until this value goes.
    pub fn to_write(folder: Option<&Path>) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new("only root can change sessions").hint("run it with sudo"));
        }
        Self::find(folder, true)
    }

    fn find(folder: Option<&Path>, write: bool) -> Result<Self> {
        let of = |folder: PathBuf, current, writable| Self {
            sessions: Sessions::at(&folder),
            folder,
            current,
            _writable: writable,
        };
        let running = in_ramfs(SESSIONS);
        if let Some(folder) = folder {
            let is_running = fs::canonicalize(folder).ok().is_some_and(|folder| folder == running);
            let current = if is_running { Current::read(&in_ramfs(SESSION_FILE)) } else { None };
            return Ok(of(folder.to_owned(), current, None));
        }
        if mounts::at(&mounts::current()?, &running).is_some() {
            return Ok(of(running, Current::read(&in_ramfs(SESSION_FILE)), None));
        }
        let folder = live_folder()
            .map_err(|e| {
                Error::new(e.message()).hint("--folder names a folder of sessions outside a live system")
            })?
            .join(FOLDER);
        let writable = if write { Some(Writable::medium()?) } else { None };
        if write {
            fs::create_dir_all(&folder).at("make the directory", &folder)?;
        } else if !folder.is_dir() {
            return Err(Error::new(format!("there are no sessions in {}", folder.display()))
                .hint("perch on the kernel's command line keeps changes in a session"));
        }
        Ok(of(folder, None, writable))
    }

    /// The session of that number or name.
    pub fn named(&self, text: &str) -> Result<Session> {
        if let Ok(number) = text.parse() {
            return self.sessions.get(number);
        }
        let all = self.sessions.list()?;
        let mut found = all.into_iter().filter(|session| session.about.name.as_deref() == Some(text));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                Err(Error::new(format!("several sessions are named {text}")).hint("say its number"))
            }
            (None, _) => {
                Err(Error::new(format!("no session is named {text}")).hint("`livekit session list` has all"))
            }
        }
    }

    /// The same, if the running system does not use it.
    pub fn idle(&self, text: &str) -> Result<Session> {
        let session = self.named(text)?;
        if self.is_in_use(&session) {
            return Err(Error::new(format!("{} is in use", session.title()))
                .hint("boot another one first, such as with perchdir=new"));
        }
        Ok(session)
    }

    pub fn is_in_use(&self, session: &Session) -> bool {
        self.usage(session).is_some()
    }

    /// How the running system uses it. `None` if it does not.
    pub fn usage(&self, session: &Session) -> Option<Use> {
        self.current.as_ref().filter(|current| current.number == session.number).map(|current| current.usage)
    }

    /// The session that the running system uses.
    pub fn in_use(&self) -> Result<Session> {
        match &self.current {
            Some(current) => self.sessions.get(current.number),
            None => Err(Error::new("no session is in use").hint("name one")),
        }
    }

    /// Where what is in a session can be seen.
    pub fn home(&self, session: &Session) -> Result<PathBuf> {
        if let Some(usage) = self.usage(session) {
            return Ok(in_ramfs(usage.home()));
        }
        if parts::find(&session.folder)?.is_empty() {
            return Ok(session.folder.clone());
        }
        Err(Error::new(format!("{} is in a container, which is not open", session.title()))
            .hint(format!("boot it with perchdir={} first", session.number)))
    }
}
