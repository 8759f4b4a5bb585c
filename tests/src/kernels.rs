//! Kernels under test, from Debian's archive: the newest package of each series, unpacked.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cache::{self, Key};
use crate::programs::{command, output};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian 12's own: modules plain, no `lowerdir+`, no `MOVE_MOUNT_BENEATH`
    V6_1,
    /// Debian 12's backport: modules as .ko.xz
    V6_12,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

/// An unpacked kernel package.
#[derive(Debug)]
pub struct Unpacked {
    /// Laid out like a merged-usr root: `boot/vmlinuz-RELEASE`, `usr/lib/modules/RELEASE`
    pub tree: PathBuf,
    pub release: String,
}

impl Unpacked {
    pub fn vmlinuz(&self) -> PathBuf {
        self.tree.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    pub fn modules(&self) -> PathBuf {
        self.tree.join("usr/lib/modules").join(&self.release)
    }
}

impl Kernel {
    /// Downloads and unpacks the newest package of this series, with module indices.
    pub fn unpacked(self) -> Unpacked {
        let package = self.package();
        let kind = format!("kernel-{self}");
        let tree =
            cache::entry(&kind, &Key::default().word("1").word(&package), |tree| unpack(&package, tree));
        let release = package.trim_start_matches("linux-image-").to_string();
        Unpacked { tree, release }
    }

    /// Name of the newest package, which the series' meta package depends on.
    fn package(self) -> String {
        let meta = match self {
            Self::V6_1 => "linux-image-amd64",
            Self::V6_12 => "linux-image-6.12-amd64",
        };
        let depends = output(command("apt-cache").args(["depends", "--important", meta]));
        let package =
            depends.split_whitespace().find(|word| word.starts_with(&format!("linux-image-{self}.")));
        let hint = "hint: apt-get update, on Debian 12";
        let package = package.unwrap_or_else(|| {
            panic!("no kernel {self} in the package lists: {meta} has\n{depends}\n{hint}")
        });
        package.into()
    }
}

fn unpack(package: &str, tree: &Path) {
    let usr = tree.join("usr");
    fs::create_dir_all(usr.join("lib")).expect("a folder for the kernel");
    output(command("apt-get").args(["download", "-qq", package]).current_dir(tree));
    let deb = fs::read_dir(tree).expect("the folder just made").flatten().map(|entry| entry.path());
    let deb = deb.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let deb = deb.unwrap_or_else(|| panic!("apt-get download {package} left no .deb"));
    // With the link in place first, packages that still use /lib unpack into /usr/lib.
    symlink("usr/lib", tree.join("lib")).expect("a link in the folder just made");
    let unpacked = tree.join("unpacked");
    output(command("dpkg").arg("-x").args([&deb, &unpacked]));
    fs::remove_file(&deb).expect("the package just unpacked");
    fs::rename(unpacked.join("boot"), tree.join("boot")).expect("the package has a kernel");
    let [old, new] = ["lib/modules", "usr/lib/modules"].map(|path| unpacked.join(path));
    fs::rename(if old.is_dir() { old } else { new }, usr.join("lib/modules"))
        .expect("the package has modules");
    fs::remove_dir_all(&unpacked).expect("what is left of the package");
    let release = package.trim_start_matches("linux-image-");
    output(command("depmod").arg("-b").arg(tree).arg(release));
}

/// The kernel that a bzImage unpacks (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset at 0x248,
/// payload_length after it). QEMU starts it by its PVH note; the emulated processor would unpack it for seconds.
pub fn uncompressed(vmlinuz: &Path) -> PathBuf {
    cache::entry("vmlinux", &Key::default().word("1").file(vmlinuz), |vmlinux| {
        let image = fs::read(vmlinuz).unwrap_or_else(|e| panic!("cannot read {}: {e}", vmlinuz.display()));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| image[at + i])) as usize;
        let start = (usize::from(image[0x1f1]) + 1) * 512 + word(0x248);
        // Its last word is the size of what is in it.
        let payload = &image[start..start + word(0x24c) - 4];
        let mut to = File::create(vmlinux).expect("a file in the cache");
        let unpacked = match payload {
            [0xfd, b'7', b'z', ..] => {
                io::copy(&mut liblzma::read::XzDecoder::new(payload), &mut to).map(drop)
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::stream::copy_decode(payload, &mut to),
            _ => panic!("{} is compressed by neither xz nor zstd", vmlinuz.display()),
        };
        unpacked.unwrap_or_else(|e| panic!("cannot unpack {}: {e}", vmlinuz.display()));
    })
}
