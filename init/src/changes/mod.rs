//! Changes: where writes go. In memory, or in a session on the medium or on another disk.
//!
//! A session that cannot be opened is no failed boot: why is said, the changes are in memory then, and what is on the disk
//! stays as it is.

use std::fs;
use std::path::Path;

use live::changes::{Changes, directories, merge, probe};
use live::error::{AtPath, Context, Error, Result};
use live::layout::{CHANGES, KEPT, SESSION, SESSION_FILE, SESSIONS};
use live::log;
use live::options::{BootOptions, Persistence, Use, Which};
use live::session::directories::Directory;
use live::session::{self, About, Current, Kind, Session, Sessions, past};
use live::sys::{device_mapper, mount};
use live::union::Union;

use self::menu::Choice;
use self::place::Place;
use crate::drivers::Drivers;
use crate::medium::Medium;

mod container;
mod fat;
mod menu;
mod passphrase;
mod place;
mod store;

/// Opens the place where writes go. Gives the directories, too, that are kept where not everything is.
pub fn open(medium: &Medium, options: &BootOptions, drivers: &Drivers) -> Result<(Changes, Vec<Directory>)> {
    let in_memory =
        || Changes::in_memory(CHANGES.as_ref(), options.memory_size).map(|changes| (changes, Vec::new()));
    let Some(wanted) = &options.persistence else { return in_memory() };
    match keep(medium, wanted, options, drivers) {
        Ok(Some(opened)) => return Ok(opened),
        Ok(None) => {}
        Err(e) => {
            log::error(format_args!("changes cannot be kept: {}", e.message()));
            if let Some(hint) = e.hint_text() {
                log::error(format_args!("hint: {hint}"));
            }
            log::error(format_args!("changes are in memory, and gone at power-off"));
        }
    }
    give_up(medium);
    in_memory()
}

/// Puts directories that are kept in their places. One that cannot be kept is told, and in memory.
pub fn attach_directories(all: &[Directory], union: &Union) {
    for directory in all {
        let path = directory.path.display();
        match directories::attach(directory, KEPT.as_ref(), &union.path) {
            Ok(()) => log::info(format_args!("{path} is kept")),
            Err(e) => log::error(format_args!("{path} is not kept: {e}")),
        }
    }
}

/// Takes away what an attempt to open a session has left.
fn give_up(medium: &Medium) {
    for place in [CHANGES, SESSION, KEPT, SESSIONS] {
        let _ = mount::detach(place);
    }
    for device in [live::container::encrypted::DEVICE, live::container::DEVICE] {
        let _ = device_mapper::remove(device);
    }
    store::close();
    let _ = fs::remove_file(SESSION_FILE);
    place::leave_medium(medium);
}

/// Opens a session. `None` if the user wants none.
fn keep(
    medium: &Medium,
    wanted: &Persistence,
    options: &BootOptions,
    drivers: &Drivers,
) -> Result<Option<(Changes, Vec<Directory>)>> {
    let place = place::mount_sessions(medium, wanted.place.as_ref(), drivers)?;
    let sessions = Sessions::at(SESSIONS.as_ref());
    let directories = match wanted.usage {
        Use::ReadWrite => session::directories::read(SESSIONS.as_ref())?,
        _ => None,
    };
    let usage = if directories.is_some() { Use::Directories } else { wanted.usage };
    let asks = wanted.session == Which::Ask;
    let choice = if asks {
        menu::session(&sessions)?
    } else {
        sessions.meant(wanted.session)?.map_or(Choice::New, Choice::Session)
    };
    let session = match choice {
        Choice::Session(session) => session,
        Choice::New => sessions.create(&About::new(if asks { menu::name() } else { None }))?,
        Choice::Memory => return Ok(None),
    };
    let home = usage.home();
    let (kind, offset) = open_home(&session, wanted, &place, home, drivers)?;
    if usage != Use::Directories {
        prepare(&session, wanted, home.as_ref())?;
    } else if wanted.reset {
        log::warning(format_args!("the directories of persistence.conf are not begun anew"));
    }
    let changes = match usage {
        Use::ReadWrite => Changes::in_folder(CHANGES.as_ref())?,
        _ => Changes::in_memory(CHANGES.as_ref(), options.memory_size)?,
    };
    note(&sessions, &session);
    let current =
        Current { number: session.number, kind, offset, usage, limit: wanted.size, device: place.device };
    current.write(SESSION_FILE.as_ref())?;
    log::info(format_args!("changes are kept: {} on {}", session.title(), current.device));
    Ok(Some((changes, directories.unwrap_or_default())))
}

/// Brings a session's changes to the state that is asked for.
fn prepare(session: &Session, wanted: &Persistence, home: &Path) -> Result<()> {
    if let Some(number) = if wanted.session == Which::Ask { menu::state(home)? } else { None } {
        past::Request::Back(number).leave(home)?;
    }
    if wanted.reset {
        past::Request::Reset.leave(home)?;
    }
    tell_fulfilled(home, &session.title());
    Ok(())
}

/// Mounts what holds a session's changes at `home`: its folder, or its container where the file system asks for one.
/// Gives where in a container the file system begins, too.
fn open_home(
    session: &Session,
    wanted: &Persistence,
    place: &Place,
    home: &str,
    drivers: &Drivers,
) -> Result<(Kind, u64)> {
    let encrypt = (wanted.encrypt || session.about.encrypt) && !place.is_encrypted;
    fs::create_dir_all(home).at("make the directory", home)?;
    if let Some(offset) = container::open(session, None, home, drivers)? {
        if encrypt && offset == 0 {
            log::warning(format_args!("{} is not encrypted", session.title()));
        }
        return Ok((Kind::Container, offset));
    }
    let lacks = probe::lacks(&session.folder)?;
    let is_used = session.folder.join("upper").is_dir() || session.folder.join("past").is_dir();
    if lacks.is_empty() && (is_used || !encrypt) {
        if encrypt {
            log::warning(format_args!("{} is not encrypted", session.title()));
        }
        mount::attach(&mount::copy_of(&session.folder, false)?, home)?;
        return Ok((Kind::Folder, 0));
    }
    if is_used {
        let (title, lacks) = (session.title(), lacks.join(", no "));
        return Err(Error::new(format!("{title} was made on another file system: this one has no {lacks}"))
            .hint("copy it with `livekit session export` and `import`"));
    }
    if !lacks.is_empty() {
        let (title, lacks) = (session.title(), lacks.join(", no "));
        log::info(format_args!("a container for {title}: the file system has no {lacks}"));
    }
    let key = container::create(session, wanted, encrypt, drivers)?;
    let offset = container::open(session, key, home, drivers)?.unwrap_or_default();
    Ok((Kind::Container, offset))
}

/// Does what was asked to be done to the session at the next boot. That this fails is no reason not to use it.
fn tell_fulfilled(home: &Path, title: &str) {
    match merge::finish(home) {
        Ok(false) => {}
        Ok(true) => log::info(format_args!("{title}: the changes of the last shutdown are complete now")),
        Err(e) => log::error(format_args!("{title}: {e}")),
    }
    match past::fulfil(home) {
        Ok(None) => {}
        Ok(Some(past::Request::Snapshot)) => log::info(format_args!("{title}: a snapshot is taken")),
        Ok(Some(past::Request::Back(number))) => {
            log::warning(format_args!("{title}: back at snapshot {number}"));
        }
        Ok(Some(past::Request::Reset)) => log::warning(format_args!("{title}: begun anew")),
        Err(e) => log::error(format_args!("{title}: {e}")),
    }
}

/// Notes that the session is the one in use. None of it is worth a boot without it.
fn note(sessions: &Sessions, session: &Session) {
    let about = About { used: Some(live::session::now()), encrypt: false, ..session.about.clone() };
    let noted = about.write(&session.folder).and_then(|()| {
        if sessions.noted() == Some(session.number) { Ok(()) } else { sessions.note(session.number) }
    });
    if let Err(e) = noted.doing("note the session in use") {
        log::warning(format_args!("{e}"));
    }
}
