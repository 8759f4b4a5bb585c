//! What the user reads of a save.

use std::path::Path;

use bundles::Packed;
use serde::Serialize;

use super::survey::{Secret, Sum, Survey};
use crate::error::{Error, Result};
use crate::output::{Output, size};

/// Says what is left out. Secrets are a warning, every one named.
pub fn tell(survey: &Survey, output: &Output) {
    let left_out = survey.left_out();
    if left_out.files > 0 {
        let parts: Vec<_> =
            survey.left_out.iter().map(|(what, sum)| format!("{what} {}", size(sum.bytes))).collect();
        let (files, bytes) = (counted(left_out.files, "file"), size(left_out.bytes));
        output.status(format!("Left out {files}, {bytes}: {}", parts.join(", ")));
    }
    if !survey.secrets.is_empty() {
        let names: Vec<_> = survey.secrets.iter().map(|secret| format!("\n  {}", line(secret))).collect();
        let count = counted(survey.secrets.len() as u64, "secret");
        output.warning(format!(
            "{count} left out; --with-secrets saves all, --include PATH one:{}",
            names.concat()
        ));
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What of a secret is told. Its name must not command the terminal.
fn line(secret: &Secret) -> String {
    let path: String = secret.path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{path} ({})", secret.kind)
}

/// What would be saved, for people.
pub fn text(target: &Path, survey: &Survey) -> String {
    let saved = survey.saved();
    let mut lines = vec![format!("{} would have, not compressed:", target.display())];
    let sums = |sums: &mut dyn Iterator<Item = (&str, Sum)>| -> Vec<String> {
        sums.map(|(name, sum)| row(name, sum)).collect()
    };
    lines.extend(sums(&mut survey.folders.iter().map(|(name, sum)| (name.as_str(), *sum))));
    lines.push(row("in all", saved));
    if survey.whiteouts + survey.opaque > 0 {
        let (whiteouts, opaque) = (counted(survey.whiteouts, "whiteout"), survey.opaque);
        lines.push(format!("  with {whiteouts}, opaque folders: {opaque}"));
    }
    if !survey.left_out.is_empty() {
        lines.push("It would be without:".to_owned());
        lines.extend(sums(&mut survey.left_out.iter().map(|(name, sum)| (*name, *sum))));
        lines.push(row("in all", survey.left_out()));
    }
    if !survey.secrets.is_empty() {
        lines.push("And without these secrets (--with-secrets saves all, --include PATH one):".to_owned());
        lines.extend(survey.secrets.iter().map(|secret| format!("  {}", line(secret))));
    }
    lines.join("\n")
}

fn row(name: &str, sum: Sum) -> String {
    format!("  {name:<48} {:>14} {:>10}", counted(sum.files, "file"), size(sum.bytes))
}

/// A save as JSON.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// The bundle, or what it would be called.
    file: String,
    dry_run: bool,
    /// Of the bundle; none in a dry run.
    bytes: Option<u64>,
    packed: Packing<'a>,
    left_out: LeftOut<'a>,
    secrets: &'a [Secret],
    /// Files that changed while they were read.
    changed: Vec<String>,
    /// Files that were gone when they were to be read.
    vanished: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Packing<'a> {
    #[serde(flatten)]
    all: Sum,
    whiteouts: u64,
    opaque: u64,
    folders: &'a std::collections::BTreeMap<String, Sum>,
}

#[derive(Debug, Serialize)]
struct LeftOut<'a> {
    #[serde(flatten)]
    all: Sum,
    reasons: &'a std::collections::BTreeMap<&'static str, Sum>,
}

/// What was saved, or without `packed` would be, for scripts.
pub fn json(target: &Path, survey: &Survey, packed: Option<&Packed>) -> Result<String> {
    let paths = |of: fn(&Packed) -> &Vec<std::path::PathBuf>| {
        packed.into_iter().flat_map(of).map(|path| format!("/{}", path.display())).collect()
    };
    let answer = Answer {
        file: target.display().to_string(),
        dry_run: packed.is_none(),
        bytes: packed.map(|packed| packed.bytes),
        packed: Packing {
            all: survey.saved(),
            whiteouts: survey.whiteouts,
            opaque: survey.opaque,
            folders: &survey.folders,
        },
        left_out: LeftOut { all: survey.left_out(), reasons: &survey.left_out },
        secrets: &survey.secrets,
        changed: paths(|packed| &packed.changed),
        vanished: paths(|packed| &packed.vanished),
    };
    serde_json::to_string_pretty(&answer)
        .map_err(|error| Error::new(format!("cannot write the answer as JSON: {error}")))
}
