//! Reading what a save is made of: the changes, and earlier saves below them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bundles::source::{self, aufs};
use bundles::{Bundle, ContentId, Contents, Kind, NodeId, Source, Tree, Wanted};

use super::packages::Packages;
use super::rules::{Rules, Verdict, What};
use super::secrets;
use super::survey::Survey;
use super::{SaveOptions, below};
use crate::activation::copies::Copies;
use crate::commands::bundle::from_bundle;
use crate::commands::bundle::packing::from_source;
use crate::error::{AtPath, Error, Result};
use crate::output::Output;

/// What copies of bundles' files are called among what is left out.
const COPIES: &str = "unchanged copies of active bundles' files";

/// What is saved, and what is told of it.
pub struct Gathered {
    pub source: Source,
    pub survey: Survey,
}

/// Reads names and attributes of the changes in `upper` and of the earlier saves, without what is left out. Of contents
/// only as much is read as tells a private key.
pub fn gather(upper: &Path, options: &SaveOptions, output: &Output) -> Result<Gathered> {
    check(upper)?;
    let mut survey = Survey::default();
    let step = output.step(format!("Looking through {}", upper.display()));
    let mut packages = Packages::new(upper, &options.base, &options.rules)?;
    let mut sources = Vec::new();
    for path in &options.merge {
        sources.push(earlier(path, &options.rules, &mut packages, &mut survey)?);
    }
    packages.changes(&options.earlier, upper)?;
    let copies = Copies::load(upper.parent().unwrap_or(upper))?;
    for layer in options.earlier.iter().map(PathBuf::as_path).chain([upper]) {
        sources.push(changes(layer, &copies, &options.rules, &mut survey)?);
    }
    for source in &mut sources {
        keep_keys_back(source, &options.rules, &mut survey)?;
    }
    let removed = below::names(&sources);
    let source = source::merge(sources).map_err(|error| from_source(&error))?;
    let mut source = packages.put_into(source, output)?;
    below::take_out_idle(&mut source.tree, &removed, &options.below);
    if !survey.keep(&source.tree) {
        return Err(Error::new(format!("there is nothing to save in {}", upper.display()))
            .hint("--dry-run says what is left out, --include takes it in"));
    }
    step.done(format!("{} files", survey.saved().files));
    Ok(Gathered { source, survey })
}

/// Refuses what is no upper, or cannot be read in full.
fn check(upper: &Path) -> Result<()> {
    let is_folder = |path: &Path| fs::metadata(path).is_ok_and(|about| about.is_dir());
    let root = "run the command with sudo";
    match fs::metadata(upper) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::new(format!("there are no changes: {} is not there", upper.display()))
                .hint("this is no live system, or name its changes with --changes DIR"));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::at("read the changes in", upper, error).hint(root));
        }
        Err(error) => return Err(Error::at("read the changes in", upper, error)),
        Ok(about) if !about.is_dir() => {
            return Err(Error::new(format!("{} is no directory", upper.display()))
                .hint("--changes takes the upper folder of an overlay"));
        }
        Ok(_) => {}
    }
    // Others do not see `trusted.` attributes, and what is removed would come back.
    if !rustix::process::geteuid().is_root() {
        return Err(
            Error::new(format!("only root can read all of the changes in {}", upper.display())).hint(root)
        );
    }
    if is_folder(&upper.join("upper")) && is_folder(&upper.join("work")) {
        return Err(Error::new(format!("{} has the changes and what overlayfs works with", upper.display()))
            .hint("name the folder `upper` in it"));
    }
    Ok(())
}

fn changes(upper: &Path, copies: &Copies, rules: &Rules, survey: &mut Survey) -> Result<Source> {
    let is_copy = copies.unchanged();
    let mut seen = HashSet::new();
    let mut bytes_of = |about: &Metadata| {
        let again = about.nlink() > 1 && !seen.insert((about.dev(), about.ino()));
        if about.is_file() && !again { about.len() } else { 0 }
    };
    source::directory(upper, &mut |path, about| {
        let what = what(about);
        let verdict = if is_copy(path, about) { Verdict::LeftOut(COPIES) } else { rules.judge(path, what) };
        match verdict {
            Verdict::Keep => Wanted::Keep,
            Verdict::Excluded => Wanted::Skip,
            // Something in it may be wanted nevertheless, and what is not is counted.
            Verdict::LeftOut(_) | Verdict::Secret(_) if what == What::Directory => Wanted::Pass,
            Verdict::LeftOut(reason) => {
                survey.leave_out(reason, bytes_of(about));
                Wanted::Skip
            }
            Verdict::Secret(kind) => {
                survey.keep_secret(path, kind, about.len());
                Wanted::Skip
            }
        }
    })
    .map_err(|error| from_source(&error))
}

fn what(about: &Metadata) -> What {
    let kind = about.file_type();
    if kind.is_dir() {
        What::Directory
    } else if kind.is_file() && about.len() > 0 {
        What::File
    } else if kind.is_socket() {
        What::Socket
    } else {
        What::Other
    }
}

/// An earlier save, without what is left out now.
fn earlier(path: &Path, rules: &Rules, packages: &mut Packages<'_>, survey: &mut Survey) -> Result<Source> {
    let mut source = Bundle::open(path).and_then(source::bundle).map_err(|error| from_bundle(&error))?;
    if aufs::is_aufs(&source.tree) {
        return Err(Error::new(format!("{} has whiteouts of aufs", path.display()))
            .hint("`livekit bundle convert OLD.sb NEW.sb` makes one of it that can be merged"));
    }
    packages.earlier(path, &mut source)?;
    let mut out: Vec<PathBuf> = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut seen = HashSet::new();
    for (path, id) in source.tree.walk() {
        let node = source.tree.node(id);
        let what = What::of(node);
        let size = match node.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        };
        match rules.judge(&path, what) {
            Verdict::Keep => continue,
            Verdict::LeftOut(_) | Verdict::Secret(_) if what == What::Directory => {
                folders.push(path);
                continue;
            }
            Verdict::Excluded => {}
            Verdict::LeftOut(reason) => {
                survey.leave_out(reason, if seen.insert(id) { size } else { 0 });
            }
            Verdict::Secret(kind) => survey.keep_secret(&path, kind, size),
        }
        out.push(path);
    }
    for path in &out {
        source.tree.remove(path);
    }
    // What is in a folder comes after it.
    for path in folders.iter().rev() {
        if is_empty(&source.tree, path) {
            source.tree.remove(path);
        }
    }
    Ok(source)
}

fn is_empty(tree: &Tree, path: &Path) -> bool {
    let names = tree.find(path).and_then(|id| tree.node(id).names());
    names.is_some_and(BTreeMap::is_empty)
}

/// Takes out what is a private key by what is in it, under all of its names.
fn keep_keys_back(source: &mut Source, rules: &Rules, survey: &mut Survey) -> Result<()> {
    let mut keys: Vec<(PathBuf, &'static str, u64)> = Vec::new();
    let mut looked: HashMap<NodeId, Option<&'static str>> = HashMap::new();
    for (path, id) in source.tree.walk() {
        let Kind::File { size, content } = source.tree.node(id).kind else { continue };
        if size == 0 || size > secrets::LARGEST || !rules.keeps_back(&path) {
            continue;
        }
        let kind = match looked.get(&id) {
            Some(&kind) => kind,
            None => {
                let kind = look(source.contents.as_mut(), content, &path)?;
                looked.insert(id, kind);
                kind
            }
        };
        keys.extend(kind.map(|kind| (path, kind, size)));
    }
    for (path, kind, size) in keys {
        source.tree.remove(&path);
        survey.keep_secret(&path, kind, size);
    }
    Ok(())
}

fn look(contents: &mut dyn Contents, content: ContentId, path: &Path) -> Result<Option<&'static str>> {
    match contents.open(content) {
        Ok(file) => secrets::by_content(file).at("read", path),
        // Packing tells it.
        Err(error) if error.is_vanished() => Ok(None),
        Err(error) => Err(from_source(&error)),
    }
}
