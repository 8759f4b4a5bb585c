//! What of a database is the user's own: what a bundle of the changes brings as its fragment.

use super::merge::{Earlier, Entry, REPLACES, State, merge, without_field};
use super::pieces::{Form, Id, Index, Piece, body, ended, field, is_absent, is_installed};

/// What a database has beyond, and otherwise than, what lies below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// A fragment. Packages that were removed are in it too, with the version that is hidden.
    pub text: Vec<u8>,
    /// Lines that are gone, which a fragment cannot say: of a form without paragraphs.
    pub gone: Vec<Vec<u8>>,
    /// Packages that dpkg has not installed to the end. The fragment does not have them.
    pub unfinished: Vec<String>,
}

/// Compares `text` with the `base` it was changed from. What was merged into it for other bundles, as `earlier` tells, is
/// theirs.
pub fn own(form: Form, text: &[u8], base: &[u8], earlier: Earlier<'_>) -> Own {
    let without = |text: &[u8], pending| {
        let earlier = Earlier { pending, untouched: false, ..earlier };
        merge(form, text, &[], earlier).text
    };
    let (mine, below) = (without(text, earlier.pending), without(base, true));
    let [text, base, mine, below] = [text, base, &mine, &below].map(|text| Known::of(form, text));
    let mut own = Own::default();
    for piece in &mine.pieces {
        let Some(id) = &piece.id else { continue };
        if let Some(replaces) = changed(form, piece, base.find(id)) {
            put(form, &mut own.text, piece.text, replaces);
        } else if text.find(id).is_some_and(|there| is_taken_back(form, there, id, earlier)) {
            put(form, &mut own.text, piece.text, field(piece.text, "Version"));
        } else if form == Form::Paragraphs && is_unfinished(piece.text) && below.find(id).is_none() {
            own.unfinished.push(String::from_utf8_lossy(&id.name).into_owned());
        }
    }
    for piece in &below.pieces {
        let Some(id) = &piece.id else { continue };
        match mine.find(id) {
            None => lost(form, &mut own, piece.text),
            Some(left) if is_away(form, left) && !is_away(form, piece.text) => {
                put(form, &mut own.text, left, field(piece.text, "Version"));
            }
            Some(_) => {}
        }
    }
    for entry in earlier.entries {
        let Some(id) = form.id(&entry.text).filter(|id| below.find(id).is_none()) else { continue };
        let is_gone = match text.find(&id) {
            None => entry.state == State::Removed || !earlier.pending,
            Some(left) => is_away(form, left),
        };
        if is_gone {
            lost(form, &mut own, &entry.text);
        }
    }
    own
}

/// Lays what is own over an earlier fragment: of a package in both it counts.
pub fn laid_over(form: Form, lower: &[u8], own: &Own) -> Vec<u8> {
    let (lower, upper) = (Known::of(form, lower), Known::of(form, &own.text));
    let mut text = Vec::new();
    for piece in &lower.pieces {
        let Some(id) = &piece.id else { continue };
        let is_gone = own.gone.iter().any(|gone| form.same(gone, piece.text));
        if upper.find(id).is_none() && !is_gone {
            put(form, &mut text, piece.text, field(piece.text, REPLACES));
        }
    }
    for piece in &upper.pieces {
        let Some(id) = &piece.id else { continue };
        let below = lower.find(id);
        let (ours, theirs) = (field(piece.text, REPLACES), below.and_then(|below| field(below, REPLACES)));
        // Both took the place of what the base has.
        let hides_theirs = is_away(form, piece.text) && below.is_some_and(|below| !is_away(form, below));
        let replaces = if hides_theirs { theirs.or(ours) } else { ours.or(theirs) };
        put(form, &mut text, piece.text, replaces);
    }
    text
}

/// Whether a piece is another than that of the base; then the version whose place it takes.
fn changed<'a>(form: Form, piece: &Piece<'_>, before: Option<&'a [u8]>) -> Option<Option<&'a [u8]>> {
    if is_away(form, piece.text) {
        return None;
    }
    let Some(before) = before else { return Some(None) };
    // Reports of triggers and the like change paragraphs of the base.
    let is_same = form != Form::Paragraphs
        || is_installed(before)
            && field(before, "Version") == field(piece.text, "Version")
            && selection(before) == selection(piece.text);
    (!is_same).then(|| field(before, "Version"))
}

/// Whether the user went back, from what a bundle made of it, to what the base has.
fn is_taken_back(form: Form, there: &[u8], id: &Id, earlier: Earlier<'_>) -> bool {
    let of_bundles = |entry: &&Entry| form.id(&entry.text).is_some_and(|other| other.excludes(id));
    form == Form::Paragraphs
        && !is_away(form, there)
        && earlier.entries.iter().filter(of_bundles).any(|entry| match entry.state {
            State::Merged => entry.replaced.is_some() && !earlier.pending && !form.same(&entry.text, there),
            // What a bundle kept away is there.
            State::Others => is_away(form, &entry.text),
            State::Removed => false,
        })
}

fn lost(form: Form, own: &mut Own, piece: &[u8]) {
    if form != Form::Paragraphs {
        own.gone.push(piece.to_vec());
        return;
    }
    if is_away(form, piece) {
        return;
    }
    let Some(version) = field(piece, "Version") else { return };
    let mut text = b"Status: purge ok not-installed\n".to_vec();
    for name in ["Package", "Architecture", "Multi-Arch"] {
        if let Some(value) = field(piece, name) {
            text.extend_from_slice(&[name.as_bytes(), b": ", value, b"\n"].concat());
        }
    }
    put(form, &mut own.text, &text, Some(version));
}

/// Adds a piece to a fragment.
fn put(form: Form, text: &mut Vec<u8>, piece: &[u8], replaces: Option<&[u8]>) {
    if form != Form::Paragraphs {
        text.extend_from_slice(&ended(body(piece)));
        return;
    }
    if !text.is_empty() {
        text.push(b'\n');
    }
    text.extend_from_slice(&ended(&without_field(body(piece), REPLACES)));
    if let Some(version) = replaces {
        text.extend_from_slice(&[REPLACES.as_bytes(), b": ", version, b"\n"].concat());
    }
}

/// Whether a piece tells of a package that is not installed.
fn is_away(form: Form, piece: &[u8]) -> bool {
    form == Form::Paragraphs && !is_installed(piece)
}

fn is_unfinished(paragraph: &[u8]) -> bool {
    let status = field(paragraph, "Status").unwrap_or_default();
    !is_installed(paragraph) && !is_absent(paragraph) && !status.ends_with(b" config-files")
}

/// What the user wants of a package, such as `hold`.
fn selection(paragraph: &[u8]) -> Option<&[u8]> {
    field(paragraph, "Status")?.split(|&byte| byte == b' ').next()
}

/// The pieces of a text, and where each is.
struct Known<'a> {
    pieces: Vec<Piece<'a>>,
    places: Index,
}

impl<'a> Known<'a> {
    fn of(form: Form, text: &'a [u8]) -> Self {
        let pieces = form.pieces(text);
        let mut places = Index::default();
        for (place, piece) in pieces.iter().enumerate() {
            if let Some(id) = &piece.id {
                places.put(id, place);
            }
        }
        Self { pieces, places }
    }

    /// The piece that excludes `id`.
    fn find(&self, id: &Id) -> Option<&'a [u8]> {
        let mut named = self.places.named(id).iter().map(|&place| &self.pieces[place]);
        named.find(|piece| piece.id.as_ref().is_some_and(|found| found.excludes(id))).map(|piece| piece.text)
    }
}
