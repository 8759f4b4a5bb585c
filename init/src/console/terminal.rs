//! One console: its device, its modes, and what was typed there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcgetwinsize, tcsetattr,
};

use super::ask::Size;
use super::keys::{Decoder, Key};
use super::secret::overwrite;

/// A terminal that takes nothing for this long is not waited for. One at 300 baud takes a byte in 33 ms.
const STUCK_AFTER: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The bytes of an escape sequence come closer together than this, keys that are pressed do not.
const ESCAPE_KEY: Duration = Duration::from_millis(500);

/// Bytes taken in at once.
const READ: usize = 256;

/// A console that is open. Its modes are put back when it is dropped.
pub struct Terminal {
    path: PathBuf,
    device: OwnedFd,
    /// Its modes before the first question.
    before: RefCell<Option<Termios>>,
    decoder: RefCell<Decoder>,
    keys: RefCell<VecDeque<Key>>,
    last_read: Cell<Option<Instant>>,
    gone: Cell<bool>,
    stuck: Cell<bool>,
}

impl Terminal {
    /// Opens it without making it anybody's controlling terminal, and without waiting for a carrier.
    pub fn open(path: PathBuf) -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = open(&path, flags, Mode::empty()).ok()?;
        Some(Self {
            path,
            device,
            before: RefCell::default(),
            decoder: RefCell::default(),
            keys: RefCell::new(VecDeque::with_capacity(READ)),
            last_read: Cell::default(),
            gone: Cell::default(),
            stuck: Cell::default(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it hung up.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// A serial line does not know its size; 80x24 is what everything there can show.
    pub fn size(&self) -> Size {
        let (columns, rows) = tcgetwinsize(&self.device).map_or((0, 0), |size| (size.ws_col, size.ws_row));
        let or = |size: u16, usual: usize| if size == 0 { usual } else { size.into() };
        Size { columns: or(columns, 80).max(20), rows: or(rows, 24).max(6) }
    }

    /// Makes it ready for a question: bytes as they are typed, not shown. What was typed before the question stood
    /// is no answer to it.
    pub fn prepare(&self) {
        let mut before = self.before.borrow_mut();
        if before.is_none() {
            *before = tcgetattr(&self.device).ok();
            if let Some(modes) = &*before {
                let _ = tcsetattr(&self.device, OptionalActions::Now, &for_questions(modes.clone()));
            }
        }
        let _ = tcflush(&self.device, QueueSelector::IFlush);
        self.keys.borrow_mut().clear();
    }

    /// Makes it one that a shell can work with, whatever it was left as.
    pub fn make_sane(&self) {
        if let Ok(mut modes) = tcgetattr(&self.device) {
            modes.input_modes |= InputModes::ICRNL;
            modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
            modes.local_modes |= LocalModes::ICANON
                | LocalModes::ECHO
                | LocalModes::ECHOE
                | LocalModes::ECHOK
                | LocalModes::ISIG
                | LocalModes::IEXTEN;
            let _ = tcsetattr(&self.device, OptionalActions::Now, &modes);
        }
    }

    /// Writes text. One that takes nothing loses it: the others are not to wait.
    pub fn write(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() && !self.gone.get() {
            match write(&self.device, rest) {
                Ok(written) => {
                    self.stuck.set(false);
                    rest = &rest[written..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.stuck.get() => return,
                Err(Errno::AGAIN) => self.stuck.set(!self.takes_more()),
                Err(_) => self.gone.set(true),
            }
        }
    }

    fn takes_more(&self) -> bool {
        let mut polled = [PollFd::new(&self.device, PollFlags::OUT)];
        !matches!(poll(&mut polled, Some(&STUCK_AFTER)), Ok(0))
    }

    /// Takes in what was typed, after poll(2) has reported something.
    pub fn read(&self) {
        let mut buffer = [0; READ];
        match read(&self.device, &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // No bytes, or EIO: hung up. It would be reported again and again.
            Ok(0) | Err(_) => self.gone.set(true),
            Ok(len) => {
                let mut decoder = self.decoder.borrow_mut();
                if self.last_read.replace(Some(Instant::now())).is_some_and(|t| t.elapsed() > ESCAPE_KEY) {
                    decoder.forget_escape();
                }
                self.keys.borrow_mut().extend(buffer[..len].iter().filter_map(|byte| decoder.take(*byte)));
                overwrite(&mut buffer);
            }
        }
    }

    pub fn has_keys(&self) -> bool {
        !self.keys.borrow().is_empty()
    }

    /// Gives the keys to `each`, up to the one it has an answer to. What follows that one, such as the rest of a paste,
    /// is forgotten by the next question.
    pub fn take_keys<T>(&self, mut each: impl FnMut(Key) -> Option<T>) -> Option<T> {
        let mut keys = self.keys.borrow_mut();
        // The keys may be those of a secret. The queue is never longer than one read, so it has never moved.
        let answer = keys.iter().find_map(|key| each(*key));
        keys.iter_mut().for_each(|key| *key = Key::Other);
        keys.clear();
        answer
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(modes) = &*self.before.borrow() {
            // Half a paste must not be run by a shell.
            let _ = tcflush(&self.device, QueueSelector::IFlush);
            let _ = tcsetattr(&self.device, OptionalActions::Now, modes);
        }
    }
}

/// Bytes come as they are typed, CR and LF apart, without echo or signals; `\n` still starts a line at its left end.
fn for_questions(mut modes: Termios) -> Termios {
    modes.input_modes -= InputModes::BRKINT
        | InputModes::PARMRK
        | InputModes::ISTRIP
        | InputModes::INLCR
        | InputModes::IGNCR
        | InputModes::ICRNL;
    modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
    modes.local_modes -=
        LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG | LocalModes::IEXTEN;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}
