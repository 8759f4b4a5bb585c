//! Drivers: kernel modules for what the machine has, found by modalias, loaded without any helper process.
//!
//! They are loaded beside the search for the medium, the likely ones first, and only until the medium is there:
//! the rest is the running system's own business, which its udev does while other services start.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use live::error::Result;
use live::log;
use live::sys::uevent::{Uevent, Uevents};

use modules::Modules;

mod modules;

/// How long a driver that was just loaded has to show its disks before the next one is loaded.
const GRACE: Duration = Duration::from_millis(25);

/// The drivers of this machine, and its devices as they appear.
pub struct Drivers {
    modules: Arc<Modules>,
    events: Uevents,
    waiting: Arc<Mutex<VecDeque<String>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Drivers {
    /// Looks at every device the machine has now and starts to load what it asks for. Most of a driver's start is
    /// waiting for its hardware, so several are loaded at a time where there are several processors. `modules` is the
    /// folder of modules for all kernels.
    pub fn start(modules: &Path) -> Result<Self> {
        // Listening starts before the look around, so that no device falls between.
        let events = Uevents::open()?;
        let modules = Arc::new(Modules::of_this_kernel(modules)?);
        let names = asked_for(&modules);
        log::info(format_args!("drivers for this machine: {}", names.join(" ")));
        let waiting = Arc::new(Mutex::new(VecDeque::from(names)));
        // This thread has the search to do; on a single processor it loads drivers too, in between.
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(5) - 1;
        let workers = (0..count)
            .map(|_| {
                let (modules, waiting) = (Arc::clone(&modules), Arc::clone(&waiting));
                std::thread::spawn(move || {
                    while let Some(name) = take(&waiting) {
                        modules.load_drivers([&name]);
                    }
                })
            })
            .collect();
        Ok(Self { modules, events, waiting, workers })
    }

    /// Loads a module by name or alias, with all it needs.
    pub fn load(&self, name: &str) -> Result<()> {
        self.modules.load(name)
    }

    /// Waits for a device to come or change and loads its driver. `None`: nothing came within `limit`.
    pub fn next_event(&self, limit: Duration) -> Option<Uevent> {
        let event = self.next_of_kernel(limit)?;
        if event.action.is_empty() {
            self.modules.load_drivers(&asked_for(&self.modules));
        } else if let Some(modalias) = event.modalias.as_deref().filter(|_| event.action == "add") {
            self.modules.load_drivers(&self.modules.serving(modalias));
        }
        Some(event)
    }

    /// The next event as the kernel sent it. While it is quiet, a processor that is alone loads waiting drivers.
    fn next_of_kernel(&self, limit: Duration) -> Option<Uevent> {
        while self.workers.is_empty() {
            if let Some(event) = self.events.next(GRACE.min(limit)) {
                return Some(event);
            }
            if limit.is_zero() {
                return None;
            }
            let Some(name) = take(&self.waiting) else { break };
            self.modules.load_drivers([&name]);
        }
        self.events.next(limit)
    }

    /// Starts no further drivers.
    pub fn stop(&self) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.clear();
        }
    }

    /// Loads what is still to be loaded, for a system that does not do it itself.
    pub fn load_all(&self) {
        self.modules.load_drivers(&asked_for(&self.modules));
        while let Some(event) = self.next_event(Duration::ZERO) {
            log::debug(format_args!("{event:?}"));
        }
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        self.stop();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    }
}

fn take(waiting: &Mutex<VecDeque<String>>) -> Option<String> {
    waiting.lock().ok()?.pop_front()
}

/// The modules that the present devices ask for, those that more likely lead to the medium first.
fn asked_for(modules: &Modules) -> Vec<String> {
    let mut aliases = present_modaliases();
    aliases.sort();
    aliases.dedup();
    let mut names: Vec<String> = aliases.iter().flat_map(|alias| modules.serving(alias)).collect();
    names.sort();
    names.dedup();
    names.sort_by_cached_key(|name| modules.file_of(name).map_or(u8::MAX, rank));
    names
}

/// What every device on every bus asks for.
fn present_modaliases() -> Vec<String> {
    let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    list(Path::new("/sys/bus"))
        .flat_map(|bus| list(&bus.join("devices")).collect::<Vec<_>>())
        .filter_map(|device| fs::read_to_string(device.join("modalias")).ok())
        .map(|alias| alias.trim_end().to_owned())
        .filter(|alias| !alias.is_empty())
        .collect()
}

/// A driver's place in the queue, from where its module lies in the kernel's tree: virtual disks are there at once
/// and USB takes seconds to show its sticks, so both start early; keyboards only matter to a rescue shell.
fn rank(file: &Path) -> u8 {
    let path = file.to_string_lossy();
    let below = |folders: &[&str]| folders.iter().any(|f| path.contains(f));
    if below(&["drivers/virtio/", "drivers/usb/host/"]) {
        0
    } else if below(&["drivers/hid/", "drivers/input/"]) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_drivers_come_first() {
        let mut files = [
            "kernel/drivers/hid/usbhid/usbhid.ko.zst",
            "kernel/drivers/ata/ahci.ko.zst",
            "kernel/drivers/usb/host/xhci-pci.ko.zst",
            "kernel/drivers/nvme/host/nvme.ko.zst",
        ];
        files.sort_by_key(|f| rank(Path::new(f)));
        assert!(files[0].contains("xhci") && files[3].contains("usbhid"), "{files:?}");
    }
}
