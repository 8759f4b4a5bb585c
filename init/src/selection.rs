//! Which bundles to load, and in which order.

use std::fs;
use std::path::{Path, PathBuf};

use bundles::BundleName;
use live::error::{AtPath, Error, Result};
use live::layer::Layer;
use live::layout;
use live::log;
use live::options::BootOptions;

use crate::drivers::Drivers;
use crate::medium::Medium;

/// The bundles of this boot, lowest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection(Vec<PathBuf>);

/// Looks through the medium and chooses.
pub fn choose(medium: &Medium, options: &BootOptions) -> Result<Selection> {
    let mut found = Vec::new();
    collect(&medium.live_folder, Path::new(""), &mut found)?;
    let chosen = select(&found, &options.load, &options.noload);
    if chosen.is_empty() {
        let folder = medium.live_folder.display();
        let error = Error::new(format!("{} bundles in {folder}, none of them to be loaded", found.len()));
        return Err(error.hint("noload= takes out every bundle whose name it matches"));
    }
    log::info(format_args!("bundles: {}", chosen.join(" ")));
    Ok(Selection(chosen.into_iter().map(|name| medium.live_folder.join(name)).collect()))
}

impl Selection {
    /// The bundle files, lowest first.
    pub fn files(&self) -> &[PathBuf] {
        &self.0
    }

    /// The same bundles in another folder, without the folders they were in.
    pub fn moved_to(&self, folder: &Path) -> Self {
        Self(self.0.iter().filter_map(|f| f.file_name()).map(|name| folder.join(name)).collect())
    }

    /// Attaches them all.
    pub fn attach(&self, drivers: &Drivers) -> Result<Vec<Layer>> {
        drivers.load("loop")?;
        drivers.load("squashfs")?;
        self.0.iter().map(|file| Layer::attach(file, Path::new(layout::BUNDLES))).collect()
    }
}

/// The folders of the live folder that bundles are looked for in.
const MODULES: &str = "modules";
const OPTIONAL: &str = "optional";

/// Collects bundle files: those of the live folder itself, and all below modules/ and optional/.
fn collect(live_folder: &Path, below: &Path, found: &mut Vec<String>) -> Result<()> {
    let folder = live_folder.join(below);
    for entry in fs::read_dir(&folder).at("list", &folder)? {
        let entry = entry.at("list", &folder)?;
        let path = below.join(entry.file_name());
        let Some(text) = path.to_str() else {
            log::warning(format_args!("{}: its name is not text; left out", entry.path().display()));
            continue;
        };
        // Follows links; one that leads nowhere is no bundle.
        let Ok(about) = fs::metadata(entry.path()) else { continue };
        if about.is_dir() {
            if below != Path::new("") || [MODULES, OPTIONAL].contains(&text) {
                collect(live_folder, &path, found)?;
            }
        } else if entry.file_name().to_str().and_then(BundleName::parse).is_some() {
            found.push(text.to_owned());
        }
    }
    Ok(())
}

/// Chooses from bundle paths relative to the live folder. Bundles in the live folder itself are always taken,
/// those of modules/ unless `load` names others, those of optional/ only if `load` names them; `noload` takes out
/// of all. Sorted by number, then by name, wherever they lie; of two with one file name the first path is kept.
fn select(found: &[String], load: &[String], noload: &[String]) -> Vec<String> {
    let named = |patterns: &[String], path: &str| patterns.iter().any(|p| matches(p, path));
    let mut chosen: Vec<&String> = found
        .iter()
        .filter(|path| {
            let wanted = match path.split_once('/') {
                Some((MODULES, _)) => load.is_empty() || named(load, path),
                Some(_) => named(load, path),
                None => true,
            };
            wanted && !named(noload, path)
        })
        .collect();
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    chosen.sort_by(|a, b| {
        let (left, right) = (name(a), name(b));
        BundleName::parse(&left).cmp(&BundleName::parse(&right)).then_with(|| a.cmp(b))
    });
    chosen.dedup_by(|later, first| {
        let same = name(later) == name(first);
        if same {
            log::warning(format_args!("{later} has the name of {first}; left out"));
        }
        same
    });
    chosen.into_iter().cloned().collect()
}

/// Whether a pattern of `load=` or `noload=` means a path. With `*` or `?` it has to match the file name, with or
/// without its suffix; else it may stand anywhere in the path.
fn matches(pattern: &str, path: &str) -> bool {
    if !pattern.contains(['*', '?']) {
        return path.contains(pattern);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    glob(pattern, name) || name.strip_suffix(layout::BUNDLE_SUFFIX).is_some_and(|name| glob(pattern, name))
}

/// `*` is any text, `?` any one character.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| glob(rest, &text[at..]))
        }
        Some(c) => text
            .chars()
            .next()
            .is_some_and(|t| (c == '?' || c == t) && glob(&pattern[c.len_utf8()..], &text[t.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn what_is_loaded_and_in_which_order() {
        let medium = strings(&[
            "modules/20-b.sb",
            "01-firmware.sb",
            "00-core.sb",
            "extra.sb",
            "modules/deep/10-a.sb",
            "optional/30-c.sb",
            "modules/9-x.sb",
        ]);
        let table: [(&[&str], &[&str], &[&str]); 5] = [
            (
                &[],
                &[],
                &[
                    "00-core.sb",
                    "01-firmware.sb",
                    "modules/9-x.sb",
                    "modules/deep/10-a.sb",
                    "modules/20-b.sb",
                    "extra.sb",
                ],
            ),
            (&["20-b"], &[], &["00-core.sb", "01-firmware.sb", "modules/20-b.sb", "extra.sb"]),
            (
                &["30-*", "deep"],
                &[],
                &["00-core.sb", "01-firmware.sb", "modules/deep/10-a.sb", "optional/30-c.sb", "extra.sb"],
            ),
            (&[], &["firmware", "modules/", "extra"], &["00-core.sb"]),
            (&[], &["*"], &[]),
        ];
        for (load, noload, expected) in table {
            assert_eq!(
                select(&medium, &strings(load), &strings(noload)),
                expected,
                "load={load:?} noload={noload:?}"
            );
        }
    }

    #[test]
    fn of_equal_names_one_is_kept() {
        let medium = strings(&["modules/10-a.sb", "10-a.sb"]);
        assert_eq!(select(&medium, &[], &[]), ["10-a.sb"]);
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("firm", "01-firmware.sb", true),
            ("modules/x", "modules/x.sb", true),
            ("0?-*", "01-firmware.sb", true),
            ("0?-*", "10-firmware.sb", false),
            ("*.sb", "modules/a.sb", true),
            ("a*c", "modules/abc.sb", true),
            ("a*c", "modules/abd.sb", false),
            ("é?", "éa.sb", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
