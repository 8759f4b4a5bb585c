//! What was merged, kept beside the changes: it is true exactly as long as they are.
//!
//! A text. Its first line is `livekit-dpkg 1`, and ` pending` while databases are being written. Then for each entry a line
//! with the database, the state and the bundles with `/` between them; the piece with a space before each line; and what
//! it replaced with a minus.

use std::path::Path;

use super::fragments::{self, ByDatabase};
use super::merge::{Entry, State};
use crate::error::{AtPath, Error, Result};

const FIRST_LINE: &[u8] = b"livekit-dpkg 1";
const PENDING: &[u8] = b"livekit-dpkg 1 pending";

/// What was merged into which database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub databases: ByDatabase<Entry>,
    /// Whether they may not have been written yet.
    pub pending: bool,
}

impl Record {
    /// Reads `path`; one that is not there is empty.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                Error::at("read", path, "it is not a record of what was merged into dpkg's database")
                    .hint("without that file, packages of bundles that are gone stay in `dpkg -l`")
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).at("read", path),
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.databases.iter().all(|(_, entries)| entries.is_empty())
    }

    /// What was remembered of one database.
    pub fn of(&self, database: &str) -> &[Entry] {
        self.databases.iter().find(|(name, _)| name == database).map_or(&[], |(_, entries)| entries)
    }

    /// What to remember while databases go from `self` to `next`: they may be in either state, or one in each.
    pub fn towards(&self, next: &Self) -> Self {
        let mut both = Self { pending: true, ..next.clone() };
        for (database, entries) in &self.databases {
            let known = fragments::of(&mut both.databases, database);
            let old = entries.iter().filter(|old| old.state == State::Merged);
            let old: Vec<Entry> = old.filter(|old| !known.contains(old)).cloned().collect();
            known.extend(old);
        }
        both
    }

    /// As it is stored.
    pub fn text(&self) -> Vec<u8> {
        let mut text = if self.pending { PENDING } else { FIRST_LINE }.to_vec();
        text.push(b'\n');
        for (database, entries) in &self.databases {
            for entry in entries {
                let state = match entry.state {
                    State::Merged => "merged",
                    State::Others => "others",
                    State::Removed => "removed",
                };
                let bundles = entry.bundles.join("/").replace('\n', "?");
                text.extend_from_slice(format!("{database} {state} {bundles}\n").as_bytes());
                put(&mut text, b' ', &entry.text);
                put(&mut text, b'-', entry.replaced.as_deref().unwrap_or_default());
            }
        }
        text
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split_inclusive(|&b| b == b'\n');
        let first = lines.next()?.trim_ascii_end();
        let mut record = Self { pending: first == PENDING, ..Self::default() };
        if !record.pending && first != FIRST_LINE {
            return None;
        }
        let mut entry: Option<&mut Entry> = None;
        for line in lines {
            match line[0] {
                b' ' => entry.as_mut()?.text.extend_from_slice(&line[1..]),
                b'-' => {
                    entry.as_mut()?.replaced.get_or_insert_with(Vec::new).extend_from_slice(&line[1..]);
                }
                _ => {
                    let line = String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned();
                    let mut words = line.splitn(3, ' ');
                    let database = words.next()?;
                    let state = match words.next()? {
                        "merged" => State::Merged,
                        "others" => State::Others,
                        "removed" => State::Removed,
                        _ => return None,
                    };
                    let bundles = words.next()?.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
                    let bundles = bundles.collect();
                    let entries = fragments::of(&mut record.databases, database);
                    entries.push(Entry { state, bundles, text: Vec::new(), replaced: None });
                    entry = entries.last_mut();
                }
            }
        }
        Some(record)
    }
}

/// Puts each line with a mark before it.
fn put(text: &mut Vec<u8>, mark: u8, lines: &[u8]) {
    for line in lines.split_inclusive(|&b| b == b'\n') {
        text.push(mark);
        text.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let entry = |state, bundles: &[&str], text: &str, replaced: Option<&str>| Entry {
            state,
            bundles: bundles.iter().map(|&name| name.to_owned()).collect(),
            text: text.as_bytes().to_vec(),
            replaced: replaced.map(|text| text.as_bytes().to_vec()),
        };
        let mut record = Record { pending: true, ..Record::default() };
        record.databases.push((
            "status".into(),
            vec![
                entry(State::Merged, &["20-a b.sb", "x.sb"], "Package: a\nDescription: x\n .\n y\n", None),
                entry(State::Removed, &[], "Package: b\n", None),
                entry(State::Merged, &["x.sb"], "Package: c\n", Some("Package: c\n-: 1\n")),
            ],
        ));
        record
            .databases
            .push(("triggers/File".into(), vec![entry(State::Others, &["x.sb"], "/a b\n", None)]));
        for pending in [true, false] {
            record.pending = pending;
            assert_eq!(Record::parse(&record.text()).as_ref(), Some(&record));
        }
    }

    #[test]
    fn what_is_no_record() {
        for text in ["", "x", "livekit-dpkg 2\n", "livekit-dpkg 1\n x\n", "livekit-dpkg 1\nstatus mine x\n"] {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Record::parse(b"livekit-dpkg 1\n"), Some(Record::default()));
    }
}
