//! `persistence.conf` in the folder of sessions: the directories that are kept where not everything is. The format is
//! live-boot's (persistence.conf(5)):
//!
//! ```text
//! /home
//! /var/lib/app  union,source=app
//! /root         link,source=dotfiles
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Error, Result};

/// The file's name.
pub const FILE: &str = "persistence.conf";

/// How a directory of the system comes to be the one of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// The session's is seen in its place. At first it is a copy of the system's.
    #[default]
    Bind,
    /// An overlay: the session's lies on the system's.
    Union,
    /// The session's files are linked to from the system's directory.
    Link,
}

/// A directory that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// In the system, such as `/home`
    pub path: PathBuf,
    /// In the session, such as `home`
    pub source: PathBuf,
    pub how: How,
}

/// What the file in this folder of sessions names, those in others after them. `None` where everything is kept: there is no
/// file, or `/` is in it.
pub fn read(sessions: &Path) -> Result<Option<Vec<Directory>>> {
    let path = sessions.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|e| {
            Error::at("use", &path, e).hint("a line is: /DIRECTORY [bind|union|link][,source=FOLDER]")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at("read", &path),
    }
}

fn parse(text: &str) -> std::result::Result<Option<Vec<Directory>>, String> {
    let mut all: Vec<Directory> = Vec::new();
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let directory = one(line).map_err(|e| format!("line {number}: {e}"))?;
        if directory.path == Path::new("/") {
            return Ok(None);
        }
        if all.iter().any(|other| other.path == directory.path || other.source == directory.source) {
            return Err(format!("line {number}: it is the second one of that directory"));
        }
        all.push(directory);
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(all))
}

fn one(line: &str) -> std::result::Result<Directory, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let path = Path::new(name);
    if !path.is_absolute() || !is_plain(name) {
        return Err(format!("{name} is no absolute path"));
    }
    if ["/dev", "/proc", "/run", "/sys"].iter().any(|own| path.starts_with(own)) {
        return Err(format!("{name} is the kernel's, and cannot be kept"));
    }
    let mut how = None;
    let mut source = path.strip_prefix("/").unwrap_or(path).to_owned();
    for option in words.next().into_iter().flat_map(|options| options.split(',')) {
        let kind = match option {
            "bind" => How::Bind,
            "union" => How::Union,
            "link" => How::Link,
            _ => match option.strip_prefix("source=") {
                Some(folder) if !folder.is_empty() && Path::new(folder).is_relative() && is_plain(folder) => {
                    source = folder.into();
                    continue;
                }
                Some(folder) => return Err(format!("source={folder} is no folder of a session")),
                None => return Err(format!("{option} is no option")),
            },
        };
        if how.replace(kind).is_some_and(|before| before != kind) {
            return Err("bind, union and link exclude each other".to_owned());
        }
    }
    if let Some(word) = words.next() {
        return Err(format!("{word} is too much"));
    }
    Ok(Directory { path: path.components().collect(), source, how: how.unwrap_or_default() })
}

/// Whether a path leads nowhere else than it says.
fn is_plain(path: &str) -> bool {
    !path.split('/').any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str, source: &str, how: How) -> Directory {
        Directory { path: path.into(), source: source.into(), how }
    }

    #[test]
    fn files_are_read() {
        let text = "# what we keep\n\n /home\n/var/lib/app\tunion,source=app\n/root link,source=dot/files\n/etc/ bind\n";
        let expected = vec![
            directory("/etc", "etc", How::Bind),
            directory("/home", "home", How::Bind),
            directory("/root", "dot/files", How::Link),
            directory("/var/lib/app", "app", How::Union),
        ];
        assert_eq!(parse(text), Ok(Some(expected)));
        assert_eq!(parse("/home\n/ union\n"), Ok(None));
        assert_eq!(parse(""), Ok(Some(vec![])));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("home", "line 1: home is no absolute path"),
            ("/home/../etc", "line 1: /home/../etc is no absolute path"),
            ("# x\n/home/./x", "line 2: /home/./x is no absolute path"),
            ("/proc/sys", "line 1: /proc/sys is the kernel's, and cannot be kept"),
            ("/home bind,union", "line 1: bind, union and link exclude each other"),
            ("/home sticky", "line 1: sticky is no option"),
            ("/home source=/home", "line 1: source=/home is no folder of a session"),
            ("/home source=", "line 1: source= is no folder of a session"),
            ("/home source=../x", "line 1: source=../x is no folder of a session"),
            ("/home bind now", "line 1: now is too much"),
            ("/home\n/home union", "line 2: it is the second one of that directory"),
            ("/home\n/root source=home", "line 2: it is the second one of that directory"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
