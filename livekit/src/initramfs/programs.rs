//! Where the programs of the initramfs are on the build host.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use live::error::{Error, Result};

/// Environment variable that names a directory to look in first.
pub(crate) const LIBRARY_VARIABLE: &str = "LIVEKIT_LIB";

/// Finds the program `init` or `cleanup`: in `$LIVEKIT_LIB`, beside the running command, and in `../lib/livekit` as seen from it.
///
/// # Errors
/// It is in none of them; the error says where it was looked for.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let library = env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let command = env::current_exe().ok();
    find_in(name, &places(library.as_deref(), command.as_deref()))
}

/// The build host's busybox, if it is static.
pub(crate) fn find_busybox() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places: Vec<PathBuf> =
        env::split_paths(&path).chain(["/bin", "/usr/bin"].map(PathBuf::from)).collect();
    places.iter().map(|p| p.join("busybox")).find(|p| fs::read(p).is_ok_and(|bytes| is_static(&bytes)))
}

/// A program of the build host that only root has in its PATH.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

fn places(library: Option<&Path>, command: Option<&Path>) -> Vec<PathBuf> {
    let beside = command.and_then(Path::parent);
    let installed = beside.and_then(Path::parent).map(|p| p.join("lib/livekit"));
    library.map(Path::to_owned).into_iter().chain(beside.map(Path::to_owned)).chain(installed).collect()
}

fn find_in(name: &str, places: &[PathBuf]) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = places.iter().map(|p| p.join(name)).collect();
    let is_program =
        |p: &&PathBuf| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let Some(found) = candidates.iter().find(is_program) else {
        let looked: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        return Err(Error::new(format!("cannot find the program {name}; looked for {}", looked.join(", ")))
            .hint("build it with `cargo build --release -p init -p cleanup`, or set LIVEKIT_LIB to the directory it is in"));
    };
    if !fs::read(found).is_ok_and(|bytes| is_static(&bytes)) {
        return Err(Error::at("use", found, "not a static x86-64 program")
            .hint("an initramfs has no libraries: build it with `-C target-feature=+crt-static`"));
    }
    Ok(found.clone())
}

/// Whether an ELF program for x86-64 starts without a loader: no program header of type `PT_INTERP` (elf(5)).
pub(crate) fn is_static(elf: &[u8]) -> bool {
    const CLASS64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
    const EM_X86_64: &[u8] = &[62, 0];
    const PT_INTERP: &[u8] = &[3, 0, 0, 0];
    let number = |at: usize, size: usize| {
        let bytes = elf.get(at..at + size)?.iter().rev();
        usize::try_from(bytes.fold(0_u64, |value, &byte| value << 8 | u64::from(byte))).ok()
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    let header = |i: usize| elf.get(table.checked_add(i * size)?..)?.get(..4);
    elf.starts_with(CLASS64_LITTLE)
        && elf.get(18..20) == Some(EM_X86_64)
        && (0..count).all(|i| header(i).is_some_and(|kind| kind != PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u8, program_header: u8) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = machine;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = program_header;
        elf
    }

    #[test]
    fn static_programs() {
        assert!(is_static(&elf(62, 1)));
        for (what, bytes) in [
            ("has a loader", elf(62, 3)),
            ("other machine", elf(183, 1)),
            ("script", b"#!/bin/sh\n".to_vec()),
            ("cut off", elf(62, 1)[..66].to_vec()),
            ("empty", Vec::new()),
        ] {
            assert!(!is_static(&bytes), "{what}");
        }
    }

    #[test]
    fn the_order_of_places() {
        let found = places(Some(Path::new("/own")), Some(Path::new("/usr/bin/livekit")));
        assert_eq!(found, ["/own", "/usr/bin", "/usr/lib/livekit"].map(PathBuf::from));
        assert!(places(None, None).is_empty());
    }

    #[test]
    fn finds_or_says_where_it_looked() {
        let dir = tempfile::tempdir().unwrap();
        let places = ["a", "b"].map(|d| dir.path().join(d)).to_vec();
        places.iter().for_each(|p| fs::create_dir(p).unwrap());
        let error = find_in("init", &places).unwrap_err();
        for place in &places {
            assert!(error.message().contains(&place.join("init").display().to_string()));
        }
        let write = |place: &Path, bytes: &[u8], mode| {
            fs::write(place.join("init"), bytes).unwrap();
            fs::set_permissions(place.join("init"), fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&places[0], &elf(62, 1), 0o644);
        write(&places[1], &elf(62, 1), 0o755);
        assert_eq!(find_in("init", &places).unwrap(), places[1].join("init"), "the other cannot be run");
        write(&places[0], &elf(62, 3), 0o755);
        assert!(find_in("init", &places).unwrap_err().message().ends_with("not a static x86-64 program"));
    }
}
