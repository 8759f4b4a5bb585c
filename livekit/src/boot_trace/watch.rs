//! Seeing a recorded machine to its end: it is switched off by its power button when it is up.

use std::io::IsTerminal;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{AtPath, Error, Result};
use crate::output::Output;
use crate::qemu::{QEMU, Recording, power_button};

/// What a system asks when it is up.
const PROMPT: &[u8] = b"login:";

/// After this long without a prompt the system is taken to be up, or to be stuck: longer than an emulated boot takes.
const NO_PROMPT: Duration = Duration::from_secs(600);

/// A system that is busy may miss the button, and one that is going down no longer minds it.
const BETWEEN_PRESSES: Duration = Duration::from_secs(15);

/// How long the system may take to go down.
const SHUTDOWN: Duration = Duration::from_secs(180);

/// Waits until the machine has gone off, by its button or by its user. After an error it may still run.
pub fn to_the_end(
    machine: &mut Child,
    recording: &Recording,
    settle: Duration,
    output: &Output,
) -> Result<()> {
    let mut plan = Plan::new(settle, std::io::stdin().is_terminal());
    let started = Instant::now();
    loop {
        if let Some(status) = machine.try_wait().at("wait for", QEMU)? {
            return if status.success() {
                Ok(())
            } else {
                Err(Error::new(format!("{QEMU} ended with {status}")))
            };
        }
        match plan.next(started.elapsed(), || prompts(recording)) {
            Some(Deed::Announce) => output.status(format!(
                "The system is up; in {} s it is switched off. What it reads until then is recorded.",
                settle.as_secs()
            )),
            Some(Deed::Press) => power_button::press(&recording.monitor)?,
            Some(Deed::Ask) => {
                output.warning("the system does not heed its power button: log in and power it off");
            }
            Some(Deed::GiveUp) => {
                return Err(Error::new("the system does not heed its power button")
                    .hint("run it from a terminal, log in and power it off"));
            }
            None => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Whether the console has shown a prompt.
fn prompts(recording: &Recording) -> bool {
    let shown = std::fs::read(&recording.console).unwrap_or_default();
    shown.windows(PROMPT.len()).any(|window| window == PROMPT)
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Announce,
    Press,
    Ask,
    GiveUp,
}

/// When what is done. Times are since the start.
struct Plan {
    settle: Duration,
    /// Whether somebody could log in.
    attended: bool,
    up: Option<Duration>,
    first_press: Option<Duration>,
    last_press: Duration,
    asked: bool,
}

impl Plan {
    fn new(settle: Duration, attended: bool) -> Self {
        Plan { settle, attended, up: None, first_press: None, last_press: Duration::ZERO, asked: false }
    }

    fn next(&mut self, now: Duration, prompts: impl FnOnce() -> bool) -> Option<Deed> {
        let Some(up) = self.up else {
            if prompts() {
                self.up = Some(now);
                return Some(Deed::Announce);
            }
            if now >= NO_PROMPT {
                self.up = Some(now.saturating_sub(self.settle));
            }
            return None;
        };
        let Some(first) = self.first_press else {
            return (now >= up + self.settle).then(|| {
                self.first_press = Some(now);
                self.last_press = now;
                Deed::Press
            });
        };
        if now >= first + SHUTDOWN {
            if !self.attended {
                return Some(Deed::GiveUp);
            }
            return (!std::mem::replace(&mut self.asked, true)).then_some(Deed::Ask);
        }
        (now >= self.last_press + BETWEEN_PRESSES).then(|| {
            self.last_press = now;
            Deed::Press
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done at which second, with the prompt at one.
    fn deeds(prompt: u64, attended: bool, until: u64) -> Vec<(u64, Deed)> {
        let mut plan = Plan::new(Duration::from_secs(10), attended);
        let deed = |second| Some((second, plan.next(Duration::from_secs(second), || second >= prompt)?));
        (0..until).filter_map(deed).collect()
    }

    #[test]
    fn the_button_is_pressed_when_the_system_is_up() {
        use Deed::{Announce, Press};
        let expected = [(20, Announce), (30, Press), (45, Press), (60, Press)];
        assert_eq!(deeds(20, true, 61), expected);
        // No prompt at all.
        assert_eq!(deeds(9999, true, 605), [(601, Press)]);
    }

    #[test]
    fn a_system_that_stays_up_is_somebodys_or_is_ended() {
        let last = |attended| {
            deeds(20, attended, 300)
                .into_iter()
                .find(|(_, deed)| *deed != Deed::Press && *deed != Deed::Announce)
        };
        assert_eq!(last(true), Some((210, Deed::Ask)));
        assert_eq!(last(false), Some((210, Deed::GiveUp)));
        let asked = deeds(20, true, 400).iter().filter(|(_, deed)| *deed == Deed::Ask).count();
        assert_eq!(asked, 1);
    }
}
