//! `livekit bundle diff`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use bundles::{Aspect, Bundle, Change, Difference, diff as compare};
use serde_json::{Value, json};

use super::from_bundle;
use crate::cli::bundle::Diff;
use crate::error::{Ending, Failure, Result};
use crate::output::{Output, shown};

/// Compares two bundles. A line for each difference is the answer. As of diff(1), 1 means different and 2 trouble.
pub fn diff(flags: &Diff, output: &Output) -> Result<Ending, Failure> {
    let changes = changes(flags, output).map_err(Failure::Usage)?;
    let write = if flags.json { json_line } else { line };
    output
        .answers(|out| changes.iter().try_for_each(|change| Ok(write(change, out)?)))
        .map_err(Failure::Usage)?;
    Ok(if changes.is_empty() { Ending::Done } else { Ending::No })
}

fn changes(flags: &Diff, output: &Output) -> Result<Vec<Change>> {
    let open = |path: &Path| Bundle::open(path).map_err(|error| from_bundle(&error));
    let (before, after) = (open(&flags.before)?, open(&flags.after)?);
    let names = format!("Comparing {} with {}", flags.before.display(), flags.after.display());
    let mut step = output.step(names);
    let changes =
        compare(&before, &after, None, &mut |progress| step.bytes(progress.bytes, progress.total_bytes))
            .map_err(|error| from_bundle(&error))?;
    let count = |is: fn(&Difference) -> bool| changes.iter().filter(|change| is(&change.difference)).count();
    step.done(format!(
        "{} added, {} removed, {} changed",
        count(|difference| matches!(difference, Difference::Added)),
        count(|difference| matches!(difference, Difference::Removed)),
        count(|difference| matches!(difference, Difference::Changed(_)))
    ));
    Ok(changes)
}

fn line(change: &Change, out: &mut dyn Write) -> io::Result<()> {
    let (letter, aspects) = match &change.difference {
        Difference::Added => ("A ", String::new()),
        Difference::Removed => ("D ", String::new()),
        Difference::Changed(aspects) => ("M ", format!(" ({})", words(aspects).join(", "))),
    };
    out.write_all(letter.as_bytes())?;
    // The root's path is empty.
    let path = if change.path.as_os_str().is_empty() { Path::new(".") } else { &change.path };
    out.write_all(&shown(path.as_os_str()))?;
    writeln!(out, "{aspects}")
}

fn json_line(change: &Change, out: &mut dyn Write) -> io::Result<()> {
    let path = change.path.to_string_lossy();
    let value: Value = match &change.difference {
        Difference::Added => json!({"path": path, "change": "added"}),
        Difference::Removed => json!({"path": path, "change": "removed"}),
        Difference::Changed(aspects) => json!({"path": path, "change": "changed", "what": words(aspects)}),
    };
    writeln!(out, "{value}")
}

fn words(aspects: &BTreeSet<Aspect>) -> Vec<&'static str> {
    let word = |aspect: &Aspect| match aspect {
        Aspect::Type => "type",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Mtime => "time",
        Aspect::Xattrs => "xattrs",
        Aspect::Links => "links",
    };
    aspects.iter().map(word).collect()
}
