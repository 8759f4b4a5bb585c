//! What is in the initramfs, by path.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use live::error::{AtPath, Error, Result};
use live::kernel_modules::{DICTIONARY_FILE, ModuleIndex};

use super::cpio::{Content, Entry};
use super::firmware::Firmware;
use super::indices::Indices;
use super::modules::{Modules, Stored};
use super::selection::{self, ModuleSet};
use super::{KernelTree, Parts};

/// Directories the boot expects, even if nothing is in them.
const DIRECTORIES: &[&str] = &["bin", "dev", "etc", "lib", "m", "memory", "oldroot", "proc", "run", "sys"];

/// The files of an initramfs before they are an archive.
#[derive(Debug, Default)]
pub(super) struct Contents {
    entries: BTreeMap<String, Entry>,
    /// Module files with their stored size.
    pub(super) modules: Vec<(PathBuf, u64)>,
    pub(super) firmware: Vec<String>,
    pub(super) firmware_left_out: Vec<String>,
}

impl Contents {
    /// Gathers everything: the programs, the kit's name, the modules and their firmware.
    ///
    /// # Errors
    /// A file cannot be read, or a module of a list does not exist.
    pub(super) fn gather(kernel: &KernelTree, parts: &Parts, set: &ModuleSet) -> Result<Self> {
        let mut contents = Self::default();
        for directory in DIRECTORIES {
            contents.directory(directory);
        }
        contents.device("dev/console", 0o600, 5, 1);
        contents.device("dev/null", 0o666, 1, 3);
        contents.program("init", &parts.init)?;
        contents.program("shutdown", &parts.cleanup)?;
        if let Some(busybox) = &parts.busybox {
            contents.program("bin/busybox", busybox)?;
        }
        for (place, file) in &parts.tools {
            contents.program(place, file)?;
        }
        contents.file("etc/livekit/name", 0o644, format!("{}\n", parts.name).into_bytes());
        contents.kernel_modules(kernel, parts.firmware_dir.as_deref(), set)?;
        Ok(contents)
    }

    /// The entries in the order of the archive: directories, then files, those near the root first. So `init` and
    /// `shutdown`, which share most of their code, are neighbours and compress as one.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.entries.into_values().collect();
        entries.sort_by_key(|e| (e.content != Content::Directory, e.path.matches('/').count()));
        entries
    }

    fn kernel_modules(
        &mut self,
        kernel: &KernelTree,
        firmware_dir: Option<&Path>,
        set: &ModuleSet,
    ) -> Result<()> {
        let texts = read_indices(&kernel.modules_dir)?;
        let index = ModuleIndex::parse(&texts.dep, &texts.alias, &texts.softdep, &texts.builtin);
        let selected = selection::select(&index, set)?;
        let paths: Vec<&Path> = selected.iter().filter_map(|name| index.path(name)).collect();
        let Modules { dictionary, stored } = Modules::compress(&kernel.modules_dir, &paths)?;
        let base = format!("lib/modules/{}", kernel.version);
        if let Some(dictionary) = dictionary {
            self.file(&format!("{base}/{DICTIONARY_FILE}"), 0o644, dictionary);
        }
        let mut firmware = Firmware::default();
        for Stored { path, bytes, firmware: names } in stored {
            if let Some(dir) = firmware_dir {
                firmware.add(dir, &names)?;
            }
            self.modules.push((PathBuf::from(&path), bytes.len() as u64));
            self.file(&format!("{base}/{path}"), 0o644, bytes);
        }
        self.firmware = firmware.files.iter().map(|(name, _)| name.clone()).collect();
        self.firmware_left_out = firmware.left_out;
        for (name, bytes) in firmware.files {
            self.file(&format!("lib/firmware/{name}"), 0o644, bytes);
        }
        let texts = texts.filtered(&selected);
        for (name, text) in [
            ("dep", texts.dep),
            ("alias", texts.alias),
            ("softdep", texts.softdep),
            ("builtin", texts.builtin),
        ] {
            self.file(&format!("{base}/modules.{name}"), 0o644, text.into_bytes());
        }
        Ok(())
    }

    fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        self.file(path, 0o755, fs::read(from).at("read", from)?);
        Ok(())
    }

    fn file(&mut self, path: &str, permissions: u32, bytes: Vec<u8>) {
        self.insert(path, permissions, Content::File(bytes));
    }

    fn device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.insert(path, permissions, Content::CharacterDevice { major, minor });
    }

    fn directory(&mut self, path: &str) {
        if !path.is_empty() && !self.entries.contains_key(path) {
            self.insert(path, 0o755, Content::Directory);
        }
    }

    /// Adds an entry, and the directories it is in.
    fn insert(&mut self, path: &str, permissions: u32, content: Content) {
        self.directory(path.rsplit_once('/').map_or("", |(parent, _)| parent));
        self.entries.insert(path.to_owned(), Entry { path: path.to_owned(), permissions, content });
    }
}

fn read_indices(dir: &Path) -> Result<Indices> {
    let optional = |name: &str| match fs::read_to_string(dir.join(name)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.at("read", dir.join(name)),
    };
    let dep = optional("modules.dep")?;
    if dep.is_empty() {
        return Err(Error::at("read", dir.join("modules.dep"), "the kernel's modules have no index")
            .hint("make it with `depmod -b ROOT VERSION`"));
    }
    let (alias, softdep, builtin) =
        (optional("modules.alias")?, optional("modules.softdep")?, optional("modules.builtin")?);
    Ok(Indices { dep, alias, softdep, builtin })
}
