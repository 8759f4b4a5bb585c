//! Answers to stdout: a closed pipe ends them quietly, a full disk is an error.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};

/// Why an answer ended early.
#[derive(Debug)]
pub enum Stopped {
    /// Standard output takes no more.
    Output(io::Error),
    /// What was to be answered could not be had.
    Failed(Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped::Output(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
    }
}

/// Runs `write` with standard output.
pub(super) fn write(write: impl FnOnce(&mut dyn Write) -> Result<(), Stopped>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write(&mut out);
    let flushed = out.flush();
    match result.and_then(|()| Ok(flushed?)) {
        Ok(()) => Ok(()),
        Err(Stopped::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Stopped::Output(error)) => Err(Error::new(format!("cannot write to standard output: {error}"))),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

/// A name as it goes to standard output: as it is, except that a terminal gets a `?` for each byte that could command it,
/// as `ls` does.
pub fn shown(name: &OsStr) -> Cow<'_, [u8]> {
    if io::stdout().is_terminal() { harmless(name.as_bytes()) } else { Cow::Borrowed(name.as_bytes()) }
}

fn harmless(name: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(name);
    if text.chars().any(char::is_control) {
        let plain: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        Cow::Owned(plain.into_bytes())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_command_the_terminal() {
        for (name, text) in
            [(&b"plain"[..], &b"plain"[..]), (b"a\x1b[2Jb\n", b"a?[2Jb?"), ("ü".as_bytes(), "ü".as_bytes())]
        {
            assert_eq!(harmless(name).as_ref(), text);
        }
        // C1 control characters are two bytes in UTF-8.
        assert_eq!(harmless("\u{9b}2J".as_bytes()).as_ref(), b"?2J");
    }
}
