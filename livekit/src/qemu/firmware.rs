//! UEFI firmware for QEMU (OVMF), where distributions keep it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A firmware with the variables it starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    pub code: PathBuf,
    /// Read only: QEMU puts what the firmware writes elsewhere.
    pub variables: PathBuf,
    /// Whether it enforces Secure Boot.
    pub secure: bool,
}

/// Code and variables: Debian and Ubuntu, the same of older releases, Fedora, Arch and what it had before, openSUSE.
const PLAIN: &[(&str, &str)] = &[
    ("OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_VARS_4M.fd"),
    ("OVMF/OVMF_CODE.fd", "OVMF/OVMF_VARS.fd"),
    ("edk2/ovmf/OVMF_CODE.fd", "edk2/ovmf/OVMF_VARS.fd"),
    ("edk2/x64/OVMF_CODE.4m.fd", "edk2/x64/OVMF_VARS.4m.fd"),
    ("edk2-ovmf/x64/OVMF_CODE.fd", "edk2-ovmf/x64/OVMF_VARS.fd"),
    ("qemu/ovmf-x86_64-4m-code.bin", "qemu/ovmf-x86_64-4m-vars.bin"),
];

/// The same with Microsoft's keys in the variables. Arch has no such variables.
const SECURE: &[(&str, &str)] = &[
    ("OVMF/OVMF_CODE_4M.secboot.fd", "OVMF/OVMF_VARS_4M.ms.fd"),
    ("OVMF/OVMF_CODE.secboot.fd", "OVMF/OVMF_VARS.ms.fd"),
    ("edk2/ovmf/OVMF_CODE.secboot.fd", "edk2/ovmf/OVMF_VARS.secboot.fd"),
    ("qemu/ovmf-x86_64-smm-ms-code.bin", "qemu/ovmf-x86_64-smm-ms-vars.bin"),
];

impl Firmware {
    /// The first there is on this machine.
    pub fn find(secure: bool) -> Result<Self> {
        Firmware::find_below(Path::new("/usr/share"), secure)
    }

    fn find_below(share: &Path, secure: bool) -> Result<Self> {
        let known = if secure { SECURE } else { PLAIN };
        let mut pairs = known.iter().map(|(code, variables)| (share.join(code), share.join(variables)));
        match pairs.find(|(code, variables)| code.is_file() && variables.is_file()) {
            Some((code, variables)) => Ok(Firmware { code, variables, secure }),
            None => {
                let looked: Vec<String> =
                    known.iter().map(|(code, _)| share.join(code).display().to_string()).collect();
                let what = if secure { "UEFI firmware with Secure Boot keys" } else { "UEFI firmware" };
                Err(Error::new(format!("no {what}: looked for {}", looked.join(", ")))
                    .hint("install it (Debian: apt-get install ovmf; Fedora: edk2-ovmf)"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pairs_are_taken() {
        let share = tempfile::tempdir().unwrap();
        let error = Firmware::find_below(share.path(), true).unwrap_err();
        assert!(
            error.message().starts_with("no UEFI firmware with Secure Boot keys: looked for "),
            "{error}"
        );
        for (file, found) in [
            ("OVMF/OVMF_CODE_4M.fd", None),
            ("edk2/ovmf/OVMF_CODE.fd", None),
            ("edk2/ovmf/OVMF_VARS.fd", Some("edk2/ovmf/OVMF_CODE.fd")),
            ("OVMF/OVMF_VARS_4M.fd", Some("OVMF/OVMF_CODE_4M.fd")),
        ] {
            let path = share.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
            let firmware = Firmware::find_below(share.path(), false).ok();
            assert_eq!(
                firmware.map(|firmware| firmware.code),
                found.map(|code| share.path().join(code)),
                "{file}"
            );
        }
    }
}
