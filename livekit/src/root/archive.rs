//! A root from a tar archive, unpacked by the system's tar, which keeps what only it knows of all formats: extended
//! attributes, ACLs, sparse files, owners by number.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{AtPath, Error, Result};
use crate::external::Running;
use crate::output::{Output, size};
use crate::scratch::Scratch;

/// How many bytes of a file tell what it is packed with: up to the magic of a tar header.
pub const HEAD: u64 = 263;

/// What a tar archive is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// By the first [`HEAD`] bytes of the file; none if it cannot be an archive.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            _ if head.get(257..262) == Some(b"ustar") => Some(Packing::Plain),
            _ => None,
        }
    }

    fn flag(self) -> Option<&'static str> {
        match self {
            Packing::Plain => None,
            Packing::Gzip => Some("--gzip"),
            Packing::Xz => Some("--xz"),
            Packing::Zstd => Some("--zstd"),
        }
    }
}

/// Unpacks `archive` below `temporary`. The scratch directory goes with the root it holds.
pub fn unpack(archive: &Path, temporary: &Path, output: &Output) -> Result<(PathBuf, Scratch)> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(format!(
            "cannot unpack {}: its files have owners that only root can set",
            archive.display()
        ))
        .hint("run the command with sudo"));
    }
    let mut file = File::open(archive).at("open the root archive", archive)?;
    let total = file.metadata().at("look at", archive)?.len();
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head).at("read", archive)?;
    let scratch = Scratch::new_in(temporary)?;
    let root = scratch.join("root");
    std::fs::create_dir(&root).at("make", &root)?;

    let mut step = output.step(format!("Unpacking {}", archive.display()));
    let mut command = Command::new("tar");
    command.args(["--extract", "--file=-", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]);
    command.args(["--same-owner", "--preserve-permissions", "--delay-directory-restore"]);
    command.args(Packing::of(&head).and_then(Packing::flag)).arg("--directory").arg(&root);
    let mut tar = Running::start(
        command.stdin(Stdio::piped()).stdout(Stdio::null()).env("LC_ALL", "C"),
        "tar",
        |_| (),
    )?;
    let mut done = 0;
    if let Some(mut pipe) = tar.stdin() {
        let mut buffer = vec![0; 256 * 1024];
        let mut chunk = head.len();
        buffer[..chunk].copy_from_slice(&head);
        while chunk > 0 {
            match pipe.write_all(&buffer[..chunk]) {
                // tar has ended; why, it says itself.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                other => other.at("unpack", archive)?,
            }
            done += chunk as u64;
            step.bytes(done, total);
            chunk = file.read(&mut buffer).at("read", archive)?;
        }
    }
    tar.finish().map_err(|error| error.doing(format!("unpacking {}", archive.display())))?;
    step.done(size(total));
    let root = single_folder(&root).unwrap_or(root);
    Ok((root, scratch))
}

/// An archive made of a folder from outside (`tar c rootfs/`) has that folder as its only entry: the root is inside.
fn single_folder(root: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(root).ok()?;
    let only = entries.next()?.ok()?.path();
    (entries.next().is_none() && only.join("etc").is_dir() && only.join("usr").is_dir()).then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let mut plain = vec![b'.'; 263];
        plain[257..263].copy_from_slice(b"ustar\0");
        for (head, packing) in [
            (plain.as_slice(), Some(Packing::Plain)),
            (&[0x1f, 0x8b, 8][..], Some(Packing::Gzip)),
            (b"\xfd7zXZ\0\0", Some(Packing::Xz)),
            (&[0x28, 0xb5, 0x2f, 0xfd], Some(Packing::Zstd)),
            (b"PK\x03\x04", None),
            (b"", None),
        ] {
            assert_eq!(Packing::of(head), packing);
        }
    }

    #[test]
    fn an_archive_of_a_folder_is_entered() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rootfs/etc")).unwrap();
        assert_eq!(single_folder(dir.path()), None);
        fs::create_dir_all(dir.path().join("rootfs/usr")).unwrap();
        assert_eq!(single_folder(dir.path()), Some(dir.path().join("rootfs")));
        fs::write(dir.path().join("other"), "").unwrap();
        assert_eq!(single_folder(dir.path()), None);
    }

    #[test]
    fn owners_attributes_and_links_survive() {
        if !rustix::process::geteuid().is_root() {
            // Refusing is what is promised then.
            let error = unpack(Path::new("/dev/null"), Path::new("/tmp"), &Output::new(true)).unwrap_err();
            assert_eq!(error.hint_text(), Some("run the command with sudo"));
            return;
        }
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/a"), "a").unwrap();
        fs::hard_link(tree.join("etc/a"), tree.join("etc/b")).unwrap();
        std::os::unix::fs::chown(tree.join("etc/a"), Some(123), Some(456)).unwrap();
        let kept =
            Command::new("setfattr").args(["-n", "user.test", "-v", "x"]).arg(tree.join("etc/a")).status();
        let kept = kept.is_ok_and(|status| status.success());
        for suffix in ["tar", "tar.gz", "tar.xz", "tar.zst"] {
            let archive = dir.path().join(format!("root.{suffix}"));
            let mut tar = Command::new("tar");
            tar.args(["--xattrs", "-caf"]).arg(&archive).arg("-C").arg(&tree).arg(".");
            assert!(tar.status().unwrap().success());
            let (root, scratch) = unpack(&archive, dir.path(), &Output::new(true)).unwrap();
            let (a, b) = (root.join("etc/a").metadata().unwrap(), root.join("etc/b").metadata().unwrap());
            assert_eq!((a.ino(), a.uid(), a.gid()), (b.ino(), 123, 456), "{suffix}");
            if kept {
                let mut value = [0; 8];
                let length = rustix::fs::getxattr(root.join("etc/b"), "user.test", &mut value).unwrap();
                assert_eq!(&value[..length], b"x", "{suffix}");
            }
            let path = scratch.path().to_owned();
            drop(scratch);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_broken_archive_leaves_nothing() {
        assert!(
            rustix::process::geteuid().is_root(),
            "unpacking takes root: run this test as root (make unit does)"
        );
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("root.tar.gz");
        fs::write(&archive, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
        let error = unpack(&archive, dir.path(), &Output::new(true)).unwrap_err();
        assert!(error.message().contains("tar failed"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
