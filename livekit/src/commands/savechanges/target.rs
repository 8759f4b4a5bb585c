//! The bundle that a save becomes.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use live::layout::BUNDLE_SUFFIX;

use crate::commands::bundle::target;
use crate::error::{Error, Failure, Result};
use live::utc;

/// The path to write, of what the user named: with `.sb`, and below a folder with a name that has date and time.
pub fn name(given: Option<&Path>) -> Result<PathBuf> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| Error::new("the clock is before 1970").hint("set the clock, or name the bundle"));
    Ok(match given {
        Some(path) if !path.as_os_str().as_bytes().ends_with(b"/") => with_suffix(path),
        folder => folder.unwrap_or(Path::new("")).join(dated(now?.as_secs())),
    })
}

fn dated(seconds: u64) -> String {
    format!("changes-{}{BUNDLE_SUFFIX}", utc::second(seconds))
}

fn with_suffix(path: &Path) -> PathBuf {
    if path.as_os_str().as_bytes().ends_with(BUNDLE_SUFFIX.as_bytes()) {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(BUNDLE_SUFFIX);
    PathBuf::from(name)
}

/// Checks that `path` is free and can be a bundle, before anything is read for it.
pub fn check(path: &Path) -> Result<(), Failure> {
    check_free(path)?;
    target::check(path, false)
}

/// Refuses what is there.
pub fn check_free(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(format!("{} is there already", path.display()))
            .hint("an earlier save is never replaced: choose another name, or move it away"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (given, expected) in [
            ("mine", "mine.sb"),
            ("80-mine.sb", "80-mine.sb"),
            ("d/v1.2", "d/v1.2.sb"),
            ("x.sb.old", "x.sb.old.sb"),
        ] {
            assert_eq!(name(Some(Path::new(given))).unwrap(), Path::new(expected));
        }
        assert_eq!(dated(1_795_718_701), "changes-20261126-184501.sb");
        let in_folder = name(Some(Path::new("/media/stick/"))).unwrap();
        assert_eq!(in_folder.parent(), Some(Path::new("/media/stick")));
        assert_eq!(name(None).unwrap().to_str().unwrap().len(), "changes-20261126-184501.sb".len());
    }
}
