use std::path::{Path, PathBuf};

use crate::Error;

/// The boot loader's files, as Debian's packages install them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// From shim-signed and grub-efi-amd64-signed.
    pub uefi: Option<UefiFiles>,
    /// From grub-pc-bin and grub-common.
    pub bios: Option<BiosFiles>,
}

/// Signed EFI programs for 64-bit PCs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFiles {
    /// What the firmware starts: `shimx64.efi.signed`.
    pub shim: PathBuf,
    /// The GRUB for CDs: `gcdx64.efi.signed`.
    pub grub: PathBuf,
    /// With which users enroll keys of their own: `mmx64.efi.signed`.
    pub mok_manager: PathBuf,
}

/// What a GRUB for BIOS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BiosFiles {
    /// The directory of GRUB's modules and boot sectors: `/usr/lib/grub/i386-pc`.
    pub modules: PathBuf,
    /// The program that joins them: `grub-mkimage`.
    pub mkimage: PathBuf,
    /// GNU Unifont in GRUB's format: `unicode.pf2`.
    pub font: PathBuf,
}

/// The firmware an image starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Firmware {
    #[default]
    Both,
    Bios,
    Uefi,
}

/// A file to look for.
struct Wanted {
    /// Its names from the root. Second names are Ubuntu's: there the first is a link, which leads out of a build root,
    /// or is missing. The last ones of EFI programs are those on a medium that was made here.
    names: &'static [&'static str],
    /// Debian's package with it.
    package: &'static str,
}

const SHIM: Wanted = Wanted {
    names: &[
        "usr/lib/shim/shimx64.efi.signed",
        "usr/lib/shim/shimx64.efi.signed.latest",
        "EFI/BOOT/BOOTX64.EFI",
    ],
    package: "shim-signed",
};
const MOK_MANAGER: Wanted = Wanted {
    names: &["usr/lib/shim/mmx64.efi.signed", "usr/lib/shim/mmx64.efi", "EFI/BOOT/mmx64.efi"],
    package: "shim-helpers-amd64-signed",
};
const GRUB: Wanted = Wanted {
    names: &["usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed", "EFI/BOOT/grubx64.efi"],
    package: "grub-efi-amd64-signed",
};
const MODULES: Wanted = Wanted { names: &["usr/lib/grub/i386-pc/boot_hybrid.img"], package: "grub-pc-bin" };
const FONT: Wanted =
    Wanted { names: &["usr/share/grub/unicode.pf2", "boot/grub/fonts/unicode.pf2"], package: "grub-common" };
const MKIMAGE_PACKAGE: &str = "grub-common";

impl UefiFiles {
    /// The files with their paths on the EFI system partition.
    pub(super) fn named(&self) -> [(&'static str, &Path); 3] {
        [
            ("EFI/BOOT/BOOTX64.EFI", &self.shim),
            ("EFI/BOOT/grubx64.efi", &self.grub),
            ("EFI/BOOT/mmx64.efi", &self.mok_manager),
        ]
    }
}

impl BootFiles {
    /// Finds the files for `firmware`. Each is taken from the first of `roots` that has it: the root of the system the
    /// image is made of, then `/`. `grub-mkimage` runs on this machine and is looked for in `PATH`.
    ///
    /// Fails if any file is missing, with all that are and where they were looked for.
    pub fn find(roots: &[&Path], firmware: Firmware) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_with(roots, firmware, &std::env::split_paths(&path).collect::<Vec<_>>())
    }

    fn find_with(roots: &[&Path], firmware: Firmware, programs: &[PathBuf]) -> Result<Self, Error> {
        let mut search = Search { roots, programs, missing: Vec::new(), packages: Vec::new() };
        let uefi = if firmware == Firmware::Bios { None } else { search.uefi() };
        let bios = if firmware == Firmware::Uefi { None } else { search.bios() };
        if search.missing.is_empty() {
            Ok(Self { uefi, bios })
        } else {
            Err(Error::BootFilesMissing {
                missing: search.missing,
                packages: search.packages,
                roots: roots.iter().map(|&root| root.to_owned()).collect(),
            })
        }
    }
}

struct Search<'a> {
    roots: &'a [&'a Path],
    programs: &'a [PathBuf],
    missing: Vec<String>,
    packages: Vec<&'static str>,
}

impl Search<'_> {
    fn uefi(&mut self) -> Option<UefiFiles> {
        let (shim, grub, mok_manager) = (self.file(&SHIM), self.file(&GRUB), self.file(&MOK_MANAGER));
        Some(UefiFiles { shim: shim?, grub: grub?, mok_manager: mok_manager? })
    }

    fn bios(&mut self) -> Option<BiosFiles> {
        let (boot, font, mkimage) = (self.file(&MODULES), self.file(&FONT), self.program());
        Some(BiosFiles { modules: boot?.parent()?.to_owned(), mkimage: mkimage?, font: font? })
    }

    fn file(&mut self, wanted: &Wanted) -> Option<PathBuf> {
        let names = wanted.names;
        let mut candidates = self.roots.iter().flat_map(|root| names.iter().map(move |name| root.join(name)));
        let found = candidates.find(|path| path.is_file());
        if found.is_none() {
            self.miss(format!("/{}", names[0]), wanted.package);
        }
        found
    }

    /// `grub2-mkimage` is its name on Fedora and openSUSE.
    fn program(&mut self) -> Option<PathBuf> {
        let always = ["/usr/bin", "/usr/sbin"].map(PathBuf::from);
        let found = ["grub-mkimage", "grub2-mkimage"]
            .iter()
            .flat_map(|name| self.programs.iter().chain(&always).map(move |directory| directory.join(name)))
            .find(|path| path.is_file());
        if found.is_none() {
            self.miss("grub-mkimage".to_owned(), MKIMAGE_PACKAGE);
        }
        found
    }

    fn miss(&mut self, name: String, package: &'static str) {
        self.missing.push(name);
        if !self.packages.contains(&package) {
            self.packages.push(package);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        root
    }

    fn find(root: &tempfile::TempDir, firmware: Firmware) -> Result<BootFiles, Error> {
        BootFiles::find_with(&[root.path()], firmware, &[root.path().join("bin")])
    }

    const UEFI: [&str; 3] = [SHIM.names[0], GRUB.names[0], MOK_MANAGER.names[0]];
    const BIOS: [&str; 3] = [MODULES.names[0], FONT.names[0], "bin/grub-mkimage"];

    #[test]
    fn only_what_the_firmware_needs_must_be_there() {
        let whole = root_with(&[UEFI, BIOS].concat());
        let files = find(&whole, Firmware::Both).unwrap();
        assert_eq!(files.bios.unwrap().modules, whole.path().join("usr/lib/grub/i386-pc"));
        assert_eq!(files.uefi.unwrap().shim, whole.path().join(UEFI[0]));
        let (uefi, bios, nothing) = (root_with(&UEFI), root_with(&BIOS), root_with(&[]));
        for (root, firmware, found) in [
            (&whole, Firmware::Bios, Some((false, true))),
            (&whole, Firmware::Uefi, Some((true, false))),
            (&uefi, Firmware::Uefi, Some((true, false))),
            (&uefi, Firmware::Bios, None),
            (&uefi, Firmware::Both, None),
            (&bios, Firmware::Bios, Some((false, true))),
            (&bios, Firmware::Uefi, None),
            (&bios, Firmware::Both, None),
            (&nothing, Firmware::Both, None),
        ] {
            let files = find(root, firmware).ok();
            assert_eq!(
                files.map(|files| (files.uefi.is_some(), files.bios.is_some())),
                found,
                "{firmware:?}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_listed_with_the_places() {
        let root = root_with(&[UEFI[1], BIOS[0], "bin/grub-mkimage"]);
        let error = find(&root, Firmware::Both).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "boot files not found: /usr/lib/shim/shimx64.efi.signed, /usr/lib/shim/mmx64.efi.signed, \
                 /usr/share/grub/unicode.pf2; looked in {}",
                root.path().display()
            )
        );
        assert_eq!(
            error.hint().unwrap(),
            "apt-get install shim-signed shim-helpers-amd64-signed grub-common"
        );
        let error = find(&root, Firmware::Bios).unwrap_err();
        assert_eq!(error.hint().unwrap(), "apt-get install grub-common");
    }

    #[test]
    fn the_first_root_wins() {
        let (first, second) = (root_with(&UEFI[..1]), root_with(&[UEFI, BIOS].concat()));
        let roots = [first.path(), second.path()];
        let files = BootFiles::find_with(&roots, Firmware::Both, &[second.path().join("bin")]).unwrap();
        let uefi = files.uefi.unwrap();
        assert_eq!(uefi.shim, first.path().join(UEFI[0]));
        assert_eq!(uefi.grub, second.path().join(UEFI[1]));
    }
}
