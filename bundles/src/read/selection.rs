//! A part of a bundle, by paths and patterns.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::Error;

/// Paths, each with everything below it. A path may have the wildcards `*`, `?`, `[…]`, `{…,…}` within a name, and `**` for
/// any directories; a path that is there as it is written needs no escapes.
#[derive(Debug)]
pub struct Selection {
    /// As given, cleared of slashes at both ends, and whether something was found.
    paths: Vec<(PathBuf, bool)>,
    globs: GlobSet,
    matched: Vec<usize>,
}

impl Selection {
    /// Takes what any of the patterns takes; everything if there are none.
    ///
    /// # Errors
    /// A pattern is not one.
    pub fn new(patterns: &[PathBuf]) -> Result<Self, Error> {
        let mut globs = GlobSetBuilder::new();
        let mut paths = Vec::new();
        for pattern in patterns {
            let path: PathBuf = pattern
                .components()
                .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
                .collect();
            // Names that are not UTF-8 have no wildcards; as a glob, an empty one takes only the root.
            let glob =
                GlobBuilder::new(path.to_str().unwrap_or_default()).literal_separator(true).build().map_err(
                    |error| Error::Options(format!("{} is no pattern: {}", pattern.display(), error.kind())),
                )?;
            globs.add(glob);
            paths.push((path, false));
        }
        let globs = globs.build().map_err(|error| Error::Options(error.to_string()))?;
        Ok(Self { paths, globs, matched: Vec::new() })
    }

    /// Whether it takes this path of a bundle, and so all below.
    pub fn takes(&mut self, path: &Path) -> bool {
        if self.paths.is_empty() {
            return true;
        }
        let mut taken = false;
        if !path.as_os_str().is_empty() {
            self.globs.matches_into(path, &mut self.matched);
            for &number in &self.matched {
                if let Some((_, used)) = self.paths.get_mut(number) {
                    *used = true;
                    taken = true;
                }
            }
        }
        for (_, used) in self.paths.iter_mut().filter(|(wanted, _)| wanted == path) {
            *used = true;
            taken = true;
        }
        taken
    }

    /// A pattern that took nothing so far.
    pub fn unused(&self) -> Option<&Path> {
        self.paths.iter().find(|(_, used)| !used).map(|(path, _)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patterns_take() {
        for (pattern, path, expected) in [
            ("etc", "etc", true),
            ("/etc/", "etc", true),
            ("./etc", "etc", true),
            ("etc", "etcetera", false),
            ("etc", "usr/etc", false),
            ("etc/*.conf", "etc/a.conf", true),
            ("etc/*.conf", "etc/a/b.conf", false),
            ("**/*.conf", "etc/a/b.conf", true),
            ("**/b", "b", true),
            ("[x]", "x", true),
            ("[x]", "[x]", true),
            ("/", "", true),
            ("..", "etc", false),
            ("a?", "ab", true),
        ] {
            let mut selection = Selection::new(&[pattern.into()]).unwrap();
            assert_eq!(selection.takes(Path::new(path)), expected, "{pattern} {path}");
            assert_eq!(selection.unused().is_none(), expected, "{pattern} {path}");
        }
        assert!(Selection::new(&[]).unwrap().takes(Path::new("all")));
    }

    #[test]
    fn what_is_no_pattern() {
        let error = Selection::new(&["a[".into()]).unwrap_err().to_string();
        assert!(error.starts_with("a[ is no pattern: "), "{error}");
    }
}
