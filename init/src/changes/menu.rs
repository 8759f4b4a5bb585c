//! `perchdir=ask`: which session to go on with, and from which of its states.

use std::path::Path;
use std::time::{Duration, Instant};

use live::error::Result;
use live::session::{Session, Sessions, past};
use live::utc;

use crate::console::{Consoles, Entry};

/// How long the menu waits for a first key.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the sizes of sessions are counted.
const COUNTING: Duration = Duration::from_secs(2);

/// What the user chose.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    Session(Session),
    New,
    /// Changes are in memory this time.
    Memory,
}

/// Asks for a session. Without an answer it is the one that would be resumed.
pub fn session(sessions: &Sessions) -> Result<Choice> {
    let mut all = sessions.list()?;
    let resumed = sessions.resumed()?.map(|session| session.number);
    let default = all.iter().position(|s| Some(s.number) == resumed).unwrap_or(0);
    let deadline = Instant::now() + COUNTING;
    let mut entries: Vec<Entry> = all.iter().map(|s| entry(s, s.size(Some(deadline)))).collect();
    entries.push(Entry { label: "a new session".into(), note: "nothing changed yet".into() });
    entries.push(Entry { label: "no session".into(), note: "changes are gone at power-off".into() });
    let chosen = Consoles::open().choose("Keep changes in", &entries, default, Some(PATIENCE));
    Ok(match chosen.checked_sub(all.len()) {
        None => Choice::Session(all.swap_remove(chosen)),
        Some(0) => Choice::New,
        Some(_) => Choice::Memory,
    })
}

/// Asks for the name of a new session, which needs none.
pub fn name() -> Option<String> {
    let name = Consoles::open().ask_line("Name of the new session (may be empty)", Some(PATIENCE))?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Asks for a state of the session at `home`, if it has earlier ones. `None` for the last.
pub fn state(home: &Path) -> Result<Option<u32>> {
    let snapshots = past::snapshots(home)?;
    if snapshots.is_empty() {
        return Ok(None);
    }
    let mut entries = vec![Entry { label: "as it was left".into(), note: String::new() }];
    entries.extend(snapshots.iter().rev().map(|number| {
        let note = past::taken(home, *number).map_or(String::new(), |at| format!("taken {} UTC", minute(at)));
        Entry { label: format!("the previous state {number}"), note }
    }));
    let chosen = Consoles::open().choose("Go on with the session", &entries, 0, Some(PATIENCE));
    Ok(chosen.checked_sub(1).and_then(|place| snapshots.iter().rev().nth(place).copied()))
}

fn entry(session: &Session, size: u64) -> Entry {
    let used =
        session.about.used.map_or("not used yet".to_owned(), |at| format!("last used {} UTC", minute(at)));
    let label = match &session.about.name {
        Some(name) => format!("session {}: {name}", session.number),
        None => format!("session {}", session.number),
    };
    Entry { label, note: format!("{used}, {} MiB", size.div_ceil(1 << 20)) }
}

fn minute(at: u64) -> String {
    utc::minute(i64::try_from(at).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use live::session::About;

    #[test]
    fn sessions_are_told_by_name_use_and_size() {
        let session = |name: Option<&str>, used| Session {
            number: 3,
            folder: "/nowhere".into(),
            about: About { name: name.map(str::to_owned), used, ..About::default() },
        };
        for (name, used, size, label, note) in [
            (None, None, 0, "session 3", "not used yet, 0 MiB"),
            (
                Some("work"),
                Some(1_700_000_000),
                1,
                "session 3: work",
                "last used 2023-11-14 22:13 UTC, 1 MiB",
            ),
        ] {
            let entry = entry(&session(name, used), size);
            assert_eq!((entry.label.as_str(), entry.note.as_str()), (label, note));
        }
    }
}
