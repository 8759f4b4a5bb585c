//! The session that the running system uses, as the boot notes it for the commands.

use std::fs;
use std::path::Path;

use crate::error::{AtPath, Result};
use crate::options::Use;

/// What holds a session's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder of the file system that the sessions are on.
    Folder,
    /// A file system of its own in files.
    Container,
}

/// The session in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    pub number: u32,
    pub kind: Kind,
    /// Where the file system begins in an encrypted container, in bytes; 0 where nothing is encrypted
    pub offset: u64,
    pub usage: Use,
    /// The most a container may have, in bytes
    pub limit: Option<u64>,
    /// The device that the sessions are on, such as `sdb1`
    pub device: String,
}

impl Current {
    /// The note at `path`; none where changes are in memory.
    pub fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            number: value("number")?.parse().ok()?,
            kind: match value("kind")? {
                "folder" => Kind::Folder,
                "container" => Kind::Container,
                _ => return None,
            },
            offset: value("offset").and_then(|text| text.parse().ok()).unwrap_or(0),
            usage: Use::ALL.into_iter().find(|usage| value("use") == Some(usage.name()))?,
            limit: value("limit").and_then(|text| text.parse().ok()),
            device: value("device")?.to_owned(),
        })
    }

    fn text(&self) -> String {
        let kind = match self.kind {
            Kind::Folder => "folder",
            Kind::Container => "container",
        };
        let usage = self.usage.name();
        let (number, offset, device) = (self.number, self.offset, &self.device);
        let limit = self.limit.map(|limit| format!("limit={limit}\n")).unwrap_or_default();
        format!("number={number}\nkind={kind}\noffset={offset}\nuse={usage}\n{limit}device={device}\n")
    }

    /// Notes it at `path`.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.text()).at("write", path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        for (kind, usage, limit) in
            [(Kind::Folder, Use::ReadWrite, None), (Kind::Container, Use::AtExit, Some(5 << 30))]
        {
            let current = Current {
                number: 7,
                kind,
                offset: u64::from(kind == Kind::Container),
                usage,
                limit,
                device: "sdb1".into(),
            };
            assert_eq!(Current::parse(&current.text()), Some(current));
        }
        assert_eq!(Current::parse("number=1\nkind=other\ndevice=sda\n"), None);
        assert_eq!(Current::parse(""), None);
    }
}
