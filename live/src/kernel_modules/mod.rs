//! The index of a kernel's modules: which module serves a device, and what has to be loaded before it.
//!
//! Formats: modules.dep(5) and depmod(8) of kmod. The indices are read as text, so they can be filtered, compared and
//! made without depmod.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pattern::{matches, normal, normal_name};

/// The file beside modules.dep in an initramfs whose modules are compressed with a zstd dictionary: that dictionary.
/// Without the file they are compressed without one.
pub const DICTIONARY_FILE: &str = "modules.dictionary";

/// What modules.dep, modules.alias, modules.softdep and modules.builtin say.
///
/// Names of modules are given back as the kernel spells them in /proc/modules (`dm_mod`, never `dm-mod`) and taken in
/// either spelling.
#[derive(Debug, Default)]
pub struct ModuleIndex {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    alias_text: String,
    /// Sorted by key.
    aliases: Vec<Alias>,
}

#[derive(Debug, Default)]
struct Module {
    path: PathBuf,
    /// File names as modules.dep has them: the one to load last stands first.
    dependencies: Vec<String>,
    before: Vec<String>,
    after: Vec<String>,
}

/// One line of modules.alias, as places in its text.
#[derive(Debug)]
struct Alias {
    key: u128,
    pattern: Range<usize>,
    module: Range<usize>,
}

/// Bytes of an alias that select patterns before any is matched. Sixteen reach into the device number of
/// `pci:v00008086d00002922…`, so that a lookup tries tens of patterns, not thousands.
const KEY_BYTES: usize = 16;

impl ModuleIndex {
    /// Reads the four texts. Lines that are not understood are passed over.
    pub fn parse(dep: &str, alias: &str, softdep: &str, builtin: &str) -> Self {
        Self::from_texts(dep, alias.to_owned(), softdep, builtin)
    }

    /// Reads the index of the modules in `dir` (`/lib/modules/VERSION`). Only modules.dep has to be there.
    ///
    /// # Errors
    /// Those of reading the files.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let optional = |name| match fs::read_to_string(dir.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let dep = fs::read_to_string(dir.join("modules.dep"))?;
        let alias = optional("modules.alias")?;
        Ok(Self::from_texts(&dep, alias, &optional("modules.softdep")?, &optional("modules.builtin")?))
    }

    fn from_texts(dep: &str, alias_text: String, softdep: &str, builtin: &str) -> Self {
        let mut modules: BTreeMap<_, _> = dep.lines().filter_map(dependency_line).collect();
        for line in softdep.lines() {
            add_soft_dependencies(line, &mut modules);
        }
        let builtin = builtin.lines().filter(|l| !l.is_empty()).map(module_name).collect();
        let aliases = parse_aliases(&alias_text);
        Self { modules, builtin, alias_text, aliases }
    }

    /// Whether the kernel has this module inside.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&normal_name(name))
    }

    /// Whether there is a file for this module.
    pub fn contains(&self, name: &str) -> bool {
        self.modules.contains_key(&normal_name(name))
    }

    /// The names of all modules that have a file, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The module's file, relative to the directory of the index.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.modules.get(&normal_name(name)).map(|m| m.path.as_path())
    }

    /// The modules for a modalias (`pci:v0000…`), a request of the kernel (`fs-ext4`, `crypto-crc32c`) or the module of
    /// that name, in the order of modules.alias. As with modprobe, the name of a module comes before an alias, and there
    /// may be several modules for an alias: all of them are to be loaded.
    pub fn by_alias(&self, alias: &str) -> Vec<String> {
        let name = normal_name(alias);
        if self.modules.contains_key(&name) {
            return vec![name];
        }
        let text = alias.as_bytes();
        let mut found: Vec<&Alias> = Vec::new();
        for length in 0..=KEY_BYTES.min(text.len()) {
            let wanted = key(&text[..length]);
            let start = self.aliases.partition_point(|a| a.key < wanted);
            let same = self.aliases[start..].iter().take_while(|a| a.key == wanted);
            found.extend(same.filter(|a| matches(self.alias_text[a.pattern.clone()].as_bytes(), text)));
        }
        found.sort_unstable_by_key(|a| a.pattern.start);
        let mut names: Vec<String> = Vec::new();
        for alias in found {
            let name = normal_name(&self.alias_text[alias.module.clone()]);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The files to load for a module, first to last, relative to the directory of the index: what it needs, the soft
    /// dependencies before it, itself, the soft dependencies after it; each once. Empty if there is no file for it.
    ///
    /// Soft dependencies may fail to load (a driver for another CPU does); only the others have to.
    pub fn load_order(&self, name: &str) -> Vec<PathBuf> {
        let mut visit = Visit { index: self, seen: BTreeSet::new(), order: Vec::new() };
        visit.module(&normal_name(name));
        visit.order
    }

    /// The names of all modules that `name` asks for, directly: hard and soft dependencies, aliases resolved.
    pub fn asked_for_by(&self, name: &str) -> Vec<String> {
        let Some(module) = self.modules.get(&normal_name(name)) else { return Vec::new() };
        let soft = module.before.iter().chain(&module.after).flat_map(|s| self.by_alias(s));
        module.dependencies.iter().cloned().chain(soft).collect()
    }
}

/// A walk along the dependencies; cycles among soft dependencies end at what was seen before.
struct Visit<'a> {
    index: &'a ModuleIndex,
    seen: BTreeSet<String>,
    order: Vec<PathBuf>,
}

impl Visit<'_> {
    fn module(&mut self, name: &str) {
        let Some(module) = self.index.modules.get(name) else { return };
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        self.soft(&module.before);
        for dependency in module.dependencies.iter().rev() {
            self.module(dependency);
        }
        self.order.push(module.path.clone());
        self.soft(&module.after);
    }

    fn soft(&mut self, names: &[String]) {
        for name in names.iter().flat_map(|n| self.index.by_alias(n)) {
            self.module(&name);
        }
    }
}

/// `kernel/fs/ext4/ext4.ko.xz` is `ext4`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal_name(file.split(".ko").next().unwrap_or(file))
}

/// `kernel/a.ko: kernel/c.ko kernel/b.ko`
fn dependency_line(line: &str) -> Option<(String, Module)> {
    let (path, needed) = line.split_once(':')?;
    let dependencies = needed.split_ascii_whitespace().map(module_name).collect();
    Some((module_name(path), Module { path: PathBuf::from(path), dependencies, ..Module::default() }))
}

/// `softdep NAME pre: a b post: c`, more than once for a module. Words before `pre:` or `post:` mean nothing.
fn add_soft_dependencies(line: &str, modules: &mut BTreeMap<String, Module>) {
    let mut words = line.split_ascii_whitespace();
    let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { return };
    let Some(module) = modules.get_mut(&normal_name(name)) else { return };
    let mut place = None;
    for word in words {
        match (word, place) {
            ("pre:" | "post:", _) => place = Some(word),
            (_, Some("pre:")) => module.before.push(word.to_owned()),
            (_, Some(_)) => module.after.push(word.to_owned()),
            (_, None) => {}
        }
    }
}

/// `alias PATTERN NAME`; a pattern may hold spaces.
fn parse_aliases(text: &str) -> Vec<Alias> {
    let mut aliases = Vec::with_capacity(text.len() / 48);
    let mut next = 0;
    for line in text.split_inclusive('\n') {
        let start = next;
        next += line.len();
        if !line.starts_with("alias ") {
            continue;
        }
        let (from, end) = (start + "alias ".len(), start + line.trim_ascii_end().len());
        let Some(space) = text[from..end].rfind(' ') else { continue };
        let pattern = from..from + space;
        let key = key(&text.as_bytes()[pattern.clone()]);
        aliases.push(Alias { key, pattern, module: from + space + 1..end });
    }
    aliases.sort_unstable_by_key(|a| a.key);
    aliases
}

/// What a pattern begins with up to its first wildcard, at most [`KEY_BYTES`]. Taken of the beginning of an alias it is
/// equal for the patterns that begin so.
fn key(pattern: &[u8]) -> u128 {
    let literal = pattern.iter().take(KEY_BYTES).take_while(|b| !matches!(b, b'*' | b'?' | b'[' | b'\\'));
    literal.fold((0, 120), |(key, shift), &b| (key | u128::from(normal(b)) << shift, shift - 8)).0
}

#[cfg(test)]
mod tests;
