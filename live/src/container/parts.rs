//! The files of a container, and the rules that tell a whole container from a damaged one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};

/// The size of every part but the last: as large as a file on FAT32 may be, in whole MiB.
pub const LARGEST: u64 = 4095 << 20;

/// A part is whole blocks long; what is left over at its end is not used.
const BLOCK: u64 = super::BLOCK;

/// A part of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub path: PathBuf,
    /// Bytes that are used: whole blocks
    pub length: u64,
}

/// The name of part `number`.
pub fn name(number: usize) -> String {
    format!("changes.{number:03}")
}

/// The parts in `folder`, checked. None, if there is no container.
pub fn find(folder: &Path) -> Result<Vec<Part>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let file_name = entry.file_name();
        let digits = file_name.to_str().and_then(|n| n.strip_prefix("changes."));
        let is_number = |d: &&str| d.len() == 3 && d.bytes().all(|b| b.is_ascii_digit());
        if let Some(number) = digits.filter(is_number).and_then(|d| d.parse::<usize>().ok()) {
            let path = entry.path();
            found.push((number, fs::metadata(&path).at("look at", &path)?.len()));
        }
    }
    found.sort_unstable();
    let lengths = check(&found).map_err(|reason| {
        Error::at("use the container in", folder, reason).hint(
            "nothing was changed; put the missing files back, or start another session with perchdir=new",
        )
    })?;
    let parts = lengths.into_iter().enumerate();
    Ok(parts.map(|(n, length)| Part { path: folder.join(name(n)), length }).collect())
}

/// The usable lengths of parts with these numbers and lengths, in order; the reason if they are not a whole.
fn check(found: &[(usize, u64)]) -> std::result::Result<Vec<u64>, String> {
    let mut lengths = Vec::new();
    for (place, &(number, length)) in found.iter().enumerate() {
        if number != place {
            return Err(format!("{} is missing", name(place)));
        }
        let is_last = place + 1 == found.len();
        if !is_last && length != LARGEST {
            return Err(format!("{} has {length} bytes and not {LARGEST}", name(number)));
        }
        if is_last && length > LARGEST {
            return Err(format!("{} has {length} bytes, more than {LARGEST}", name(number)));
        }
        lengths.push(length / BLOCK * BLOCK);
    }
    // A last part that a power cut left empty.
    if lengths.len() > 1 {
        lengths.retain(|&length| length > 0);
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_and_what_is_not() {
        type Case<'a> = (&'a [(usize, u64)], std::result::Result<&'a [u64], &'a str>);
        let table: [Case; 8] = [
            (&[], Ok(&[])),
            (&[(0, 64 << 20)], Ok(&[64 << 20])),
            // Growing was cut short.
            (&[(0, (64 << 20) + 513)], Ok(&[64 << 20])),
            (&[(0, LARGEST), (1, 8192)], Ok(&[LARGEST, 8192])),
            (&[(0, LARGEST), (1, 0)], Ok(&[LARGEST])),
            (&[(1, LARGEST)], Err("changes.000 is missing")),
            (&[(0, LARGEST), (2, 1)], Err("changes.001 is missing")),
            (&[(0, 4096), (1, 4096)], Err("changes.000 has 4096 bytes")),
        ];
        for (found, expected) in table {
            match (check(found), expected) {
                (Ok(lengths), Ok(expected)) => assert_eq!(lengths, expected, "{found:?}"),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (result, expected) => panic!("{found:?}: {result:?}, not {expected:?}"),
            }
        }
        assert!(check(&[(0, LARGEST + 1)]).is_err());
    }

    #[test]
    fn parts_are_told_from_other_files() {
        let folder = std::env::temp_dir().join(format!("livekit-parts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, length) in
            [("changes.000", 8192), ("changes.001.partial", 5), ("changes.dat", 5), ("about", 5)]
        {
            fs::write(folder.join(name), vec![0; length]).unwrap();
        }
        assert_eq!(find(&folder).unwrap(), [Part { path: folder.join("changes.000"), length: 8192 }]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
