//! Packages of a save: fragments of dpkg's databases with what is the user's own, in place of whole databases, in which
//! those of other bundles stand too.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use bundles::{ContentId, Contents, FileReader, Kind, Node, NodeId, Source, Tree, source};
use live::dpkg::{self, ByDatabase, Earlier, Entry, FRAGMENTS, HOME, Own, State};

use super::lower::Lower;
use super::rules::{Rules, Verdict, What};
use crate::commands::bundle::packing::from_source;
use crate::error::{AtPath, Error, Result};
use crate::output::Output;

/// The fragments of a save, and what they are made of.
pub struct Packages<'a> {
    rules: &'a Rules,
    /// What the changes lie over, the lowest first; empty if that is not known.
    base: Vec<Lower>,
    /// What was merged into the databases for bundles.
    merged: ByDatabase<Entry>,
    /// Whether such a merge is under way.
    pending: bool,
    fragments: Vec<(String, Fragment)>,
    unfinished: Vec<String>,
}

#[derive(Default)]
struct Fragment {
    text: Vec<u8>,
    /// Seconds since 1970, of the database it was made of.
    mtime: i64,
}

impl<'a> Packages<'a> {
    /// Of the changes in `upper`, which lie over `base`.
    pub fn new(upper: &Path, base: &[PathBuf], rules: &'a Rules) -> Result<Self> {
        let (merged, pending) = merged_into(upper)?;
        let base = base.iter().map(|path| Lower::open(path)).collect::<Result<_>>()?;
        Ok(Self { rules, base, merged, pending, fragments: Vec::new(), unfinished: Vec::new() })
    }

    /// Takes in what an earlier save, which lies below the changes and above those taken in before, has of packages.
    pub fn earlier(&mut self, path: &Path, source: &mut Source) -> Result<()> {
        // One with whole databases may have what was merged for other bundles, and no record of its own tells it.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let guessed: ByDatabase<Entry> = self.merged.clone();
        let theirs = |database: &str| {
            let entries = guessed.iter().filter(|(name, _)| name == database);
            let entries = entries.flat_map(|(_, entries)| entries).filter(|it| it.state == State::Merged);
            let entries = entries.filter(|it| it.bundles.iter().any(|bundle| *bundle != name));
            entries.cloned().collect()
        };
        self.take(source, &theirs, true, &mut Vec::new())
    }

    /// Takes in what the changes in `upper`, and in snapshots below them, the lowest first, have of packages. Of each
    /// database only the highest counts: it has all of those before.
    pub fn changes(&mut self, snapshots: &[PathBuf], upper: &Path) -> Result<()> {
        let homes = [Path::new(HOME), Path::new(FRAGMENTS)];
        let wanted = |path: &Path| homes.iter().any(|home| home.starts_with(path) || path.starts_with(home));
        let merged = std::mem::take(&mut self.merged);
        let theirs = |database: &str| {
            let entries = merged.iter().filter(|(name, _)| name == database);
            entries.flat_map(|(_, entries)| entries).cloned().collect()
        };
        let mut taken = Vec::new();
        for layer in [upper].into_iter().chain(snapshots.iter().rev().map(PathBuf::as_path)) {
            let source = source::directory(layer, &mut |path, _| {
                if wanted(path) { bundles::Wanted::Keep } else { bundles::Wanted::Skip }
            });
            let mut source = source.map_err(|error| from_source(&error))?;
            self.take(&mut source, &theirs, self.pending, &mut taken)?;
        }
        if merged_into(upper)? != (merged, self.pending) {
            return Err(Error::new("a bundle came or went while the changes were read").hint("try again"));
        }
        Ok(())
    }

    /// Takes in the databases that are not among those `taken`, and adds them.
    fn take(
        &mut self,
        source: &mut Source,
        theirs: &dyn Fn(&str) -> Vec<Entry>,
        pending: bool,
        taken: &mut Vec<String>,
    ) -> Result<()> {
        for database in databases(&source.tree) {
            let Some(form) = dpkg::form(&database) else { continue };
            if taken.contains(&database) {
                continue;
            }
            let fragment = Path::new(FRAGMENTS).join(&database);
            let whole = Path::new(HOME).join(&database);
            if let Some((text, mtime)) = read(source, &fragment)?
                && self.rules.judge(&fragment, What::File) == Verdict::Keep
            {
                let own = Own { text, ..Own::default() };
                self.lay_over(form, &database, &own, mtime);
                taken.push(database);
            } else if let Some((text, mtime)) = read(source, &whole)?
                && matches!(self.rules.judge(&whole, What::File), Verdict::LeftOut(_))
            {
                let entries = theirs(&database);
                let earlier = Earlier { entries: &entries, pending, untouched: false };
                let own = dpkg::own(form, &text, &self.below(&whole)?, earlier);
                self.unfinished.extend(own.unfinished.iter().cloned());
                self.lay_over(form, &database, &own, mtime);
                taken.push(database);
            }
        }
        Ok(())
    }

    fn lay_over(&mut self, form: dpkg::Form, database: &str, own: &Own, mtime: i64) {
        let place = self.fragments.iter().position(|(name, _)| name == database).unwrap_or_else(|| {
            self.fragments.push((database.to_owned(), Fragment::default()));
            self.fragments.len() - 1
        });
        let fragment = &mut self.fragments[place].1;
        fragment.text = dpkg::laid_over(form, &fragment.text, own);
        fragment.mtime = mtime;
    }

    /// The database as it was before the changes.
    fn below(&self, whole: &Path) -> Result<Vec<u8>> {
        if self.base.is_empty() {
            return Err(Error::new(format!(
                "the changes have dpkg's database, /{}, and it is not known what they lie over",
                whole.display()
            ))
            .hint(
                "--base names the bundles below, the lowest first; \
                 `--exclude /var/lib/dpkg` saves without the list of packages",
            ));
        }
        for lower in self.base.iter().rev() {
            if let Some(text) = lower.read(whole)? {
                return Ok(text);
            }
        }
        Ok(Vec::new())
    }

    /// Puts the fragments into what is saved.
    pub fn put_into(self, mut source: Source, output: &Output) -> Result<Source> {
        if !self.unfinished.is_empty() {
            output.warning(format!(
                "dpkg has not finished installing {}: they are not in the list of packages; `dpkg --configure -a` finishes it",
                self.unfinished.join(" ")
            ));
        }
        let mut tree = Tree::new(like(&source.tree, Path::new("")));
        let mut texts = Vec::new();
        for (database, fragment) in self.fragments {
            let path = Path::new(FRAGMENTS).join(&database);
            if fragment.text.is_empty() {
                source.tree.remove(&path);
                continue;
            }
            let parents: Vec<&Path> = path.ancestors().skip(1).collect();
            for folder in parents.into_iter().rev().filter(|folder| *folder != Path::new("")) {
                if tree.find(folder).is_none() {
                    let mut node = like(&source.tree, folder);
                    node.mtime = if node.mtime == 0 { fragment.mtime } else { node.mtime };
                    insert(&mut tree, folder, node)?;
                }
            }
            let content = ContentId(texts.len() as u64);
            let kind = Kind::File { size: fragment.text.len() as u64, content };
            insert(&mut tree, &path, Node { kind, mode: 0o644, mtime: fragment.mtime, ..Node::directory() })?;
            texts.push(fragment.text);
        }
        if texts.is_empty() {
            return Ok(source);
        }
        let own = Source { tree, contents: Box::new(Texts(texts)), warnings: Vec::new() };
        source::merge(vec![source, own]).map_err(|error| from_source(&error))
    }
}

/// What was merged into the databases of the changes in `upper`, as [`dpkg::merged_into`] tells.
fn merged_into(upper: &Path) -> Result<(ByDatabase<Entry>, bool)> {
    dpkg::merged_into(upper.parent().unwrap_or(upper))
}

/// The databases that a tree has something of, whole or as fragments.
fn databases(tree: &Tree) -> Vec<String> {
    let mut found = ["status", "diversions", "statoverride"].map(str::to_owned).to_vec();
    for home in [FRAGMENTS, HOME] {
        let folder = tree.find(&Path::new(home).join("triggers"));
        let names = folder.and_then(|id| tree.node(id).names()).into_iter().flatten();
        // These two are dpkg's own, and empty between its runs.
        let names =
            names.filter_map(|(name, _)| name.to_str()).filter(|name| !["Lock", "Unincorp"].contains(name));
        found.extend(names.map(|name| format!("triggers/{name}")));
    }
    found.sort();
    found.dedup();
    found
}

/// What is in a regular file, and when it was changed.
fn read(source: &mut Source, path: &Path) -> Result<Option<(Vec<u8>, i64)>> {
    let Some(id) = source.tree.find(path) else { return Ok(None) };
    let node = source.tree.node(id);
    let Kind::File { content, .. } = node.kind else { return Ok(None) };
    let mtime = node.mtime;
    let mut text = Vec::new();
    let mut file = source.contents.open(content).map_err(|error| from_source(&error))?;
    file.read_to_end(&mut text).at("read", path)?;
    Ok(Some((text, mtime)))
}

/// A directory without names, as the one of that path looks.
fn like(tree: &Tree, path: &Path) -> Node {
    let Some(id) = tree.find(path) else { return Node::directory() };
    let mut node: Node = tree.node(id).clone();
    if !node.is_directory() {
        return Node::directory();
    }
    node.kind = Node::directory().kind;
    // It is kept where it is; here it would hide what is saved.
    node.xattrs.retain(|xattr| !xattr.name.to_string_lossy().ends_with(".overlay.opaque"));
    node
}

fn insert(tree: &mut Tree, path: &Path, node: Node) -> Result<NodeId> {
    tree.insert(path, node).map_err(|error| Error::at("save", path, error))
}

/// Files that are made here.
struct Texts(Vec<Vec<u8>>);

impl Contents for Texts {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, bundles::Error> {
        let place = usize::try_from(content.0).unwrap_or(usize::MAX);
        let text = self.0.get(place).map_or(&[][..], Vec::as_slice);
        Ok(Box::new(Text(Cursor::new(text))))
    }
}

struct Text<'a>(Cursor<&'a [u8]>);

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl FileReader for Text<'_> {}
