//! Changes: where writes go. In memory, or in a session on the medium or on another disk.
//!
//! A session that cannot be opened is no failed boot: why is said, the changes are in memory then, and what is on the disk
//! stays as it is.

use std::fs;
use std::path::Path;

use live::changes::{Changes, merge, probe};
use live::error::{AtPath, Context, Error, Result};
use live::layout::{CHANGES, SESSION, SESSION_FILE, SESSIONS};
use live::log;
use live::options::{BootOptions, Persistence, Use, Which};
use live::session::{About, Current, Kind, Session, Sessions, past};
use live::sys::{device_mapper, mount};

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

/// Opens the place where writes go.
pub fn open(medium: &Medium, options: &BootOptions, drivers: &Drivers) -> Result<Changes> {
    let in_memory = || Changes::in_memory(CHANGES.as_ref(), options.memory_size);
    let Some(wanted) = &options.persistence else { return in_memory() };
    match keep(medium, wanted, options, drivers) {
        Ok(Some(changes)) => return Ok(changes),
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

/// Takes away what an attempt to open a session has left.
fn give_up(medium: &Medium) {
    for place in [CHANGES, SESSION, SESSIONS] {
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
) -> Result<Option<Changes>> {
    let place = place::mount_sessions(medium, wanted.place.as_ref(), drivers)?;
    let sessions = Sessions::at(SESSIONS.as_ref());
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
    let home = if wanted.usage == Use::ReadWrite { CHANGES } else { SESSION };
    let (kind, offset) = open_home(&session, wanted, &place, home, drivers)?;
    if let Some(number) = if asks { menu::state(home.as_ref())? } else { None } {
        past::Request::Back(number).leave(home.as_ref())?;
    }
    if wanted.reset {
        past::Request::Reset.leave(home.as_ref())?;
    }
    tell_fulfilled(home.as_ref(), &session.title());
    let changes = match wanted.usage {
        Use::ReadWrite => Changes::in_folder(CHANGES.as_ref())?,
        Use::ReadOnly | Use::AtExit => Changes::in_memory(CHANGES.as_ref(), options.memory_size)?,
    };
    note(&sessions, &session);
    let current = Current {
        number: session.number,
        kind,
        offset,
        usage: wanted.usage,
        limit: wanted.size,
        device: place.device,
    };
    current.write(SESSION_FILE.as_ref())?;
    log::info(format_args!("changes are kept: {} on {}", session.title(), current.device));
    Ok(Some(changes))
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
