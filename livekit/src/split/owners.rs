//! Which of a root's paths a rule takes because a package brought them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use globset::GlobMatcher;

use super::dpkg::{Dpkg, Package};
use super::rules::{PathPatterns, Rules, package_matcher};
use crate::error::{Error, Result};
use crate::root::RealPaths;

/// A pattern of packages: the number of its rule, and its own in that rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePattern {
    pub rule: usize,
    pub pattern: usize,
}

/// Paths relative to the root, by who takes them.
#[derive(Debug, Default)]
pub struct Owners {
    owned: HashMap<PathBuf, PackagePattern>,
    /// The directories above them, by rule.
    above: HashSet<(usize, PathBuf)>,
}

impl Owners {
    /// Reads the package database of `root`, if any rule asks for it. `paths` are the compiled path patterns of each
    /// rule: what they take out of a rule is not taken by its packages either.
    pub fn find(
        rules: &Rules,
        paths: &[PathPatterns],
        root: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Self> {
        let Some(first) = rules.0.iter().find(|rule| !rule.packages.is_empty()) else {
            return Ok(Owners::default());
        };
        let Some(dpkg) = Dpkg::read(root)? else {
            let line = first.line.map(|line| format!(" (line {line})")).unwrap_or_default();
            let text = format!(
                "{}{line} takes Debian packages, and {} has no var/lib/dpkg/status",
                first.bundle,
                root.display()
            );
            return Err(Error::new(text).hint("a root without dpkg can be split by `paths` alone"));
        };
        let mut search = Search {
            dpkg: &dpkg,
            paths,
            asked: asked(rules, &dpkg, warnings)?,
            real: RealPaths::new(root),
            root,
            owners: Owners::default(),
        };
        let named: Vec<&Package> =
            dpkg.packages.iter().filter(|package| search.asked.contains_key(package)).collect();
        for package in named {
            if !search.take(package)? {
                warnings.push(format!("{}: dpkg has no list of its files", package.qualified()));
            }
        }
        for package in &dpkg.packages {
            search.leave_shared(package)?;
        }
        let mut owners = search.owners;
        for (path, taker) in &owners.owned {
            let above = path.ancestors().skip(1).map(|folder| (taker.rule, folder.to_owned()));
            owners.above.extend(above);
        }
        Ok(owners)
    }

    /// Who takes `relative`.
    pub fn of(&self, relative: &Path) -> Option<PackagePattern> {
        self.owned.get(relative).copied()
    }

    /// Whether something below the directory `relative` is taken by `rule`.
    pub fn any_below(&self, rule: usize, relative: &Path) -> bool {
        self.above.contains(&(rule, relative.to_owned()))
    }
}

/// For every package the patterns that match it, in the order of the rules.
type Asked = HashMap<Package, Vec<PackagePattern>>;

fn asked(rules: &Rules, dpkg: &Dpkg, warnings: &mut Vec<String>) -> Result<Asked> {
    let mut asked = Asked::new();
    for (at, rule) in rules.0.iter().enumerate() {
        for (number, pattern) in rule.packages.iter().enumerate() {
            let matcher: GlobMatcher = package_matcher(pattern)?;
            let with_architecture = pattern.text.contains(':');
            let mut any = false;
            for package in &dpkg.packages {
                let name = if with_architecture { &package.qualified() } else { &package.name };
                if matcher.is_match(name) {
                    any = true;
                    asked
                        .entry(package.clone())
                        .or_default()
                        .push(PackagePattern { rule: at, pattern: number });
                }
            }
            if !any {
                let line = pattern.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                warnings.push(format!(
                    "{}: no package of the root is called `{}`{line}",
                    rule.bundle, pattern.text
                ));
            }
        }
    }
    Ok(asked)
}

struct Search<'a> {
    dpkg: &'a Dpkg,
    paths: &'a [PathPatterns],
    asked: Asked,
    real: RealPaths,
    root: &'a Path,
    owners: Owners,
}

impl Search<'_> {
    /// Notes what the rules take of `package`; whether it has a list.
    fn take(&mut self, package: &Package) -> Result<bool> {
        let Some(places) = self.places(package, false)? else { return Ok(false) };
        for place in places {
            let Ok(metadata) = self.root.join(&place).symlink_metadata() else { continue };
            if let Some(taker) = self.taker(package, &place, metadata.is_dir()) {
                let first = self.owners.owned.entry(place).or_insert(taker);
                *first = taker.min(*first);
            }
        }
        Ok(true)
    }

    /// A directory, or a link to one, that `package` has too and no rule takes of it belongs to the core.
    fn leave_shared(&mut self, package: &Package) -> Result<()> {
        for place in self.places(package, true)?.unwrap_or_default() {
            if !self.owners.owned.contains_key(&place) {
                continue;
            }
            let directory = self.real.folder(&place).is_some_and(|real| self.root.join(real).is_dir());
            if directory && self.taker(package, &place, true).is_none() {
                self.owners.owned.remove(&place);
            }
        }
        Ok(())
    }

    fn taker(&self, package: &Package, place: &Path, is_dir: bool) -> Option<PackagePattern> {
        let patterns = self.asked.get(package)?;
        let kept = |taker: &&PackagePattern| !self.paths[taker.rule].keeps_out(place, is_dir);
        patterns.iter().find(kept).copied()
    }

    /// Where in the root the paths of a package are. A directory of the list may be a link in the root, as /lib is:
    /// then it is where that leads, and the link is not the package's, which yet needs it: it is there `with_links`.
    fn places(&mut self, package: &Package, with_links: bool) -> Result<Option<Vec<PathBuf>>> {
        let Some(list) = self.dpkg.list(package)? else { return Ok(None) };
        let directories: HashSet<&Path> = list.iter().filter_map(|path| path.parent()).collect();
        let mut places = Vec::new();
        for path in &list {
            let lies = self.dpkg.diverted(package, path);
            let directory = directories.contains(path.as_path());
            if directory {
                places.extend(self.real.folder(path));
            }
            if !directory || with_links {
                places.extend(self.real.entry(lies));
            }
        }
        places.retain(|place| !place.as_os_str().is_empty());
        Ok(Some(places))
    }
}
