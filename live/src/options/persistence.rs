//! Whether and where changes are kept, in our words and in those of other live systems.

use super::size::{self, Compression, MemorySize};
use super::{DeviceName, From, is_on};
use crate::layout::{CHANGES, KEPT, SESSION};

/// Which session to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// The default one, else the last used one; a new one where there is none.
    #[default]
    Resume,
    New,
    /// The user says, at the console.
    Ask,
    Number(u32),
}

/// What becomes of changes made to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Use {
    /// They are in the session at once.
    #[default]
    ReadWrite,
    /// They stay in memory and go with it.
    ReadOnly,
    /// They stay in memory and become part of the session at shutdown.
    AtExit,
    /// Those in some directories are in the session at once, others stay in memory: `persistence.conf` says which.
    Directories,
}

impl Use {
    pub const ALL: [Self; 4] = [Self::ReadWrite, Self::ReadOnly, Self::AtExit, Self::Directories];

    /// Where the session is mounted, in the ramfs.
    pub const fn home(self) -> &'static str {
        match self {
            Self::ReadWrite => CHANGES,
            Self::ReadOnly | Self::AtExit => SESSION,
            Self::Directories => KEPT,
        }
    }

    /// In a word, for notes and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::AtExit => "at-exit",
            Self::Directories => "directories",
        }
    }
}

/// How changes are to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Persistence {
    /// `perchdir=resume|new|ask|N`
    pub session: Which,
    /// `perchdir=/dev/…|LABEL=…|UUID=…|/dir`: where the sessions are; on the medium when nothing is said.
    pub place: Option<From>,
    /// `perchsize=`: the most a container may take, in bytes.
    pub size: Option<u64>,
    pub usage: Use,
    /// The session is emptied first.
    pub reset: bool,
    /// A session that has to be made is encrypted.
    pub encrypt: bool,
}

/// Our own parameters of persistence.
const OURS: [&str; 5] = ["perch", "perchdir", "perchsize", "ramsize", "zram"];

/// Those of others that are understood.
pub(super) const ALIASES: [&str; 32] = [
    // MiniOS, live-boot, casper
    "perchmode",
    "persistence",
    "persistent",
    "nopersistence",
    "nopersistent",
    "persistence-read-only",
    "persistence-label",
    "persistence-path",
    "persistence-encryption",
    "overlay-size",
    "ramdisk-size",
    "nozram",
    "zramsize",
    // Porteus, PorteuX
    "changes",
    "changes-ro",
    // archiso
    "cow_device",
    "cow_label",
    "cow_directory",
    "cow_spacesize",
    // dracut
    "rd.overlay",
    "rd.live.overlay",
    "rd.overlay.reset",
    "rd.live.overlay.reset",
    "rd.overlay.readonly",
    "rd.live.overlay.readonly",
    "rd.overlay.size",
    "rd.live.overlay.size",
    "rd.overlay.crypt",
    "rd.live.overlay.crypt",
    // liveslak
    "nop",
    "wipe",
    "luksvol",
];

/// Whether `name` is a parameter of persistence.
pub(super) fn is_known(name: &str) -> bool {
    OURS.contains(&name) || ALIASES.contains(&name)
}

/// What the words read so far come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reading {
    /// `None` while nothing asks for persistence, or after something took it back.
    pub persistence: Option<Persistence>,
    /// The size of the memory that takes changes.
    pub memory: Option<MemorySize>,
    /// How much memory may be compressed.
    pub zram: Compression,
}

/// How a word of another system was understood, in our words.
type Understood = Result<String, String>;

impl Reading {
    /// Takes one of our own parameters.
    pub fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        match (name, value) {
            ("perch", value) => self.switch(is_on(value)),
            ("perchdir", None) => self.switch(true),
            ("perchdir", Some(text)) => match which(text) {
                Some(session) => self.on().session = session,
                None => self.on().place = Some(place("perchdir", text)?),
            },
            ("perchsize", Some(text)) => self.on().size = Some(size::bytes(text)?),
            ("ramsize", Some(text)) => self.memory = Some(MemorySize::parse(text)?),
            ("zram", value) => self.zram = Compression::parse(value)?,
            _ => {}
        }
        Ok(())
    }

    /// Takes a parameter of another live system.
    pub fn take_alias(&mut self, name: &str, value: Option<&str>) -> Understood {
        match (name, value) {
            ("persistence" | "persistent", Some(text))
                if !matches!(text, "yes" | "no" | "on" | "off" | "0" | "1") =>
            {
                self.at(place(name, text)?)
            }
            ("persistence" | "persistent" | "perchmode", value) => {
                self.switched(name == "perchmode" || is_on(value))
            }
            ("nop", Some("wipe")) | ("wipe" | "rd.overlay.reset" | "rd.live.overlay.reset", _) => {
                if name != "nop" && !is_on(value) {
                    return Ok("nothing".into());
                }
                self.on().reset = true;
                Ok("perch, with the session emptied first".into())
            }
            ("nopersistence" | "nopersistent" | "nop", _) => self.switched(false),
            (
                "persistence-read-only" | "changes-ro" | "rd.overlay.readonly" | "rd.live.overlay.readonly",
                value,
            ) => {
                if !is_on(value) {
                    return Ok("nothing".into());
                }
                self.on().usage = Use::ReadOnly;
                Ok("perch, with the session left as it is".into())
            }
            ("changes", Some(text)) => {
                let (usage, text) = match text.strip_prefix("EXIT:") {
                    Some(text) => (Use::AtExit, text),
                    None => (Use::ReadWrite, text),
                };
                let text = ["UUID:", "LABEL:"]
                    .iter()
                    .find_map(|tag| {
                        Some(format!("{}={}", tag.trim_end_matches(':'), text.strip_prefix(tag)?))
                    })
                    .unwrap_or_else(|| text.to_owned());
                self.on().usage = usage;
                if text.is_empty() && usage == Use::AtExit {
                    return Ok("perch, written at shutdown".into());
                }
                let read = self.at(place(name, &text)?)?;
                Ok(if usage == Use::AtExit { format!("{read}, written at shutdown") } else { read })
            }
            ("persistence-label" | "cow_label", Some(label)) => {
                self.device(DeviceName::Label(label.to_owned()));
                Ok(format!("perchdir=LABEL={label}"))
            }
            ("persistence-path" | "cow_directory", Some(path)) => {
                let path = format!("/{}", path.trim_matches('/'));
                self.on().place.get_or_insert_default().path = Some(path.clone());
                Ok(format!("perchdir={path}"))
            }
            ("cow_device", Some(text)) => {
                let place = place(name, text)?;
                self.device(place.device);
                Ok(format!("perchdir={text}"))
            }
            ("persistence-encryption", Some(kinds)) => {
                let encrypt = kinds.split(',').any(|kind| kind == "luks");
                self.on().encrypt = encrypt;
                Ok(if encrypt { "perch, encrypted" } else { "perch" }.into())
            }
            ("rd.overlay.crypt" | "rd.live.overlay.crypt" | "luksvol", value) if is_on(value) => {
                self.on().encrypt = true;
                Ok("perch, encrypted".into())
            }
            ("nozram", value) if is_on(value) => {
                self.zram = Compression::Off;
                Ok("zram=off".into())
            }
            ("zramsize", Some(text)) => {
                self.zram = Compression::parse(Some(text))?;
                Ok(format!("zram={text}"))
            }
            ("overlay-size" | "ramdisk-size" | "cow_spacesize", Some(text)) => self.memory_of(text),
            ("rd.overlay.size" | "rd.live.overlay.size", Some(text)) => {
                self.on().size = Some(size::bytes(text)?);
                Ok(format!("perchsize={text}"))
            }
            ("rd.overlay" | "rd.live.overlay", value) => self.overlay(name, value),
            _ => Err(format!("{name}: it says nothing")),
        }
    }

    /// dracut's `rd.overlay=`: a switch, a device with an optional folder, or memory.
    fn overlay(&mut self, name: &str, value: Option<&str>) -> Understood {
        match value {
            None | Some("1" | "yes") => self.switched(true),
            Some("0" | "no" | "none" | "off" | "tmpfs") => self.switched(false),
            Some(text) => match text.strip_prefix("tmpfs:size=") {
                Some(size) => {
                    self.persistence = None;
                    self.memory_of(size)
                }
                None => {
                    // Its automatic folder names depend on the medium's label; ours do not.
                    let text = text.strip_suffix(":auto").unwrap_or(text);
                    self.at(place(name, text)?)
                }
            },
        }
    }

    fn on(&mut self) -> &mut Persistence {
        self.persistence.get_or_insert_default()
    }

    fn switch(&mut self, on: bool) {
        if on {
            self.on();
        } else {
            self.persistence = None;
        }
    }

    fn switched(&mut self, on: bool) -> Understood {
        self.switch(on);
        Ok(if on { "perch" } else { "perch=no" }.into())
    }

    fn at(&mut self, place: From) -> Understood {
        let read = format!("perchdir={}", place.written());
        self.on().place = Some(place);
        Ok(read)
    }

    fn device(&mut self, device: DeviceName) {
        self.on().place.get_or_insert_default().device = device;
    }

    fn memory_of(&mut self, text: &str) -> Understood {
        self.memory = Some(MemorySize::parse(text)?);
        Ok(format!("ramsize={text}"))
    }
}

fn which(text: &str) -> Option<Which> {
    match text {
        "resume" => Some(Which::Resume),
        "new" => Some(Which::New),
        "ask" => Some(Which::Ask),
        number => number.parse().ok().filter(|&n| n > 0).map(Which::Number),
    }
}

fn place(name: &str, text: &str) -> Result<From, String> {
    From::read(name, text)
}

#[cfg(test)]
mod tests {
    use super::super::BootOptions;
    use super::*;

    fn at(device: DeviceName, path: Option<&str>) -> Option<From> {
        Some(From { device, path: path.map(str::to_owned) })
    }

    fn label(name: &str) -> DeviceName {
        DeviceName::Label(name.into())
    }

    fn on() -> Persistence {
        Persistence::default()
    }

    #[test]
    fn our_own_words() {
        let node = |n: &str| DeviceName::Node(n.into());
        for (line, expected) in [
            ("quiet", None),
            ("perch", Some(on())),
            ("perch=no", None),
            // The stock menu of Slax has no perch.
            ("perchdir=resume", Some(on())),
            ("perchsize=4G", Some(Persistence { size: Some(4 << 30), ..on() })),
            ("perchdir=new", Some(Persistence { session: Which::New, ..on() })),
            ("perchdir=ask", Some(Persistence { session: Which::Ask, ..on() })),
            ("perchdir=12 perch", Some(Persistence { session: Which::Number(12), ..on() })),
            ("perchdir=0", Some(Persistence { place: at(DeviceName::Any, Some("/0")), ..on() })),
            ("perchdir=/dev/sdb1/my/x", Some(Persistence { place: at(node("sdb1"), Some("/my/x")), ..on() })),
            (
                "perchdir=LABEL=DATA perchdir=ask",
                Some(Persistence { place: at(label("DATA"), None), session: Which::Ask, ..on() }),
            ),
            ("perch perchdir=3 perch=off", None),
            ("xperch perchx", None),
        ] {
            let read = BootOptions::parse(line);
            assert_eq!(read.persistence, expected, "{line}");
            assert_eq!((read.unclear, read.read_as), (vec![], vec![]), "{line}");
        }
    }

    #[test]
    fn words_of_others() {
        let uuid = |n: &str| DeviceName::Uuid(n.into());
        let node = |n: &str| DeviceName::Node(n.into());
        let placed = |device, path| Some(Persistence { place: at(device, path), ..on() });
        for (line, expected, said) in [
            ("persistence", Some(on()), "persistence: read as perch"),
            ("persistent", Some(on()), "persistent: read as perch"),
            ("perchmode=native", Some(on()), "perchmode=native: read as perch"),
            ("perch nopersistence", None, "nopersistence: read as perch=no"),
            ("perch nop", None, "nop: read as perch=no"),
            ("nop=wipe", Some(Persistence { reset: true, ..on() }), "emptied first"),
            ("rd.overlay.reset=1", Some(Persistence { reset: true, ..on() }), "emptied first"),
            ("rd.overlay.reset=0", None, "read as nothing"),
            (
                "changes=/dev/sda2/porteux",
                placed(node("sda2"), Some("/porteux")),
                "read as perchdir=/dev/sda2/porteux",
            ),
            ("changes=UUID:12-ab/x", placed(uuid("12-ab"), Some("/x")), "perchdir=UUID=12-ab/x"),
            (
                "changes=EXIT:/porteux",
                Some(Persistence {
                    place: at(DeviceName::Any, Some("/porteux")),
                    usage: Use::AtExit,
                    ..on()
                }),
                "written at shutdown",
            ),
            ("changes=EXIT:", Some(Persistence { usage: Use::AtExit, ..on() }), "written at shutdown"),
            ("changes-ro", Some(Persistence { usage: Use::ReadOnly, ..on() }), "left as it is"),
            ("persistence persistence-label=data", placed(label("data"), None), "perchdir=LABEL=data"),
            ("cow_label=C cow_directory=d/e", placed(label("C"), Some("/d/e")), "perchdir=/d/e"),
            ("cow_device=/dev/sdc1", placed(node("sdc1"), None), "perchdir=/dev/sdc1"),
            ("rd.overlay", Some(on()), "read as perch"),
            ("rd.live.overlay=none", None, "perch=no"),
            ("rd.live.overlay=LABEL=P:/ov", placed(label("P"), Some("/ov")), "perchdir=LABEL=P/ov"),
            ("rd.live.overlay=UUID=1-2:auto", placed(uuid("1-2"), None), "perchdir=UUID=1-2"),
            ("persistence=/data", placed(DeviceName::Any, Some("/data")), "perchdir=/data"),
            ("persistence-encryption=none,luks", Some(Persistence { encrypt: true, ..on() }), "encrypted"),
            (
                "rd.live.overlay.size=512",
                Some(Persistence { size: Some(512 << 20), ..on() }),
                "perchsize=512",
            ),
        ] {
            let read = BootOptions::parse(line);
            assert_eq!(read.persistence, expected, "{line}");
            assert!(read.read_as.iter().any(|r| r.contains(said)), "{line}: {:?}", read.read_as);
            assert_eq!(read.unclear, Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn the_size_of_memory() {
        for (line, expected) in [
            ("", None),
            ("ramsize=60%", Some(MemorySize::Percent(60))),
            ("cow_spacesize=256M", Some(MemorySize::Bytes(256 << 20))),
            ("rd.overlay=tmpfs:size=1G", Some(MemorySize::Bytes(1 << 30))),
        ] {
            let read = BootOptions::parse(line);
            assert_eq!((read.memory_size, read.persistence), (expected, None), "{line}");
        }
    }

    #[test]
    fn compressed_memory() {
        for (line, expected) in [
            ("", Compression::ByItself),
            ("zram", Compression::Asked(MemorySize::Percent(50))),
            ("zram=33%", Compression::Asked(MemorySize::Percent(33))),
            ("zramsize=1G", Compression::Asked(MemorySize::Bytes(1 << 30))),
            ("zram zram=off", Compression::Off),
            ("nozram", Compression::Off),
        ] {
            let read = BootOptions::parse(line);
            assert_eq!((read.zram, read.unclear), (expected, vec![]), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (line, part) in [
            ("perchsize=many", "many"),
            ("perchdir=http://x", "perchdir=http://x"),
            ("ramsize=200%", "200%"),
            ("zram=200%", "200%"),
            ("changes=", "changes"),
            ("perchdir=/dev/mapper/x", "perchdir=/dev/mapper/x"),
        ] {
            let read = BootOptions::parse(line);
            assert!(read.unclear.iter().any(|u| u.contains(part)), "{line}: {read:?}");
        }
    }
}
