//! What lies below a save: which marks of removed files have something to hide.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bundles::{Source, Superblock, Tree};
use live::mounts;

use super::rules::is_whiteout;
use crate::activation::System;
use crate::activation::stack::{self, Origin};
use crate::error::{AtPath, Result};

/// The mounted bundles of the running system but those of `merged`, which become one.
pub fn running(merged: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let known: Result<HashSet<Vec<u8>>> = merged.iter().map(|path| header(path)).collect();
    let known = known?;
    let folder = stack::bundles_folder();
    let text = fs::read("/proc/self/mountinfo").at("read", "/proc/self/mountinfo")?;
    let mounted = mounts::parse(&text).into_iter().filter(|mount| mount.path.parent() == Some(&folder));
    // One that cannot be told from the merged ones is taken for another: its marks stay, which is only not tidy.
    let others =
        mounted.filter(|mount| !header(Path::new(&mount.source)).is_ok_and(|it| known.contains(&it)));
    Ok(others.map(|mount| mount.path).collect())
}

/// The mounts of the boot's bundles, the lowest first, but those of `merged`. Hidden ones count: /var shows them.
pub fn of_the_boot(merged: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let known: Vec<Vec<u8>> = merged.iter().map(|path| header(path)).collect::<Result<_>>()?;
    let boot = System::look()?.stack()?.into_iter().filter(|bundle| bundle.origin == Origin::Boot);
    let others = boot.filter(|bundle| !header(Path::new(&bundle.device)).is_ok_and(|it| known.contains(&it)));
    Ok(others.map(|bundle| bundle.mount).collect())
}

/// What tells a bundle from others: when it was made, of how many files, where its tables are.
fn header(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .at("open", path)?
        .take(Superblock::SIZE as u64)
        .read_to_end(&mut bytes)
        .at("read", path)?;
    Ok(bytes)
}

/// What the saves have before they are merged: a later one may take it away.
pub fn names(sources: &[Source]) -> HashSet<PathBuf> {
    let all = sources.iter().flat_map(|source| {
        source.tree.walk().filter(|(_, id)| !is_whiteout(source.tree.node(*id))).map(|(path, _)| path)
    });
    all.collect()
}

/// Takes out marks of `removed` names that no bundle in the folders `below` has. overlayfs hides marks only in
/// directories that lower bundles have too: elsewhere they would be listed as names that nobody can look at. Without
/// knowing what is below, all stay.
pub fn take_out_idle(tree: &mut Tree, removed: &HashSet<PathBuf>, below: &[PathBuf]) {
    if below.is_empty() {
        return;
    }
    let hides = |path: &Path| {
        below.iter().any(|folder| match fs::symlink_metadata(folder.join(path)) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        })
    };
    let idle: Vec<PathBuf> = tree
        .walk()
        .filter(|(path, id)| is_whiteout(tree.node(*id)) && removed.contains(path) && !hides(path))
        .map(|(path, _)| path)
        .collect();
    for path in idle {
        tree.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::{Device, Kind, Node};

    #[test]
    fn marks_stay_where_there_is_something_to_hide() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base/home/me/base", "more/home/me/more", "more/file"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = ["home/me/base", "home/me/more", "home/me/saved", "file/x", "not/known"];
        let tree = || {
            let mut tree = Tree::new(Node::directory());
            for name in names {
                let kind = Kind::CharDevice(Device::WHITEOUT);
                tree.insert(Path::new(name), Node { kind, ..Node::directory() }).unwrap();
            }
            tree
        };
        let removed: HashSet<PathBuf> = names[..4].iter().map(PathBuf::from).collect();
        let left = |below: &[&str]| {
            let below: Vec<PathBuf> = below.iter().map(|name| dir.path().join(name)).collect();
            let mut tree = tree();
            take_out_idle(&mut tree, &removed, &below);
            names.map(|name| tree.find(Path::new(name)).is_some())
        };
        assert_eq!(left(&["base", "more"]), [true, true, false, false, true]);
        assert_eq!(left(&["base"]), [true, false, false, false, true]);
        assert_eq!(left(&[]), [true; 5]);
    }
}
