//! A question put on several terminals at once, until one of them answers.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::keys::Key;
use super::terminal::Terminal;

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// A question as it stands on one terminal: keys in, text for the screen and at last the answer out. Each terminal has
/// its own, so that noise on a serial line does not get into what is typed at the keyboard.
pub trait Dialog {
    type Answer;
    /// Shows the question, with the seconds left to answer it.
    fn open(&mut self, left: Option<u64>, out: &mut String);
    /// Shows other seconds, or that there is no hurry any more.
    fn tick(&mut self, left: Option<u64>, out: &mut String);
    /// Takes a key.
    fn key(&mut self, key: Key, out: &mut String) -> Option<Self::Answer>;
}

/// Asks on all of `terminals`. The first key on any ends the countdown. `None`: the time is over, or nobody is left who
/// could answer.
pub fn ask<D: Dialog>(
    terminals: &[Terminal],
    timeout: Option<Duration>,
    make: impl Fn(Size) -> D,
) -> Option<D::Answer> {
    let mut seats: Vec<(&Terminal, D)> = terminals.iter().map(|t| (t, make(t.size()))).collect();
    let mut clock = Clock::new(timeout);
    for (terminal, dialog) in &mut seats {
        terminal.prepare();
        show(terminal, |out| dialog.open(clock.shown, out));
    }
    loop {
        seats.retain(|(terminal, _)| !terminal.is_gone());
        if seats.is_empty() || clock.is_over() {
            return None;
        }
        let ready = wait(&seats, clock.until_next())?;
        for ((terminal, _), ready) in seats.iter().zip(&ready) {
            if *ready {
                terminal.read();
            }
        }
        let typed = seats.iter().any(|(terminal, _)| terminal.has_keys());
        if (typed && clock.stop()) || clock.advance() {
            for (terminal, dialog) in &mut seats {
                show(terminal, |out| dialog.tick(clock.shown, out));
            }
        }
        for (terminal, dialog) in &mut seats {
            let answer = show(terminal, |out| terminal.take_keys(|key| dialog.key(key, out)));
            if answer.is_some() {
                return answer;
            }
        }
    }
}

/// Writes to the terminal what `draw` has to show.
fn show<T>(terminal: &Terminal, draw: impl FnOnce(&mut String) -> T) -> T {
    let mut out = String::new();
    let value = draw(&mut out);
    terminal.write(&out);
    value
}

/// Waits until one of the terminals has something to say. Which ones, or none at all when the system call failed for
/// good.
fn wait<D>(seats: &[(&Terminal, D)], longest: Option<Duration>) -> Option<Vec<bool>> {
    let longest = longest.and_then(|time| Timespec::try_from(time).ok());
    let mut polled: Vec<PollFd<'_>> =
        seats.iter().map(|(terminal, _)| PollFd::new(terminal, PollFlags::IN)).collect();
    match poll(&mut polled, longest.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => return None,
    }
    Some(polled.iter().map(|p| !p.revents().is_empty()).collect())
}

/// The time left to answer, in full seconds for the user.
struct Clock {
    end: Option<Instant>,
    shown: Option<u64>,
}

impl Clock {
    fn new(timeout: Option<Duration>) -> Self {
        let end = timeout.and_then(|time| Instant::now().checked_add(time));
        let mut clock = Self { end, shown: None };
        clock.advance();
        clock
    }

    fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whether there are other seconds to show now.
    fn advance(&mut self) -> bool {
        let seconds = self.left().map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0));
        std::mem::replace(&mut self.shown, seconds) != seconds
    }

    /// Lets the user take any time. Whether that is news.
    fn stop(&mut self) -> bool {
        self.end = None;
        self.shown.take().is_some()
    }

    /// Until other seconds are to be shown.
    fn until_next(&self) -> Option<Duration> {
        self.left().map(|left| match left.subsec_nanos() {
            0 => left.min(Duration::from_secs(1)),
            nanos => Duration::from_nanos(u64::from(nanos)),
        })
    }
}
