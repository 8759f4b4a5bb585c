//! `livekit session list`.

use live::container::parts;
use live::session::{Session, past};
use serde::Serialize;

use super::place::Place;
use crate::error::{Error, Result};
use crate::output::{Output, size};
use live::utc;

/// What is told of a session.
#[derive(Debug, Serialize)]
struct Line {
    number: u32,
    name: Option<String>,
    /// Seconds since 1970
    created: Option<u64>,
    used: Option<u64>,
    /// Bytes on the medium
    size: u64,
    /// `folder`, `container`, or `new` for one that no boot has opened
    kind: &'static str,
    /// Numbers of snapshots; none if they cannot be seen now
    snapshots: Option<Vec<u32>>,
    in_use: bool,
    default: bool,
}

/// Shows the sessions by number.
pub fn list(place: &Place, json: bool, output: &Output) -> Result<()> {
    let default = place.sessions.resumed()?.map(|session| session.number);
    let all = place.sessions.list()?;
    let lines: Vec<Line> = all.iter().map(|session| line(session, place, default)).collect();
    if json {
        return output.answer(serde_json::to_string_pretty(&lines).map_err(|e| Error::new(e.to_string()))?);
    }
    output.answers(|out| {
        let heading = ("CREATED (UTC)", "LAST USED (UTC)");
        writeln!(
            out,
            "   {:>3} {:<16} {:<16} {:>10} {:<9} NAME",
            "NO", heading.0, heading.1, "SIZE", "KIND"
        )?;
        for line in &lines {
            writeln!(out, "{}", row(line))?;
        }
        Ok(())
    })
}

fn line(session: &Session, place: &Place, default: Option<u32>) -> Line {
    let in_container = parts::find(&session.folder).map_or(true, |parts| !parts.is_empty());
    let is_new =
        !in_container && !session.folder.join("upper").is_dir() && !session.folder.join("past").is_dir();
    Line {
        number: session.number,
        name: session.about.name.clone(),
        created: session.about.created,
        used: session.about.used,
        size: session.size(None),
        kind: if in_container {
            "container"
        } else if is_new {
            "new"
        } else {
            "folder"
        },
        snapshots: place.home(session).and_then(|home| past::snapshots(&home)).ok(),
        in_use: place.is_in_use(session),
        default: default == Some(session.number),
    }
}

fn row(line: &Line) -> String {
    let time =
        |at: Option<u64>| at.map_or("-".into(), |at| utc::minute(i64::try_from(at).unwrap_or(i64::MAX)));
    let marks = [(line.default, '>'), (line.in_use, '*')].map(|(is, mark)| if is { mark } else { ' ' });
    let snapshots = match line.snapshots.as_deref() {
        Some([]) | None => String::new(),
        Some(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            format!("  (snapshots {})", numbers.join(", "))
        }
    };
    format!(
        "{}{} {:>3} {:<16} {:<16} {:>10} {:<9} {}{snapshots}",
        marks[0],
        marks[1],
        line.number,
        time(line.created),
        time(line.used),
        size(line.size),
        line.kind,
        line.name.as_deref().unwrap_or("-"),
    )
}
