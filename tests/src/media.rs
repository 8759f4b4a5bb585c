//! Sticks, discs and disks, made without root, and judged after the guest has used them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{SeekFrom as Place, seek};
use tempfile::TempDir;

use crate::programs::{command, output};

/// Start of the only partition.
pub const PARTITION: u64 = 1 << 20;
/// The kernel reads volume labels and ids under these names.
pub const LABEL: &str = "STICK";
pub const FAT_UUID: &str = "1234-5678";
pub const EXT4_UUID: &str = "0c2f4dbe-6a0e-4f9c-9d0a-52f0c3e9a001";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Fat32,
    Ext4,
}

/// Files on their way to a stick.
#[derive(Debug)]
pub struct Medium {
    folder: TempDir,
}

impl Medium {
    /// No files yet.
    pub fn empty() -> Self {
        Self { folder: TempDir::with_prefix("livekit-medium-").expect("a temporary folder") }
    }

    /// The files of a folder.
    pub fn copy(source: &Path) -> Self {
        let medium = Self::empty();
        output(command("cp").args(["-r", "--reflink=auto"]).arg(source.join(".")).arg(medium.folder.path()));
        medium
    }

    /// Where a file of the medium is on this host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.folder.path().join(path);
        let parent = place.parent().expect("a path on the medium");
        fs::create_dir_all(parent)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", parent.display()));
        place
    }

    /// Adds a text file.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        fs::write(self.place(path), content).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        self
    }

    /// Adds a copy of a file.
    #[must_use]
    pub fn copy_of(self, path: &str, source: &Path) -> Self {
        fs::copy(source, self.place(path)).unwrap_or_else(|error| panic!("cannot copy to {path}: {error}"));
        self
    }

    /// Adds a bundle with these text files.
    #[must_use]
    pub fn bundle(self, path: &str, files: &[(&str, &str)]) -> Self {
        let content = files.iter().fold(Self::empty(), |content, (path, text)| content.file(path, text));
        self.bundle_of(path, content.folder.path())
    }

    /// Adds a bundle of a folder.
    #[must_use]
    pub fn bundle_of(self, path: &str, folder: &Path) -> Self {
        let options = ["-all-root", "-noappend", "-quiet", "-no-progress", "-comp", "zstd"];
        output(command("mksquashfs").arg(folder).arg(self.place(path)).args(options));
        self
    }

    /// Adds the content of a folder below another one.
    #[must_use]
    pub fn tree(self, path: &str, source: &Path) -> Self {
        let place = self.place(path);
        output(command("cp").args(["-r", "--reflink=auto"]).arg(source).arg(place));
        self
    }

    #[must_use]
    pub fn renamed(self, from: &str, to: &str) -> Self {
        let result = fs::rename(self.place(from), self.place(to));
        result.unwrap_or_else(|error| panic!("cannot rename {from} to {to}: {error}"));
        self
    }

    #[must_use]
    pub fn without(self, path: &str) -> Self {
        fs::remove_file(self.place(path)).unwrap_or_else(|error| panic!("cannot remove {path}: {error}"));
        self
    }

    /// Cuts the second half of a file off, as a broken copy does.
    #[must_use]
    pub fn torn(self, path: &str) -> Self {
        let file = OpenOptions::new().write(true).open(self.place(path));
        let file = file.unwrap_or_else(|error| panic!("cannot open {path}: {error}"));
        let length = file.metadata().expect("an open file").len();
        file.set_len(length / 2).unwrap_or_else(|error| panic!("cannot cut {path}: {error}"));
        self
    }

    /// Adds the first half of a file of the medium under another name.
    #[must_use]
    pub fn torn_copy(self, from: &str, to: &str) -> Self {
        let whole = self.path(from);
        self.copy_of(to, &whole).torn(to)
    }

    /// Makes a stick with a GUID partition table and one partition that holds the files.
    pub fn stick(&self, format: Format) -> Disk {
        self.stick_with_room(format, 96)
    }

    /// The same, with so many MiB free.
    pub fn stick_with_room(&self, format: Format, mebibytes: u64) -> Disk {
        let files = self.folder.path();
        let sizes = output(command("du").args(["-sk", "--apparent-size"]).arg(files));
        let kibibytes: u64 =
            sizes.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a size");
        // Room for writes; and fewer than 65525 clusters would make it FAT16.
        let kibibytes = kibibytes + kibibytes / 10 + (mebibytes << 10);
        let disk = Disk::sparse(PARTITION + (kibibytes << 10) + (1 << 20), Some(format));
        let path = disk.path();
        match format {
            Format::Fat32 => make_fat(path, kibibytes, files),
            Format::Ext4 => make_ext4(path, kibibytes, files),
        }
        let sectors = format!("-n=1:2048:{}", 2047 + kibibytes * 2);
        output(command("sgdisk").args([sectors.as_str(), "-t=1:0700"]).arg(path));
        disk
    }
}

fn make_fat(path: &Path, kibibytes: u64, files: &Path) {
    let serial = FAT_UUID.replace('-', "");
    let options = ["-F", "32", "-s", "1", "-n", LABEL, "-i", serial.as_str(), "--offset", "2048"];
    output(command("mkfs.fat").args(options).arg(path).arg(kibibytes.to_string()));
    let entries = fs::read_dir(files).expect("the files' folder").flatten().map(|entry| entry.path());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    if !entries.is_empty() {
        output(
            command("mcopy")
                .arg("-i")
                .arg(at_partition(path))
                .args(["-s", "-Q", "-m"])
                .args(entries)
                .arg("::/"),
        );
    }
}

fn make_ext4(path: &Path, kibibytes: u64, files: &Path) {
    let mut mke2fs = mke2fs(LABEL, PARTITION);
    output(mke2fs.args(["-U", EXT4_UUID, "-d"]).arg(files).arg(path).arg(format!("{kibibytes}k")));
}

/// mke2fs for an ext4 within an image.
fn mke2fs(label: &str, start: u64) -> Command {
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-L", label, "-E"]).arg(format!("root_owner=0:0,offset={start}"));
    mke2fs
}

/// The partition of an image, as mtools names it.
fn at_partition(path: &Path) -> String {
    format!("{}@@{PARTITION}", path.display())
}

/// What can be put into a machine: an image file.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
    /// Start of the partition that is judged and read
    partition: u64,
    format: Option<Format>,
    /// Temporary folder of an image made for one test, which keeps what the guest writes
    own: Option<Arc<TempDir>>,
}

impl Disk {
    /// An image that belongs to others, an ISO for instance: what the guest writes is forgotten.
    pub fn image(path: &Path) -> Self {
        Self { path: path.into(), partition: PARTITION, format: None, own: None }
    }

    /// A disk of zeros, that no test finds a medium on.
    pub fn blank(bytes: u64) -> Self {
        Self::sparse(bytes, None)
    }

    /// A stick that an image was written to, with an ext4 of that label in the room behind it.
    pub fn written_from(image: &Path, mebibytes: u64, label: &str) -> Self {
        let image = File::open(image).unwrap_or_else(|e| panic!("cannot open {}: {e}", image.display()));
        let start = image.metadata().expect("an open file").len().next_multiple_of(1 << 20);
        let size = start + (mebibytes << 20);
        let disk = Self::sparse(size, Some(Format::Ext4));
        let to = File::options().write(true).open(&disk.path).expect("the file just made");
        copy_data(&image, 0, size, &to);
        let new = format!("--new=0:{}:0", start >> 9);
        output(command("sgdisk").args(["--move-second-header", &new]).arg(&disk.path));
        // The second partition table is behind it.
        output(mke2fs(label, start).arg(&disk.path).arg(format!("{}M", mebibytes - 1)));
        Self { partition: start, ..disk }
    }

    fn sparse(bytes: u64, format: Option<Format>) -> Self {
        let folder = TempDir::with_prefix("livekit-disk-").expect("a temporary folder");
        let path = folder.path().join("disk.img");
        let file = File::create(&path).expect("a temporary file");
        file.set_len(bytes).expect("a sparse file");
        Self { path, partition: PARTITION, format, own: Some(Arc::new(folder)) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the image keeps what the guest writes.
    pub fn is_kept(&self) -> bool {
        self.own.is_some()
    }

    /// Content of a file in the partition, read without mounting it.
    pub fn read(&self, path: &str) -> String {
        match self.format.expect("a stick with a file system") {
            Format::Fat32 => {
                output(command("mtype").arg("-i").arg(at_partition(&self.path)).arg(format!("::{path}")))
            }
            Format::Ext4 => output(command("debugfs").arg("-R").arg(format!("cat {path}")).arg(self.ext4())),
        }
    }

    /// Whether these bytes are anywhere on the disk.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).expect("a text");
        command("grep").args(["-q", "-a", "-F", text]).arg(&self.path).status().expect("grep runs").success()
    }

    /// A digest of a file in the FAT partition, read without mounting it.
    pub fn digest(&self, path: &str) -> String {
        assert_eq!(self.format, Some(Format::Fat32), "only from FAT");
        let pipe = "mtype -i \"$0\" \"::$1\" | sha256sum";
        output(command("sh").args(["-c", pipe]).arg(at_partition(&self.path)).arg(path))
    }

    /// Copies a file out of the ext4 partition, read without mounting it.
    pub fn copy_out(&self, path: &str, to: &Path) {
        assert_eq!(self.format, Some(Format::Ext4), "only from ext4");
        let request = format!("dump {path} {}", to.display());
        output(command("debugfs").arg("-R").arg(request).arg(self.ext4()));
        assert!(to.is_file(), "{path} is not on the stick");
    }

    /// Judges the file system by its own checker: no errors, no dirty bit, no journal to replay. The checkers
    /// only read.
    #[track_caller]
    pub fn is_clean(&self) {
        match self.format.expect("a stick with a file system") {
            Format::Fat32 => fat_is_clean(self.partition().path()),
            Format::Ext4 => ext4_is_clean(&self.ext4()),
        }
    }

    /// The partition, as the tools of e2fsprogs name it.
    fn ext4(&self) -> PathBuf {
        format!("{}?offset={}", self.path.display(), self.partition).into()
    }

    /// The partition as a file of its own.
    fn partition(&self) -> tempfile::NamedTempFile {
        let disk = File::open(&self.path).unwrap_or_else(|error| panic!("cannot open the stick: {error}"));
        let length = disk.metadata().expect("an open file").len() - PARTITION - (1 << 20);
        let partition = tempfile::NamedTempFile::with_prefix("livekit-partition-").expect("a temporary file");
        copy_data(&disk, PARTITION, length, partition.as_file());
        partition
    }
}

/// Makes an empty file one of `length` bytes: those at `start` of another one, of which holes are neither read
/// nor written. Behind the end of the other one is a hole.
///
/// # Panics
///
/// Panics if one of the files cannot be used so.
pub fn copy_data(mut from: &File, start: u64, length: u64, mut to: &File) {
    to.set_len(length).expect("room for a sparse file");
    let end = start + length;
    let mut hole = start;
    while let Ok(data) = seek(from, Place::Data(hole))
        && data < end
    {
        hole = seek(from, Place::Hole(data)).expect("every file ends in a hole").min(end);
        from.seek(SeekFrom::Start(data)).expect("a place in a file");
        to.seek(SeekFrom::Start(data - start)).expect("a place in a file");
        std::io::copy(&mut from.take(hole - data), &mut to).expect("room for a copy");
    }
}

#[track_caller]
fn fat_is_clean(partition: &Path) {
    let mut start = [0; 512];
    File::open(partition).and_then(|mut file| file.read_exact(&mut start)).expect("a boot sector");
    // Bit 0 of the reserved byte at 0x41 is Linux's dirty flag on FAT32 (fs/fat/inode.c, fat_set_state).
    assert_eq!(start[0x41] & 1, 0, "the FAT file system is still marked dirty");
    let (status, said) = run(command("fsck.fat").arg("-n").arg(partition));
    assert!(status == Some(0) && !said.contains("Dirty bit"), "fsck.fat finds faults:\n{said}");
}

#[track_caller]
fn ext4_is_clean(partition: &Path) {
    let header = output(command("dumpe2fs").arg("-h").arg(partition));
    let value = |name: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("dumpe2fs shows no {name}\n{header}")).trim().to_string()
    };
    assert_eq!(value("Filesystem state:"), "clean", "{header}");
    assert!(
        !value("Filesystem features:").contains("needs_recovery"),
        "a journal is left to replay\n{header}"
    );
    let (status, said) = run(command("e2fsck").arg("-fn").arg(partition));
    assert_eq!(status, Some(0), "e2fsck finds faults:\n{said}");
}

/// Exit status and all that was said.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output =
        command.env("LC_ALL", "C").output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Format; 2] = [Format::Fat32, Format::Ext4];

    #[test]
    fn a_new_stick_is_clean_and_has_its_files() {
        for format in FORMATS {
            let stick = Medium::empty().file("livekit/note.txt", "hello\n").stick(format);
            stick.is_clean();
            assert_eq!(stick.read("/livekit/note.txt"), "hello\n", "{format:?}");
            assert!(output(command("sgdisk").arg("-v").arg(stick.path())).contains("No problems found"));
        }
    }

    #[test]
    fn a_stick_that_was_not_unmounted_is_found_out() {
        // The marks a mounted file system bears: FAT's dirty byte; ext4's needs_recovery (offset 0x60 of the
        // superblock at 1024, bit 2), see Documentation/filesystems/ext4/super.rst.
        for (format, offset, bit) in [(Format::Fat32, 0x41, 1), (Format::Ext4, 1024 + 0x60, 4)] {
            let stick = Medium::empty().file("note.txt", "hello\n").stick(format);
            let mut file = OpenOptions::new().read(true).write(true).open(stick.path()).expect("the stick");
            let mut byte = [0];
            file.seek(SeekFrom::Start(PARTITION + offset)).expect("a place in it");
            file.read_exact(&mut byte).expect("a byte");
            file.seek(SeekFrom::Start(PARTITION + offset)).expect("a place in it");
            std::io::Write::write_all(&mut file, &[byte[0] | bit]).expect("a writable stick");
            let judged = std::panic::catch_unwind(|| stick.is_clean());
            assert!(judged.is_err(), "{format:?} passed for clean");
        }
    }
}
