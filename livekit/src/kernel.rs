//! The kernel of a root: its image and its modules, matched by the version the image itself tells.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};
use crate::root::resolve;

/// A kernel that can be booted from this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// As `uname -r` will tell it.
    pub version: String,
    /// The directory of its modules, with modules.dep in it.
    pub modules: PathBuf,
}

/// Where distributions put the image; `*` stands for the rest of a name. In the order in which equals are preferred.
const IMAGES: &[&str] = &[
    "boot/vmlinuz-*",
    "boot/vmlinuz",
    "boot/vmlinux-*",
    "boot/bzImage*",
    "boot/kernel-*",
    "vmlinuz",
    "usr/lib/modules/*/vmlinuz",
    "lib/modules/*/vmlinuz",
];

/// Where distributions put the modules.
const MODULES: &[&str] = &["usr/lib/modules", "lib/modules"];

impl Kernel {
    /// The newest kernel in `root` whose modules are there too, or the image that is named, with its modules from
    /// `root`.
    pub fn find(root: &Path, image: Option<&Path>) -> Result<Self> {
        match image {
            Some(image) => Kernel::named(root, image),
            None => Kernel::newest(root),
        }
    }

    fn named(root: &Path, image: &Path) -> Result<Self> {
        let version = image_version(image)
            .at("read the kernel", image)?
            .ok_or_else(|| Error::new(format!("{} is not a Linux kernel image for x86", image.display())))?;
        let modules = modules_of(root, &version).ok_or_else(|| no_modules(root, image, &version))?;
        Ok(Kernel { image: image.to_owned(), version, modules })
    }

    fn newest(root: &Path) -> Result<Self> {
        let mut found: Vec<Kernel> = Vec::new();
        let mut unusable = Vec::new();
        for image in images(root) {
            let shown = image.strip_prefix(root).unwrap_or(&image).display().to_string();
            match image_version(&image) {
                Ok(Some(version)) => match modules_of(root, &version) {
                    Some(modules) => found.push(Kernel { image, version, modules }),
                    None => unusable.push(format!("{shown} is {version}, whose modules are not there")),
                },
                Ok(None) => unusable.push(format!("{shown} is not a kernel image for x86")),
                Err(error) => unusable.push(format!("{shown} cannot be read: {error}")),
            }
        }
        // Of equals the first place counts, and max_by keeps the last.
        found.reverse();
        let newest = found.into_iter().max_by(|a, b| compare_versions(&a.version, &b.version));
        newest.ok_or_else(|| none_found(root, &unusable))
    }
}

fn no_modules(root: &Path, image: &Path, version: &str) -> Error {
    Error::new(format!(
        "{} is kernel {version}, whose modules are not in {}: looked for {}",
        image.display(),
        root.display(),
        MODULES.map_each(|folder| format!("{folder}/{version}/modules.dep"))
    ))
    .hint("install the package with that kernel's modules in the root, or name another kernel with --kernel")
}

fn none_found(root: &Path, unusable: &[String]) -> Error {
    let hint = "install a kernel in the root (Debian: linux-image-amd64, Fedora: kernel, Arch: linux), \
        or name an image with --kernel";
    let error = if unusable.is_empty() {
        let looked = IMAGES.map_each(|pattern| (*pattern).to_owned());
        Error::new(format!("no kernel in {}: looked for {looked}", root.display()))
    } else {
        Error::new(format!("no usable kernel in {}: {}", root.display(), unusable.join("; ")))
    };
    error.hint(hint)
}

trait MapEach<T> {
    fn map_each(&self, text: impl Fn(&T) -> String) -> String;
}

impl<T> MapEach<T> for [T] {
    fn map_each(&self, text: impl Fn(&T) -> String) -> String {
        self.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

/// Every file at one of the [places](IMAGES), links followed, each once.
fn images(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in IMAGES {
        for path in expand(root, pattern) {
            if let Some(real) = resolve(root, &path)
                && real.is_file()
                && !found.contains(&real)
            {
                found.push(real);
            }
        }
    }
    found
}

/// The paths in `root` that fit a pattern with at most one `*`, sorted.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Some(real) = resolve(root, Path::new(folder)) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(real) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut paths: Vec<PathBuf> = names
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("{folder}/{name}{after}").into())
        .collect();
    paths.sort();
    paths
}

fn modules_of(root: &Path, version: &str) -> Option<PathBuf> {
    MODULES
        .iter()
        .filter_map(|folder| resolve(root, &Path::new(folder).join(version)))
        .find(|folder| folder.join("modules.dep").is_file())
}

/// The version in a bzImage's header (Documentation/arch/x86/boot.rst: `HdrS` at 0x202, kernel_version at 0x20e);
/// none if the file is something else.
fn image_version(image: &Path) -> io::Result<Option<String>> {
    let file = File::open(image)?;
    let mut header = [0; 0x210];
    if let Err(error) = file.read_exact_at(&mut header, 0) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    if &header[0x202..0x206] != b"HdrS" {
        return Ok(None);
    }
    let offset = u16::from_le_bytes([header[0x20e], header[0x20f]]);
    if offset == 0 {
        return Ok(None);
    }
    let mut text = [0; 256];
    let length = file.read_at(&mut text, u64::from(offset) + 0x200)?;
    let version =
        text[..length].split(|byte| *byte == 0 || byte.is_ascii_whitespace()).next().unwrap_or_default();
    let version = std::str::from_utf8(version).ok().filter(|version| is_version(version));
    Ok(version.map(str::to_owned))
}

/// Whether the text can name a directory of modules.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('/')
}

/// Orders kernel versions as people do: numbers by value, `-rc` before the release, of one release the plain flavour
/// after others (`6.1.0-9-amd64` before `-cloud-amd64` when one must be picked).
fn compare_versions(a: &str, b: &str) -> Ordering {
    let (a_numbers, a_rest) = leading_numbers(a);
    let (b_numbers, b_rest) = leading_numbers(b);
    a_numbers
        .cmp(&b_numbers)
        .then_with(|| a_rest.len().cmp(&b_rest.len()).reverse())
        .then_with(|| a_rest.cmp(b_rest).reverse())
}

/// The numbers a version begins with, and the flavour after them. A release candidate has a very small number.
fn leading_numbers(version: &str) -> (Vec<i64>, &str) {
    let mut numbers = Vec::new();
    let mut rest = version;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<i64>() else { break };
        numbers.push(number);
        rest = &rest[digits..];
        if let Some(candidate) = rest.strip_prefix("-rc").or_else(|| rest.strip_prefix("~rc")) {
            numbers.push(i64::MIN);
            rest = candidate;
        } else if let Some(next) =
            rest.strip_prefix(['.', '-', '+']).filter(|next| next.starts_with(|c: char| c.is_ascii_digit()))
        {
            rest = next;
        } else {
            break;
        }
    }
    // The release itself, above its candidates and below what comes after it.
    numbers.push(0);
    (numbers, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// The start of a bzImage as the kernel's build makes it.
    fn bz_image(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x180_u16.to_le_bytes());
        image[0x380..0x380 + version.len()].copy_from_slice(version.as_bytes());
        image
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Tree(tempfile::tempdir().unwrap())
        }
        fn image(self, path: &str, version: &str) -> Self {
            self.file(path, &bz_image(&format!("{version} (builder@host) #1 SMP")))
        }
        fn modules(self, folder: &str) -> Self {
            self.file(&format!("{folder}/modules.dep"), b"")
        }
        fn file(self, path: &str, bytes: &[u8]) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            self
        }
        fn link(self, path: &str, target: &str) -> Self {
            symlink(target, self.0.path().join(path)).unwrap();
            self
        }
        fn finds(&self) -> (String, String) {
            let root = self.0.path();
            let kernel = Kernel::find(root, None).unwrap();
            let shown = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
            (shown(&kernel.image), shown(&kernel.modules))
        }
        fn fails(&self) -> String {
            let error = Kernel::find(self.0.path(), None).unwrap_err();
            error.to_string().replace(&self.0.path().display().to_string(), "ROOT")
        }
    }

    #[test]
    fn every_distributions_place_is_known() {
        for (tree, image, modules) in [
            (
                Tree::new()
                    .image("boot/vmlinuz-6.1.0-56-amd64", "6.1.0-56-amd64")
                    .modules("usr/lib/modules/6.1.0-56-amd64"),
                "boot/vmlinuz-6.1.0-56-amd64",
                "usr/lib/modules/6.1.0-56-amd64",
            ),
            (
                Tree::new()
                    .image("boot/vmlinuz-linux", "6.10.1-arch1-1")
                    .modules("usr/lib/modules/6.10.1-arch1-1"),
                "boot/vmlinuz-linux",
                "usr/lib/modules/6.10.1-arch1-1",
            ),
            (
                Tree::new()
                    .image("usr/lib/modules/6.9.4-200.fc40.x86_64/vmlinuz", "6.9.4-200.fc40.x86_64")
                    .modules("usr/lib/modules/6.9.4-200.fc40.x86_64"),
                "usr/lib/modules/6.9.4-200.fc40.x86_64/vmlinuz",
                "usr/lib/modules/6.9.4-200.fc40.x86_64",
            ),
            (
                Tree::new()
                    .image("boot/k", "5.10.1")
                    .modules("lib/modules/5.10.1")
                    .link("vmlinuz", "/boot/k"),
                "boot/k",
                "lib/modules/5.10.1",
            ),
            (
                Tree::new()
                    .image("boot/vmlinuz-lts", "6.6.1-0-lts")
                    .modules("usr/lib/modules/6.6.1-0-lts")
                    .link("lib", "usr/lib"),
                "boot/vmlinuz-lts",
                "usr/lib/modules/6.6.1-0-lts",
            ),
        ] {
            assert_eq!(tree.finds(), (image.to_owned(), modules.to_owned()));
        }
    }

    #[test]
    fn the_newest_with_modules_wins() {
        let tree = Tree::new()
            .image("boot/vmlinuz-6.1.9-amd64", "6.1.9-amd64")
            .modules("usr/lib/modules/6.1.9-amd64")
            .image("boot/vmlinuz-6.1.10-amd64", "6.1.10-amd64")
            .modules("usr/lib/modules/6.1.10-amd64")
            .image("boot/vmlinuz-6.12.1-amd64", "6.12.1-amd64");
        assert_eq!(tree.finds().0, "boot/vmlinuz-6.1.10-amd64");
    }

    #[test]
    fn failures_say_where_and_what() {
        let nothing = Tree::new().fails();
        assert!(
            nothing.starts_with("no kernel in ROOT: looked for boot/vmlinuz-*, boot/vmlinuz, "),
            "{nothing}"
        );
        assert!(
            nothing.contains("\nhint: install a kernel in the root (Debian: linux-image-amd64,"),
            "{nothing}"
        );
        let unusable =
            Tree::new().image("boot/vmlinuz-6.1", "6.1").file("boot/vmlinux-6.1", b"\x7fELF").fails();
        assert!(
            unusable.starts_with(
                "no usable kernel in ROOT: boot/vmlinuz-6.1 is 6.1, whose modules are not there; \
                 boot/vmlinux-6.1 is not a kernel image for x86"
            ),
            "{unusable}"
        );
    }

    #[test]
    fn a_named_image_takes_its_modules_from_the_root() {
        let tree = Tree::new().modules("lib/modules/7.0.0").image("mine", "7.0.0").file("text", b"hello");
        let root = tree.0.path();
        let kernel = Kernel::find(root, Some(&root.join("mine"))).unwrap();
        assert_eq!(kernel.modules, root.join("lib/modules/7.0.0"));
        let other = Tree::new();
        let error = Kernel::find(other.0.path(), Some(&root.join("mine"))).unwrap_err();
        assert!(error.message().contains("is kernel 7.0.0, whose modules are not in"), "{error}");
        let error = Kernel::find(root, Some(&root.join("text"))).unwrap_err();
        assert!(error.message().ends_with("is not a Linux kernel image for x86"), "{error}");
    }

    #[test]
    fn headers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut no_version = bz_image("6.1");
        no_version[0x20e..0x210].fill(0);
        let mut out_of_reach = bz_image("6.1");
        out_of_reach[0x20e..0x210].copy_from_slice(&0xfff0_u16.to_le_bytes());
        for (bytes, version) in [
            (bz_image("6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1"), Some("6.1.0-56-amd64")),
            (bz_image("6.1"), Some("6.1")),
            (bz_image("../../etc x"), None),
            (no_version, None),
            (out_of_reach, None),
            (vec![0; 0x400], None),
            (b"short".to_vec(), None),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(image_version(&path).unwrap().as_deref(), version);
        }
    }

    #[test]
    fn versions_in_order() {
        let sorted = [
            "4.19.0-27-amd64",
            "5.10.0-30-amd64",
            "6.1.0-9-amd64",
            "6.1.0-56-rt-cloud-amd64",
            "6.1.0-56-cloud-amd64",
            "6.1.0-56-amd64",
            "6.9.4-200.fc40.x86_64",
            "6.12-rc3",
            "6.12-rc10",
            "6.12",
            "6.12.1",
            "10.0",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }
}
