//! The medium: finding the device, and the folder or ISO file on it, that the system is on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use live::error::{AtPath, Error, Result};
use live::layout;
use live::log;
use live::options::{BootOptions, DeviceName, From};

use crate::drivers::Drivers;
use crate::superblock::Superblock;

pub mod disks;

/// Seconds until a medium that does not show up is given up.
const WAIT: u64 = 60;

/// How often devices that could not be read are tried again: an optical drive takes seconds to know its disc, and
/// sends no event when it does.
const RETRY: Duration = Duration::from_secs(1);

/// The medium, mounted read only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// The device's name, such as `sdb1`.
    pub device: String,
    /// The folder that holds the bundles, mounted.
    pub live_folder: PathBuf,
    /// Whether the medium is an ISO file, with the device mounted as its carrier.
    pub is_iso_file: bool,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The kit's name.
    pub name: String,
    /// The build's id, if the command line has one.
    pub id: Option<String>,
    /// Where the user says it is.
    pub from: Option<From>,
}

/// Why a device was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: String,
    /// Worth another look without an event.
    pub may_change: bool,
}

/// The machine's disks, as the search sees them.
pub trait Disks {
    /// The names of all block devices that may hold a medium.
    fn list(&mut self) -> Vec<String>;
    /// Reads what file system a device holds.
    fn identify(&mut self, device: &str) -> std::result::Result<Superblock, Refusal>;
    /// Mounts a device and looks for the medium; leaves it mounted only if it is there.
    fn look_inside(
        &mut self,
        device: &str,
        holds: &Superblock,
        wanted: &Wanted,
    ) -> std::result::Result<Medium, Refusal>;
}

/// Finds the medium, waiting for devices that are not there yet.
pub fn find(options: &BootOptions, drivers: &Drivers) -> Result<Medium> {
    let name = std::fs::read_to_string(layout::KIT_NAME_FILE).at("read", layout::KIT_NAME_FILE)?;
    let wanted = Wanted { name: name.trim().to_owned(), id: options.id.clone(), from: options.from.clone() };
    let wait = Duration::from_secs(options.wait.unwrap_or(WAIT));
    let deadline = Instant::now() + wait;
    let mut disks = disks::Machine::new(drivers);
    let mut search = Search::default();
    let mut told = false;
    loop {
        if let Some(medium) = search.pass(&mut disks, &wanted) {
            return Ok(medium);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(search.failure(&wanted, wait));
        }
        if !told && wait - left.min(wait) > Duration::from_secs(5) {
            log::warning(format_args!(
                "waiting for the medium, up to {} s: {}",
                wait.as_secs(),
                search.seen()
            ));
            told = true;
        }
        // One event is seldom alone: a stick brings a device, a host, a disk and its partitions.
        let mut limit = left.min(RETRY);
        while let Some(event) = drivers.next_event(limit) {
            if let Some(node) = event.node.filter(|_| event.subsystem == "block") {
                search.forget(&node);
                limit = Duration::ZERO;
            }
        }
    }
}

/// What was looked at so far, and why it was not taken.
#[derive(Debug, Default)]
struct Search {
    refused: BTreeMap<String, Refusal>,
}

impl Search {
    /// Looks once at every device that is new, has changed, or may have.
    fn pass(&mut self, disks: &mut dyn Disks, wanted: &Wanted) -> Option<Medium> {
        for device in disks.list() {
            if self.refused.get(&device).is_some_and(|r| !r.may_change) {
                continue;
            }
            match look_at(disks, &device, wanted) {
                Ok(medium) => {
                    let folder = medium.live_folder.display();
                    log::info(format_args!("medium: {device}, bundles in {folder}"));
                    return Some(medium);
                }
                Err(refusal) => {
                    let news = self.refused.get(&device) != Some(&refusal);
                    if news {
                        log::info(format_args!("not {device}: {}", refusal.reason));
                    }
                    self.refused.insert(device, refusal);
                }
            }
        }
        None
    }

    /// A device has changed: what is known of it, and of its partitions, is old.
    fn forget(&mut self, device: &str) {
        self.refused.retain(|name, _| !name.starts_with(device));
    }

    fn seen(&self) -> String {
        if self.refused.is_empty() {
            return "no disk was seen".to_owned();
        }
        let list: Vec<String> =
            self.refused.iter().map(|(name, r)| format!("{name} ({})", r.reason)).collect();
        format!("looked at {}", list.join(", "))
    }

    fn failure(&self, wanted: &Wanted, wait: Duration) -> Error {
        let mut what = format!("no medium with {}", wanted.describe());
        if let Some(from) = &wanted.from {
            what.push_str(&format!(", from={},", from.written()));
        }
        let hint = if self.refused.is_empty() {
            "is the stick or disc in? its driver may be missing: build with --modules all; wait=SECONDS waits longer"
        } else {
            "from=/dev/NAME or from=/FOLDER names the place, wait=SECONDS waits longer, debug shows every step"
        };
        Error::new(format!("{what} in {} s; {}", wait.as_secs(), self.seen())).hint(hint)
    }
}

/// Decides on one device: first by its name and superblock, then by what is inside.
fn look_at(disks: &mut dyn Disks, device: &str, wanted: &Wanted) -> std::result::Result<Medium, Refusal> {
    let name = wanted.from.as_ref().map_or(&DeviceName::Any, |from| &from.device);
    if let DeviceName::Node(node) = name
        && node != device
    {
        return Err(Refusal::for_good(format!("from= names {node}")));
    }
    let holds = disks.identify(device)?;
    let (kind, asked, has) = match name {
        DeviceName::Label(label) => ("label", label, &holds.label),
        DeviceName::Uuid(uuid) => ("UUID", uuid, &holds.uuid),
        DeviceName::Any | DeviceName::Node(_) => return disks.look_inside(device, &holds, wanted),
    };
    match has {
        Some(has) if has.eq_ignore_ascii_case(asked) => disks.look_inside(device, &holds, wanted),
        Some(has) => Err(Refusal::for_good(format!("{}, its {kind} is {has}", holds.fs_type))),
        None => Err(Refusal::for_good(format!("{}, it has no {kind}", holds.fs_type))),
    }
}

impl Refusal {
    pub fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), may_change: false }
    }
}

impl Wanted {
    /// The folder or file looked for, starting with a slash.
    pub fn path(&self) -> String {
        self.from.as_ref().and_then(|f| f.path.clone()).unwrap_or_else(|| format!("/{}", self.name))
    }

    /// In words, for messages.
    pub fn describe(&self) -> String {
        match &self.id {
            Some(id) => format!("{} of build {id}", self.path()),
            None => self.path(),
        }
    }
}

#[cfg(test)]
mod tests;
