//! Firmware for the included modules: what a disk controller cannot start without.

use std::fs;
use std::path::{Component, Path, PathBuf};

use live::error::{AtPath, Result};

/// The most firmware one module brings, in bytes. Above this are Fibre Channel adapters (qla2xxx, bfa: a megabyte each),
/// which have a firmware of their own in flash.
const MOST_PER_MODULE: u64 = 512 << 10;

/// Firmware taken and not taken, by path relative to /lib/firmware.
#[derive(Debug, Default)]
pub(super) struct Firmware {
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// There, but too large.
    pub(super) left_out: Vec<String>,
}

impl Firmware {
    /// Adds what is in `dir` of the files a module names, plain or compressed as the distribution has it.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub(super) fn add(&mut self, dir: &Path, names: &[String]) -> Result<()> {
        let present: Vec<(String, PathBuf)> = names.iter().filter_map(|name| find(dir, name)).collect();
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len());
        if present.iter().map(|(_, path)| size(path)).sum::<u64>() > MOST_PER_MODULE {
            self.left_out.extend(present.into_iter().map(|(name, _)| name));
            return Ok(());
        }
        for (name, path) in present {
            if self.files.iter().all(|(n, _)| *n != name) {
                self.files.push((name, fs::read(&path).at("read", &path)?));
            }
        }
        Ok(())
    }
}

/// The file for a name, with the suffix it has. Links are followed only as far as they stay below `dir`.
fn find(dir: &Path, name: &str) -> Option<(String, PathBuf)> {
    ["", ".xz", ".zst"].iter().find_map(|suffix| {
        let name = format!("{name}{suffix}");
        let path = follow(dir, &dir.join(&name))?;
        path.is_file().then_some((name, path))
    })
}

/// What a path leads to when `dir` is the directory it has to stay in: a root may have links that mean other files here.
fn follow(dir: &Path, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..8 {
        if !fs::symlink_metadata(&path).ok()?.is_symlink() {
            return Some(path);
        }
        let target = fs::read_link(&path).ok()?;
        let mut next = if target.is_absolute() { return None } else { path.parent()?.to_owned() };
        for part in target.components() {
            match part {
                Component::ParentDir => {
                    next.pop();
                }
                Component::Normal(part) => next.push(part),
                _ => {}
            }
        }
        if !next.starts_with(dir) {
            return None;
        }
        path = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_and_not_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("firmware");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), b"no").unwrap();
        fs::write(root.join("sub/plain.fw"), b"plain").unwrap();
        fs::write(root.join("packed.fw.xz"), b"packed").unwrap();
        fs::write(root.join("huge.fw"), vec![0; 600 << 10]).unwrap();
        symlink("sub/plain.fw", root.join("link.fw")).unwrap();
        symlink("../secret", root.join("out.fw")).unwrap();
        symlink("/etc/passwd", root.join("absolute.fw")).unwrap();
        symlink("loop.fw", root.join("loop.fw")).unwrap();
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let mut firmware = Firmware::default();
        firmware
            .add(&root, &names(&["missing.fw", "packed.fw", "link.fw", "out.fw", "absolute.fw", "loop.fw"]))
            .unwrap();
        firmware.add(&root, &names(&["sub/plain.fw", "link.fw"])).unwrap();
        firmware.add(&root, &names(&["huge.fw"])).unwrap();
        let found: Vec<_> = firmware.files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        let expected: [(&str, &[u8]); 3] =
            [("packed.fw.xz", b"packed"), ("link.fw", b"plain"), ("sub/plain.fw", b"plain")];
        assert_eq!(found, expected);
        assert_eq!(firmware.left_out, ["huge.fw"]);
    }
}
