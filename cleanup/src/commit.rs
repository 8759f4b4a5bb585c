//! Changes that are to be kept at shutdown only: written into their session while everything is still mounted.

use std::path::Path;

use live::changes::{Changes, merge};
use live::container::growth::{Room, Step};
use live::container::{self, Container};
use live::error::Result;
use live::layout::{CHANGES, SESSION, SESSION_FILE, SESSIONS};
use live::log;
use live::options::Use;
use live::session::{Current, Kind};

use crate::keeper::{free, stat, used};

/// Writes them, where the boot was asked for it.
pub fn changes_at_exit() {
    let Some(session) = Current::read(SESSION_FILE.as_ref()).filter(|s| s.usage == Use::AtExit) else {
        return;
    };
    let number = session.number;
    log::warning(format_args!("writing the changes to session {number}; do not switch off"));
    let written = make_room(&session)
        .and_then(|()| merge::into_session(&Changes::at(CHANGES.as_ref()).upper(), Path::new(SESSION)));
    match written {
        Ok(bytes) => {
            log::warning(format_args!("session {number} has the changes, {} MiB", bytes >> 20));
        }
        Err(e) => {
            log::error(format_args!("the changes are lost, session {number} is as it was: {e}"));
        }
    }
}

/// Has a container grow by what will come; the keeper is gone by now. Too little room shows when it is written to.
fn make_room(session: &Current) -> Result<()> {
    if session.kind != Kind::Container {
        return Ok(());
    }
    let needed = used(&stat(CHANGES.as_ref())?);
    let mut container =
        Container::joined(&Path::new(SESSIONS).join(session.number.to_string()), session.offset)?;
    loop {
        let (inside, medium) = (stat(SESSION.as_ref())?, stat(SESSIONS.as_ref())?);
        let left = free(&inside).saturating_sub(needed);
        let room = Room { size: container.size(), free: left, medium: free(&medium), limit: session.limit };
        match room.step() {
            Step::None | Step::Full => return Ok(()),
            Step::Grow(more) | Step::GrowFrozen(more) => {
                container.enlarge(more)?;
                container::fill(SESSION.as_ref(), container.room())?;
            }
        }
    }
}
