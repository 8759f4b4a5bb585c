//! The modules of the initramfs: found in its lists, decompressed here, handed to the kernel.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use live::error::{AtPath, Context, Error, Result};
use live::kernel_modules::{DICTIONARY_FILE, ModuleIndex};
use live::log;
use live::options;
use rustix::io::Errno;
use zstd::bulk::Decompressor;
use zstd::dict::DecoderDictionary;

/// The modules for the running kernel, and what the command line says of them.
pub struct Modules {
    folder: PathBuf,
    index: ModuleIndex,
    dictionary: DecoderDictionary<'static>,
    parameters: Vec<(String, String)>,
    blocked: HashSet<String>,
    tried: Mutex<HashSet<PathBuf>>,
}

impl Modules {
    /// Reads the lists. An initramfs without modules for this kernel is one for a kernel that has all built in.
    pub fn of_this_kernel(home: &Path) -> Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = home.join(&release);
        let index = if folder.is_dir() {
            ModuleIndex::read(&folder).at("read the module lists in", &folder)?
        } else {
            log::warning(format_args!("no modules for this kernel, {release}, in the initramfs"));
            ModuleIndex::parse("", "", "", "")
        };
        // None is the same as an empty one.
        let dictionary = DecoderDictionary::copy(&fs::read(folder.join(DICTIONARY_FILE)).unwrap_or_default());
        let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let (parameters, blocked) = (module_parameters(&command_line), blocked_modules(&command_line));
        Ok(Self { folder, index, dictionary, parameters, blocked, tried: Mutex::default() })
    }

    /// The names of the modules that serve a modalias or an alias.
    pub fn serving(&self, alias: &str) -> Vec<String> {
        self.index.by_alias(alias)
    }

    /// The module's file, relative to the folder of modules.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        self.index.path(name)
    }

    /// Loads by name or alias. What is built into the kernel is there already, under whatever name: who needs a
    /// module that is nowhere will tell.
    pub fn load(&self, name: &str) -> Result<()> {
        let mut failure = None;
        let mut loaded = false;
        for module in self.serving(name) {
            match self.insert_all(&module).doing(&format!("module {module}")) {
                Ok(()) => loaded = true,
                Err(e) => failure = failure.or(Some(e)),
            }
        }
        // Of several that serve an alias some are for other processors: crc32c_intel beside crc32c_generic.
        failure.filter(|_| !loaded).map_or(Ok(()), Err)
    }

    /// Loads drivers; that one fails is no failure of the boot.
    pub fn load_drivers<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            if let Err(e) = self.insert_all(name) {
                log::info(format_args!("driver {name}: {e}"));
            }
        }
    }

    /// Inserts a module and what it needs.
    fn insert_all(&self, name: &str) -> Result<()> {
        let name = name.replace('-', "_");
        if self.blocked.contains(&name) {
            log::info(format_args!("module {name} is blocked on the command line"));
            return Ok(());
        }
        let mut first_failure = None;
        for file in self.index.load_order(&name) {
            if self.tried.lock().is_ok_and(|tried| tried.contains(&file)) {
                continue;
            }
            if let Err(e) = self.insert(&file) {
                // Many of the modules that come along are for processors this machine does not have. One that is
                // really missing shows in the module that was asked for.
                log::debug(format_args!("{e}"));
                let e = first_failure.get_or_insert(e);
                if module_name(&file) == name {
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
        let image = read_module(&path, &self.dictionary)?;
        let name = module_name(file);
        let parameters: Vec<&str> =
            self.parameters.iter().filter(|(module, _)| *module == name).map(|(_, p)| p.as_str()).collect();
        // A command line has no NUL in it.
        let parameters = CString::new(parameters.join(" ")).unwrap_or_default();
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

/// Reads a module, decompressing what the build compressed: one frame with the content's size in its header.
fn read_module(path: &Path, dictionary: &DecoderDictionary) -> Result<Vec<u8>> {
    let bytes = fs::read(path).at("read", path)?;
    if path.extension().is_none_or(|e| e != "zst") {
        return Ok(bytes);
    }
    let size = Decompressor::upper_bound(&bytes)
        .filter(|&size| size > 0)
        .ok_or_else(|| Error::at("decompress", path, "it is damaged"))?;
    Decompressor::with_prepared_dictionary(dictionary)
        .and_then(|mut decompressor| decompressor.decompress(&bytes, size))
        .at("decompress", path)
}

/// `kernel/fs/nls/nls_cp437.ko.zst` is nls_cp437; the kernel writes every dash in a name as an underscore.
fn module_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

/// `usb_storage.quirks=…` on the command line is the parameter `quirks=…` of usb_storage.
fn module_parameters(command_line: &str) -> Vec<(String, String)> {
    options::words(command_line)
        .iter()
        .filter_map(|word| {
            let (module, parameter) = word.split_once('.')?;
            let valid =
                !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
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

    #[test]
    fn modules_are_unpacked_and_damage_is_told() {
        let path = std::env::temp_dir().join(format!("livekit-module-{}.ko.zst", std::process::id()));
        let image = b"module ".repeat(5000);
        for dictionary in [&[][..], b"what modules have in common: the word module "] {
            let read = || read_module(&path, &DecoderDictionary::copy(dictionary));
            let mut compressor = zstd::bulk::Compressor::with_dictionary(3, dictionary).unwrap();
            let packed = compressor.compress(&image).unwrap();
            fs::write(&path, &packed).unwrap();
            assert_eq!(read().unwrap(), image);
            for damaged in [&packed[..packed.len() / 2], b"not zstd at all", b""] {
                fs::write(&path, damaged).unwrap();
                assert!(read().is_err());
            }
        }
        fs::remove_file(&path).unwrap();
    }
}
