//! What a bundle brings to the running system, and by which means it is shown there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use live::cover::{self, Kind, NOT_OF_BUNDLES};

use crate::error::{AtPath, Error, Result};

/// New folders that get a cover of their own; more are copied as files are. Each is a mount that every look-up passes.
const COVERS: usize = 16;

/// How the files of a bundle come to be seen. Paths have no leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brings {
    /// Covers, present and new ones, that have to be made with this bundle.
    pub covers: BTreeSet<PathBuf>,
    /// New files and folders in folders that have no cover: they are copied.
    pub copies: BTreeSet<PathBuf>,
    /// What has a place already in folders that have no cover: seen after the next boot with this bundle.
    pub later: BTreeSet<PathBuf>,
    /// What the user has removed or replaced, and a bundle does not bring back.
    pub hidden: BTreeSet<PathBuf>,
    /// Folders at the top that bundles bring nothing to.
    pub ignored: BTreeSet<PathBuf>,
}

/// The running system, as far as this decision asks.
pub struct Surroundings<'a> {
    /// Where the union is seen.
    pub root: &'a Path,
    /// What the user has changed.
    pub upper: &'a Path,
    /// The places that have a cover.
    pub covered: &'a BTreeSet<PathBuf>,
}

impl Brings {
    /// Looks through the bundle mounted at `bundle`, as far down as needs be.
    pub fn of(bundle: &Path, around: &Surroundings) -> Result<Self> {
        let mut brings = Self::default();
        let mut new = Vec::new();
        brings.folder(bundle, Path::new(""), around, &mut new)?;
        for place in new.drain(..COVERS.min(new.len())) {
            brings.covers.insert(place);
        }
        brings.copies.extend(new);
        Ok(brings)
    }

    fn folder(
        &mut self,
        bundle: &Path,
        folder: &Path,
        around: &Surroundings,
        new: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let at = bundle.join(folder);
        let mut names: Vec<_> = fs::read_dir(&at)
            .at("list", &at)?
            .map(|e| e.map(|e| e.file_name()))
            .collect::<std::io::Result<_>>()
            .at("list", &at)?;
        names.sort();
        for name in names {
            let place = folder.join(&name);
            if folder == Path::new("") && NOT_OF_BUNDLES.iter().any(|n| name == **n) {
                self.ignored.insert(place);
            } else {
                self.entry(bundle, place, around, new)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        bundle: &Path,
        place: PathBuf,
        around: &Surroundings,
        new: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let brought = cover::kind(&bundle.join(&place))?;
        let is_folder = matches!(brought, Kind::Folder | Kind::OpaqueFolder);
        if around.covered.contains(&place) {
            self.covers.insert(place);
            return Ok(());
        }
        let seen = cover::kind(&around.root.join(&place))?;
        let changed = cover::kind(&around.upper.join(&place))?;
        match (seen, is_folder) {
            // Gone, or never there: a removed file leaves a mark in the changes.
            (Kind::Missing | Kind::Whiteout, _) if changed == Kind::Whiteout => {
                self.hidden.insert(place);
            }
            (Kind::Missing | Kind::Whiteout, true) => new.push(place),
            (Kind::Missing | Kind::Whiteout, false) => {
                if brought != Kind::Whiteout {
                    self.copies.insert(place);
                }
            }
            (Kind::Folder | Kind::OpaqueFolder, true) => self.folder(bundle, &place, around, new)?,
            (Kind::Other, true) => self.link_in_the_way(bundle, &place, around)?,
            (_, false) if changed == Kind::Missing => {
                if !same_link(&bundle.join(&place), &around.root.join(&place)) {
                    self.later.insert(place);
                }
            }
            (_, false) => {
                self.hidden.insert(place);
            }
        }
        Ok(())
    }

    /// A folder of the bundle where the system has a link, such as /lib to usr/lib. At the next boot it would take the
    /// link's place, and no program would find its libraries.
    fn link_in_the_way(&mut self, bundle: &Path, place: &Path, around: &Surroundings) -> Result<()> {
        let link = around.root.join(place);
        if place.parent() != Some(Path::new("")) {
            self.later.insert(place.to_owned());
            return Ok(());
        }
        let target =
            fs::read_link(&link).map_or("no folder".into(), |t| format!("a link to {}", t.display()));
        let name = bundle.file_name().unwrap_or_default().to_string_lossy();
        let what = format!("it has a folder {}, which is {target} in this system", link.display());
        Err(Error::at("use", &*name, what)
            .hint("pack it with its files where the link leads: a tree with usr/lib instead of lib"))
    }
}

/// Whether both are links to the same place: every bundle made of a whole system has /bin.
fn same_link(a: &Path, b: &Path) -> bool {
    matches!((fs::read_link(a), fs::read_link(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn set(paths: &[&str]) -> BTreeSet<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    /// `path/` is a folder, `path@target` a link, anything else a file.
    fn fill(home: &Path, entries: &[&str]) {
        for entry in entries {
            let (path, target) = entry.split_once('@').map_or((*entry, None), |(p, t)| (p, Some(t)));
            let at = home.join(path);
            fs::create_dir_all(if path.ends_with('/') { &at } else { at.parent().unwrap() }).unwrap();
            match target {
                Some(target) => symlink(target, &at).unwrap(),
                None if path.ends_with('/') => {}
                None => fs::write(&at, "").unwrap(),
            }
        }
    }

    fn whiteout(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::empty(), 0).unwrap();
    }

    struct Case {
        root: &'static [&'static str],
        upper: &'static [&'static str],
        removed: &'static [&'static str],
        bundle: &'static [&'static str],
        expected: Result<Brings, &'static str>,
    }

    #[test]
    fn by_which_means_things_are_seen() {
        let table = [
            Case {
                root: &["usr/", "etc/", "bin@usr/bin", "var/lib/dpkg/status", "home/"],
                upper: &[],
                removed: &[],
                bundle: &[
                    "usr/bin/x",
                    "etc/x",
                    "bin@usr/bin",
                    "new/deep/x",
                    "run/requires",
                    "boot/k",
                    "var/lib/foo/bar/x",
                    "var/lib/dpkg/status",
                    "var/lib/dpkg/info/x",
                    "home/u/x",
                    "top",
                ],
                expected: Ok(Brings {
                    covers: set(&["usr", "etc", "new", "var/lib/foo", "var/lib/dpkg/info", "home/u"]),
                    copies: set(&["top"]),
                    later: set(&["var/lib/dpkg/status"]),
                    ignored: set(&["run", "boot"]),
                    ..Brings::default()
                }),
            },
            // The user has removed one folder, made another one, and changed a file.
            Case {
                root: &["var/mine/", "var/changed"],
                upper: &["var/mine/", "var/changed"],
                removed: &["var/gone"],
                bundle: &["var/gone/x", "var/mine/x", "var/changed"],
                expected: Ok(Brings {
                    copies: set(&["var/mine/x"]),
                    hidden: set(&["var/gone", "var/changed"]),
                    ..Brings::default()
                }),
            },
            // A cover further down has been there since another bundle came.
            Case {
                root: &["var/lib/foo/"],
                upper: &["var/lib/foo/"],
                removed: &[],
                bundle: &["var/lib/foo/new/x"],
                expected: Ok(Brings { covers: set(&["var/lib/foo"]), ..Brings::default() }),
            },
            Case {
                root: &["lib@usr/lib", "usr/lib/"],
                upper: &[],
                removed: &[],
                bundle: &["lib/modules/x"],
                expected: Err("a link to usr/lib in this system"),
            },
            Case {
                root: &["var/run@/run"],
                upper: &[],
                removed: &[],
                bundle: &["var/run/x"],
                expected: Ok(Brings { later: set(&["var/run"]), ..Brings::default() }),
            },
        ];
        for (number, case) in table.into_iter().enumerate() {
            let home = tempfile::tempdir().unwrap();
            let [root, upper, bundle] = ["root", "upper", "b.sb"].map(|name| home.path().join(name));
            for (folder, entries) in [(&root, case.root), (&upper, case.upper), (&bundle, case.bundle)] {
                fs::create_dir(folder).unwrap();
                fill(folder, entries);
            }
            case.removed.iter().for_each(|path| whiteout(&upper.join(path)));
            let covered = set(&["usr", "etc", "var/lib/foo"]);
            let covered = covered.into_iter().filter(|p| root.join(p).exists()).collect();
            let around = Surroundings { root: &root, upper: &upper, covered: &covered };
            match (Brings::of(&bundle, &around), case.expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "case {number}"),
                (Err(error), Err(part)) => assert!(error.message().contains(part), "case {number}: {error}"),
                (found, expected) => panic!("case {number}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn beyond_the_bound_new_folders_are_copied() {
        let home = tempfile::tempdir().unwrap();
        let [root, upper, bundle] = ["root", "upper", "b.sb"].map(|name| home.path().join(name));
        fill(&root, &["var/lib/"]);
        fill(&upper, &["x"]);
        for number in 10..30 {
            fill(&bundle, &[&format!("var/lib/{number}/x")]);
        }
        let around = Surroundings { root: &root, upper: &upper, covered: &BTreeSet::new() };
        let brings = Brings::of(&bundle, &around).unwrap();
        assert_eq!((brings.covers.len(), brings.copies.len()), (16, 4));
        assert!(brings.copies.contains(Path::new("var/lib/29")));
    }
}
