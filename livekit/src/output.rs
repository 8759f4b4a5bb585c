//! How the command talks: status, progress and errors to stderr, answers to stdout.
//!
//! On a terminal long steps draw a bar; elsewhere (a log, a pipe) they are plain lines, one at the start and one at the end.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Error;

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

    /// What was asked for, to stdout. A closed pipe is fine.
    #[expect(clippy::unused_self, reason = "everything that is printed goes through one value")]
    pub fn answer(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
    }

    /// Begins a long step. Its end is said by [`Step::done`].
    pub fn step(&self, what: impl Into<String>) -> Step<'_> {
        let what = what.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(spinner_style());
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.status(format!("{what} ..."));
        }
        Step { output: self, what, bar, sized: false, started: Instant::now() }
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

/// A long step under way. Dropped without [`Step::done`] it just disappears: the error says the rest.
pub struct Step<'a> {
    output: &'a Output,
    what: String,
    bar: Option<ProgressBar>,
    sized: bool,
    started: Instant,
}

impl Step<'_> {
    /// How far it is, in bytes.
    pub fn bytes(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if !self.sized && total > 0 {
                bar.set_style(bar_style());
                self.sized = true;
            }
            bar.set_length(total.max(done));
            bar.set_position(done);
        }
    }

    /// What it is busy with just now; shown on a terminal only.
    pub fn detail(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.what));
        }
    }

    /// It is done; `result` says what came out of it.
    pub fn done(self, result: impl AsRef<str>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let text = format!("{}: {} ({seconds:.1} s)", self.what, result.as_ref());
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.output.status(text);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner_style() -> ProgressStyle {
    style("{spinner} {wide_msg} {elapsed}")
}

fn bar_style() -> ProgressStyle {
    style("{spinner} {msg} [{bar:30}] {percent:>3}% {bytes}/{total_bytes} {eta}")
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
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
