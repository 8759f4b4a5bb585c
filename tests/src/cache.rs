//! Things that take long to make (kernels, roots, ISOs), kept outside the tree under a key of everything
//! that goes into them. A missing one is made anew; a half-made one never gets its final name.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Entries of one kind beyond the newest ones are removed, unless used this lately.
const KEPT_PER_KIND: usize = 3;
const IN_USE: Duration = Duration::from_secs(2 * 3600);

/// `LIVEKIT_TEST_CACHE`, or `livekit-tests` in the user's cache.
pub fn folder() -> PathBuf {
    let default = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into()));
        cache.unwrap_or_else(|| home().join(".cache")).join("livekit-tests")
    };
    std::env::var_os("LIVEKIT_TEST_CACHE").map_or_else(default, PathBuf::from)
}

/// Identity of an input: its words and the content of its files.
#[derive(Default)]
pub struct Key(DefaultHasher);

impl Key {
    pub fn word(mut self, word: &str) -> Self {
        word.hash(&mut self.0);
        self
    }

    pub fn file(mut self, file: &Path) -> Self {
        let content =
            fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        content.hash(&mut self.0);
        self
    }

    fn finish(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// The entry of this kind and key: a file or a folder, made by `make` at the path it is given if it is not
/// there yet. Other processes that want the same one wait.
pub fn entry(kind: &str, key: &Key, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    let name = format!("{kind}-{}", key.finish());
    let path = folder.join(&name);
    let _lock = lock(&folder.join(format!("{kind}.lock")));
    if !path.exists() {
        eprintln!("cache: making {name}");
        let partial = folder.join(format!("{name}.partial"));
        remove(&partial);
        make(&partial);
        fs::rename(&partial, &path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        remove_old(&folder, kind, &path);
    }
    // The time of last use decides what is removed.
    if let Ok(file) = File::open(&path) {
        let _ = file.set_modified(SystemTime::now());
    }
    path
}

/// Waits for a lock file, held until the value is dropped.
pub fn lock(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}

fn remove_old(folder: &Path, kind: &str, made: &Path) {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let same_kind = name.rsplit_once('-').is_some_and(|(start, _)| start == kind);
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        if let Ok(used) = used
            && same_kind
            && entry.path() != made
        {
            others.push((used, entry.path()));
        }
    }
    others.sort();
    let surplus = others.len().saturating_sub(KEPT_PER_KIND - 1);
    for (used, path) in others.into_iter().take(surplus) {
        if used.elapsed().is_ok_and(|age| age > IN_USE) {
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::NotFound
    {
        panic!("cannot remove {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_inputs_apart() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let key = || Key::default().word("tiny").file(file.path()).finish();
        let empty = key();
        assert_eq!(empty, key());
        fs::write(file.path(), "content").expect("a writable file");
        assert_ne!(empty, key());
        assert_ne!(
            Key::default().word("ab").word("c").finish(),
            Key::default().word("a").word("bc").finish()
        );
    }
}
