//! What a database of dpkg has to say while certain bundles are active.

use super::pieces::{Form, Id, Index, Piece, body, ended, field, is_absent, is_installed};

/// A field of a fragment's paragraph: the version that the package has in the base the bundle was made on. The paragraph
/// takes the place of that one, and of no other. In one of a package that is not installed it tells that the bundle hides the
/// package's files: of that version, in the base or in a bundle below.
pub const REPLACES: &str = "Livekit-Replaces";

/// What an active bundle brings to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The bundle's file name.
    pub bundle: String,
    /// In the form of the database.
    pub text: Vec<u8>,
    /// Whether it is a part of a whole database in the bundle, which the union may show by itself.
    pub whole: bool,
}

/// What is remembered of one thing that a bundle brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who has it now.
    pub state: State,
    /// The active bundles that bring it, lowest first.
    pub bundles: Vec<String>,
    /// Its piece of the fragment of the highest of them.
    pub text: Vec<u8>,
    /// What was in its place before.
    pub replaced: Option<Vec<u8>>,
}

/// Whose a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Merged from bundles, and to be taken out with the last of them.
    Merged,
    /// The base's or the user's: it is there whatever bundles are active.
    Others,
    /// The user removed it, which hides the bundle's files: it does not come back with the bundle.
    Removed,
}

/// What is known from before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Earlier<'a> {
    /// What was merged.
    pub entries: &'a [Entry],
    /// Whether the database may not have been written since: what is missing was not removed by anybody then.
    pub pending: bool,
    /// Whether the database comes from the bundles, untouched.
    pub untouched: bool,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// The database.
    pub text: Vec<u8>,
    /// What to remember.
    pub entries: Vec<Entry>,
    /// Names of packages that were added or replaced.
    pub added: Vec<String>,
    /// Names of packages that were taken out or put back.
    pub removed: Vec<String>,
}

struct Wanted {
    id: Id,
    text: Vec<u8>,
    replaces: Option<Vec<u8>>,
    bundles: Vec<String>,
    whole: bool,
    /// Whether the package is to be away: where the base does not have it, there is nothing to say.
    away: bool,
    done: bool,
}

/// What becomes of a piece.
#[derive(Clone, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

/// Makes `text` right for the `fragments` of the active bundles, lowest first. What is neither merged nor to be taken
/// out keeps its bytes and its place.
pub fn merge(form: Form, text: &[u8], fragments: &[Fragment], earlier: Earlier<'_>) -> Merged {
    let mut merging = Merging::new(form, text, fragments);
    for entry in earlier.entries {
        merging.entry(entry, earlier.pending);
    }
    merging.rest(earlier.untouched);
    merging.finish()
}

struct Merging<'a> {
    form: Form,
    pieces: Vec<Piece<'a>>,
    places: Index,
    fates: Vec<Fate>,
    wanted: Vec<Wanted>,
    appended: Vec<Vec<u8>>,
    merged: Merged,
}

impl<'a> Merging<'a> {
    fn new(form: Form, text: &'a [u8], fragments: &[Fragment]) -> Self {
        let pieces = form.pieces(text);
        let mut places = Index::default();
        for (place, piece) in pieces.iter().enumerate() {
            if let Some(id) = &piece.id {
                places.put(id, place);
            }
        }
        let fates = vec![Fate::Stays; pieces.len()];
        let wanted = wanted(form, fragments);
        Merging { form, pieces, places, fates, wanted, appended: Vec::new(), merged: Merged::default() }
    }

    /// The place of what excludes `id`, as it will be.
    fn find(&self, id: &Id) -> Option<usize> {
        self.places.named(id).iter().copied().find(|&place| {
            self.fates[place] == Fate::Stays
                && self.pieces[place].id.as_ref().is_some_and(|found| found.excludes(id))
        })
    }

    fn entry(&mut self, entry: &Entry, pending: bool) {
        let Some(id) = self.form.id(&entry.text) else { return };
        let found = self.find(&id);
        let wanted = self.wanted.iter().position(|wanted| !wanted.done && wanted.id.excludes(&id));
        match found {
            None if entry.state == State::Merged && is_absent(&entry.text) => self.kept_away(entry, wanted),
            Some(place)
                if entry.state == State::Merged && self.form.same(self.pieces[place].text, &entry.text) =>
            {
                self.ours(entry, place, wanted);
            }
            // Upgraded or installed by the user.
            Some(_) if !pending => {
                if let Some(wanted) = wanted {
                    self.remember(wanted, State::Others, None);
                }
            }
            None if !pending || entry.state == State::Removed => {
                if let Some(wanted) = wanted {
                    self.wanted[wanted].done = true;
                }
                self.merged.entries.push(Entry {
                    state: State::Removed,
                    bundles: Vec::new(),
                    ..entry.clone()
                });
            }
            _ => {}
        }
    }

    /// A piece that was merged and is still as it was.
    fn ours(&mut self, entry: &Entry, place: usize, wanted: Option<usize>) {
        let wanted = wanted.filter(|&wanted| !self.wanted[wanted].away || entry.replaced.is_some());
        let Some(wanted) = wanted else {
            let name = self.name(place);
            let shown_again = !is_installed(&entry.text) && self.form == Form::Paragraphs;
            if shown_again { &mut self.merged.added } else { &mut self.merged.removed }.push(name);
            self.fates[place] = entry.replaced.clone().map_or(Fate::Goes, Fate::Becomes);
            return;
        };
        if !self.form.same(&self.wanted[wanted].text, &entry.text) {
            self.take_place(wanted, place);
        }
        self.remember(wanted, State::Merged, entry.replaced.clone());
    }

    /// What is wanted and not in the record.
    fn rest(&mut self, untouched: bool) {
        for index in 0..self.wanted.len() {
            let wanted = &self.wanted[index];
            if wanted.done {
                continue;
            }
            let Some(place) = self.find(&wanted.id) else {
                if wanted.away {
                    continue;
                }
                self.appended.push(wanted.text.clone());
                self.merged.added.push(String::from_utf8_lossy(&wanted.id.name).into_owned());
                self.remember(index, State::Merged, None);
                continue;
            };
            let there = self.pieces[place].text;
            if wanted.replaces.is_some() && wanted.replaces.as_deref() == field(there, "Version") {
                self.take_place(index, place);
                self.remember(index, State::Merged, Some(ended(body(there)).into_owned()));
            } else if wanted.away {
                // Another version than that one, and so not hidden.
            } else if untouched && wanted.whole && self.form.same(there, &wanted.text) {
                self.remember(index, State::Merged, None);
            } else {
                self.remember(index, State::Others, None);
            }
        }
    }

    fn remember(&mut self, wanted: usize, state: State, replaced: Option<Vec<u8>>) {
        let wanted = &mut self.wanted[wanted];
        wanted.done = true;
        let (bundles, text) = (wanted.bundles.clone(), wanted.text.clone());
        self.merged.entries.push(Entry { state, bundles, text, replaced });
    }

    /// Puts what is wanted in the place of what is there.
    fn take_place(&mut self, wanted: usize, place: usize) {
        let name = self.name(place);
        let Wanted { text, away, .. } = &self.wanted[wanted];
        if *away { &mut self.merged.removed } else { &mut self.merged.added }.push(name);
        // dpkg forgets what is not installed at all with its next change.
        self.fates[place] = if is_absent(text) { Fate::Goes } else { Fate::Becomes(text.clone()) };
    }

    /// A package of the base that a bundle keeps away. Its paragraph is not there.
    fn kept_away(&mut self, entry: &Entry, wanted: Option<usize>) {
        let text = wanted.map(|wanted| &self.wanted[wanted].text).or(entry.replaced.as_ref());
        if let Some(text) = text.filter(|text| !is_absent(text)) {
            if is_installed(text) {
                let name = field(text, "Package").unwrap_or_default();
                self.merged.added.push(String::from_utf8_lossy(name).into_owned());
            }
            self.appended.push(text.clone());
        }
        if let Some(wanted) = wanted {
            self.remember(wanted, State::Merged, entry.replaced.clone());
        }
    }

    fn name(&self, place: usize) -> String {
        let id = self.pieces[place].id.as_ref();
        id.map_or_else(String::new, |id| String::from_utf8_lossy(&id.name).into_owned())
    }

    fn finish(mut self) -> Merged {
        let mut text = Vec::new();
        // What is not understood at the end stays there: empty lines, or a record that is not whole.
        let rest = self.pieces.len() - usize::from(self.pieces.last().is_some_and(|last| last.id.is_none()));
        let put = |text: &mut Vec<u8>, pieces: &[Piece<'_>], fates: &[Fate]| {
            for (piece, fate) in pieces.iter().zip(fates) {
                match fate {
                    Fate::Stays => text.extend_from_slice(piece.text),
                    Fate::Goes => {}
                    Fate::Becomes(other) => {
                        text.extend_from_slice(&piece.text[..piece.text.len() - body(piece.text).len()]);
                        text.extend_from_slice(other);
                    }
                }
            }
        };
        put(&mut text, &self.pieces[..rest], &self.fates[..rest]);
        for piece in &self.appended {
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            if self.form == Form::Paragraphs && !text.is_empty() {
                text.push(b'\n');
            }
            text.extend_from_slice(piece);
        }
        put(&mut text, &self.pieces[rest..], &self.fates[rest..]);
        self.merged.text = text;
        self.merged
    }
}

/// What the fragments bring, each thing once: as the highest of them has it.
fn wanted(form: Form, fragments: &[Fragment]) -> Vec<Wanted> {
    let mut found: Vec<Wanted> = Vec::new();
    let mut places = Index::default();
    for fragment in fragments {
        for piece in form.pieces(&fragment.text) {
            let Some(id) = piece.id else { continue };
            let paragraph = form == Form::Paragraphs;
            let replaces = if paragraph { field(piece.text, REPLACES).map(<[u8]>::to_vec) } else { None };
            let away = paragraph && !is_installed(piece.text);
            if away && replaces.is_none() {
                continue;
            }
            let text = ended(&without_field(body(piece.text), REPLACES)).into_owned();
            let bundles = vec![fragment.bundle.clone()];
            let new = Wanted { id, text, replaces, bundles, whole: fragment.whole, away, done: false };
            match places.named(&new.id).iter().copied().find(|&place| found[place].id.excludes(&new.id)) {
                Some(place) => over(&mut found[place], new),
                None => {
                    places.put(&new.id, found.len());
                    found.push(new);
                }
            }
        }
    }
    found
}

/// Lays what a higher fragment has over what a lower one wants.
fn over(lower: &mut Wanted, mut new: Wanted) {
    if new.away && !lower.away {
        let version = field(&lower.text, "Version");
        let meant = [version, lower.replaces.as_deref()].contains(&new.replaces.as_deref());
        // Another version has other files.
        if !meant {
            return;
        }
        new.replaces = lower.replaces.take().or(new.replaces);
    } else {
        if !lower.away && !new.away {
            let below = std::mem::take(&mut lower.bundles);
            new.bundles.retain(|name| !below.contains(name));
            new.bundles.splice(0..0, below);
        }
        // Taken out of the base by one, it is so for those above.
        new.replaces = new.replaces.or(lower.replaces.take());
    }
    *lower = new;
}

/// A paragraph without the lines of a field.
pub fn without_field(paragraph: &[u8], name: &str) -> Vec<u8> {
    let lines = paragraph.split_inclusive(|&b| b == b'\n');
    lines.filter(|line| field(line, name).is_none()).collect::<Vec<_>>().concat()
}
