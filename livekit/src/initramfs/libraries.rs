//! Programs of the build host that need libraries: which, and where the loader will look for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, Dyn64, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Folders that the loaders of common distributions look in by themselves (ld.so(8)).
const FOLDERS: [&str; 6] =
    ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib"];

/// What a program needs beside itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// The loader's path
    loader: Option<String>,
    libraries: Vec<String>,
    /// Folders that are looked in first
    folders: Vec<String>,
}

/// The loader and the libraries of `program` in the system at `root`: where each is to be in the initramfs, without the
/// leading slash, and its file.
///
/// # Errors
/// The reason in words: it is no such program, or a library is nowhere.
pub(crate) fn of(program: &Path, root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![program.to_owned()];
    while let Some(file) = waiting.pop() {
        let bytes = fs::read(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let needs = needs(&bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        if let Some(loader) = needs.loader {
            let place = loader.trim_start_matches('/').to_owned();
            let at = root.join(&place);
            if !at.exists() {
                return Err(format!("{loader}, its loader, is not there"));
            }
            found.insert(place, at);
        }
        let origin = file.parent().and_then(|f| f.strip_prefix(root).ok()).unwrap_or(Path::new(""));
        let own = needs.folders.iter().map(|folder| {
            let folder = folder.replace("$ORIGIN", &format!("/{}", origin.display()));
            folder.trim_start_matches('/').to_owned()
        });
        let folders: Vec<String> = own.chain(FOLDERS.map(String::from)).collect();
        for library in needs.libraries {
            if !seen.insert(library.clone()) {
                continue;
            }
            let place =
                folders.iter().map(|f| format!("{f}/{library}")).find(|place| root.join(place).is_file());
            let place =
                place.ok_or_else(|| format!("{library}, which {} needs, is nowhere", file.display()))?;
            waiting.push(root.join(&place));
            found.insert(place.clone(), root.join(place));
        }
    }
    Ok(found)
}

fn needs(bytes: &[u8]) -> object::read::Result<Needs> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(loader) = segment.interpreter(endian, bytes)? {
            needs.loader = Some(String::from_utf8_lossy(loader).into_owned());
        }
    }
    let mut entries: Vec<Dyn64<Endianness>> = Vec::new();
    for segment in segments {
        entries.extend_from_slice(segment.dynamic(endian, bytes)?.unwrap_or_default());
    }
    let value = |tag| {
        let entry = entries.iter().find(|entry| entry.d_tag(endian) == tag);
        entry.map_or(0, |entry| entry.d_val(endian))
    };
    let (address, size) = (value(DT_STRTAB), value(DT_STRSZ));
    let mut names: &[u8] = &[];
    for segment in segments {
        if let Ok(Some(table)) = segment.data_range(endian, bytes, address, size) {
            names = table;
        }
    }
    let name = |at: u64| {
        let rest = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).into_owned()
    };
    for entry in &entries {
        let (tag, text) = (entry.d_tag(endian), || name(entry.d_val(endian)));
        if tag == DT_NEEDED {
            needs.libraries.push(text());
        } else if tag == DT_RUNPATH || tag == DT_RPATH {
            needs.folders.extend(text().split(':').map(str::to_owned));
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system in which a program of this host and its libraries are all there is.
    #[test]
    fn a_program_runs_where_nothing_but_its_libraries_is() {
        let program = Path::new("/usr/bin/env");
        let found = of(program, Path::new("/")).unwrap();
        let root = tempfile::tempdir().unwrap();
        for (place, file) in
            found.iter().map(|(p, f)| (p.as_str(), f.as_path())).chain([("bin/env", program)])
        {
            let at = root.path().join(place);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::copy(file, at).unwrap();
        }
        // The same is found there, and a part of it is not enough.
        let again = of(&root.path().join("bin/env"), root.path()).unwrap();
        assert!(again.len() >= 2 && again.keys().eq(found.keys()), "{again:?}");
        let libc = again.keys().find(|place| place.ends_with("libc.so.6")).unwrap();
        fs::remove_file(root.path().join(libc)).unwrap();
        assert!(of(&root.path().join("bin/env"), root.path()).unwrap_err().contains("libc.so.6"));
        fs::write(root.path().join("bin/env"), "#!/bin/sh\n").unwrap();
        assert!(of(&root.path().join("bin/env"), root.path()).is_err());
    }

    #[test]
    fn a_static_program_needs_nothing() {
        let myself = std::env::current_exe().unwrap();
        assert_eq!(of(&myself, Path::new("/")).unwrap(), BTreeMap::new());
    }
}
