//! What the packages added to dpkg's databases, as fragments in the bundle.

use std::fs;
use std::path::Path;

use live::dpkg::{self, Earlier, FRAGMENTS, HOME};

use crate::error::{AtPath, Result};

/// Compares the databases of `base` with those of `union`, and writes what is new into the union, where the bundle has it.
pub fn write(base: &Path, union: &Path) -> Result<()> {
    let home = union.join(HOME);
    let mut databases = vec!["status".to_owned(), "diversions".to_owned(), "statoverride".to_owned()];
    let triggers = home.join("triggers");
    if triggers.is_dir() {
        for entry in fs::read_dir(&triggers).at("list", &triggers)? {
            let name = entry.at("list", &triggers)?.file_name();
            // These two are dpkg's own, and empty between its runs.
            let own = ["Lock", "Unincorp"].iter().any(|own| name == *own);
            databases.extend(name.to_str().filter(|_| !own).map(|name| format!("triggers/{name}")));
        }
    }
    for database in databases {
        let Some(form) = dpkg::form(&database) else { continue };
        let (before, after) = (read(&base.join(HOME).join(&database))?, read(&home.join(&database))?);
        let text = dpkg::own(form, &after, &before, Earlier::default()).text;
        if text.is_empty() {
            continue;
        }
        let path = union.join(FRAGMENTS).join(&database);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).at("make the directory", folder)?;
        fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.at("read", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use live::dpkg::Form;

    fn added(form: Form, before: &[u8], after: &[u8]) -> Vec<u8> {
        dpkg::own(form, after, before, Earlier::default()).text
    }

    #[test]
    fn what_is_new() {
        let paragraph = |name: &str, version: &str, state: &str| {
            format!("Package: {name}\nStatus: install ok {state}\nArchitecture: amd64\nVersion: {version}\n")
        };
        let base = [
            paragraph("a", "1", "installed"),
            paragraph("b", "1", "installed"),
            paragraph("c", "1", "config-files"),
        ]
        .join("\n");
        let now = [
            paragraph("a", "1", "triggers-pending"),
            paragraph("b", "2", "installed"),
            paragraph("c", "1", "installed"),
            paragraph("d", "1", "config-files"),
            paragraph("e", "1", "installed"),
        ]
        .join("\n");
        let expected = [
            paragraph("b", "2", "installed") + "Livekit-Replaces: 1\n",
            paragraph("c", "1", "installed") + "Livekit-Replaces: 1\n",
            paragraph("e", "1", "installed"),
        ]
        .join("\n");
        let found = added(Form::Paragraphs, base.as_bytes(), now.as_bytes());
        assert_eq!(String::from_utf8(found).unwrap(), expected);
        for (form, before, after, expected) in [
            (Form::Lines(1), "a\nb\n", "a\nc\nb\n", "c\n"),
            (Form::Lines(3), "a\nb\nc\n", "d\ne\nf\na\nb\nc\n", "d\ne\nf\n"),
            (Form::Lines(1), "", "", ""),
        ] {
            assert_eq!(added(form, before.as_bytes(), after.as_bytes()), expected.as_bytes());
        }
    }
}
