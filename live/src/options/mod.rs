//! The kernel command line, read once into what the boot needs to know.

use crate::steps::Step;

pub use persistence::{Persistence, Use, Which};
pub use size::{Compression, MemorySize};

mod persistence;
mod size;

/// Where something is said to be: the medium by `from=`, sessions by `perchdir=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct From {
    /// Which device; any, when none is named.
    pub device: DeviceName,
    /// The folder or the ISO file on it; the usual one, when none is named. Starts with a slash.
    pub path: Option<String>,
}

/// How a block device is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceName {
    /// Whichever has the medium.
    #[default]
    Any,
    /// `/dev/sdb1`; held here as `sdb1`.
    Node(String),
    /// `LABEL=…`
    Label(String),
    /// `UUID=…`, as blkid prints it.
    Uuid(String),
}

/// What the user asked of the boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootOptions {
    /// `livekit.id=`: the build whose medium this is.
    pub id: Option<String>,
    /// `from=`: where the medium is, when it is not to be searched for.
    pub from: Option<From>,
    /// `toram`: copy the bundles to memory and let the medium go.
    pub to_ram: bool,
    /// `load=`: patterns of the bundles below modules/ and optional/ to take.
    pub load: Vec<String>,
    /// `noload=`: patterns of bundles to leave out.
    pub noload: Vec<String>,
    /// `debug`: say everything, keep the rescue tools.
    pub debug: bool,
    /// `break=`: open a shell before these steps.
    pub breaks: Vec<Step>,
    /// `rescue=off` clears this: no shell when the boot fails.
    pub rescue: bool,
    /// `perch` and its relatives: keep changes. Else they are in memory, and gone at power-off.
    pub persistence: Option<Persistence>,
    /// `ramsize=`: the size of the memory that takes changes.
    pub memory_size: Option<MemorySize>,
    /// `zram=`: how much memory may be compressed when it is short.
    pub zram: Compression,
    /// `init=`: what to start in place of /sbin/init.
    pub init: Option<String>,
    /// `wait=`: seconds until a medium that does not show up is given up.
    pub wait: Option<u64>,
    /// `noeject`: leave the disc in the drive at shutdown.
    pub no_eject: bool,
    /// `livekit.trace=`: the device that the shutdown tells which files were read first.
    pub trace: Option<String>,
    /// Parameters of other live systems, each with how it was read.
    pub read_as: Vec<String>,
    /// Parameters of ours that could not be understood, with the reason.
    pub unclear: Vec<String>,
}

/// Names of our parameters, which are not passed on to the distribution's init.
const OURS: [&str; 12] = [
    "livekit.id",
    "livekit.trace",
    "from",
    "toram",
    "load",
    "noload",
    "debug",
    "break",
    "rescue",
    "wait",
    "noeject",
    "quiet",
];

impl BootOptions {
    /// Reads the text of /proc/cmdline. What cannot be understood is collected, never fatal.
    pub fn parse(command_line: &str) -> Self {
        let mut options = Self { rescue: true, ..Self::default() };
        let mut persistence = persistence::Reading::default();
        for word in words(command_line) {
            // What follows is meant for the distribution's init.
            if word == "--" {
                break;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if persistence::is_known(name) {
                options.take_persistence(&word, name, value, &mut persistence);
            } else {
                options.take(name, value);
            }
        }
        options.persistence = persistence.persistence;
        options.memory_size = persistence.memory;
        options.zram = persistence.zram;
        options
    }

    fn take_persistence(
        &mut self,
        word: &str,
        name: &str,
        value: Option<&str>,
        reading: &mut persistence::Reading,
    ) {
        let text = value.filter(|v| !v.is_empty());
        if persistence::ALIASES.contains(&name) {
            match reading.take_alias(name, text) {
                Ok(how) => self.read_as.push(format!("{word}: read as {how}")),
                Err(reason) => self.unclear.push(reason),
            }
        } else if let Err(reason) = reading.take(name, text) {
            self.unclear.push(reason);
        }
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        let text = value.filter(|v| !v.is_empty());
        match (name, text) {
            ("livekit.id", Some(id)) => self.id = Some(id.to_owned()),
            ("from", Some(from)) => match From::parse(from) {
                Ok(from) => self.from = Some(from),
                Err(reason) => self.unclear.push(reason),
            },
            ("toram", _) => self.to_ram = is_on(text),
            ("load", Some(list)) => self.load.extend(patterns(list)),
            ("noload", Some(list)) => self.noload.extend(patterns(list)),
            ("debug", _) => self.debug = is_on(text),
            ("break", Some(list)) => {
                for name in list.split(',') {
                    match Step::named(name) {
                        Some(step) => self.breaks.push(step),
                        None => {
                            let known = Step::ALL.map(Step::name).join(", ");
                            self.unclear.push(format!("break={name}: no such step; the steps are {known}"));
                        }
                    }
                }
            }
            ("rescue", _) => self.rescue = is_on(text),
            ("init", Some(path)) => self.init = Some(path.to_owned()),
            ("wait", Some(seconds)) => match seconds.parse() {
                Ok(seconds) => self.wait = Some(seconds),
                Err(_) => self.unclear.push(format!("wait={seconds}: not a number of seconds")),
            },
            ("livekit.trace", Some(port)) => self.trace = Some(port.to_owned()),
            ("noeject", _) => self.no_eject = is_on(text),
            _ => {}
        }
    }
}

/// A switch is on when it is named, whatever its value, unless that says no.
fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("no" | "off" | "0"))
}

impl From {
    /// Reads `/dir`, `/dir/file.iso`, `/dev/x[/dir]`, `LABEL=x[:/dir]`, `UUID=x[:/dir]`; the folder may also
    /// follow a label or UUID without the colon.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read("from", text)
    }

    /// Reads the value of the parameter `name`, which is for the error.
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let (device, path) = if let Some(rest) = text.strip_prefix("/dev/disk/by-label/") {
            let (label, path) = split_path(rest);
            (DeviceName::Label(label.to_owned()), path)
        } else if let Some(rest) = text.strip_prefix("/dev/disk/by-uuid/") {
            let (uuid, path) = split_path(rest);
            (DeviceName::Uuid(uuid.to_owned()), path)
        } else if ["/dev/disk/", "/dev/mapper/"].iter().any(|kind| text.starts_with(kind)) {
            return Err(format!(
                "{name}={text}: this name is made by udev later; use LABEL=, UUID= or /dev/sdX"
            ));
        } else if let Some(rest) = text.strip_prefix("/dev/") {
            let (node, path) = split_path(rest);
            (DeviceName::Node(node.to_owned()), path)
        } else if let Some(rest) = text.strip_prefix("LABEL=") {
            let (label, path) = split_path(rest);
            (DeviceName::Label(label.to_owned()), path)
        } else if let Some(rest) = text.strip_prefix("UUID=") {
            let (uuid, path) = split_path(rest);
            (DeviceName::Uuid(uuid.to_owned()), path)
        } else if text.starts_with('/') {
            (DeviceName::Any, Some(text))
        } else if text.contains([':', '=']) || text == "ask" {
            return Err(format!("{name}={text}: this kind of place is not known"));
        } else {
            let path = format!("/{}", text.trim_end_matches('/'));
            return Ok(Self { device: DeviceName::Any, path: Some(path) });
        };
        match &device {
            DeviceName::Node(n) | DeviceName::Label(n) | DeviceName::Uuid(n) if n.is_empty() => {
                return Err(format!("{name}={text}: no device is named"));
            }
            _ => {}
        }
        let path = path.map(|p| p.trim_end_matches('/')).filter(|p| !p.is_empty()).map(str::to_owned);
        Ok(Self { device, path })
    }

    /// As it is written on a command line.
    pub fn written(&self) -> String {
        let device = match &self.device {
            DeviceName::Any => String::new(),
            DeviceName::Node(node) => format!("/dev/{node}"),
            DeviceName::Label(label) => format!("LABEL={label}"),
            DeviceName::Uuid(uuid) => format!("UUID={uuid}"),
        };
        device + self.path.as_deref().unwrap_or_default()
    }

    /// Whether the path names an ISO file.
    pub fn is_iso(&self) -> bool {
        self.path.as_deref().is_some_and(|p| p.to_ascii_lowercase().ends_with(".iso"))
    }
}

/// Splits `name[:]/path`.
fn split_path(text: &str) -> (&str, Option<&str>) {
    match text.find('/') {
        Some(at) => (text[..at].trim_end_matches(':'), Some(&text[at..])),
        None => (text.trim_end_matches(':'), None),
    }
}

fn patterns(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').filter(|p| !p.is_empty()).map(str::to_owned)
}

/// Splits a command line at white space. As in the kernel (lib/cmdline.c `next_arg`), double quotes keep white
/// space together, whether they stand around the whole word or around its value, and are not part of the text.
pub fn words(command_line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut started) = (false, false);
    for c in command_line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                started = true;
            }
            c if c.is_ascii_whitespace() && !quoted => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            c => {
                word.push(c);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

/// Whether a word of the command line is a parameter of ours. The kernel hands what it does not know to init as
/// arguments and environment; the distribution's init should not see ours.
pub fn is_ours(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    OURS.contains(&name) || persistence::is_known(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> BootOptions {
        BootOptions { rescue: true, ..BootOptions::default() }
    }

    #[test]
    fn each_parameter() {
        let from = |device, path: Option<&str>| Some(From { device, path: path.map(str::to_owned) });
        let strings = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let table: Vec<(&str, BootOptions)> = vec![
            ("", base()),
            ("BOOT_IMAGE=/vmlinuz quiet", base()),
            ("livekit.id=0123456789abcdef", BootOptions { id: Some("0123456789abcdef".into()), ..base() }),
            ("toram", BootOptions { to_ram: true, ..base() }),
            ("toram=no", base()),
            ("notoram xtoram toramx", base()),
            ("debug", BootOptions { debug: true, ..base() }),
            ("load=a,b,,c", BootOptions { load: strings(&["a", "b", "c"]), ..base() }),
            ("noload=x", BootOptions { noload: strings(&["x"]), ..base() }),
            ("noload=\"my bundle\"", BootOptions { noload: strings(&["my bundle"]), ..base() }),
            ("\"noload=my bundle\"", BootOptions { noload: strings(&["my bundle"]), ..base() }),
            ("break=medium,union", BootOptions { breaks: vec![Step::Medium, Step::Union], ..base() }),
            ("rescue=off", BootOptions { rescue: false, ..base() }),
            ("init=/bin/sh", BootOptions { init: Some("/bin/sh".into()), ..base() }),
            ("wait=7 noeject", BootOptions { wait: Some(7), no_eject: true, ..base() }),
            ("from=/slax", BootOptions { from: from(DeviceName::Any, Some("/slax")), ..base() }),
            ("from=slax/", BootOptions { from: from(DeviceName::Any, Some("/slax")), ..base() }),
            ("from=/dev/sdb1", BootOptions { from: from(DeviceName::Node("sdb1".into()), None), ..base() }),
            (
                "from=/dev/sdb1/a/b/",
                BootOptions { from: from(DeviceName::Node("sdb1".into()), Some("/a/b")), ..base() },
            ),
            ("from=LABEL=LIVE", BootOptions { from: from(DeviceName::Label("LIVE".into()), None), ..base() }),
            (
                "from=\"LABEL=MY STICK:/x\"",
                BootOptions { from: from(DeviceName::Label("MY STICK".into()), Some("/x")), ..base() },
            ),
            (
                "from=UUID=12AB-34CD/kit",
                BootOptions { from: from(DeviceName::Uuid("12AB-34CD".into()), Some("/kit")), ..base() },
            ),
            (
                "from=/dev/disk/by-label/LIVE/x",
                BootOptions { from: from(DeviceName::Label("LIVE".into()), Some("/x")), ..base() },
            ),
            ("livekit.trace=/dev/ttyS1", BootOptions { trace: Some("/dev/ttyS1".into()), ..base() }),
            ("noeject=no rescue=on livekit.trace=", base()),
            ("from=", base()),
            ("-- toram debug", base()),
        ];
        for (line, expected) in table {
            assert_eq!(BootOptions::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_unclear_is_said() {
        for (line, part) in [
            ("break=mount", "the steps are ramfs, drivers"),
            ("wait=soon", "wait=soon"),
            ("from=http://x/y.iso", "http"),
            ("from=LABEL=", "no device"),
            ("from=ask", "ask"),
            ("from=PARTUUID=1", "PARTUUID"),
            ("from=/dev/mapper/x", "udev"),
        ] {
            let options = BootOptions::parse(line);
            assert!(options.unclear.len() == 1 && options.unclear[0].contains(part), "{line}: {options:?}");
        }
    }

    #[test]
    fn iso_files_are_told_by_their_name() {
        assert!(From::parse("/dev/sda1/isos/Live.ISO").unwrap().is_iso());
        assert!(!From::parse("/isos").unwrap().is_iso());
    }

    #[test]
    fn words_are_whole_and_quotes_hold() {
        let table: [(&str, &[&str]); 4] = [
            ("a  b\tc\n", &["a", "b", "c"]),
            ("x=\"a b\" y", &["x=a b", "y"]),
            ("\"x=a b\"", &["x=a b"]),
            ("a=\"\" \"", &["a=", ""]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn ours_are_not_passed_on() {
        assert!(
            is_ours("toram") && is_ours("from=/x") && is_ours("livekit.id=1") && is_ours("livekit.trace=x")
        );
        assert!(!is_ours("single") && !is_ours("systemd.unit=x") && !is_ours("init=/x"));
    }
}
