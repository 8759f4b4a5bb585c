//! Whether a file is a bundle that this system can use, asked before anything is changed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use bundles::source::aufs;
use bundles::{Bundle, BundleName, Compression, Superblock};
use live::{layer, mounts};

use crate::error::{AtPath, Error, Result, from_chain};

/// What is known of a bundle before it is attached.
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its file name.
    pub name: String,
    /// Whether its removed files are marked as aufs does.
    pub is_aufs: bool,
}

/// Has the kernel look at the bundle, and reads its superblock and all of its names.
pub fn bundle(file: &Path) -> Result<Checked> {
    let name = file.file_name().and_then(|n| n.to_str()).filter(|n| BundleName::parse(n).is_some());
    let name = name
        .ok_or_else(|| Error::at("activate", file, "the name of a bundle ends in .sb").hint("rename it"))?
        .to_owned();
    let about = fs::metadata(file).at("look at", file)?;
    if !about.is_file() {
        return Err(Error::at("activate", file, "it is not a file"));
    }
    compressor(file, &at_work())?;
    let opened = Bundle::open(file).and_then(|bundle| Ok(aufs::is_aufs(bundle.tree()?)));
    let is_aufs = opened.map_err(|e| {
        from_chain(&e).hint("`livekit bundle verify FILE` looks through it; copy or download it again")
    })?;
    Ok(Checked { name, is_aufs })
}

/// Refuses a bundle of a compressor that this kernel does not have. Which it has is in no file that is always there; those
/// `at_work`, of mounted bundles, it has, and of others it is asked with the bundle itself.
fn compressor(file: &Path, at_work: &[Compression]) -> Result<()> {
    // What is no bundle is told by those who read it.
    let Some(used) = compression(file) else { return Ok(()) };
    if at_work.contains(&used) {
        return Ok(());
    }
    match layer::can_be_mounted(file) {
        Err(error) if is_refused(&error.message()) => Err(unreadable(file, used, at_work)),
        // Without a loop device it cannot be active; other faults of the bundle are told in more detail than the kernel does.
        Err(error) if error.hint_text().is_some() => Err(error),
        _ => Ok(()),
    }
}

/// Whether the kernel says that it lacks the compressor (`supported_squashfs_filesystem` in fs/squashfs/super.c).
fn is_refused(message: &str) -> bool {
    message.contains("compression. This is not supported")
}

fn unreadable(file: &Path, used: Compression, at_work: &[Compression]) -> Error {
    let error =
        Error::at("activate", file, format!("it is compressed with {used}, which this kernel cannot read"));
    let ours = |&&it: &&Compression| !matches!(it, Compression::Lzma | Compression::Lzo);
    let other = at_work.iter().find(ours).copied().unwrap_or(Compression::Gzip);
    error.hint(match used {
        // The command cannot read those either.
        Compression::Lzma | Compression::Lzo => {
            format!("unpack it with unsquashfs, then `livekit bundle pack --compressor {other} DIR NEW.sb`")
        }
        _ => format!("`livekit bundle convert --compressor {other} OLD.sb NEW.sb` packs it again"),
    })
}

/// The compressors of what is mounted.
fn at_work() -> Vec<Compression> {
    let mounts = mounts::current().unwrap_or_default();
    let bundles = mounts.iter().filter(|mount| mount.fs_type == "squashfs");
    bundles.filter_map(|mount| compression(Path::new(&mount.source))).collect()
}

/// What an image is compressed with; nothing if it is none.
fn compression(image: &Path) -> Option<Compression> {
    let mut header = [0; Superblock::SIZE];
    File::open(image).ok()?.read_exact(&mut header).ok()?;
    Superblock::parse(&header).ok().map(|superblock| superblock.compression)
}

/// Folders whose files tell for which processor a bundle was made.
const PROGRAMS: [&str; 5] = ["usr/bin", "usr/sbin", "usr/local/bin", "usr/lib", "usr/lib64"];

/// How many files of a folder are looked at.
const LOOKED_AT: usize = 64;

/// `e_machine` of elf(5) for the processors whose programs run here, with their names for the user.
const MACHINES: [(u16, &str); 7] = [
    (3, "i386"),
    (62, "x86-64"),
    (40, "32-bit ARM"),
    (183, "aarch64"),
    (243, "RISC-V"),
    (21, "PowerPC"),
    (22, "S/390"),
];

/// What runs on this processor.
const OURS: [u16; 2] = [3, 62];

/// Refuses a bundle, mounted at `mount`, whose programs are all for another processor.
pub fn architecture(mount: &Path) -> Result<()> {
    let mut foreign = None;
    for folder in PROGRAMS {
        let files = fs::read_dir(mount.join(folder)).into_iter().flatten().flatten();
        for file in files.take(LOOKED_AT) {
            match machine(&file.path()) {
                Some(machine) if OURS.contains(&machine) => return Ok(()),
                Some(machine) => foreign = Some(machine),
                None => {}
            }
        }
    }
    let Some(foreign) = foreign else { return Ok(()) };
    let name = MACHINES.iter().find(|(number, _)| *number == foreign);
    let name = name.map_or_else(|| format!("processor number {foreign}"), |(_, name)| (*name).to_owned());
    let bundle = mount.file_name().unwrap_or_default().to_string_lossy();
    Err(Error::at("use", &*bundle, format!("its programs are for {name}, this machine is x86-64")))
}

/// The processor that a program is for; nothing if it is not an ELF file of this byte order.
fn machine(path: &Path) -> Option<u16> {
    let about = fs::symlink_metadata(path).ok()?;
    if !about.is_file() {
        return None;
    }
    let mut header = [0; 20];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    (header[..4] == *b"\x7fELF").then(|| {
        let bytes = [header[18], header[19]];
        // Byte 5 tells the byte order: 2 is big endian.
        if header[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16) -> Vec<u8> {
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(18, 0);
        header.extend(machine.to_le_bytes());
        header
    }

    #[test]
    fn programs_of_other_processors() {
        let table = [
            (vec![("usr/bin/a", elf(62))], None),
            (vec![("usr/bin/a", elf(183)), ("usr/lib/b", elf(3))], None),
            (vec![("usr/bin/a", b"#!/bin/sh\n".to_vec())], None),
            (vec![("usr/bin/a", elf(183))], Some("aarch64")),
            (vec![("usr/sbin/a", elf(4000))], Some("processor number 4000")),
        ];
        for (files, expected) in table {
            let mount = tempfile::tempdir().unwrap();
            for (path, bytes) in files {
                fs::create_dir_all(mount.path().join(path).parent().unwrap()).unwrap();
                fs::write(mount.path().join(path), bytes).unwrap();
            }
            match (architecture(mount.path()), expected) {
                (Ok(()), None) => {}
                (Err(e), Some(part)) => assert!(e.message().contains(part), "{e}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn how_to_pack_again_what_the_kernel_cannot_read() {
        for (used, at_work, hint) in [
            (Compression::Zstd, vec![Compression::Xz, Compression::Gzip], "convert --compressor xz "),
            (Compression::Lz4, vec![], "convert --compressor gzip "),
            (
                Compression::Lzma,
                vec![Compression::Zstd],
                "unsquashfs, then `livekit bundle pack --compressor zstd ",
            ),
            (Compression::Lzo, vec![Compression::Lzo], "pack --compressor gzip "),
        ] {
            let error = unreadable(Path::new("/a.sb"), used, &at_work);
            let said = format!("/a.sb: it is compressed with {used}, which this kernel cannot read");
            assert!(error.message().ends_with(&said), "{error}");
            assert!(error.hint_text().is_some_and(|text| text.contains(hint)), "{error}");
        }
        let kernels = "cannot mount /dev/loop0 (squashfs) on /a.sb: Invalid argument (os error 22) \
            (squashfs: Filesystem uses \"lzma\" compression. This is not supported)";
        assert!(is_refused(kernels));
        assert!(!is_refused("cannot mount /dev/loop0 (squashfs) on /a.sb: Invalid argument (os error 22)"));
    }

    #[test]
    fn what_is_no_bundle_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content, part) in [
            ("a.sb", &b"text"[..], "a.sb"),
            ("a.squashfs", b"text", "ends in .sb"),
            (".sb", b"text", "ends in .sb"),
        ] {
            let file = folder.path().join(name);
            fs::write(&file, content).unwrap();
            let error = bundle(&file).unwrap_err();
            assert!(error.message().contains(part) && error.hint_text().is_some(), "{error}");
        }
        fs::create_dir(folder.path().join("d.sb")).unwrap();
        assert!(bundle(&folder.path().join("d.sb")).unwrap_err().message().contains("not a file"));
    }
}
