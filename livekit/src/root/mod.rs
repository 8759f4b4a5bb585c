//! The root file system an image is made of: where it comes from, and what of it goes in.

mod archive;
mod debian;
pub mod leave_out;
mod real_paths;
mod running;
mod selection;
pub mod survey;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use debian::DebianOptions;
pub use real_paths::RealPaths;
pub use selection::{Selection, inside};

use crate::error::{AtPath, Error, Result};
use crate::output::Output;
use crate::scratch::Scratch;

/// What the user named as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootChoice {
    /// The system that runs this command.
    Running,
    /// A directory, used where it is.
    Directory(PathBuf),
    /// A tar archive, unpacked for the time of the build.
    Archive(PathBuf),
    /// A fresh Debian made by mmdebstrap.
    Debian(DebianOptions),
}

impl RootChoice {
    /// Finds out what `path` is. `running` and `/` both mean the running system.
    pub fn of(path: &Path) -> Result<Self> {
        if path == Path::new("running") {
            return Ok(RootChoice::Running);
        }
        let real = path.canonicalize().at("find the root", path)?;
        if real == Path::new("/") {
            return Ok(RootChoice::Running);
        }
        if real.is_dir() {
            return Ok(RootChoice::Directory(real));
        }
        let mut head = Vec::new();
        let file = File::open(&real).at("open the root", path)?;
        file.take(archive::HEAD).read_to_end(&mut head).at("read the root", path)?;
        match archive::Packing::of(&head) {
            Some(_) => Ok(RootChoice::Archive(real)),
            None => Err(Error::new(format!("{} is neither a directory nor a tar archive", path.display()))
                .hint("archives may be plain tar, or packed with gzip, xz or zstd")),
        }
    }
}

/// A root that can be read now. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    running: bool,
    _scratch: Option<Scratch>,
}

impl Root {
    /// Makes the chosen root readable: unpacks or makes it if need be, below `temporary`.
    pub fn prepare(choice: &RootChoice, temporary: &Path, output: &Output) -> Result<Self> {
        let there = |path: PathBuf, running| Root { path, running, _scratch: None };
        let made = |(path, scratch)| Root { path, running: false, _scratch: Some(scratch) };
        match choice {
            RootChoice::Running => Ok(there("/".into(), true)),
            RootChoice::Directory(path) => Ok(there(path.clone(), false)),
            RootChoice::Archive(path) => archive::unpack(path, temporary, output).map(made),
            RootChoice::Debian(options) => debian::make(options, temporary, output).map(made),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is the system that runs this command.
    pub fn is_running(&self) -> bool {
        self.running
    }
}

/// Where `path`, as seen from inside `root`, really is: links are followed, absolute ones from `root`, and `..` does
/// not leave it. None if there is nothing, or only a loop of links.
pub fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut inside = PathBuf::new();
    let mut rest: Vec<std::ffi::OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if Path::new(&part).components().next() == Some(Component::ParentDir) {
            inside.pop();
            continue;
        }
        let next = inside.join(&part);
        let metadata = root.join(&next).symlink_metadata().ok()?;
        if !metadata.is_symlink() {
            inside = next;
            continue;
        }
        links += 1;
        if links > 40 {
            return None;
        }
        let target = std::fs::read_link(root.join(&next)).ok()?;
        if target.is_absolute() {
            inside = PathBuf::new();
        }
        rest.extend(parts(&target));
    }
    Some(root.join(inside))
}

/// The names in a path, last one first; `..` is one, `.` and `/` are not.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    use std::path::Component;
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib/modules")).unwrap();
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::write(root.join("boot/vmlinuz-6.1"), "").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/boot/vmlinuz-6.1", root.join("vmlinuz")).unwrap();
        symlink("../../../../boot/vmlinuz-6.1", root.join("usr/lib/modules/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, real) in [
            ("lib/modules", Some("usr/lib/modules")),
            ("/lib/modules/", Some("usr/lib/modules")),
            ("vmlinuz", Some("boot/vmlinuz-6.1")),
            ("lib/modules/up", Some("boot/vmlinuz-6.1")),
            ("lib/../boot", Some("usr/boot")),
            ("loop", None),
            ("nothing", None),
        ] {
            let expected = real.map(|real| root.join(real)).filter(|path| path.exists());
            assert_eq!(resolve(root, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn the_root_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("r.tar.zst");
        fs::write(&archive, [0x28, 0xb5, 0x2f, 0xfd, 0, 0]).unwrap();
        let text = dir.path().join("r.txt");
        fs::write(&text, "hello").unwrap();
        assert_eq!(RootChoice::of(Path::new("running")).unwrap(), RootChoice::Running);
        assert_eq!(RootChoice::of(Path::new("/../")).unwrap(), RootChoice::Running);
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(RootChoice::of(dir.path()).unwrap(), RootChoice::Directory(real.clone()));
        assert_eq!(RootChoice::of(&archive).unwrap(), RootChoice::Archive(real.join("r.tar.zst")));
        assert!(
            RootChoice::of(&text).unwrap_err().message().ends_with("neither a directory nor a tar archive")
        );
        assert!(RootChoice::of(&dir.path().join("none")).unwrap_err().message().contains("No such file"));
    }
}
