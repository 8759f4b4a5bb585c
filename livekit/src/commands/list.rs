//! `livekit list`.

use std::fs;
use std::path::PathBuf;

use bundles::Superblock;
use serde::Serialize;

use crate::activation::holders::boot_time;
use crate::activation::stack::{self, Origin, Stacked};
use crate::activation::system::System;
use crate::cli::running::List;
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::output::{Output, size};
use live::utc;

/// What is told of a bundle.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// `boot` or `activated`
    origin: &'static str,
    hidden: bool,
    /// The file that its loop device shows
    file: Option<PathBuf>,
    /// What the user called it, if it was activated
    named: Option<String>,
    /// Bytes of the bundle; none if it cannot be read, for which root is needed
    size: Option<u64>,
    compressor: Option<String>,
    /// Seconds since 1970
    since: u64,
    by: Option<String>,
}

/// Shows the bundles of the running system, lowest first.
pub fn list(flags: &List, output: &Output) -> Result<Ending, Failure> {
    let system = System::look()?;
    let boot = boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let lines: Vec<Line> = system.stack()?.iter().map(|bundle| line(bundle, &system, boot)).collect();
    if flags.json {
        let text = serde_json::to_string_pretty(&lines).map_err(|e| Error::new(e.to_string()))?;
        output.answer(text)?;
    } else {
        output.answers(|out| {
            writeln!(
                out,
                "{:<28} {:<10} {:>10} {:<6} {:<16} FILE",
                "NAME", "ORIGIN", "SIZE", "", "SINCE (UTC)"
            )?;
            for line in &lines {
                writeln!(out, "{}", row(line))?;
            }
            Ok(())
        })?;
    }
    Ok(Ending::Done)
}

fn line(bundle: &Stacked, system: &System, boot: u64) -> Line {
    let activated = system.state.activated(&bundle.name);
    let file = stack::file_of(&bundle.device);
    let superblock = file.as_ref().and_then(|file| read(file).ok());
    Line {
        name: bundle.name.clone(),
        origin: match bundle.origin {
            Origin::Boot => "boot",
            Origin::Activated => "activated",
        },
        hidden: bundle.hidden,
        named: activated.map(|a| a.origin.clone()),
        size: superblock.as_ref().map(|s| s.bytes_used),
        compressor: superblock.map(|s| s.compression.to_string()),
        since: activated.map_or(boot, |a| a.since),
        by: activated.map(|a| a.by.clone()),
        file,
    }
}

fn read(file: &PathBuf) -> Result<Superblock> {
    use std::io::Read;
    let mut header = Vec::new();
    let open = fs::File::open(file).at("open", file)?;
    open.take(Superblock::SIZE as u64).read_to_end(&mut header).at("read", file)?;
    Superblock::parse(&header).map_err(|e| Error::at("read", file, e))
}

fn row(line: &Line) -> String {
    let origin = if line.hidden { "hidden" } else { line.origin };
    let since = utc::minute(i64::try_from(line.since).unwrap_or(i64::MAX));
    let by = line.by.as_ref().map(|by| format!("  by {by}")).unwrap_or_default();
    format!(
        "{:<28} {origin:<10} {:>10} {:<6} {since:<16} {}{by}",
        line.name,
        line.size.map_or("-".into(), size),
        line.compressor.as_deref().unwrap_or("-"),
        line.file.as_ref().map_or("-".into(), |f| f.display().to_string()),
    )
}
