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

/// Which firmware an image may do without if the files for it are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Optional {
    /// Make an image for BIOS only if the UEFI files are missing.
    pub uefi: bool,
    /// Make an image for UEFI only if the BIOS files are missing.
    pub bios: bool,
}

// Second names are Ubuntu's: there the first is a link, which leads out of a build root, or is missing.
const SHIM: &[&str] = &["usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/shimx64.efi.signed.latest"];
const GRUB: &[&str] = &["usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"];
const MOK_MANAGER: &[&str] = &["usr/lib/shim/mmx64.efi.signed", "usr/lib/shim/mmx64.efi"];
const MODULES: &[&str] = &["usr/lib/grub/i386-pc/boot_hybrid.img"];
const FONT: &[&str] = &["usr/share/grub/unicode.pf2", "boot/grub/fonts/unicode.pf2"];

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
    /// Finds the files for UEFI and BIOS. Each is taken from the first of `roots` that has it: the root of the system the
    /// image is made of, then `/`. `grub-mkimage` runs on this machine and is looked for in `PATH`.
    ///
    /// Fails if any file is missing, with all that are and where they were looked for.
    pub fn find(roots: &[&Path]) -> Result<Self, Error> {
        Self::find_some(roots, Optional::default())
    }

    /// As [`BootFiles::find`], but `optional` firmware is left out if files for it are missing. One must remain.
    pub fn find_some(roots: &[&Path], optional: Optional) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_with(roots, optional, &std::env::split_paths(&path).collect::<Vec<_>>())
    }

    fn find_with(roots: &[&Path], optional: Optional, programs: &[PathBuf]) -> Result<Self, Error> {
        let mut missing = Vec::new();
        let mut search = Search { roots, programs, missing: Vec::new() };
        let uefi = search.uefi();
        if uefi.is_none() && !optional.uefi {
            missing.append(&mut search.missing);
        }
        let uefi_missing = std::mem::take(&mut search.missing);
        let bios = search.bios();
        if bios.is_none() && !optional.bios {
            missing.append(&mut search.missing);
        }
        if uefi.is_none() && bios.is_none() && missing.is_empty() {
            missing = uefi_missing;
            missing.append(&mut search.missing);
        }
        if missing.is_empty() {
            Ok(Self { uefi, bios })
        } else {
            Err(Error::BootFilesMissing {
                missing,
                roots: roots.iter().map(|&root| root.to_owned()).collect(),
            })
        }
    }
}

struct Search<'a> {
    roots: &'a [&'a Path],
    programs: &'a [PathBuf],
    missing: Vec<String>,
}

impl Search<'_> {
    fn uefi(&mut self) -> Option<UefiFiles> {
        let (shim, grub, mok_manager) = (self.file(SHIM), self.file(GRUB), self.file(MOK_MANAGER));
        Some(UefiFiles { shim: shim?, grub: grub?, mok_manager: mok_manager? })
    }

    fn bios(&mut self) -> Option<BiosFiles> {
        let (boot, font, mkimage) = (self.file(MODULES), self.file(FONT), self.program());
        Some(BiosFiles { modules: boot?.parent()?.to_owned(), mkimage: mkimage?, font: font? })
    }

    fn file(&mut self, names: &[&str]) -> Option<PathBuf> {
        let candidates = self.roots.iter().flat_map(|root| names.iter().map(move |name| root.join(name)));
        let found = candidates.into_iter().find(|path| path.is_file());
        if found.is_none() {
            self.missing.push(format!("/{}", names[0]));
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
            self.missing.push("grub-mkimage".to_owned());
        }
        found
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

    fn find(root: &tempfile::TempDir, optional: Optional) -> Result<BootFiles, Error> {
        BootFiles::find_with(&[root.path()], optional, &[root.path().join("bin")])
    }

    const UEFI: [&str; 3] = [SHIM[0], GRUB[0], MOK_MANAGER[0]];
    const BIOS: [&str; 3] = [MODULES[0], FONT[0], "bin/grub-mkimage"];
    const NO_UEFI: Optional = Optional { uefi: true, bios: false };
    const NO_BIOS: Optional = Optional { uefi: false, bios: true };
    const NEITHER: Optional = Optional { uefi: true, bios: true };

    #[test]
    fn half_is_found_only_if_that_is_allowed() {
        let whole = root_with(&[UEFI, BIOS].concat());
        let files = find(&whole, Optional::default()).unwrap();
        assert_eq!(files.bios.unwrap().modules, whole.path().join("usr/lib/grub/i386-pc"));
        assert_eq!(files.uefi.unwrap().shim, whole.path().join(SHIM[0]));

        let uefi = root_with(&UEFI);
        assert!(find(&uefi, Optional::default()).is_err());
        assert!(find(&uefi, NO_UEFI).is_err());
        assert!(find(&uefi, NO_BIOS).unwrap().bios.is_none());

        let bios = root_with(&BIOS);
        assert!(find(&bios, NO_BIOS).is_err());
        assert!(find(&bios, NEITHER).unwrap().uefi.is_none());
        assert!(find(&root_with(&[]), NEITHER).is_err());
    }

    #[test]
    fn what_is_missing_is_listed_with_the_places() {
        let root = root_with(&[GRUB[0], MODULES[0], "bin/grub-mkimage"]);
        let error = find(&root, Optional::default()).unwrap_err();
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
            "apt-get install shim-signed grub-efi-amd64-signed grub-pc-bin grub-common"
        );
    }

    #[test]
    fn the_first_root_wins() {
        let (first, second) = (root_with(&[SHIM[0]]), root_with(&[UEFI, BIOS].concat()));
        let roots = [first.path(), second.path()];
        let files = BootFiles::find_with(&roots, Optional::default(), &[second.path().join("bin")]).unwrap();
        let uefi = files.uefi.unwrap();
        assert_eq!(uefi.shim, first.path().join(SHIM[0]));
        assert_eq!(uefi.grub, second.path().join(GRUB[0]));
    }
}
