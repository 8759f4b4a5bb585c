//! `livekit bundle plan`: which bundles a build would make of a root, without packing any.

use std::collections::{BTreeMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::largest::DirectorySizes;
use crate::cli::BuildIso;
use crate::cli::bundle::Plan;
use crate::config::Config;
use crate::error::{Error, Failure, Result};
use crate::output::{Output, size};
use crate::root::survey::survey;
use crate::root::{Root, Selection};
use crate::settings::BuildSettings;
use crate::split::{Part, Reason, Split};

/// Directories shown of each bundle.
const LARGEST: usize = 5;

/// Prints the plan: for people, or as JSON.
pub fn plan(flags: Plan, output: &Output) -> Result<(), Failure> {
    let config = Config::read(flags.config.as_deref())?;
    let build = BuildIso { root: flags.root, exclude: flags.exclude, ..BuildIso::default() };
    let settings = BuildSettings::new(build, config, None)?;
    let bundles = look(&settings, output)?;
    if flags.json {
        let text = serde_json::to_string_pretty(&bundles)
            .map_err(|error| Error::new(format!("cannot write the plan as JSON: {error}")))?;
        output.answer(text)?;
    } else {
        output.answer(text(&bundles))?;
    }
    Ok(())
}

fn look(settings: &BuildSettings, output: &Output) -> Result<Vec<Planned>> {
    let temporary = std::env::temp_dir();
    let root = Root::prepare(&settings.root, &temporary, output)?;
    let selection = Selection::new(&root, &settings.exclude, &[], output)?;
    let mut warnings = Vec::new();
    let split = Split::new(&settings.split, root.path(), &mut warnings)?;
    warnings.iter().for_each(|warning| output.warning(warning));
    let step = output.step(format!("Looking through {}", root.path().display()));
    let mut sums: Vec<Sum> = split.parts().map(|_| Sum::default()).collect();
    let survey = survey(root.path(), &selection, &split, &mut |path, metadata, part, reason| {
        sums[part.index()].add(path, metadata, reason);
    })?;
    survey.check_readable()?;
    step.done(format!("{} files", survey.total().files));
    let made = split.parts().zip(sums).filter(|(part, _)| *part == Part::CORE || survey.has(*part));
    let planned: Vec<Planned> = made.map(|(part, sum)| sum.planned(&split, part)).collect();
    for part in split.parts().skip(1).filter(|&part| !survey.has(part)) {
        // The bundle that is split off by itself is nobody's wish.
        if let Some(line) = split.rule(part).and_then(|rule| rule.line) {
            output.warning(format!("{} (line {line}) takes nothing: it is not made", split.bundle(part)));
        }
    }
    Ok(planned)
}

/// What goes into one bundle, counted.
#[derive(Default)]
struct Sum {
    files: u64,
    bytes: u64,
    directories: u64,
    reasons: BTreeMap<(bool, String), Taken>,
    sizes: DirectorySizes,
    /// Files with several names, which are in the bundle once.
    linked: HashSet<(u64, u64)>,
}

impl Sum {
    fn add(&mut self, path: &Path, metadata: &Metadata, reason: Reason<'_>) {
        if metadata.is_dir() {
            self.directories += 1;
            return;
        }
        let again = metadata.nlink() > 1 && !self.linked.insert((metadata.dev(), metadata.ino()));
        let bytes = if metadata.is_file() && !again { metadata.len() } else { 0 };
        self.files += 1;
        self.bytes += bytes;
        self.sizes.add(path, bytes);
        let key = match reason {
            Reason::Rest => return,
            Reason::Path(pattern) => (false, pattern),
            Reason::Package(pattern) => (true, pattern),
        };
        let taken = self.reasons.entry((key.0, key.1.to_owned())).or_default();
        taken.files += 1;
        taken.bytes += bytes;
    }

    fn planned(self, split: &Split, part: Part) -> Planned {
        let line = split.rule(part).and_then(|rule| rule.line);
        let taken = |((package, pattern), taken): ((bool, String), Taken)| Taken {
            path: (!package).then(|| pattern.clone()),
            package: package.then_some(pattern),
            ..taken
        };
        let mut reasons: Vec<Taken> = self.reasons.into_iter().map(taken).collect();
        reasons.sort_by_key(|taken| std::cmp::Reverse(taken.bytes));
        let largest = self.sizes.largest(LARGEST).into_iter();
        Planned {
            name: split.bundle(part).to_owned(),
            line,
            files: self.files,
            directories: self.directories,
            bytes: self.bytes,
            taken: reasons,
            largest: largest
                .map(|(path, bytes)| Largest { path: format!("/{}", path.display()), bytes })
                .collect(),
        }
    }
}

/// A bundle that a build would make.
#[derive(Debug, Serialize)]
struct Planned {
    name: String,
    /// Of its table in livekit.toml.
    line: Option<usize>,
    /// All but directories.
    files: u64,
    directories: u64,
    /// Not compressed.
    bytes: u64,
    /// What of its rule took how much, the largest first; empty for the core.
    taken: Vec<Taken>,
    largest: Vec<Largest>,
}

/// What one pattern of a rule took.
#[derive(Debug, Default, Serialize)]
struct Taken {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    files: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Largest {
    path: String,
    bytes: u64,
}

/// The plan for people.
fn text(bundles: &[Planned]) -> String {
    // What is on a line, files (of a directory they are not told), bytes.
    let mut lines: Vec<(String, Option<u64>, u64)> = Vec::new();
    for bundle in bundles {
        let rule = bundle.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        lines.push((format!("{}{rule}", bundle.name), Some(bundle.files), bundle.bytes));
        let by = |taken: &Taken| match (&taken.package, &taken.path) {
            (Some(package), _) => format!("  package {package}"),
            (None, path) => format!("  path {}", path.as_deref().unwrap_or_default()),
        };
        lines.extend(bundle.taken.iter().map(|taken| (by(taken), Some(taken.files), taken.bytes)));
        let directory = |directory: &Largest| (format!("    {}", directory.path), None, directory.bytes);
        lines.extend(bundle.largest.iter().map(directory));
    }
    let sum = |of: fn(&Planned) -> u64| bundles.iter().map(of).sum();
    lines.push(("in all, not compressed".to_owned(), Some(sum(|b| b.files)), sum(|b| b.bytes)));
    let width = lines.iter().map(|(label, ..)| label.chars().count()).max().unwrap_or_default();
    let line = |(label, files, bytes): &(String, Option<u64>, u64)| {
        let files = files.map(|files| format!("{files} files")).unwrap_or_default();
        format!("{label:<width$}  {files:>14}  {:>10}", size(*bytes))
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_well() {
        let taken = |path: Option<&str>, package: Option<&str>, files, bytes| Taken {
            path: path.map(str::to_owned),
            package: package.map(str::to_owned),
            files,
            bytes,
        };
        let largest = |path: &str, bytes| Largest { path: path.to_owned(), bytes };
        let core = Planned {
            name: "00-core.sb".to_owned(),
            line: None,
            files: 12,
            directories: 3,
            bytes: 2048,
            taken: Vec::new(),
            largest: vec![largest("/usr/bin", 1024)],
        };
        let desktop = Planned {
            name: "05-desktop.sb".to_owned(),
            line: Some(4),
            files: 3,
            directories: 1,
            bytes: 3 << 20,
            taken: vec![
                taken(None, Some("x*"), 2, 2 << 20),
                taken(Some("/usr/share/icons"), None, 1, 1 << 20),
            ],
            largest: Vec::new(),
        };
        let expected = [
            "00-core.sb                     12 files     2.0 KiB",
            "    /usr/bin                                1.0 KiB",
            "05-desktop.sb (line 4)          3 files     3.0 MiB",
            "  package x*                    2 files     2.0 MiB",
            "  path /usr/share/icons         1 files     1.0 MiB",
            "in all, not compressed         15 files     3.0 MiB",
        ];
        assert_eq!(text(&[core, desktop]), expected.join("\n"));
    }

    #[test]
    fn files_with_several_names_count_once_in_a_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&one, [0; 100]).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        let mut sum = Sum::default();
        for path in [&one, &two] {
            sum.add(Path::new("usr/x"), &path.metadata().unwrap(), Reason::Path("/usr"));
        }
        sum.add(Path::new("usr"), &dir.path().metadata().unwrap(), Reason::Path("/usr"));
        assert_eq!((sum.files, sum.bytes, sum.directories), (2, 100, 1));
    }
}
