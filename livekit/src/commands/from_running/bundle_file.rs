//! The bytes of an active bundle: its file, or what its loop device still shows of one that is gone.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bundles::Superblock;

use crate::activation::stack::{self, Stacked};
use crate::error::{AtPath, Error, Result};
use crate::output::{Output, size};

/// Bundles fill whole pages, as `mksquashfs` makes them.
const PAGE: u64 = 4096;

/// The file of an active bundle; nothing if it was removed, or if another has taken its place.
pub fn file_of(bundle: &Stacked) -> Option<PathBuf> {
    let file = stack::file_of(&bundle.device).filter(|file| file.is_file())?;
    let active = superblock(Path::new(&bundle.device)).ok()?;
    (superblock(&file).ok()? == active).then_some(file)
}

/// Copies an active bundle from its loop device, which has it as long as the medium is there, to `target`.
///
/// # Errors
/// The device cannot be read, which takes root, or `target` cannot be written.
pub fn copy_of_device(bundle: &Stacked, target: &Path, output: &Output) -> Result<()> {
    output.warning(format!(
        "the file of {} is gone, or another is there now; it is read from {}",
        bundle.name, bundle.device
    ));
    let step = output.step(format!("Reading {}", bundle.device));
    let length = copy(Path::new(&bundle.device), target)?;
    step.done(size(length));
    Ok(())
}

fn copy(device: &Path, target: &Path) -> Result<u64> {
    let used = superblock(device)?.bytes_used;
    let mut from = File::open(device).at("open", device)?.take(used);
    let mut to = File::create_new(target).at("make", target)?;
    let copied = io::copy(&mut from, &mut to).at("copy", device)?;
    if copied < used {
        return Err(Error::at("copy", device, format!("{copied} bytes of {used} are there")));
    }
    let length = used.next_multiple_of(PAGE);
    to.set_len(length).at("write", target)?;
    Ok(length)
}

fn superblock(path: &Path) -> Result<Superblock> {
    let mut bytes = Vec::with_capacity(Superblock::SIZE);
    let file = File::open(path).at("open", path)?;
    file.take(Superblock::SIZE as u64).read_to_end(&mut bytes).at("read", path)?;
    Superblock::parse(&bytes).map_err(|error| Error::at("read", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_copy_has_all_that_the_superblock_counts_and_whole_pages() {
        let folder = tempfile::tempdir().unwrap();
        let [root, bundle, device, target, unpacked] =
            ["root", "x.sb", "device", "copy.sb", "unpacked"].map(|name| folder.path().join(name));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("file"), "text").unwrap();
        let run = |command: &mut Command| assert!(command.output().unwrap().status.success(), "{command:?}");
        run(Command::new("mksquashfs").args([&root, &bundle]).args(["-nopad", "-quiet"]));
        let used = std::fs::metadata(&bundle).unwrap().len();
        assert_ne!(used % PAGE, 0);
        // A loop device has whole sectors, and more than the bundle.
        let mut bytes = std::fs::read(&bundle).unwrap();
        bytes.resize(bytes.len().next_multiple_of(512) + (1 << 20), 7);
        std::fs::write(&device, bytes).unwrap();

        let length = copy(&device, &target).unwrap();
        assert_eq!((length, std::fs::metadata(&target).unwrap().len()), (PAGE, PAGE));
        run(Command::new("unsquashfs").args(["-quiet", "-dest"]).args([&unpacked, &target]));
        assert_eq!(std::fs::read_to_string(unpacked.join("file")).unwrap(), "text");

        std::fs::write(&device, &std::fs::read(&bundle).unwrap()[..100]).unwrap();
        let error = copy(&device, &folder.path().join("torn.sb")).unwrap_err();
        assert!(error.message().contains("100 bytes of"), "{error}");
        std::fs::write(&device, "nothing").unwrap();
        assert!(copy(&device, &folder.path().join("no.sb")).is_err());
    }
}
