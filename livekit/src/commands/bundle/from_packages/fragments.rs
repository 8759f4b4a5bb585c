//! What the packages added to dpkg's databases, as fragments in the bundle.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use live::dpkg::{self, FRAGMENTS, Form, HOME, Id, REPLACES, field, is_installed};

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
        let text = added(form, &before, &after);
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

/// What `after` has and `before` has not. A package in another version says which one it takes the place of.
fn added(form: Form, before: &[u8], after: &[u8]) -> Vec<u8> {
    let old = form.pieces(before);
    let mut known: HashMap<&[u8], Vec<(&Id, &[u8])>> = HashMap::new();
    for piece in &old {
        if let Some(id) = &piece.id {
            known.entry(&id.name).or_default().push((id, piece.text));
        }
    }
    let mut text = Vec::new();
    for piece in form.pieces(after) {
        let Some(id) = &piece.id else { continue };
        if form == Form::Paragraphs && !is_installed(piece.text) {
            continue;
        }
        let there = known.get(id.name.as_slice());
        let there = there.and_then(|known| known.iter().find(|(other, _)| other.excludes(id)));
        let replaced = match there {
            // Reports of triggers and the like change paragraphs of the base.
            Some((_, before)) if is_installed(before) && version(before) == version(piece.text) => continue,
            Some(_) if form != Form::Paragraphs => continue,
            Some((_, before)) => version(before),
            None => None,
        };
        let start = piece.text.iter().position(|&byte| byte != b'\n').unwrap_or_default();
        if form == Form::Paragraphs && !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(&piece.text[start..]);
        if let Some(replaced) = replaced {
            text.extend_from_slice(format!("{REPLACES}: ").as_bytes());
            text.extend_from_slice(replaced);
            text.push(b'\n');
        }
    }
    text
}

fn version(paragraph: &[u8]) -> Option<&[u8]> {
    field(paragraph, "Version")
}

#[cfg(test)]
mod tests {
    use super::*;

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
