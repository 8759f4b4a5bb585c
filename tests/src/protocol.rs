//! What the probe in the guest and the test on the host say to each other: one JSON value per line. The
//! probe sends a [`Report`] first, then one [`Reply`] for each [`Request`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the virtio serial port between guest and host.
pub const PORT_NAME: &str = "livekit.probe";

/// In the environment of a probe that runs in no machine of its own but in a [`crate::Nest`]: its port is the socket at
/// standard input.
pub const NESTED: &str = "LIVEKIT_PROBE_NESTED";

/// The state of the guest when the probe started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// `/proc/sys/kernel/osrelease`
    pub release: String,
    /// `/proc/cmdline`, without its newline
    pub cmdline: String,
    /// Process id of the probe: 1 in the tiny root, where it is `/sbin/init`
    pub pid: u32,
    pub mounts: Vec<Mount>,
    pub loops: Vec<Loop>,
    /// `/proc/meminfo` by its own names, in KiB
    pub memory: BTreeMap<String, u64>,
    /// Seconds since the kernel started
    pub uptime: f64,
    /// Seconds in which a processor had work: neither idle nor waiting for a disk
    pub busy: f64,
    /// Processes and threads started since the kernel started
    pub processes: u64,
    /// Names of the loaded modules
    pub modules: Vec<String>,
    /// What programs, not the kernel, wrote to the kernel log
    pub log: Vec<LogLine>,
}

/// A line of `/proc/self/mountinfo`, see proc(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub target: String,
    /// Directory of the file system that is mounted, `/` unless it is a bind mount
    pub root: String,
    pub kind: String,
    pub source: String,
    /// Options of the mount
    pub options: Vec<String>,
    /// Options of the file system
    pub super_options: Vec<String>,
}

/// A loop device that has a backing file, as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    pub device: String,
    pub backing_file: String,
    pub autoclear: bool,
    pub read_only: bool,
    pub direct_io: bool,
}

/// A record of `/dev/kmsg` from user space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// syslog severity, 0 to 7
    pub level: u8,
    /// Microseconds since the kernel started
    pub time: u64,
    pub text: String,
}

/// How the guest is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Poweroff,
    Reboot,
    Halt,
    Kexec,
}

impl Ending {
    /// The word systemd gives to the shutdown program.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// A new report
    Report,
    /// Content of a file, as text
    Read { path: String },
    /// Writes a file and syncs it to its device
    Write { path: String, content: String },
    /// Whether a path exists, the last link not followed
    Exists { path: String },
    /// Sorted names in a directory
    List { path: String },
    /// Runs a program to its end
    Run { argv: Vec<String> },
    /// Makes a mount writable
    Writable { target: String },
    /// Ends the system; answered before that happens
    End { how: Ending },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    Report(Box<Report>),
    Text(String),
    Yes(bool),
    Names(Vec<String>),
    /// With the seconds it took, by the clock of the guest
    Ran {
        status: Option<i32>,
        stdout: String,
        stderr: String,
        seconds: f64,
    },
    Done,
    Failed(String),
}

/// Parses `/proc/self/mountinfo`. Lines that are not understood are left out.
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let mut right = right.split(' ');
    let words = |text: &str| text.split(',').map(String::from).collect();
    Some(Mount {
        root: unescape(left.next()?),
        target: unescape(left.next()?),
        options: words(left.next()?),
        kind: right.next()?.to_string(),
        source: unescape(right.next()?),
        super_options: words(right.next()?),
    })
}

/// The kernel writes space, tab, newline and backslash as octal escapes.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_string(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Parses a record of `/dev/kmsg`; `None` for the kernel's own ones.
/// Format: Documentation/ABI/testing/dev-kmsg.
pub fn parse_kmsg(record: &str) -> Option<LogLine> {
    let (prefix, text) = record.split_once(';')?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let time = fields.nth(1)?.parse().ok()?;
    let facility = priority >> 3;
    let level = u8::try_from(priority & 7).ok()?;
    (facility != 0).then(|| LogLine { level, time, text: text.lines().next().unwrap_or("").to_string() })
}

/// What `probe writer` says before the number of each file that is safe.
pub const WROTE: &str = "wrote ";
/// How many of its files `probe writer` keeps.
pub const KEPT: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_its_source_behind_the_dash() {
        let text =
            "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\nrubbish";
        let expected = Mount {
            target: "/mnt 2".into(),
            root: "/mnt1".into(),
            kind: "ext3".into(),
            source: "/dev/root".into(),
            options: vec!["rw".into(), "noatime".into()],
            super_options: vec!["rw".into(), "errors=continue".into()],
        };
        assert_eq!(parse_mountinfo(text), [expected]);
    }

    #[test]
    fn a_mount_may_have_any_number_of_peer_groups() {
        for peers in ["", "shared:1 ", "shared:1 master:2 "] {
            let line = format!("22 1 0:5 / /dev rw {peers}- devtmpfs devtmpfs rw,size=4k");
            assert_eq!(parse_mountinfo(&line)[0].kind, "devtmpfs", "{line}");
        }
    }

    #[test]
    fn the_kernels_own_log_records_are_left_out() {
        assert_eq!(parse_kmsg("6,339,5140900,-;NET: Registered protocol family 10"), None);
        let own = LogLine { level: 4, time: 77, text: "init: step medium".into() };
        assert_eq!(parse_kmsg("12,340,77,-;init: step medium\n SUBSYSTEM=x"), Some(own));
    }
}
