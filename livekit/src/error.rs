//! How a command ends: done, could not, or used wrongly.

use std::error::Error as StdError;
use std::io;

pub use live::error::{AtPath, Error};

/// Shorthand used throughout; of the error type that is named, or else of ours.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a command that came to its end ended; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As asked. Exit code 0.
    Done,
    /// The answer to the question is no: damage was found, bundles differ. Exit code 1.
    No,
    /// Done, but not of everything as it was: warnings have said of what. Exit code 3.
    Incomplete,
}

impl Ending {
    /// What the process returns.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Done => 0,
            Ending::No => 1,
            Ending::Incomplete => 3,
        }
    }
}

/// Why a command did not do what it was asked; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// The command was used wrongly: a bad flag, a bad configuration file. Exit code 2.
    Usage(Error),
    /// The work could not be done. Exit code 1.
    CouldNot(Error),
}

impl Failure {
    /// What the process returns.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::CouldNot(_) => 1,
        }
    }

    /// What is shown.
    pub fn error(&self) -> &Error {
        match self {
            Failure::Usage(error) | Failure::CouldNot(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::CouldNot(error)
    }
}

/// The hint that goes with a full disk, whoever met it.
pub const DISK_FULL: &str = "free some space, or choose another place with --output \
    (everything is made beside it, and needs little more room than the finished image)";

/// The hint for a file that is too large, which FAT refuses.
const TOO_LARGE: &str = "FAT holds no file of 4 GiB or more: choose another file system, or split the bundle";

/// Turns another crate's error into ours: its whole chain in one sentence, with the hint for a full disk.
pub fn from_chain(error: &(dyn StdError + 'static)) -> Error {
    from_chain_hinting(error, DISK_FULL)
}

/// The same, with another hint for a full disk.
pub fn from_chain_hinting(error: &(dyn StdError + 'static), disk_full: &'static str) -> Error {
    let mut text = error.to_string();
    let mut full = is_disk_full(error);
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat their source in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        full = full || is_disk_full(cause);
        next = cause.source();
    }
    full = full || text.contains("No space left on device");
    // A library without hints of its own kind puts them on a line of their text.
    let (text, hint) = match text.split_once("\nhint: ") {
        Some((text, hint)) => (text, Some(hint)),
        None if text.contains("File too large") => (text.as_str(), Some(TOO_LARGE)),
        None => (text.as_str(), full.then_some(disk_full)),
    };
    let error = Error::new(text);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot write /x")
        }
    }
    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_chain_becomes_one_sentence() {
        let error = from_chain(&Outer(io::Error::from_raw_os_error(13)));
        assert_eq!(error.message(), "cannot write /x: Permission denied (os error 13)");
        assert_eq!(error.hint_text(), None);
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = from_chain(&Outer(io::Error::from_raw_os_error(28)));
        assert_eq!(error.hint_text(), Some(DISK_FULL));
    }

    #[test]
    fn a_file_too_large_says_where() {
        let error = from_chain(&Outer(io::Error::from_raw_os_error(27)));
        assert_eq!(error.hint_text(), Some(TOO_LARGE));
    }

    #[test]
    fn a_librarys_hint_is_a_hint() {
        let error = from_chain(&bundles::Error::Options("cannot do that\nhint: do this".to_owned()));
        assert_eq!(error.message(), "cannot do that");
        assert_eq!(error.hint_text(), Some("do this"));
    }
}
