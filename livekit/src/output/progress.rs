//! Long steps: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Output, size};

/// Between two plain lines of one step there is at least this, in seconds, and a tenth of the work; or [`SILENCE`].
const PAUSE: f64 = 2.0;

/// A step that shows nothing for so many seconds looks dead.
const SILENCE: f64 = 30.0;

/// How far the making or unpacking of a bundle has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Files done, and in all.
    pub files: (u64, u64),
    /// Bytes of their contents done, and in all.
    pub bytes: (u64, u64),
    /// Bytes written, where they become fewer by compression.
    pub written: Option<u64>,
}

/// A long step under way. Dropped without [`Step::done`] it just disappears: the error says the rest.
pub struct Step<'a> {
    output: &'a Output,
    what: String,
    bar: Option<ProgressBar>,
    style: Style,
    started: Instant,
    lines: Lines,
}

/// What the bar looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Spinner,
    Bytes,
    Amounts,
    Transfer,
    /// A transfer of nobody knows how much.
    Endless,
}

impl<'a> Step<'a> {
    pub(super) fn begin(output: &'a Output, what: String) -> Self {
        let bar = output.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(Style::Spinner.progress_style());
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            output.status(format!("{what} ..."));
        }
        Step { output, what, bar, style: Style::Spinner, started: Instant::now(), lines: Lines::default() }
    }

    /// How far it is, in bytes.
    pub fn bytes(&mut self, done: u64, total: u64) {
        self.position(Style::Bytes, done, total);
    }

    /// How far it is, in files and bytes.
    pub fn amounts(&mut self, amounts: Amounts) {
        let (done, total) = amounts.bytes;
        self.position(Style::Amounts, done, total);
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {}", self.what, amounts.shown())),
            None => {
                let seconds = self.started.elapsed().as_secs_f64();
                if self.lines.due(seconds, done, total) {
                    self.output.status(format!("{}: {}", self.what, amounts.line(seconds)));
                }
            }
        }
    }

    /// How far it is, in bytes that come from elsewhere; in all, if that is known.
    pub fn transfer(&mut self, done: u64, total: Option<u64>) {
        let style = if total.is_some() { Style::Transfer } else { Style::Endless };
        self.position(style, done, total.unwrap_or(0));
        if self.bar.is_none() {
            let seconds = self.started.elapsed().as_secs_f64();
            // Without an end there are no tenths: lines come by the time alone.
            if self.lines.due(seconds, done, total.unwrap_or(u64::MAX)) {
                self.output.status(format!("{}: {}", self.what, transferred(done, total, seconds)));
            }
        }
    }

    fn position(&mut self, style: Style, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if self.style != style && (total > 0 || style == Style::Endless) {
                bar.set_style(style.progress_style());
                self.style = style;
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

    /// Seconds since its beginning.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// It is done; `result` says what came out of it.
    pub fn done(self, result: impl AsRef<str>) {
        let text = format!("{}: {} ({:.1} s)", self.what, result.as_ref(), self.seconds());
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

impl Style {
    fn progress_style(self) -> ProgressStyle {
        let template = match self {
            Style::Spinner => "{spinner} {wide_msg} {elapsed}",
            Style::Bytes => "{spinner} {msg} [{bar:30}] {percent:>3}% {bytes}/{total_bytes} {eta}",
            Style::Amounts => {
                "{spinner} {msg} [{wide_bar}] {percent:>3}% {binary_bytes}/{binary_total_bytes} \
                 {binary_bytes_per_sec} {eta}"
            }
            Style::Transfer => {
                "{spinner} {wide_msg} [{bar:20}] {percent:>3}% {binary_bytes}/{binary_total_bytes} \
                 {binary_bytes_per_sec} {eta}"
            }
            Style::Endless => "{spinner} {wide_msg} {binary_bytes} {binary_bytes_per_sec} {elapsed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        style.progress_chars("=> ")
    }
}

impl From<bundles::Progress> for Amounts {
    fn from(progress: bundles::Progress) -> Self {
        Amounts {
            files: (progress.files, progress.total_files),
            bytes: (progress.bytes, progress.total_bytes),
            written: Some(progress.written),
        }
    }
}

impl Amounts {
    /// Files and ratio: what the bar itself has no place for.
    fn shown(self) -> String {
        let (files, all) = self.files;
        match self.ratio() {
            Some(ratio) => format!("{files}/{all} files, {ratio}"),
            None => format!("{files}/{all} files"),
        }
    }

    /// What the bytes have become, of what they were.
    fn ratio(self) -> Option<String> {
        Some(ratio(self.written?, self.bytes.0))
    }

    /// All of it on one line, after so many seconds.
    fn line(self, seconds: f64) -> String {
        let (done, total) = self.bytes;
        let percent = percent(done, total);
        let speed = part_of_second(done, seconds);
        let rest =
            remaining(seconds, done, total).map_or(String::new(), |left| format!(", {left:.0} s left"));
        let ratio = self.ratio().map_or(String::new(), |ratio| format!(", {ratio}"));
        let (files, all) = self.files;
        format!(
            "{percent}%, {files}/{all} files, {}/{}{ratio}, {}/s{rest}",
            size(done),
            size(total),
            size(speed)
        )
    }
}

/// A transfer on one line, after so many seconds.
fn transferred(done: u64, total: Option<u64>, seconds: f64) -> String {
    let speed = size(part_of_second(done, seconds));
    let Some(total) = total else { return format!("{}, {speed}/s", size(done)) };
    let left = remaining(seconds, done, total).map_or(String::new(), |left| format!(", {left:.0} s left"));
    format!("{}%, {}/{}, {speed}/s{left}", percent(done, total), size(done), size(total))
}

/// `ratio 0.41`: how much of `before` is `after`; nothing of nothing is all of it.
pub fn ratio(after: u64, before: u64) -> String {
    let hundredths = if before == 0 { 100 } else { u128::from(after) * 100 / u128::from(before) };
    format!("ratio {}.{:02}", hundredths / 100, hundredths % 100)
}

fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        100
    } else {
        u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "one decimal is shown"
)]
fn part_of_second(done: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (done as f64 / seconds) as u64 } else { 0 }
}

/// Seconds to the end, if it goes on like this.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn remaining(seconds: f64, done: u64, total: u64) -> Option<f64> {
    (done > 0).then(|| seconds / done as f64 * total.saturating_sub(done) as f64)
}

/// When a plain line was last written, in seconds since the beginning of the step, and how much was done then.
#[derive(Debug, Default)]
struct Lines {
    seconds: f64,
    percent: u64,
}

impl Lines {
    /// Whether a line is due now.
    fn due(&mut self, seconds: f64, done: u64, total: u64) -> bool {
        let percent = percent(done, total);
        let since = seconds - self.seconds;
        // The end has a line of its own.
        let due = done < total && since >= PAUSE && (percent >= self.percent + 10 || since >= SILENCE);
        if due {
            *self = Lines { seconds, percent };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_few() {
        let mut lines = Lines::default();
        for (seconds, done, due) in [
            (0.5, 300, false),
            (1.9, 400, false),
            (2.1, 410, true),
            (2.2, 600, false),
            (4.5, 505, false),
            (5.0, 510, true),
            (30.0, 515, false),
            (36.0, 516, true),
            (99.0, 1000, false),
        ] {
            assert_eq!(lines.due(seconds, done, 1000), due, "{seconds} {done}");
        }
        assert!(!Lines::default().due(9.0, 0, 0));
    }

    #[test]
    fn lines_say_all_there_is() {
        let amounts = Amounts { files: (10, 20), bytes: (3 << 20, 4 << 20), written: Some(1 << 20) };
        assert_eq!(amounts.line(3.0), "75%, 10/20 files, 3.0 MiB/4.0 MiB, ratio 0.33, 1.0 MiB/s, 1 s left");
        assert_eq!(Amounts::default().line(0.0), "100%, 0/0 files, 0 B/0 B, 0 B/s");
        assert_eq!(Amounts { files: (1, 2), ..Amounts::default() }.shown(), "1/2 files");
    }

    #[test]
    fn transfers_say_how_fast_they_are() {
        let (done, total) = (3 << 20, 4 << 20);
        assert_eq!(transferred(done, Some(total), 3.0), "75%, 3.0 MiB/4.0 MiB, 1.0 MiB/s, 1 s left");
        assert_eq!(transferred(done, None, 3.0), "3.0 MiB, 1.0 MiB/s");
    }

    #[test]
    fn ratios() {
        for (after, before, text) in
            [(0, 0, "ratio 1.00"), (1, 3, "ratio 0.33"), (5, 4, "ratio 1.25"), (0, 9, "ratio 0.00")]
        {
            assert_eq!(ratio(after, before), text);
        }
    }
}
