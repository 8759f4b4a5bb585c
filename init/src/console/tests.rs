//! Questions on pseudo terminals, whose masters are the users.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use rustix::time::{ClockId, clock_gettime};

use super::*;

/// A pseudo terminal: a user at it, and its other end, which keeps its modes.
struct User {
    master: File,
    device: File,
    path: PathBuf,
    seen: String,
}

impl User {
    fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let device = File::options().read(true).write(true).open(&path).unwrap();
        Self { master: master.into(), device, path, seen: String::new() }
    }

    fn types(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    /// Waits until `text` is on the screen; what came up to its end is done with.
    fn sees(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < end, "no {text:?} in {:?}", self.seen);
            self.takes(Timespec { tv_sec: 0, tv_nsec: 100_000_000 });
        }
    }

    fn takes(&mut self, longest: Timespec) {
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        if matches!(poll(&mut polled, Some(&longest)), Ok(1)) {
            let mut buffer = [0; 4096];
            let len = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        }
    }

    fn modes(&self) -> Termios {
        tcgetattr(self.device.as_fd()).unwrap()
    }
}

/// The kernel's console level, as a file that can be looked at.
struct Levels(tempfile::NamedTempFile);

impl Levels {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "7\t4\t1\t7\n").unwrap();
        Self(file)
    }

    fn now(&self) -> String {
        fs::read_to_string(self.0.path()).unwrap().split_ascii_whitespace().next().unwrap().to_owned()
    }
}

/// Runs `question` in a thread, as the users are in this one. The consoles are closed before it ends.
fn asking<T: Send + 'static>(
    users: &[&User],
    levels: &Arc<Levels>,
    question: impl FnOnce(&Consoles) -> T + Send + 'static,
) -> JoinHandle<T> {
    let paths = users.iter().map(|user| user.path.clone()).collect();
    let levels = Arc::clone(levels);
    spawn(move || question(&Consoles::of(paths, levels.0.path())))
}

fn entries() -> [Entry; 3] {
    ["one", "two", "three"].map(|label| Entry { label: label.to_owned(), note: String::new() })
}

#[test]
fn the_second_console_answers_and_both_show_it() {
    let (mut first, mut second, levels) = (User::new(), User::new(), Arc::new(Levels::new()));
    let before = first.modes();
    let asked = asking(&[&first, &second], &levels, |c| c.choose("Which one?", &entries(), 0, None));
    first.sees("Enter for 1: ");
    second.sees("Enter for 1: ");
    assert_eq!(levels.now(), "1", "the kernel is quiet while a question stands");
    assert!(!first.modes().local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
    // A digit at the first console is nothing to the second.
    first.types(b"2");
    first.sees("2");
    second.types(b"\x1b");
    second.types(b"[B\x1b[B");
    second.sees("3: ");
    second.types(b"\r");
    first.sees("Chosen: 3) three\r\n");
    second.sees("Chosen: 3) three\r\n");
    assert_eq!(asked.join().unwrap(), 2);
    assert_eq!(levels.now(), "7");
    for user in [&first, &second] {
        let after = user.modes();
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        assert_eq!(after.output_modes, before.output_modes);
    }
}

#[test]
fn a_secret_is_not_shown_anywhere() {
    let (mut first, mut second, levels) = (User::new(), User::new(), Arc::new(Levels::new()));
    let asked = asking(&[&first, &second], &levels, |c| {
        (c.ask_secret("Passphrase", None).unwrap().bytes().to_vec(), c.ask_secret("Again", None).is_none())
    });
    first.sees("Passphrase: ");
    second.sees("Passphrase: ");
    first.types(b"noise");
    first.sees("*****");
    second.types("gehéi\x7f".as_bytes());
    // The rest of a paste is not the answer to the next question.
    second.types(b"m\r\nand more\r");
    for user in [&mut first, &mut second] {
        let shown = user.sees("Again: ").replace("Again: ", "");
        assert!(!shown.contains(char::is_alphabetic), "{shown:?}");
    }
    first.types(b"x");
    first.sees("*");
    first.types(b"\x15\x04");
    let (secret, given_up) = asked.join().unwrap();
    assert_eq!((secret.as_slice(), given_up), ("gehém".as_bytes(), true));
}

#[test]
fn what_was_typed_before_is_no_answer() {
    let (mut user, levels) = (User::new(), Arc::new(Levels::new()));
    user.types(b"3\r");
    // The line discipline has it before the question comes.
    sleep(Duration::from_millis(100));
    let asked = asking(&[&user], &levels, |c| c.choose("Which one?", &entries(), 0, None));
    user.sees("Enter for 1: ");
    user.types(b"2\n");
    assert_eq!(asked.join().unwrap(), 1);
}

#[test]
fn the_countdown_ends_in_the_default() {
    let (mut user, levels) = (User::new(), Arc::new(Levels::new()));
    let start = Instant::now();
    let asked =
        asking(&[&user], &levels, |c| c.choose("Which one?", &entries(), 1, Some(Duration::from_secs(2))));
    user.sees("Enter for 2 (2 s): ");
    user.sees("1 s): ");
    user.sees("Chosen: 2) two");
    assert_eq!(asked.join().unwrap(), 1);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_key_on_any_console_ends_the_countdown() {
    let (mut first, mut second, levels) = (User::new(), User::new(), Arc::new(Levels::new()));
    let asked = asking(&[&first, &second], &levels, |c| {
        c.choose("Which one?", &entries(), 1, Some(Duration::from_secs(3)))
    });
    first.sees("(3 s): ");
    second.types(b"3");
    // The other one's line is drawn again without it.
    first.sees("\x08: ");
    sleep(Duration::from_secs(4));
    assert!(!asked.is_finished());
    second.types(b"\r");
    assert_eq!(asked.join().unwrap(), 2);
}

#[test]
fn a_console_that_hangs_up_is_let_go() {
    let (mut first, second, levels) = (User::new(), User::new(), Arc::new(Levels::new()));
    let asked = asking(&[&first, &second], &levels, |c| {
        let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let start = cpu();
        let chosen = c.choose("Which one?", &entries(), 0, None);
        (chosen, cpu() - start, c.terminals.iter().map(Terminal::is_gone).collect::<Vec<_>>())
    });
    first.sees("Enter for 1: ");
    drop(second);
    sleep(Duration::from_secs(1));
    first.types(b"2\r");
    let (chosen, cpu, gone) = asked.join().unwrap();
    assert_eq!((chosen, gone), (1, vec![false, true]));
    assert!(cpu < Duration::from_millis(200), "it was waited for in a loop: {cpu:?}");
}

#[test]
fn where_nobody_can_answer_the_default_is_taken() {
    let levels = Arc::new(Levels::new());
    let missing = Consoles::of(vec!["/dev/no-such-console".into()], levels.0.path());
    assert_eq!(missing.paths().count(), 0);
    assert_eq!(missing.choose("Which one?", &entries(), 7, None), 2);
    assert!(missing.ask_secret("Passphrase", None).is_none());

    let (mut user, levels) = (User::new(), Arc::new(Levels::new()));
    let asked = asking(&[&user], &levels, |c| (c.choose("x", &[], 5, None), c.ask_line("Name", None)));
    user.sees("Name: ");
    drop(user);
    assert_eq!(asked.join().unwrap(), (0, None));
}

#[test]
fn a_console_that_takes_nothing_does_not_hold_up_the_others() {
    let (mut first, second, levels) = (User::new(), User::new(), Arc::new(Levels::new()));
    let start = Instant::now();
    let asked = asking(&[&second, &first], &levels, |c| {
        // More than a pseudo terminal takes in while nobody reads.
        c.say(&"x".repeat(100_000));
        c.ask_line("Name", None)
    });
    first.sees("Name: ");
    first.types("Jürg\r".as_bytes());
    first.sees("Name: Jürg\r\n");
    assert_eq!(asked.join().unwrap().as_deref(), Some("Jürg"));
    assert!(start.elapsed() < Duration::from_secs(15));
    drop(second);
}

#[test]
fn sane_modes_come_back_after_a_question_that_was_torn_off() {
    let (user, levels) = (User::new(), Arc::new(Levels::new()));
    let consoles = Consoles::of(vec![user.path.clone()], levels.0.path());
    let before = user.modes().local_modes;
    consoles.terminals[0].prepare();
    assert_ne!(user.modes().local_modes, before);
    Consoles::of(vec![user.path.clone()], levels.0.path()).make_sane();
    assert!(user.modes().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
}

#[test]
fn each_terminal_is_taken_once() {
    let table: [(&str, &[&str]); 4] = [
        ("tty0\n", &["tty1"]),
        ("tty0 ttyS0\n", &["tty1", "ttyS0"]),
        ("tty1 tty0 hvc0", &["tty1", "hvc0"]),
        ("", &[]),
    ];
    for (active, expected) in table {
        assert_eq!(named(active), expected, "{active:?}");
    }
}
