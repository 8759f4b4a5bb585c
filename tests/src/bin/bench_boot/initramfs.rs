//! What is in an initramfs, read as the kernel does: cpio archives and compressed ones, one after the other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use tests::programs::{command, output};

/// Directories of the kernel's tree, as rows of the table of coverage: label, beginnings of paths below `kernel/`.
const DIRECTORIES: &[(&str, &[&str])] = &[
    ("drivers/ata", &["drivers/ata/"]),
    ("drivers/scsi", &["drivers/scsi/"]),
    ("drivers/nvme", &["drivers/nvme/"]),
    ("drivers/mmc", &["drivers/mmc/"]),
    ("drivers/usb", &["drivers/usb/"]),
    ("drivers/net", &["drivers/net/"]),
    ("drivers/gpu", &["drivers/gpu/"]),
    ("drivers/hid", &["drivers/hid/"]),
    ("drivers/virtio", &["drivers/virtio/"]),
    ("drivers/md", &["drivers/md/"]),
    ("drivers/firewire", &["drivers/firewire/"]),
    ("drivers/message", &["drivers/message/"]),
    ("drivers/infiniband", &["drivers/infiniband/"]),
    ("drivers/hv", &["drivers/hv/"]),
    (
        "drivers/phy, pinctrl, regulator, gpio, clk, i2c, spi, mfd",
        &[
            "drivers/phy/",
            "drivers/pinctrl/",
            "drivers/regulator/",
            "drivers/gpio/",
            "drivers/clk/",
            "drivers/i2c/",
            "drivers/spi/",
            "drivers/mfd/",
        ],
    ),
    ("fs", &["fs/"]),
    ("crypto, lib", &["crypto/", "lib/"]),
    ("net", &["net/"]),
    ("other", &[""]),
];

/// The directories whose drivers lead to a medium.
const STORAGE: &[&str] = &[
    "drivers/ata/",
    "drivers/scsi/",
    "drivers/nvme/",
    "drivers/mmc/",
    "drivers/usb/",
    "drivers/message/",
    "drivers/firewire/",
    "drivers/block/",
    "drivers/virtio/",
];

/// Content of an initramfs.
#[derive(Debug, Default)]
pub struct Initramfs {
    pub bytes: u64,
    /// Bytes of the archives before compression
    pub unpacked: u64,
    /// Paths of modules below `kernel/`, without suffixes
    pub modules: BTreeSet<String>,
}

impl Initramfs {
    pub fn read(path: &Path) -> Self {
        let content = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut initramfs = Self { bytes: content.len() as u64, ..Self::default() };
        let mut rest = content.as_slice();
        loop {
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            rest = &rest[zeros..];
            if rest.is_empty() {
                return initramfs;
            } else if rest.starts_with(b"070701") {
                let length = initramfs.archive(rest);
                rest = &rest[length..];
            } else {
                let decoder = zstd::stream::read::Decoder::with_buffer(rest);
                let mut decoder = decoder.expect("a zstd decoder").single_frame();
                let mut archives = Vec::new();
                let read = decoder.read_to_end(&mut archives);
                read.unwrap_or_else(|error| panic!("{} is no zstd archive: {error}", path.display()));
                rest = decoder.finish();
                let mut inner = archives.as_slice();
                while inner.starts_with(b"070701") {
                    let length = initramfs.archive(inner);
                    inner = &inner[length..];
                }
            }
        }
    }

    /// Takes note of an archive's entries; gives its length. The format is "newc" of cpio(5).
    fn archive(&mut self, archive: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let header = archive.get(at..at + 110).expect("an archive that is not cut short");
            let field = |index: usize| {
                let digits = &header[6 + index * 8..14 + index * 8];
                let digits = std::str::from_utf8(digits).ok();
                digits
                    .and_then(|text| usize::from_str_radix(text, 16).ok())
                    .expect("a number of a cpio header")
            };
            let (size, name_length) = (field(6), field(11));
            let name = &archive[at + 110..at + 109 + name_length];
            let name = String::from_utf8_lossy(name).into_owned();
            at = (at + 110 + name_length).next_multiple_of(4) + size;
            at = at.next_multiple_of(4).min(archive.len());
            if name == "TRAILER!!!" {
                self.unpacked += at as u64;
                return at;
            }
            if let Some(module) = module(&name) {
                self.modules.insert(module);
            }
        }
    }

    /// Storage and USB drivers that `other` has and this one has not.
    pub fn lacks(&self, other: &Self) -> Vec<String> {
        let missing = other.modules.difference(&self.modules);
        missing.filter(|path| STORAGE.iter().any(|folder| path.starts_with(folder))).cloned().collect()
    }
}

/// `lib/modules/V/kernel/fs/ext4/ext4.ko.xz` is the module `fs/ext4/ext4`.
fn module(path: &str) -> Option<String> {
    let (_, below) = path.split_once("/kernel/").or_else(|| path.split_once("kernel/"))?;
    let (name, suffix) = below.rsplit_once(".ko")?;
    (suffix.is_empty() || suffix.starts_with('.')).then(|| name.to_owned())
}

/// All modules of a kernel, from its modules.dep.
pub fn of_kernel(modules_dep: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(modules_dep).unwrap_or_else(|error| panic!("{}: {error}", modules_dep.display()));
    text.lines().filter_map(|line| module(line.split(':').next()?)).collect()
}

/// Numbers of modules by directory: one row for each, one number for each set.
pub fn coverage(sets: &[&BTreeSet<String>]) -> Vec<(&'static str, Vec<usize>)> {
    let row_of = |path: &str| {
        let fits = |(_, beginnings): &(&str, &[&str])| beginnings.iter().any(|b| path.starts_with(b));
        DIRECTORIES.iter().position(fits).expect("the last row takes everything")
    };
    let counts =
        |row: usize| sets.iter().map(|set| set.iter().filter(|path| row_of(path) == row).count()).collect();
    DIRECTORIES.iter().enumerate().map(|(row, (label, _))| (*label, counts(row))).collect()
}

/// An initramfs that has the marker as `/bench-marker` besides what is in `initrd`; at `path`.
pub fn with_marker(marker: &Path, initrd: Option<&Path>, path: &Path) {
    let folder = tempfile::TempDir::with_prefix("livekit-bench-").expect("a temporary folder");
    fs::copy(marker, folder.path().join("bench-marker")).expect("room for the marker");
    let archive = folder.path().join("marker.cpio");
    let list = folder.path().join("list");
    fs::write(&list, "bench-marker\n").expect("a temporary file");
    let mut cpio = command("sh");
    cpio.args(["-c", "cpio --quiet --create --format=newc --owner=0:0 < list > marker.cpio"]);
    output(cpio.current_dir(folder.path()));
    let mut content = fs::read(&archive).expect("the archive just made");
    if let Some(initrd) = initrd {
        content.extend(fs::read(initrd).unwrap_or_else(|error| panic!("{}: {error}", initrd.display())));
    }
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

#[cfg(test)]
mod tests_of_reading {
    use super::*;

    #[test]
    fn modules_are_told_by_their_paths() {
        for (path, expected) in [
            ("usr/lib/modules/6.1/kernel/fs/ext4/ext4.ko", Some("fs/ext4/ext4")),
            ("lib/modules/6.1/kernel/drivers/ata/ahci.ko.zst", Some("drivers/ata/ahci")),
            ("kernel/fs/fat/vfat.ko.xz", Some("fs/fat/vfat")),
            ("lib/modules/6.1/modules.dep", None),
            ("etc/kernel/conf", None),
        ] {
            assert_eq!(module(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn archives_are_read_plain_and_compressed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("lib/modules/1/kernel/fs")).expect("a folder");
        fs::write(folder.path().join("lib/modules/1/kernel/fs/isofs.ko"), "content").expect("a file");
        let mut cpio = command("sh");
        cpio.args(["-c", "find lib | cpio --quiet -o -H newc > plain"]);
        output(cpio.current_dir(folder.path()));
        let plain = fs::read(folder.path().join("plain")).expect("the archive");
        let packed = zstd::bulk::compress(&plain, 3).expect("a compressor");
        for content in [
            plain.clone(),
            packed.clone(),
            [plain.clone(), packed.clone()].concat(),
            [packed, plain].concat(),
        ] {
            let path = folder.path().join("initramfs");
            fs::write(&path, &content).expect("a file");
            let initramfs = Initramfs::read(&path);
            assert_eq!(initramfs.modules.iter().collect::<Vec<_>>(), ["fs/isofs"]);
            assert_eq!(initramfs.bytes, content.len() as u64);
        }
    }
}
