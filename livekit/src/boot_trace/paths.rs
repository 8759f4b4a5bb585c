//! From inodes of bundles to paths of the root, by the bundles themselves, which are read inside their image.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use bundles::{Bundle, Kind};

use super::reads::Read;
use crate::error::{Result, from_chain};
use crate::output::Output;
use crate::qemu::image;

/// The regular files of a bundle by their inode numbers.
type Files = HashMap<u32, PathBuf>;

/// The paths of what was read, relative to the root, none twice. The same path in several bundles is one file to the union.
pub fn of(reads: &[Read], image: &Path, output: &Output) -> Result<Vec<PathBuf>> {
    let mut bundles = BTreeMap::new();
    for read in reads {
        if !bundles.contains_key(read.bundle.as_str()) {
            let files = match image::place_of(image, &read.bundle)? {
                Some(offset) => {
                    files(image, offset).map_err(|error| from_chain(&error).doing(read.bundle.clone()))?
                }
                None => {
                    output.warning(format!("{} is not in {}", read.bundle, image.display()));
                    Files::new()
                }
            };
            bundles.insert(read.bundle.as_str(), files);
        }
    }
    Ok(in_order(reads, &bundles))
}

fn files(image: &Path, offset: u64) -> Result<Files, bundles::Error> {
    let bundle = Bundle::open_at(image, offset)?;
    let tree = bundle.tree()?;
    let mut files = Files::new();
    for (path, id) in tree.walk() {
        if matches!(tree.node(id).kind, Kind::File { .. }) {
            // Of several names the first will do: contents are laid out once.
            files.entry(bundle.inode_number(id)).or_insert(path);
        }
    }
    Ok(files)
}

fn in_order(reads: &[Read], bundles: &BTreeMap<&str, Files>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let paths = reads.iter().filter_map(|read| bundles.get(read.bundle.as_str())?.get(&read.inode));
    // An order file has a line for each path.
    let paths = paths.filter(|path| !path.as_os_str().as_encoded_bytes().contains(&b'\n'));
    paths.filter(|path| seen.insert(path.as_path())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_reads_of_files_alone() {
        let read = |bundle: &str, inode| Read { bundle: bundle.into(), inode };
        let files = |list: &[(u32, &str)]| list.iter().map(|(inode, path)| (*inode, path.into())).collect();
        let bundles = BTreeMap::from([
            ("kit/00-core.sb", files(&[(1, "usr/bin/init"), (2, "etc/passwd"), (4, "a\nb")])),
            ("kit/95-own.sb", files(&[(1, "etc/passwd"), (2, "etc/own")])),
        ]);
        let reads = [
            read("kit/00-core.sb", 1),
            // A long link: no regular file.
            read("kit/00-core.sb", 3),
            read("kit/95-own.sb", 2),
            read("kit/95-own.sb", 1),
            read("kit/00-core.sb", 2),
            read("kit/00-core.sb", 4),
            read("elsewhere.sb", 1),
        ];
        let expected = ["usr/bin/init", "etc/own", "etc/passwd"].map(PathBuf::from);
        assert_eq!(in_order(&reads, &bundles), expected);
    }
}
