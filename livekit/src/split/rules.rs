//! The `[[bundle]]` tables of livekit.toml: which bundles a root is split into, as written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bundles::BundleName;
use globset::{GlobBuilder, GlobMatcher};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;
use toml::Spanned;

use super::CORE;
use crate::error::{Error, Result};
use crate::kit_bundle;

/// A `[[bundle]]` table.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Table {
    pub name: Spanned<String>,
    pub paths: Vec<Spanned<String>>,
    pub packages: Vec<Spanned<String>>,
}

impl Default for Table {
    fn default() -> Self {
        Table { name: Spanned::new(0..0, String::new()), paths: Vec::new(), packages: Vec::new() }
    }
}

/// The keys of a `[[bundle]]` table.
pub const KEYS: &[&str] = &["name", "paths", "packages"];

/// The first that takes a file has it; what none takes goes to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(pub Vec<Rule>);

/// What goes into one bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The bundle's file name.
    pub bundle: String,
    /// In the syntax of .gitignore, from the top of the root.
    pub paths: Vec<Pattern>,
    /// Globs of names of Debian packages.
    pub packages: Vec<Pattern>,
    /// Where its table begins in the configuration; none for the rule of those without any.
    pub line: Option<usize>,
}

/// A pattern and the line of the configuration it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub text: String,
    pub line: Option<usize>,
}

impl Pattern {
    /// Of a path pattern, the directories it begins with, up to the first wildcard: empty if it can match anywhere.
    pub fn beginning(&self) -> PathBuf {
        let text = self.text.trim();
        let text = text.strip_prefix('!').unwrap_or(text);
        // As in .gitignore: a slash before the end ties it to the top.
        if !text.trim_end_matches('/').contains('/') {
            return PathBuf::new();
        }
        let names = text.split('/').filter(|name| !name.is_empty());
        names.take_while(|name| !name.contains(['*', '?', '[', '\\', '{'])).collect()
    }
}

/// What is split off without any rule: firmware that drivers load into devices. It is large, and useless in a virtual
/// machine. The second pattern is for a root whose /lib is no link to /usr/lib.
const FIRMWARE: (&str, [&str; 2]) = ("01-firmware.sb", ["/usr/lib/firmware/**", "/lib/firmware/**"]);

impl Default for Rules {
    fn default() -> Self {
        let (bundle, paths) = FIRMWARE;
        let paths = paths.map(|text| Pattern { text: text.to_owned(), line: None }).to_vec();
        Rules(vec![Rule { bundle: bundle.to_owned(), paths, packages: Vec::new(), line: None }])
    }
}

impl Rules {
    /// Understands `tables`; `starts` and `line_of` say where in the configuration each begins, and a byte is.
    pub fn new(tables: Vec<Table>, starts: &[usize], line_of: impl Fn(usize) -> usize) -> Result<Self> {
        let mut rules = Vec::new();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for (at, table) in tables.into_iter().enumerate() {
            let line = line_of(starts.get(at).copied().unwrap_or_default());
            let on_line = |line: usize| move |error: Error| error.doing(format!("line {line}"));
            if table.name.get_ref().is_empty() {
                let error = Error::new("a bundle has no name").hint("for instance: name = \"05-desktop\"");
                return Err(on_line(line)(error));
            }
            let name_line = line_of(table.name.span().start);
            let bundle = bundle_name(table.name.get_ref()).map_err(on_line(name_line))?;
            // A stick's file system does not tell them apart.
            if let Some(first) = names.insert(bundle.to_lowercase(), name_line) {
                let error = Error::new(format!("a second bundle `{bundle}`"));
                return Err(on_line(name_line)(error.hint(format!("the first is in line {first}"))));
            }
            let patterns = |spanned: Vec<Spanned<String>>| -> Vec<Pattern> {
                let pattern = |text: Spanned<String>| {
                    let line = Some(line_of(text.span().start));
                    Pattern { text: text.into_inner(), line }
                };
                spanned.into_iter().map(pattern).collect()
            };
            let rule = Rule {
                bundle,
                paths: patterns(table.paths),
                packages: patterns(table.packages),
                line: Some(line),
            };
            rule.check()?;
            rules.push(rule);
        }
        Ok(Rules(rules))
    }
}

impl Rule {
    fn check(&self) -> Result<()> {
        if self.paths.is_empty() && self.packages.is_empty() {
            let error =
                Error::new(format!("line {}: {} takes nothing", self.line.unwrap_or_default(), self.bundle));
            return Err(error.hint("give it `paths`, `packages`, or both"));
        }
        self.path_patterns()?;
        self.packages.iter().try_for_each(|pattern| package_matcher(pattern).map(drop))
    }

    /// Its path patterns, ready to be asked.
    pub fn path_patterns(&self) -> Result<PathPatterns> {
        let compile = |pattern: &Pattern| Ok((pattern.beginning(), compile_path(pattern)?));
        let compiled = self.paths.iter().map(compile).collect::<Result<_>>()?;
        Ok(PathPatterns(compiled))
    }
}

/// The path patterns of a rule. One that matches a directory is for everything below it, and the last that matches
/// decides.
#[derive(Debug)]
pub struct PathPatterns(
    /// Each with where it begins: most paths of a root need not be matched at all.
    Vec<(PathBuf, Gitignore)>,
);

impl PathPatterns {
    /// The number of the pattern that takes `relative` in.
    pub fn taker(&self, relative: &Path, is_dir: bool) -> Option<usize> {
        self.decider(relative, is_dir).filter(|(_, takes)| *takes).map(|(number, _)| number)
    }

    /// Whether a pattern with `!` keeps `relative` out of the rule.
    pub fn keeps_out(&self, relative: &Path, is_dir: bool) -> bool {
        self.decider(relative, is_dir).is_some_and(|(_, takes)| !takes)
    }

    /// Whether something below the directory `relative` may be taken in.
    pub fn may_be_below(&self, relative: &Path) -> bool {
        self.0.iter().any(|(top, _)| top.starts_with(relative) || relative.starts_with(top))
    }

    fn decider(&self, relative: &Path, is_dir: bool) -> Option<(usize, bool)> {
        let says = |(number, (top, pattern)): (usize, &(PathBuf, Gitignore))| {
            if !relative.starts_with(top) {
                return None;
            }
            match pattern.matched_path_or_any_parents(relative, is_dir) {
                Match::None => None,
                Match::Ignore(_) => Some((number, true)),
                Match::Whitelist(_) => Some((number, false)),
            }
        };
        self.0.iter().enumerate().rev().find_map(says)
    }
}

fn compile_path(pattern: &Pattern) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    builder.allow_unclosed_class(false);
    let text = pattern.text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Err(bad_pattern(pattern, "it matches nothing", PATHS_HINT));
    }
    let added = builder.add_line(None, &pattern.text).and_then(|builder| builder.build());
    added.map_err(|error| bad_pattern(pattern, &error.to_string(), PATHS_HINT))
}

const PATHS_HINT: &str =
    "patterns have the syntax of .gitignore: `/usr/share/icons/**`, `*.mo`, `!/usr/share/keep`";
const PACKAGES_HINT: &str =
    "packages are named with the wildcards of a shell: `xserver-*`, `libc6`, `libc6:i386`";

/// What a pattern of packages matches: names, and with a colon in it names with their architecture.
pub fn package_matcher(pattern: &Pattern) -> Result<GlobMatcher> {
    // What dpkg allows in a name (Debian policy 5.6.7), and what a glob is made of.
    let known = |c: char| c.is_ascii_alphanumeric() || "+-.:*?[]{},!^".contains(c);
    if pattern.text.is_empty() || pattern.text.starts_with('!') || !pattern.text.chars().all(known) {
        return Err(bad_pattern(pattern, "no package is called like this", PACKAGES_HINT));
    }
    let glob = GlobBuilder::new(&pattern.text).build();
    Ok(glob
        .map_err(|error| bad_pattern(pattern, &error.kind().to_string(), PACKAGES_HINT))?
        .compile_matcher())
}

fn bad_pattern(pattern: &Pattern, reason: &str, hint: &str) -> Error {
    let error = Error::new(format!("cannot understand the pattern `{}`: {reason}", pattern.text)).hint(hint);
    match pattern.line {
        Some(line) => error.doing(format!("line {line}")),
        None => error,
    }
}

/// The file name of the bundle called `name`, with or without `.sb`.
fn bundle_name(name: &str) -> Result<String> {
    let stem = name.strip_suffix(".sb").unwrap_or(name);
    let file = format!("{stem}.sb");
    for (taken, what) in
        [(CORE, "it is the bundle of what no rule takes"), (kit_bundle::BUNDLE, "it is the kit's own bundle")]
    {
        if file.eq_ignore_ascii_case(taken) {
            return Err(Error::new(format!("`{name}` cannot be the name of a bundle: {what}"))
                .hint("take a number between those of the two, as in 05-desktop"));
        }
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let order = BundleName::parse(&file).and_then(|parsed| parsed.order());
    let between = order.is_some_and(|order| (1..90).contains(&order));
    if between && file.len() <= 64 && file.bytes().all(plain) {
        return Ok(file);
    }
    Err(Error::new(format!("`{name}` cannot be the name of a bundle")).hint(
        "names are like 05-desktop: a number from 1 to 89, its place between 00-core and 90-livekit, and up to 64 of \
         A-Z a-z 0-9 . _ - in all",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bundles() {
        for (name, file) in [
            ("05-desktop", Some("05-desktop.sb")),
            ("05-desktop.sb", Some("05-desktop.sb")),
            ("1", Some("1.sb")),
            ("89_x.y", Some("89_x.y.sb")),
            ("00-core", None),
            ("00-Core.sb", None),
            ("00-base", None),
            ("90-livekit", None),
            ("90-x", None),
            ("desktop", None),
            ("05-a/b", None),
            ("05 desk", None),
        ] {
            let found = bundle_name(name);
            assert_eq!(found.as_deref().ok(), file, "{name}");
            if let Err(error) = found {
                assert!(error.hint_text().is_some(), "{name}");
            }
        }
    }

    #[test]
    fn patterns_of_packages() {
        for (text, matches, not) in [
            ("xserver-*", "xserver-xorg", "xorg"),
            ("libc6:i386", "libc6:i386", "libc6"),
            ("g++-1[23]", "g++-12", "g++-11"),
            ("{vim,nano}", "nano", "vi"),
        ] {
            let matcher = package_matcher(&Pattern { text: text.to_owned(), line: None }).unwrap();
            assert!(matcher.is_match(matches) && !matcher.is_match(not), "{text}");
        }
        for (text, message) in [
            ("lib[", "line 7: cannot understand the pattern `lib[`: unclosed character class; missing ']'"),
            ("", "line 7: cannot understand the pattern ``: no package is called like this"),
            ("a b", "line 7: cannot understand the pattern `a b`: no package is called like this"),
            ("!vim", "line 7: cannot understand the pattern `!vim`: no package is called like this"),
        ] {
            let error = package_matcher(&Pattern { text: text.to_owned(), line: Some(7) }).unwrap_err();
            assert_eq!((error.message().as_str(), error.hint_text()), (message, Some(PACKAGES_HINT)));
        }
    }
}
