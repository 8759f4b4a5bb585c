//! Questions to whoever is in front of the machine, on the screen and on the serial line at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use live::log::{CONSOLE_LEVELS, Quiet};

mod ask;
mod keys;
mod line;
mod menu;
mod secret;
mod terminal;

use ask::{Dialog, Size};
use line::{Echo, LineEditor, printable};
pub use menu::Entry;
use menu::Menu;
pub use secret::Secret;
use terminal::Terminal;

/// The consoles that could be opened. From the first question on they show nothing that is typed beside it; when this
/// is dropped their modes are put back. A shell that was left hangs its terminal up, so after one they are opened
/// anew.
pub struct Consoles {
    terminals: Vec<Terminal>,
    /// Where the kernel's console level is.
    levels: PathBuf,
}

impl Consoles {
    /// Opens every console the kernel writes to, and the serial line.
    pub fn open() -> Self {
        Self::of(paths(), Path::new(CONSOLE_LEVELS))
    }

    fn of(paths: Vec<PathBuf>, levels: &Path) -> Self {
        let terminals = paths.into_iter().filter_map(Terminal::open).collect();
        Self { terminals, levels: levels.to_owned() }
    }

    /// Their device nodes.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.terminals.iter().map(Terminal::path)
    }

    /// Writes text to all.
    pub fn say(&self, text: &str) {
        for terminal in &self.terminals {
            terminal.write(text);
        }
    }

    /// Gives them the modes that a shell expects.
    pub fn make_sane(&self) {
        for terminal in &self.terminals {
            terminal.make_sane();
        }
    }

    /// Has one of `entries` chosen; its index. Without a key for `timeout`, and where nobody can answer, it is
    /// `default`. Of no entries it is 0, unasked.
    pub fn choose(&self, title: &str, entries: &[Entry], default: usize, timeout: Option<Duration>) -> usize {
        let Some(last) = entries.len().checked_sub(1) else { return 0 };
        let default = default.min(last);
        let chosen = self.ask(timeout, |size| Menu::new(title, entries, default, size)).unwrap_or(default);
        self.say(&format!("\nChosen: {}) {}\n", chosen + 1, printable(&entries[chosen].label)));
        chosen
    }

    /// Asks for a passphrase, which is not shown. `None`: given up with Ctrl-C or Ctrl-D, no key for `timeout`, or nobody
    /// can answer.
    pub fn ask_secret(&self, prompt: &str, timeout: Option<Duration>) -> Option<Secret> {
        let answer = self.ask(timeout, |size| LineEditor::new(prompt, Echo::Stars, size)).flatten();
        self.say("\n");
        answer
    }

    /// Asks for a line of text, as [`Self::ask_secret`] does; the others see the answer. Bytes that are not UTF-8 are
    /// replaced.
    pub fn ask_line(&self, prompt: &str, timeout: Option<Duration>) -> Option<String> {
        let answer = self.ask(timeout, |size| LineEditor::new(prompt, Echo::Text, size)).flatten();
        let answer = answer.map(|line| String::from_utf8_lossy(line.bytes()).into_owned());
        let shown = answer.as_deref().map_or_else(String::new, printable);
        self.say(&format!("\n{}: {shown}\n", printable(prompt)));
        answer
    }

    fn ask<D: Dialog>(&self, timeout: Option<Duration>, make: impl Fn(Size) -> D) -> Option<D::Answer> {
        let _quiet = Quiet::from(&self.levels);
        ask::ask(&self.terminals, timeout, make)
    }
}

/// The consoles the kernel writes to, such as tty0 and ttyS0.
fn paths() -> Vec<PathBuf> {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let mut paths: Vec<PathBuf> = named(&active)
        .into_iter()
        .map(|name| Path::new("/dev").join(name))
        .filter(|path| path.exists())
        .collect();
    if paths.is_empty() {
        paths.push("/dev/console".into());
    }
    // A machine without a screen is looked at by its serial line, whether or not the kernel was told of it.
    let serial = PathBuf::from("/dev/ttyS0");
    if has_serial_line() && !paths.contains(&serial) {
        paths.push(serial);
    }
    paths
}

/// The terminals of the kernel's list, each once.
fn named(active: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in active.split_ascii_whitespace() {
        // The virtual console in front has a name of its own that can be a controlling terminal.
        let name = if name == "tty0" { "tty1" } else { name };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether ttyS0 is a port that is there: the driver makes nodes for some that are not, whose type is 0
/// (linux/serial.h, PORT_UNKNOWN).
fn has_serial_line() -> bool {
    fs::read_to_string("/sys/class/tty/ttyS0/type").is_ok_and(|kind| kind.trim() != "0")
}

#[cfg(test)]
mod tests;
