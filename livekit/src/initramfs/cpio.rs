//! Archives the kernel unpacks into its first filesystem: cpio "newc".
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Device nodes are records like any
//! other, so making an archive needs no privileges.

use std::io::{self, Write};

/// Type bits of a mode, from `include/uapi/linux/stat.h`.
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

/// What a record of the archive stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    File(Vec<u8>),
    #[cfg_attr(not(test), expect(dead_code, reason = "the format has them; no link is in the tree yet"))]
    Symlink(String),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
}

/// One record: a path without a leading slash, permission bits, and what is there. Everything belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) permissions: u32,
    pub(super) content: Content,
}

/// Writes records one after the other; directories have to come before what is in them.
#[derive(Debug)]
pub(super) struct Archive<W> {
    output: W,
    mtime: u32,
    records: u32,
    bytes: u64,
}

impl<W: Write> Archive<W> {
    /// An archive whose records all carry this time, in seconds since 1970. Times that do not fit the format are bounded.
    pub(super) fn new(output: W, epoch: u64) -> Self {
        Self { output, mtime: u32::try_from(epoch).unwrap_or(u32::MAX), records: 0, bytes: 0 }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of writing, and `InvalidInput` for a file of 4 GiB or more.
    pub(super) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let (kind, data, device) = match &entry.content {
            Content::Directory => (S_IFDIR, &[][..], (0, 0)),
            Content::File(data) => (S_IFREG, &data[..], (0, 0)),
            Content::Symlink(target) => (S_IFLNK, target.as_bytes(), (0, 0)),
            &Content::CharacterDevice { major, minor } => (S_IFCHR, &[][..], (major, minor)),
        };
        let links = if kind == S_IFDIR { 2 } else { 1 };
        self.record(&entry.path, kind | entry.permissions, links, device, data)
    }

    /// Ends the archive and gives back the output with the number of bytes written to it.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        self.records = u32::MAX; // Wraps to inode number 0.
        self.mtime = 0;
        self.record("TRAILER!!!", 0, 1, (0, 0), &[])?;
        // The kernel wants the next archive, if there is one, at a multiple of four; that is what a record ends at.
        Ok((self.output, self.bytes))
    }

    fn record(
        &mut self,
        name: &str,
        mode: u32,
        links: u32,
        device: (u32, u32),
        data: &[u8],
    ) -> io::Result<()> {
        let too_long =
            |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is too large for the archive"));
        let size = u32::try_from(data.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.records = self.records.wrapping_add(1);
        let (major, minor) = device;
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.records, mode, 0, 0, links, self.mtime, size, 0, 0, major, minor, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.padded(&[header.as_bytes(), name.as_bytes(), b"\0"])?;
        self.padded(&[data])
    }

    /// Writes the parts in a row, then zeros to the next multiple of four.
    fn padded(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.output.write_all(part)?;
            self.bytes += part.len() as u64;
        }
        let missing = self.bytes.next_multiple_of(4) - self.bytes;
        self.bytes += missing;
        self.output.write_all(&[0; 3][..usize::try_from(missing).unwrap_or_default()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn entry(path: &str, permissions: u32, content: Content) -> Entry {
        Entry { path: path.to_owned(), permissions, content }
    }

    fn sample() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new(), 1_700_000_000);
        for e in [
            entry("dev", 0o755, Content::Directory),
            entry("dev/console", 0o600, Content::CharacterDevice { major: 5, minor: 1 }),
            entry("init", 0o755, Content::File(b"hello".to_vec())),
            entry("link", 0o777, Content::Symlink("init".to_owned())),
        ] {
            archive.add(&e).unwrap();
        }
        let (bytes, length) = archive.finish().unwrap();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    #[test]
    fn records_have_the_layout_of_the_kernels_document() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let first = concat!(
            "070701", "00000001", "000041ED", "00000000", "00000000", "00000002", "6553F100", "00000000",
            "00000000", "00000000", "00000000", "00000000", "00000004", "00000000", "dev\0"
        );
        assert_eq!(std::str::from_utf8(&bytes[..114]).unwrap(), first);
        assert_eq!(&bytes[114..122], b"\0\x00070701");
        let end = bytes.windows(11).position(|w| w == b"TRAILER!!!\0").unwrap();
        assert_eq!(&bytes[end - 110..end - 104], b"070701");
    }

    #[test]
    fn cpio_reads_it() {
        let mut child = Command::new("cpio")
            .args(["-itv", "--quiet", "--numeric-uid-gid"])
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio is installed");
        child.stdin.take().unwrap().write_all(&sample()).unwrap();
        let listing = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<Vec<&str>> = listing.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["drwxr-xr-x", "2", "0", "0", "0", "Nov", "14", "2023", "dev"]);
        assert_eq!(lines[1], ["crw-------", "1", "0", "0", "5,", "1", "Nov", "14", "2023", "dev/console"]);
        assert_eq!(lines[2], ["-rwxr-xr-x", "1", "0", "0", "5", "Nov", "14", "2023", "init"]);
        assert_eq!(lines[3][8..], ["link", "->", "init"]);
        assert_eq!(lines.len(), 4);
    }
}
