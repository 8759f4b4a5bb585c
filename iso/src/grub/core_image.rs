use std::process::Command;

use super::files::BiosFiles;
use crate::Error;

/// The modules of the BIOS core image. All that the menu may use is built in, so that no module file is on the medium;
/// file systems besides iso9660 and fat are for loop-booting images and for people at GRUB's command line.
const MODULES: &[&str] = &[
    "biosdisk",
    "iso9660",
    "udf",
    "part_msdos",
    "part_gpt",
    "fat",
    "exfat",
    "ntfs",
    "ext2",
    "search",
    "search_fs_file",
    "search_fs_uuid",
    "search_label",
    "normal",
    "configfile",
    "linux",
    "linux16",
    "loopback",
    "echo",
    "test",
    "true",
    "regexp",
    "terminfo",
    "serial",
    "terminal",
    "gfxterm",
    "gfxmenu",
    "gfxterm_background",
    "png",
    "vbe",
    "font",
    "ls",
    "cat",
    "minicmd",
    "halt",
    "reboot",
    "sleep",
    "chain",
    "probe",
    "loadenv",
    "squash4",
    "gzio",
];

/// Makes the image that El Torito and the MBR load. `early` is the script it runs first.
pub(super) fn make(files: &BiosFiles, early: &str) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::Program { program: files.mkimage.display().to_string(), reason };
    let directory = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    // grub-mkimage seeks in its configuration: it must be a file.
    let (config, output) = (directory.path().join("early.cfg"), directory.path().join("eltorito.img"));
    std::fs::write(&config, early).map_err(|error| failed(error.to_string()))?;
    let result = Command::new(&files.mkimage)
        .args(["--format=i386-pc-eltorito", "--prefix=/boot/grub"])
        .arg("--directory")
        .arg(&files.modules)
        .arg("--config")
        .arg(&config)
        .arg("--output")
        .arg(&output)
        .args(MODULES)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr);
        let reason = text.trim().lines().last().unwrap_or("it says nothing").to_owned();
        return Err(failed(reason));
    }
    std::fs::read(&output).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_quoted() {
        let files = BiosFiles { modules: "/none".into(), mkimage: "/bin/false".into(), font: "/none".into() };
        assert_eq!(make(&files, "").unwrap_err().to_string(), "/bin/false failed: it says nothing");
        let files = BiosFiles { mkimage: "/nowhere/grub-mkimage".into(), ..files };
        let message = make(&files, "").unwrap_err().to_string();
        assert!(message.contains("/nowhere/grub-mkimage failed: No such file"), "{message}");
    }
}
