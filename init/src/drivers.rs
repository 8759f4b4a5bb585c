//! Drivers: kernel modules for what the machine has, found by modalias, loaded without any helper process.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use live::error::{AtPath, Context, Error, Result};
use live::kernel_modules::ModuleIndex;
use live::layout::MODULES;
use live::log;
use live::options;
use live::sys::uevent::{Uevent, Uevents};
use rustix::io::Errno;

/// The modules of the initramfs, and the devices as they appear.
pub struct Drivers {
    folder: PathBuf,
    index: ModuleIndex,
    events: Uevents,
    parameters: Vec<(String, String)>,
    blocked: HashSet<String>,
    tried: Mutex<HashSet<PathBuf>>,
}

impl Drivers {
    /// Loads the driver of every device the machine has now; [`Self::next_event`] serves those that come later.
    pub fn load_for_this_machine() -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = Path::new(MODULES).join(&release);
        // Listening starts before the look around, so that no device falls between.
        let events = Uevents::open()?;
        let index = if folder.is_dir() {
            ModuleIndex::read(&folder).at("read the module lists in", &folder)?
        } else {
            log::warning(format_args!("no modules for this kernel, {release}, in the initramfs"));
            ModuleIndex::parse("", "", "", "")
        };
        let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let drivers = Self {
            folder,
            index,
            events,
            parameters: module_parameters(&command_line),
            blocked: blocked_modules(&command_line),
            tried: Mutex::default(),
        };
        drivers.load_for_present_devices();
        Ok(drivers)
    }

    /// Loads a module by name or alias, with all it needs. A module built into the kernel is there already.
    pub fn load(&self, name: &str) -> Result<()> {
        let names = self.index.by_alias(name);
        if names.is_empty() && !self.index.is_builtin(name) {
            // The kernel may have it built in under a name its lists do not have: whoever needs it will tell.
            log::debug(format_args!("no module {name} in the initramfs"));
        }
        for name in names {
            self.load_with_dependencies(&name).doing(&format!("module {name}"))?;
        }
        Ok(())
    }

    /// Waits for a device to come or change and loads its driver. `None`: nothing came within `limit`.
    pub fn next_event(&self, limit: Duration) -> Option<Uevent> {
        let event = self.events.next(limit)?;
        if event.action.is_empty() {
            self.load_for_present_devices();
        } else if let Some(modalias) = event.modalias.as_deref().filter(|_| event.action == "add") {
            self.load_for(self.index.by_alias(modalias));
        }
        Some(event)
    }

    fn load_for_present_devices(&self) {
        let mut aliases: Vec<String> = present_modaliases();
        aliases.sort();
        aliases.dedup();
        let mut names: Vec<String> = aliases.iter().flat_map(|alias| self.index.by_alias(alias)).collect();
        names.sort();
        names.dedup();
        log::info(format_args!("{} kinds of devices ask for drivers: {}", aliases.len(), names.join(" ")));
        self.load_for(names);
    }

    /// Loads modules for devices, several at a time where there are several processors: most of a driver's start is
    /// waiting for its hardware. That one fails is no failure of the boot.
    fn load_for(&self, names: Vec<String>) {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4).min(names.len());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(e) = self.load_with_dependencies(name) {
                    log::info(format_args!("driver {name}: {e}"));
                }
            }
        };
        if workers < 2 {
            return work();
        }
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
    }

    fn load_with_dependencies(&self, name: &str) -> Result<()> {
        if self.blocked.contains(&name.replace('-', "_")) {
            log::info(format_args!("module {name} is blocked on the command line"));
            return Ok(());
        }
        let mut first_failure = None;
        for file in self.index.load_order(name) {
            if self.tried.lock().is_ok_and(|tried| tried.contains(&file)) {
                continue;
            }
            if let Err(e) = self.insert(&file) {
                // Many of the modules that come along are for processors this machine does not have. One that is
                // really missing shows in the module that was asked for.
                log::debug(format_args!("{e}"));
                let e = first_failure.get_or_insert(e);
                if module_name(&file) == name.replace('-', "_") {
                    return Err(e.clone());
                }
            }
            // Noted only now: two workers may both insert it, and the kernel lets the second wait for the first.
            if let Ok(mut tried) = self.tried.lock() {
                tried.insert(file);
            }
        }
        Ok(())
    }

    fn insert(&self, file: &Path) -> Result<()> {
        let path = self.folder.join(file);
        let image = read_module(&path)?;
        let name = module_name(file);
        let parameters: Vec<&str> =
            self.parameters.iter().filter(|(module, _)| *module == name).map(|(_, p)| p.as_str()).collect();
        let parameters = std::ffi::CString::new(parameters.join(" ")).unwrap_or_default();
        match rustix::system::init_module(&image, &parameters) {
            Ok(()) => log::debug(format_args!("module {name}")),
            Err(Errno::EXIST) => {}
            Err(Errno::KEYREJECTED | Errno::PERM) => {
                return Err(Error::at("load", &path, "the kernel does not accept its signature")
                    .hint("with Secure Boot on, only modules signed for this kernel load"));
            }
            Err(e) => return Err(Error::at("load", &path, std::io::Error::from(e))),
        }
        Ok(())
    }
}

/// Reads a module, decompressing what the build compressed.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).at("read", path)?;
    if path.extension().is_none_or(|e| e != "zst") {
        return Ok(bytes);
    }
    let mut image = Vec::with_capacity(bytes.len() * 4);
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice())
        .map_err(|e| Error::at("decompress", path, e))?;
    decoder.read_to_end(&mut image).at("decompress", path)?;
    Ok(image)
}

/// `kernel/fs/nls/nls_cp437.ko.zst` is nls_cp437; the kernel writes every dash in a name as an underscore.
fn module_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().replace('-', "_")
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

/// `usb_storage.quirks=…` on the command line is the parameter `quirks=…` of usb_storage.
fn module_parameters(command_line: &str) -> Vec<(String, String)> {
    options::words(command_line)
        .iter()
        .filter_map(|word| {
            let (module, parameter) = word.split_once('.')?;
            let valid = !module.is_empty()
                && module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            valid.then(|| (module.replace('-', "_"), parameter.to_owned()))
        })
        .collect()
}

/// `modprobe.blacklist=a,b` and `module_blacklist=a,b` on the command line.
fn blocked_modules(command_line: &str) -> HashSet<String> {
    options::words(command_line)
        .iter()
        .filter_map(|w| w.strip_prefix("modprobe.blacklist=").or_else(|| w.strip_prefix("module_blacklist=")))
        .flat_map(|list| list.split(','))
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_modules() {
        let line = "root=/dev/x.y usb-storage.quirks=1:2:u loop.max_loop=8 livekit.id=7 quiet";
        let expected = [("usb_storage", "quirks=1:2:u"), ("loop", "max_loop=8"), ("livekit", "id=7")];
        let found = module_parameters(line);
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn blocked_on_the_command_line() {
        let blocked = blocked_modules("modprobe.blacklist=uas,snd-x module_blacklist=ahci");
        let mut blocked: Vec<_> = blocked.into_iter().collect();
        blocked.sort();
        assert_eq!(blocked, ["ahci", "snd_x", "uas"]);
    }

    #[test]
    fn names_of_files() {
        assert_eq!(module_name(Path::new("kernel/drivers/usb/storage/usb-storage.ko.zst")), "usb_storage");
        assert_eq!(module_name(Path::new("a/ext4.ko")), "ext4");
    }
}
