//! Messages of the boot and the shutdown, written to the kernel's log.
//!
//! The kernel shows them on its consoles by their priority, so `loglevel=` and `debug` mean for us what they mean for
//! the kernel, and `dmesg` has the boot in one order. Warnings are for the user: where `quiet` keeps them from the
//! console, they are written there all the same.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Syslog priorities (RFC 5424) that we use.
#[derive(Clone, Copy)]
enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

struct Log {
    kernel: Option<File>,
    program: &'static str,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// The longest text put into one record; the kernel cuts at about 1000 bytes (`LOG_LINE_MAX`).
const LINE_MAX: usize = 900;

/// Opens the kernel's log for `program`. Needs /dev and, to lift the kernel's limit of ten messages in five
/// seconds from user space, /proc. Where there is no /dev/kmsg, and in a program that never calls this, warnings and
/// errors go to standard error.
pub fn to_kernel(program: &'static str) {
    // Failing to lift the limit only loses messages.
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    let kernel = OpenOptions::new().write(true).open("/dev/kmsg").ok();
    let _ = LOG.set(Log { kernel, program });
}

/// Gives the kernel its limit on messages from user space back.
pub fn restore_limit() {
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "ratelimit\n");
}

/// What the kernel shows on its consoles, in the first number of this file.
pub const CONSOLE_LEVELS: &str = "/proc/sys/kernel/printk";

/// The kernel's consoles kept quiet but for emergencies, as long as this lives, so that messages do not tear what else
/// is written there. `dmesg` has them all the same.
#[must_use]
pub struct Quiet {
    file: PathBuf,
    before: Option<u8>,
}

impl Quiet {
    /// Lowers the level in `file`, which is [`CONSOLE_LEVELS`]. Where that fails, messages are shown as before.
    pub fn from(file: &Path) -> Self {
        let before = std::fs::read_to_string(file).ok().and_then(|levels| shown_below(&levels));
        let before = before.filter(|level| *level > 1 && std::fs::write(file, "1\n").is_ok());
        Self { file: file.to_owned(), before }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(level) = self.before {
            let _ = std::fs::write(&self.file, format!("{level}\n"));
        }
    }
}

/// Something failed.
pub fn error(message: fmt::Arguments<'_>) {
    write(Priority::Error, message);
}

/// Something is not as it should be; the work goes on.
pub fn warning(message: fmt::Arguments<'_>) {
    write(Priority::Warning, message);
}

/// What was chosen.
pub fn info(message: fmt::Arguments<'_>) {
    write(Priority::Info, message);
}

/// How it was done.
pub fn debug(message: fmt::Arguments<'_>) {
    write(Priority::Debug, message);
}

fn write(priority: Priority, message: fmt::Arguments<'_>) {
    let text = message.to_string();
    let fallback = Log { kernel: None, program: "livekit" };
    let log = LOG.get().unwrap_or(&fallback);
    let hidden = matches!(priority, Priority::Error | Priority::Warning) && kernel_hides(priority);
    for line in text.lines() {
        if hidden {
            to_console(format_args!("{}: {line}\n", log.program));
        }
        for record in records(line) {
            // One write is one record. Nowhere is left to report a failure to.
            let _ = match (&log.kernel, priority) {
                (Some(kernel), _) => {
                    let record = format!("<{}>{}: {record}\n", priority as u8, log.program);
                    (&*kernel).write_all(record.as_bytes())
                }
                (None, Priority::Error) => writeln!(std::io::stderr(), "error: {record}"),
                (None, Priority::Warning) => writeln!(std::io::stderr(), "warning: {record}"),
                (None, Priority::Info | Priority::Debug) => Ok(()),
            };
        }
    }
}

/// Writes text to the console as it is.
pub fn to_console(text: fmt::Arguments<'_>) {
    if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
        // A console that cannot be written to is no reason to stop.
        let _ = console.write_all(text.to_string().as_bytes());
    }
}

/// Whether the kernel's console shows only what is more urgent: the first number of /proc/sys/kernel/printk is the
/// lowest priority that it does not show. Without /proc, nothing is known to be hidden.
fn kernel_hides(priority: Priority) -> bool {
    let levels = std::fs::read_to_string(CONSOLE_LEVELS).unwrap_or_default();
    shown_below(&levels).is_some_and(|level| priority as u8 >= level)
}

fn shown_below(printk: &str) -> Option<u8> {
    printk.split_ascii_whitespace().next()?.parse().ok()
}

/// Cuts a line into pieces that fit a record, at character borders.
fn records(line: &str) -> Vec<&str> {
    let mut rest = line;
    let mut pieces = Vec::new();
    while rest.len() > LINE_MAX {
        let cut = (0..=LINE_MAX).rev().find(|&i| rest.is_char_boundary(i)).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(cut);
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_consoles_level() {
        assert_eq!(shown_below("4\t4\t1\t7\n"), Some(4));
        assert_eq!(shown_below(""), None);
    }

    #[test]
    fn keeps_the_consoles_quiet_for_a_while() {
        let file = std::env::temp_dir().join(format!("livekit-levels-{}", std::process::id()));
        // Written alone, the first number leaves the kernel's others as they are.
        for (before, during, after) in
            [("7\t4\t1\t7\n", "1\n", "7\n"), ("1\t4\t1\t7\n", "1\t4\t1\t7\n", "1\t4\t1\t7\n"), ("", "", "")]
        {
            std::fs::write(&file, before).unwrap();
            let quiet = Quiet::from(&file);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), during);
            drop(quiet);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        }
        std::fs::remove_file(&file).unwrap();
        drop(Quiet::from(&file));
        assert!(!file.exists());
    }

    #[test]
    fn long_lines_become_several_records() {
        assert_eq!(records("short"), ["short"]);
        let long = "é".repeat(1000);
        let pieces = records(&long);
        assert_eq!(pieces.concat(), long);
        assert!(pieces.len() == 3 && pieces.iter().all(|p| p.len() <= LINE_MAX));
    }
}
