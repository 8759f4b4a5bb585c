//! The forms dpkg's databases have, taken apart so that every byte stays where it was.

use std::borrow::Cow;
use std::collections::HashMap;

/// How a database is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Paragraphs of fields, one for each package, between empty lines (deb822(5)): the file `status`.
    Paragraphs,
    /// Records of so many lines: 3 in `diversions`, 1 in `statoverride` and in the files of `triggers`.
    Lines(usize),
}

/// A part of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// With the empty lines before it. All pieces together are the text.
    pub text: &'a [u8],
    /// What it is about; none where that is not understood.
    pub id: Option<Id>,
}

/// What a piece is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// The package's name, or the lines themselves.
    pub name: Vec<u8>,
    architecture: Vec<u8>,
    /// Whether the package may be there for several architectures at once.
    coinstallable: bool,
}

impl Id {
    /// Whether a database can have only one of both.
    pub fn excludes(&self, other: &Self) -> bool {
        self.name == other.name
            && (self.architecture == other.architecture || !(self.coinstallable && other.coinstallable))
    }
}

impl Form {
    /// Takes a text apart.
    pub fn pieces(self, text: &[u8]) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        let (mut start, mut at, mut lines) = (0, 0, 0);
        while at < text.len() {
            let end = text[at..].iter().position(|&b| b == b'\n').map_or(text.len(), |n| at + n + 1);
            let empty = text[at] == b'\n';
            let next_empty = text.get(end).is_none_or(|&b| b == b'\n');
            lines += 1;
            at = end;
            let whole = match self {
                Form::Paragraphs => !empty && next_empty,
                Form::Lines(count) => lines == count,
            };
            if whole {
                pieces.push(self.piece(&text[start..at]));
                (start, lines) = (at, 0);
            }
        }
        if start < text.len() {
            pieces.push(Piece { text: &text[start..], id: None });
        }
        pieces
    }

    fn piece(self, text: &[u8]) -> Piece<'_> {
        Piece { text, id: self.id(text) }
    }

    /// What a single piece is about.
    pub fn id(self, text: &[u8]) -> Option<Id> {
        if let Form::Lines(_) = self {
            return Some(Id {
                name: ended(text).into_owned(),
                architecture: Vec::new(),
                coinstallable: false,
            });
        }
        let name = field(text, "Package").filter(|name| !name.is_empty())?;
        Some(Id {
            name: name.to_vec(),
            architecture: field(text, "Architecture").unwrap_or_default().to_vec(),
            coinstallable: field(text, "Multi-Arch") == Some(b"same"),
        })
    }

    /// Whether two pieces say the same of a package. dpkg writes its database anew with every change: the order of
    /// fields, what is selected for the package, and triggers under way do not count.
    pub fn same(self, one: &[u8], other: &[u8]) -> bool {
        let (one, other) = (body(one), body(other));
        match self {
            Form::Lines(_) => ended(one) == ended(other),
            Form::Paragraphs => one == other || same_fields(&normal(one), &normal(other)),
        }
    }
}

/// Finds places in a list by what they are about.
#[derive(Debug, Default)]
pub struct Index(HashMap<Vec<u8>, Vec<usize>>);

impl Index {
    /// What is at `place` is about `id`.
    pub fn put(&mut self, id: &Id, place: usize) {
        self.0.entry(id.name.clone()).or_default().push(place);
    }

    /// Places of what has the name of `id`.
    pub fn named(&self, id: &Id) -> &[usize] {
        self.0.get(&id.name).map_or(&[], Vec::as_slice)
    }
}

/// A piece without the empty lines before it.
pub fn body(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&b| b != b'\n').unwrap_or(text.len());
    &text[start..]
}

/// The text with a newline at its end.
pub fn ended(text: &[u8]) -> Cow<'_, [u8]> {
    if text.ends_with(b"\n") { text.into() } else { [text, b"\n"].concat().into() }
}

/// The first line of a field's value, without spaces around it.
pub fn field<'a>(paragraph: &'a [u8], name: &str) -> Option<&'a [u8]> {
    paragraph.split(|&b| b == b'\n').find_map(|line| {
        let (head, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        head.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// Whether the package is there, by its field `Status: WANT FLAG STATE`.
pub fn is_installed(paragraph: &[u8]) -> bool {
    state(paragraph).is_some_and(installed)
}

/// Whether nothing of the package is there, not even its configuration files.
pub fn is_absent(paragraph: &[u8]) -> bool {
    state(paragraph) == Some(b"not-installed")
}

fn state(paragraph: &[u8]) -> Option<&[u8]> {
    field(paragraph, "Status")?.rsplit(|&b| b == b' ').next()
}

/// Triggers under way do not make a package less installed.
fn installed(state: &[u8]) -> bool {
    matches!(state, b"installed" | b"triggers-awaited" | b"triggers-pending")
}

fn same_fields(one: &[Vec<u8>], other: &[Vec<u8>]) -> bool {
    one.len() == other.len() && one.iter().all(|field| other.contains(field))
}

/// A paragraph's fields, without what dpkg and its user may change while the package stays the same.
fn normal(paragraph: &[u8]) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in paragraph.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty()) {
        match fields.last_mut() {
            Some(field) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                field.push(b'\n');
                field.extend_from_slice(line.trim_ascii_start());
            }
            _ => fields.push(normal_field(line)),
        }
    }
    fields.retain(|field| !field.starts_with(b"triggers-"));
    fields
}

fn normal_field(line: &[u8]) -> Vec<u8> {
    let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
    let (name, value) = line.split_at(colon);
    let name = name.to_ascii_lowercase();
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
    if name != b"status" {
        return [name.as_slice(), b":", value].concat();
    }
    let words: Vec<&[u8]> = value.split(|&b| b == b' ').skip(1).collect();
    let words: Vec<&[u8]> =
        words.into_iter().map(|word| if installed(word) { b"installed" } else { word }).collect();
    [name.as_slice(), b":", &words.join(&b' ')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_one_piece() {
        let paragraphs = Form::Paragraphs;
        for (form, text, expected) in [
            (paragraphs, "", &[][..]),
            (paragraphs, "Package: a\n", &["Package: a\n"]),
            (
                paragraphs,
                "Package: a\n\nPackage: b\nX: y\n z\n\n",
                &["Package: a\n", "\nPackage: b\nX: y\n z\n", "\n"],
            ),
            (paragraphs, "\n\nPackage: a\n\n\nrubbish", &["\n\nPackage: a\n", "\n\nrubbish"]),
            (Form::Lines(1), "a\nb", &["a\n", "b"]),
            (Form::Lines(3), "/a\n/b\nc\n/d\n", &["/a\n/b\nc\n", "/d\n"]),
        ] {
            let pieces: Vec<_> = form.pieces(text.as_bytes()).into_iter().map(|piece| piece.text).collect();
            assert_eq!(pieces, expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(), "{text:?}");
        }
        let pieces = paragraphs.pieces(b"Package: a\n\nrubbish\n\n");
        assert_eq!(pieces.iter().map(|piece| piece.id.is_some()).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn names_and_architectures() {
        let id = |text: &str| Form::Paragraphs.id(text.as_bytes()).unwrap();
        for (one, other, expected) in [
            ("Package: a\nArchitecture: amd64", "package:  a\nArchitecture: amd64 \n", true),
            ("Package: a", "Package: b", false),
            ("Package: a\nArchitecture: all", "Package: a\nArchitecture: amd64", true),
            (
                "Package: a\nArchitecture: i386\nMulti-Arch: same",
                "Package: a\nArchitecture: amd64\nMulti-Arch: same",
                false,
            ),
            (
                "Package: a\nArchitecture: i386\nMulti-Arch: same",
                "Package: a\nArchitecture: amd64\nMulti-Arch: no",
                true,
            ),
        ] {
            assert_eq!(id(one).excludes(&id(other)), expected, "{one} {other}");
        }
        assert_eq!(Form::Paragraphs.id(b"Packages: a\nPackage:\n"), None);
    }

    #[test]
    fn what_makes_a_package_another() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1\nConffiles:\n /etc/a 00\n";
        for (other, expected) in [
            ("\nVersion: 1\nPackage: a\nConffiles:\n /etc/a 00\nStatus: install ok installed", true),
            ("Package: a\nStatus: hold ok installed\nVersion: 1\nConffiles:\n /etc/a 00\n", true),
            (
                "Package: a\nStatus: install ok triggers-pending\nVersion: 1\nConffiles:\n /etc/a 00\nTriggers-Pending: x\n",
                true,
            ),
            ("Package: a\nStatus: install ok installed\nVersion: 2\nConffiles:\n /etc/a 00\n", false),
            ("Package: a\nStatus: deinstall ok config-files\nVersion: 1\nConffiles:\n /etc/a 00\n", false),
            ("Package: a\nStatus: install ok installed\nVersion: 1\nConffiles:\n /etc/a 01\n", false),
        ] {
            assert_eq!(Form::Paragraphs.same(text.as_bytes(), other.as_bytes()), expected, "{other}");
        }
    }
}
