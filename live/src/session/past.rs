//! Snapshots: a session is a stack of folders that are not written to any more, and one that is.
//!
//! A snapshot is taken at a boot, before anything is mounted: `upper` is renamed to `past/N`, and a new `upper` begins. The
//! one rename is all there is to it, so a power cut leaves the one state or the other. Going back moves what came
//! later to `undone/`, newest first, so that every state in between is one that the session once had or can be
//! gone on from; the request is removed last.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{number, replace, sync_folder};
use crate::error::{AtPath, Error, Result};

/// Folders and files of a session's home.
const UPPER: &str = "upper";
const PAST: &str = "past";
const UNDONE: &str = "undone";
/// What the next boot is to do.
const REQUEST: &str = "request";

/// What the next boot is to do to a session, before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Take a snapshot.
    Snapshot,
    /// Go back to the state that the snapshot of this number is.
    Back(u32),
    /// Begin anew, with nothing changed.
    Reset,
}

impl Request {
    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "snapshot" => Some(Self::Snapshot),
            "reset" => Some(Self::Reset),
            text => text.strip_prefix("back ").and_then(number).map(Self::Back),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Snapshot => "snapshot\n".into(),
            Self::Back(number) => format!("back {number}\n"),
            Self::Reset => "reset\n".into(),
        }
    }

    /// Has the next boot of the session at `home` do it.
    pub fn leave(self, home: &Path) -> Result<()> {
        replace(&home.join(REQUEST), &self.text())
    }

    /// What the next boot of the session at `home` is to do.
    pub fn left(home: &Path) -> Result<Option<Self>> {
        let path = home.join(REQUEST);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| {
                Error::at("understand", &path, format!("it says '{}'", text.trim()))
                    .hint("remove the file; the session is as it was")
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::at("read", &path, e)),
        }
    }
}

/// The snapshots of the session at `home`: numbers, oldest first.
pub fn snapshots(home: &Path) -> Result<Vec<u32>> {
    numbered(&home.join(PAST))
}

/// The folders that lie below `upper`, lowest first.
pub fn layers(home: &Path) -> Result<Vec<PathBuf>> {
    Ok(snapshots(home)?.into_iter().map(|number| folder(home, number)).collect())
}

/// When a snapshot was taken, in seconds since 1970: when its folder got its name.
pub fn taken(home: &Path, number: u32) -> Option<u64> {
    let changed = fs::metadata(folder(home, number)).ok()?.ctime();
    u64::try_from(changed).ok()
}

/// The folder of a snapshot.
pub fn folder(home: &Path, number: u32) -> PathBuf {
    home.join(PAST).join(number.to_string())
}

fn numbered(folder: &Path) -> Result<Vec<u32>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::at("list", folder, e)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.at("list", folder)?.file_name();
        numbers.extend(name.to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Does what was asked for, to a session that nothing uses. After a power cut in the middle the next call goes on.
pub fn fulfil(home: &Path) -> Result<Option<Request>> {
    let Some(request) = Request::left(home)? else { return Ok(None) };
    match request {
        Request::Snapshot => {
            take(home)?;
        }
        Request::Back(number) => back(home, number)?,
        Request::Reset => back(home, 0)?,
    }
    let path = home.join(REQUEST);
    fs::remove_file(&path).at("remove", &path)?;
    sync_folder(home)?;
    Ok(Some(request))
}

/// Makes `upper` the newest snapshot. Nothing, if nothing was changed since the last one.
pub fn take(home: &Path) -> Result<Option<u32>> {
    let upper = home.join(UPPER);
    let empty = match fs::read_dir(&upper) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == ErrorKind::NotFound => true,
        Err(e) => return Err(Error::at("list", &upper, e)),
    };
    if empty {
        return Ok(None);
    }
    let past = home.join(PAST);
    fs::create_dir_all(&past).at("make the directory", &past)?;
    sync_folder(home)?;
    let number = numbered(&past)?.last().map_or(1, |last| last + 1);
    move_to(&upper, &folder(home, number))?;
    Ok(Some(number))
}

/// Puts aside all that came after the snapshot `number`.
fn back(home: &Path, number: u32) -> Result<()> {
    let past = snapshots(home)?;
    if number != 0 && !past.contains(&number) {
        return Err(Error::at("go back in", home, format!("it has no snapshot {number}")));
    }
    let undone = home.join(UNDONE);
    fs::create_dir_all(&undone).at("make the directory", &undone)?;
    sync_folder(home)?;
    let newer = past.into_iter().rev().take_while(|&n| n > number).map(|n| folder(home, n));
    for folder in [home.join(UPPER)].into_iter().filter(|upper| upper.is_dir()).chain(newer) {
        let next = numbered(&undone)?.last().map_or(1, |last| last + 1);
        move_to(&folder, &undone.join(next.to_string()))?;
    }
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).at(&format!("move {} to", from.display()), to)?;
    sync_folder(to.parent().unwrap_or(to))?;
    sync_folder(from.parent().unwrap_or(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str) -> PathBuf {
        let home = std::env::temp_dir().join(format!("livekit-past-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.join(UPPER)).unwrap();
        home
    }

    fn change(home: &Path, name: &str) {
        fs::create_dir_all(home.join(UPPER)).unwrap();
        fs::write(home.join(UPPER).join(name), name).unwrap();
    }

    fn asked(home: &Path, request: Request) -> Option<Request> {
        request.leave(home).unwrap();
        fulfil(home).unwrap()
    }

    #[test]
    fn requests_are_read_as_they_are_left() {
        for request in [Request::Snapshot, Request::Back(12), Request::Reset] {
            assert_eq!(Request::parse(&request.text()), Some(request));
        }
        for text in ["", "back", "back 0", "back x", "snapshots"] {
            assert_eq!(Request::parse(text), None, "{text}");
        }
    }

    #[test]
    fn snapshots_are_taken_and_gone_back_to() {
        let home = home("back");
        assert_eq!(fulfil(&home).unwrap(), None);
        assert_eq!(asked(&home, Request::Snapshot), Some(Request::Snapshot));
        assert_eq!(snapshots(&home).unwrap(), Vec::<u32>::new(), "nothing had changed");
        for (name, expected) in [("a", vec![1]), ("b", vec![1, 2]), ("c", vec![1, 2, 3])] {
            change(&home, name);
            asked(&home, Request::Snapshot);
            assert_eq!(snapshots(&home).unwrap(), expected);
            assert!(!home.join(UPPER).exists());
        }
        change(&home, "d");
        asked(&home, Request::Back(1));
        assert_eq!(layers(&home).unwrap(), [folder(&home, 1)]);
        assert!(folder(&home, 1).join("a").exists() && !home.join(UPPER).exists());
        let undone: Vec<bool> = ["d", "c", "b"]
            .iter()
            .zip(1..)
            .map(|(n, i)| home.join(format!("{UNDONE}/{i}/{n}")).exists())
            .collect();
        assert_eq!(undone, [true, true, true], "nothing is lost, the newest first");
        assert!(asked(&home, Request::Reset).is_some());
        assert_eq!(snapshots(&home).unwrap(), Vec::<u32>::new());
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn a_request_that_cannot_be_met_changes_nothing() {
        let home = home("bad");
        change(&home, "a");
        Request::Back(4).leave(&home).unwrap();
        assert!(fulfil(&home).unwrap_err().message().contains("no snapshot 4"));
        fs::write(home.join(REQUEST), "dance\n").unwrap();
        assert!(fulfil(&home).unwrap_err().message().contains("dance"));
        assert!(home.join(UPPER).join("a").exists());
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn going_back_goes_on_after_a_power_cut() {
        let home = home("cut");
        for name in ["a", "b", "c"] {
            change(&home, name);
            take(&home).unwrap();
        }
        change(&home, "d");
        // As if the power went after the first of the moves.
        Request::Back(1).leave(&home).unwrap();
        fs::create_dir_all(home.join(UNDONE)).unwrap();
        fs::rename(home.join(UPPER), home.join(UNDONE).join("1")).unwrap();
        assert_eq!(fulfil(&home).unwrap(), Some(Request::Back(1)));
        assert_eq!(snapshots(&home).unwrap(), [1]);
        assert_eq!(fulfil(&home).unwrap(), None, "it is done once");
        fs::remove_dir_all(&home).unwrap();
    }
}
