//! Which paths of a root go into the image.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use bundles::source::filter::Patterns;

use super::{Root, leave_out, running};
use crate::error::{Result, from_chain};
use crate::output::Output;
use crate::scratch;

/// What is left out of a root. Asked for every path on the way down: what is below a directory that is left out is
/// never asked for.
#[derive(Debug)]
pub struct Selection {
    root: PathBuf,
    patterns: Patterns,
    /// Relative directories that are kept empty.
    emptied: HashSet<PathBuf>,
    /// Relative paths that never go in.
    never: HashSet<PathBuf>,
    caches_out: bool,
}

impl Selection {
    /// For `root`: the tables, then the user's `patterns`. `never` are absolute paths that this command itself
    /// writes: they never go in, whatever the patterns say.
    pub fn new(root: &Root, patterns: &[String], never: &[PathBuf], output: &Output) -> Result<Self> {
        let mut selection = Selection {
            root: root.path().to_owned(),
            patterns: compile(root.is_running(), patterns)?,
            emptied: HashSet::new(),
            never: never.iter().filter_map(|path| inside(root.path(), path)).collect(),
            caches_out: root.is_running(),
        };
        if root.is_running() {
            selection.leave_out_mounts(output)?;
        }
        Ok(selection)
    }

    /// Leaves nothing out.
    #[cfg(test)]
    pub fn of_everything(root: &Path) -> Self {
        Selection {
            root: root.to_owned(),
            patterns: Patterns::new([""; 0]).unwrap(),
            emptied: HashSet::new(),
            never: HashSet::new(),
            caches_out: false,
        }
    }

    fn leave_out_mounts(&mut self, output: &Output) -> Result<()> {
        for left in running::left_out(&live::mounts::current()?) {
            let relative = left.path.strip_prefix("/").unwrap_or(&left.path).to_owned();
            // What a pattern leaves out anyway is not worth a word.
            if left.notable && !self.matches_above(&relative) {
                output.warning(format!(
                    "{} ({}) is left out: a file system of its own",
                    left.path.display(),
                    left.fs_type
                ));
            }
            self.emptied.insert(relative);
        }
        let swaps = std::fs::read("/proc/swaps").unwrap_or_default();
        self.never.extend(running::swap_files(&swaps).iter().filter_map(|path| inside(Path::new("/"), path)));
        Ok(())
    }

    fn matches_above(&self, relative: &Path) -> bool {
        self.patterns.leave_out_directory(relative)
    }

    /// Whether `relative`, whose metadata is given, goes in.
    pub fn keeps(&self, relative: &Path, metadata: &Metadata) -> bool {
        if self.never.contains(relative)
            || relative.parent().is_some_and(|parent| self.emptied.contains(parent))
        {
            return false;
        }
        // What another build leaves behind, or is doing just now.
        if metadata.is_dir()
            && relative
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(scratch::PREFIX.as_bytes()))
        {
            return false;
        }
        match self.patterns.leave_out(relative, metadata.is_dir()) {
            Some(true) => false,
            Some(false) => true,
            None => !(self.caches_out && metadata.is_dir() && self.is_tagged_cache(relative)),
        }
    }

    /// Whether a directory says of itself that it is a cache, as Cargo's build output does.
    fn is_tagged_cache(&self, relative: &Path) -> bool {
        if leave_out::TAGS_IGNORED_BELOW.iter().any(|top| relative.starts_with(top)) {
            return false;
        }
        let mut head = Vec::new();
        let tag = File::open(self.root.join(relative).join("CACHEDIR.TAG"));
        let read = tag.and_then(|file| file.take(leave_out::CACHE_TAG.len() as u64).read_to_end(&mut head));
        read.is_ok() && head == leave_out::CACHE_TAG
    }
}

/// `path` as seen from `root`; none when it is elsewhere. It need not exist, its directory must.
pub fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let real = folder.canonicalize().ok()?.join(path.file_name()?);
    Some(real.strip_prefix(root.canonicalize().ok()?).ok()?.to_owned())
}

fn compile(running: bool, patterns: &[String]) -> Result<Patterns> {
    let tables = [leave_out::EVERY_ROOT, if running { leave_out::RUNNING } else { &[] }];
    let ours = tables.into_iter().flatten().map(|(pattern, _)| *pattern);
    Patterns::new(ours.chain(patterns.iter().map(String::as_str))).map_err(|error| from_chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn selection(running: bool, patterns: &[&str], root: &Path) -> Selection {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Selection {
            root: root.to_owned(),
            patterns: compile(running, &patterns).unwrap(),
            emptied: HashSet::from([PathBuf::from("data")]),
            never: HashSet::from([PathBuf::from("home/me/out.iso")]),
            caches_out: running,
        }
    }

    #[test]
    fn what_goes_in() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let (file, folder) = (file.metadata().unwrap(), dir.path().metadata().unwrap());
        let user = &["*.iso", "/srv/*", "!/srv/keep", "!/var/log/journal/*", "secret/"][..];
        for (path, is_dir, running, any) in [
            ("proc", true, true, true),
            ("proc/1", true, false, false),
            ("tmp", true, true, true),
            ("tmp/x", false, false, false),
            ("boot/initrd.img-6.1", false, false, false),
            ("boot/vmlinuz-6.1", false, true, true),
            ("etc/fstab", false, false, true),
            ("root/etc/fstab", false, true, true),
            ("etc/machine-id", false, false, true),
            ("var/cache/apt/archives/a.deb", false, false, true),
            ("var/cache/apt/archives/lock", false, true, true),
            ("home/a/.cache", true, true, true),
            ("home/a/.cache/x", true, false, true),
            ("var/log/syslog", false, true, true),
            ("var/log/syslog.1", false, false, true),
            ("var/log/apt/term.log.2.gz", false, false, true),
            ("var/log/journal/abc", true, true, true),
            ("srv", true, true, true),
            ("srv/x", false, false, false),
            ("srv/keep", false, true, true),
            ("opt/a.iso", false, false, false),
            ("opt/secret", true, false, false),
            ("opt/secret", false, true, true),
            ("data", true, true, true),
            ("data/x", false, false, false),
            ("home/me/out.iso", false, false, false),
            ("home/me/.livekit-x1", true, false, false),
            ("home/me/.livekit-x1", false, true, true),
        ] {
            let metadata = if is_dir { &folder } else { &file };
            let keeps = |running| selection(running, user, dir.path()).keeps(Path::new(path), metadata);
            assert_eq!((keeps(true), keeps(false)), (running, any), "{path}");
        }
    }

    #[test]
    fn build_output_stays_out_of_the_running_system() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, tag) in [
            ("work/target", &b"Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo"[..]),
            ("work/fake", b"Signature: none"),
            ("var/cache/fontconfig", b"Signature: 8a477f597d28d172789f06886806bc55"),
        ] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("CACHEDIR.TAG"), tag).unwrap();
        }
        let metadata = dir.path().metadata().unwrap();
        for (path, running) in
            [("work/target", false), ("work/fake", true), ("work", true), ("var/cache/fontconfig", true)]
        {
            assert_eq!(selection(true, &[], dir.path()).keeps(Path::new(path), &metadata), running, "{path}");
            assert!(selection(false, &[], dir.path()).keeps(Path::new(path), &metadata), "{path}");
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        let error = compile(false, &["a[".to_owned()]).unwrap_err();
        assert!(error.message().starts_with("cannot understand the pattern `a[`"), "{error}");
    }

    #[test]
    fn own_files_are_found_inside_the_root_only() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        assert_eq!(inside(dir.path(), &dir.path().join("out/x.iso")), Some("out/x.iso".into()));
        assert_eq!(inside(&dir.path().join("out"), &dir.path().join("x.iso")), None);
    }
}
