//! What is written beside a session: its name and its times. None of it is needed to use the session.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;

/// The file's name in the session's folder.
const FILE: &str = "about";

/// A session's name and times, in seconds since 1970 by the clocks of the machines it ran on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    pub name: Option<String>,
    pub created: Option<u64>,
    /// When a boot last opened it
    pub used: Option<u64>,
    /// The boot that first opens it is to encrypt it
    pub encrypt: bool,
}

impl About {
    /// Of a session that is made now.
    pub fn new(name: Option<String>) -> Self {
        Self { name, created: Some(now()), used: None, encrypt: false }
    }

    /// What is known of the session in `folder`.
    pub fn read(folder: &Path) -> Self {
        Self::parse(&fs::read_to_string(folder.join(FILE)).unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        let time = |key| value(key).and_then(|text| text.parse().ok());
        Self {
            name: value("name").filter(|n| !n.is_empty()),
            created: time("created"),
            used: time("used"),
            encrypt: value("encrypt").is_some(),
        }
    }

    /// Writes it beside the session in `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        super::replace(&folder.join(FILE), &self.text())
    }

    pub(super) fn text(&self) -> String {
        let name = self.name.as_ref().map(|n| format!("name={}\n", n.replace(['\n', '\r'], " ")));
        let time = |key: &str, at: Option<u64>| at.map_or(String::new(), |at| format!("{key}={at}\n"));
        let encrypt = if self.encrypt { "encrypt=yes\n" } else { "" };
        name.unwrap_or_default() + &time("created", self.created) + &time("used", self.used) + encrypt
    }
}

/// Seconds since 1970 by this machine's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
