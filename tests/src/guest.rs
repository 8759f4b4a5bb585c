//! The host's side of the probe: ask the guest, judge here.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::protocol::{Ending, Reply, Report, Request};
use crate::vm::patience_factor;

/// How long the guest may take for one answer, in real time: emulation is slow, and a first `systemctl`
/// reads half of the root.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running guest that has reported. Every method panics if the guest does not do what it is asked.
#[derive(Debug)]
pub struct Guest {
    port: Port,
    /// The state when the probe started
    pub report: Report,
}

/// The end of a program that the guest ran.
#[derive(Debug)]
pub struct Ran {
    /// Exit status, `None` if a signal ended it
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// By the guest's clock
    pub seconds: f64,
}

/// The host's end of the virtio port.
#[derive(Debug)]
pub struct Port {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Port {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(Self { reader: BufReader::new(stream), line: Vec::new() })
    }

    /// The next line that has arrived in whole; `None` when nothing more came for a moment.
    pub fn poll(&mut self) -> io::Result<Option<Reply>> {
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU closed the probe's port")),
            Ok(_) => {
                let reply = serde_json::from_slice(&self.line)?;
                self.line.clear();
                Ok(Some(reply))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Guest {
    pub fn new(port: Port, report: Report) -> Self {
        Self { port, report }
    }

    /// Gives the port back, for a guest that starts anew.
    pub fn into_port(self) -> Port {
        self.port
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let line = serde_json::to_string(request).expect("a request is JSON");
        writeln!(self.port.reader.get_mut(), "{line}")
            .unwrap_or_else(|error| panic!("cannot ask {line}: {error}"));
        let patience = PATIENCE.mul_f64(patience_factor());
        let deadline = Instant::now() + patience;
        loop {
            match self.port.poll() {
                Ok(Some(Reply::Failed(error))) => panic!("the guest could not {line}: {error}"),
                Ok(Some(reply)) => return reply,
                Ok(None) => {}
                Err(error) => panic!("no answer to {line}: {error}"),
            }
            assert!(Instant::now() < deadline, "the guest did not answer {line} in {patience:?}");
        }
    }

    /// The state of the guest now.
    pub fn report_now(&mut self) -> Report {
        match self.ask(&Request::Report) {
            Reply::Report(report) => *report,
            other => panic!("no report but {other:?}"),
        }
    }

    pub fn read(&mut self, path: &str) -> String {
        match self.ask(&Request::Read { path: path.into() }) {
            Reply::Text(text) => text,
            other => panic!("no text but {other:?}"),
        }
    }

    /// Writes a file and syncs it.
    pub fn write(&mut self, path: &str, content: &str) {
        self.ask(&Request::Write { path: path.into(), content: content.into() });
    }

    /// How much of the first swap area is used, in KiB, by /proc/swaps.
    #[track_caller]
    pub fn swapped(&mut self) -> u64 {
        let swaps = self.read("/proc/swaps");
        let used = swaps.lines().nth(1).and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok());
        used.unwrap_or_else(|| panic!("no swap: {swaps}"))
    }

    pub fn exists(&mut self, path: &str) -> bool {
        matches!(self.ask(&Request::Exists { path: path.into() }), Reply::Yes(true))
    }

    /// Sorted names in a directory.
    pub fn list(&mut self, path: &str) -> Vec<String> {
        match self.ask(&Request::List { path: path.into() }) {
            Reply::Names(names) => names,
            other => panic!("no names but {other:?}"),
        }
    }

    /// Runs a program to its end, whatever that is.
    pub fn try_run(&mut self, argv: &[&str]) -> Ran {
        match self.ask(&Request::Run { argv: argv.iter().map(ToString::to_string).collect() }) {
            Reply::Ran { status, stdout, stderr, seconds } => Ran { status, stdout, stderr, seconds },
            other => panic!("no end of {argv:?} but {other:?}"),
        }
    }

    /// What a program wrote to its standard output; it must succeed.
    pub fn run(&mut self, argv: &[&str]) -> String {
        let ran = self.try_run(argv);
        assert_eq!(ran.status, Some(0), "{argv:?} failed in the guest: {ran:#?}");
        ran.stdout
    }

    /// What a script of busybox's shell wrote to its standard output; it must succeed.
    pub fn shell(&mut self, script: &str) -> String {
        self.run(&["/bin/busybox", "sh", "-c", script])
    }

    /// Makes a mount writable, as a user's `mount -o remount,rw` does.
    pub fn make_writable(&mut self, target: &str) {
        self.ask(&Request::Writable { target: target.into() });
    }

    /// Asks the guest to end; whether it does is seen from outside, see [`crate::Machine`].
    pub fn end(&mut self, how: Ending) {
        if let Reply::Ran { status, stderr, .. } = self.ask(&Request::End { how }) {
            assert_eq!(status, Some(0), "systemd does not {}: {stderr}", how.verb());
        }
    }
}

impl Report {
    /// The mount that is on top at this place.
    #[track_caller]
    pub fn mount(&self, target: &str) -> &crate::protocol::Mount {
        let mount = self.mounts.iter().rev().find(|mount| mount.target == target);
        mount.unwrap_or_else(|| panic!("nothing is mounted on {target}: {:#?}", self.mounts))
    }

    /// Places and kinds of all mounts, sorted: what a test compares as a whole, for a mount left over is
    /// a mistake.
    pub fn mounted(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<_> =
            self.mounts.iter().map(|mount| (mount.target.as_str(), mount.kind.as_str())).collect();
        all.sort_unstable();
        all
    }

    /// Whether a program's line in the kernel log has this text.
    pub fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.text.contains(text))
    }
}
