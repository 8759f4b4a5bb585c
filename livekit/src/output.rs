//! How the command talks: status, progress and errors to stderr, answers to stdout.
//!
//! On a terminal long steps draw a bar; elsewhere (a log, a pipe) they are plain lines: one at the start, some on the way
//! if it takes long, one at the end.

mod answers;
mod progress;

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};

pub use answers::{Stopped, shown};
pub use progress::{Amounts, Step, ratio};

use crate::error::{Error, Result};

/// Files of a running system that change while they are packed may cause one each.
const WARNINGS_SHOWN: usize = 10;

/// Where everything the user reads goes through.
pub struct Output {
    quiet: bool,
    bars: Option<MultiProgress>,
}

impl Output {
    /// Bars when stderr is a terminal; `quiet` leaves only warnings, errors and answers.
    pub fn new(quiet: bool) -> Self {
        let bars = (!quiet && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Output { quiet, bars }
    }

    /// A line about what is going on.
    pub fn status(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.line(text.as_ref());
        }
    }

    /// Something the user should know, although the work goes on.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.line(&format!("warning: {}", text.as_ref()));
    }

    /// What went wrong and what helps.
    pub fn failure(&self, error: &Error) {
        self.line(&format!("error: {}", error.message()));
        if let Some(hint) = error.hint_text() {
            self.line(&format!("hint: {hint}"));
        }
    }

    /// What was asked for, as one line to stdout. A closed pipe is fine.
    pub fn answer(&self, text: impl AsRef<str>) -> Result<()> {
        self.answers(|out| Ok(writeln!(out, "{}", text.as_ref())?))
    }

    /// What was asked for, written by `write` to stdout. Whoever closes the pipe has read enough: that ends it, and is
    /// fine.
    #[expect(clippy::unused_self, reason = "everything that is printed goes through one value")]
    pub fn answers(&self, write: impl FnOnce(&mut dyn Write) -> Result<(), Stopped>) -> Result<()> {
        answers::write(write)
    }

    /// Begins a long step. Its end is said by [`Step::done`].
    pub fn step(&self, what: impl Into<String>) -> Step<'_> {
        Step::begin(self, what.into())
    }

    /// The first ten of many things that went the same way, each a warning, and how many more there are. `what` they are
    /// about comes first, unless it is empty.
    pub fn warnings(&self, what: &str, warnings: &[String]) {
        let about = if what.is_empty() { String::new() } else { format!("{what}: ") };
        for warning in warnings.iter().take(WARNINGS_SHOWN) {
            self.warning(format!("{about}{warning}"));
        }
        if let Some(more) = warnings.len().checked_sub(WARNINGS_SHOWN).filter(|&more| more > 0) {
            self.warning(format!("{about}{more} more of this kind"));
        }
    }

    fn line(&self, text: &str) {
        let print = || {
            let _ = writeln!(std::io::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

/// A number of bytes for people, in the units `ls -h` uses: `312.4 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (327_575_142, "312.4 MiB"),
            (3 << 40, "3.0 TiB"),
            (5000 << 40, "5000.0 TiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
