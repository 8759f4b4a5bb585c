//! Which file goes into which bundle.
//!
//! [`Rules`] are what livekit.toml says, [`Split`] is what they mean for one root. A file belongs to the first rule that
//! takes it, by its path or because a Debian package brought it; the rest is the core's.

mod dpkg;
mod owners;
mod rules;
#[cfg(test)]
mod tests;

use std::fs::Metadata;
use std::path::Path;

use bundles::Wanted;

use owners::Owners;
use rules::PathPatterns;
#[cfg(test)]
use rules::Pattern;
pub use rules::{KEYS, Rule, Rules, Table};

use crate::error::Result;
use crate::root::Selection;

/// The bundle of what no rule takes.
pub const CORE: &str = "00-core.sb";

/// A bundle made from the root: 0 is the core, the rules follow in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(usize);

impl Part {
    pub const CORE: Part = Part(0);

    /// For lists that have one entry for each part.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Why a path belongs to its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason<'a> {
    /// No rule takes it.
    Rest,
    /// The path pattern that matches it.
    Path(&'a str),
    /// The pattern of the package that brought it.
    Package(&'a str),
}

/// Rules, understood for one root.
#[derive(Debug)]
pub struct Split {
    rules: Rules,
    /// Of each rule.
    paths: Vec<PathPatterns>,
    owners: Owners,
}

impl Split {
    /// Looks up in `root` what the rules mean there. What they name in vain is told in `warnings`.
    pub fn new(rules: &Rules, root: &Path, warnings: &mut Vec<String>) -> Result<Self> {
        let paths: Vec<PathPatterns> = rules.0.iter().map(Rule::path_patterns).collect::<Result<_>>()?;
        warn_of_links(rules, root, warnings);
        let owners = Owners::find(rules, &paths, root, warnings)?;
        Ok(Split { rules: rules.clone(), paths, owners })
    }

    /// All parts, the core first.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        (0..=self.rules.0.len()).map(Part)
    }

    /// The file name of a part's bundle.
    pub fn bundle(&self, part: Part) -> &str {
        self.rule(part).map_or(CORE, |rule| &rule.bundle)
    }

    /// The rule of a part; the core has none.
    pub fn rule(&self, part: Part) -> Option<&Rule> {
        self.rules.0.get(part.0.checked_sub(1)?)
    }

    /// The part that `relative` belongs to, and why.
    pub fn of(&self, relative: &Path, is_dir: bool) -> (Part, Reason<'_>) {
        let owner = self.owners.of(relative);
        for (at, paths) in self.paths.iter().enumerate() {
            if let Some(number) = paths.taker(relative, is_dir) {
                return (Part(at + 1), Reason::Path(&self.rules.0[at].paths[number].text));
            }
            if let Some(owner) = owner.filter(|owner| owner.rule == at) {
                return (Part(at + 1), Reason::Package(&self.rules.0[at].packages[owner.pattern].text));
            }
        }
        (Part::CORE, Reason::Rest)
    }

    /// Whether `part` takes `relative`. A directory of another part goes in as the way to what is below it, with owner
    /// and mode.
    pub fn wants(&self, part: Part, relative: &Path, metadata: &Metadata, selection: &Selection) -> Wanted {
        if !selection.keeps(relative, metadata) {
            return Wanted::Skip;
        }
        if self.of(relative, metadata.is_dir()).0 == part {
            Wanted::Keep
        } else if metadata.is_dir() && self.may_be_below(part, relative) {
            Wanted::Pass
        } else {
            Wanted::Skip
        }
    }

    /// Whether something below the directory `relative` can belong to `part`: what cannot need not be walked.
    fn may_be_below(&self, part: Part, relative: &Path) -> bool {
        let Some(rule) = part.0.checked_sub(1) else { return true };
        self.paths[rule].may_be_below(relative) || self.owners.any_below(rule, relative)
    }
}

/// A pattern that leads through a link matches nothing: files are where the link leads.
fn warn_of_links(rules: &Rules, root: &Path, warnings: &mut Vec<String>) {
    for rule in rules.0.iter().filter(|rule| rule.line.is_some()) {
        for pattern in rule.paths.iter().filter(|pattern| !pattern.text.starts_with('!')) {
            let top = pattern.beginning();
            let itself = Path::new(pattern.text.trim().trim_start_matches('/'));
            let mut through = top.ancestors().filter(|above| *above != itself);
            let is_link = |above: &&Path| {
                !above.as_os_str().is_empty()
                    && root.join(above).symlink_metadata().is_ok_and(|found| found.is_symlink())
            };
            if let Some(link) = through.find(is_link) {
                let line = pattern.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                warnings.push(format!(
                    "{}: `{}`{line} leads through /{}, which is a link: name the place it leads to",
                    rule.bundle,
                    pattern.text,
                    link.display()
                ));
            }
        }
    }
}
