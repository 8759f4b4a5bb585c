//! `livekit sb dir2sb`.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use bundles::source::filter::Patterns;
use bundles::{Kind, Node, PackOptions, Source, Tree};

use super::unpacked::{exchange, whole};
use crate::cli::sb::DirToSb;
use crate::commands::bundle::sources::Reading;
use crate::commands::bundle::{from_bundle, packing, target};
use crate::error::{AtPath, Ending, Error, Failure, Result, from_chain};
use crate::output::Output;
use crate::scratch::Scratch;
use crate::settings;

/// Makes a bundle of a directory. Its path is the answer.
pub fn dir2sb(flags: &DirToSb, output: &Output) -> Result<Ending, Failure> {
    let real = flags.directory.canonicalize().at("find the directory", &flags.directory)?;
    let options = PackOptions { epoch: settings::epoch()?, ..PackOptions::default() };
    let itself = |file: &PathBuf| file.canonicalize().is_ok_and(|file| file == real);
    let Some(file) = flags.file.as_ref().filter(|file| !itself(file)) else {
        if real.extension().is_none_or(|suffix| suffix != "sb") {
            let error = Error::new(format!("the name of {} does not end in .sb", flags.directory.display()));
            return Err(Failure::Usage(error.hint("name the bundle: livekit sb dir2sb DIR FILE.sb")));
        }
        replace(&flags.directory, &options, output)?;
        output.answer(flags.directory.display().to_string())?;
        return Ok(Ending::Done);
    };
    target::check(file, false).map_err(|failure| match failure {
        Failure::CouldNot(error) => {
            Failure::CouldNot(Error::new(error.message()).hint("remove it, or choose another name"))
        }
        usage => usage,
    })?;
    let mut source = open(&flags.directory, file, output)?;
    if let Some(name) = kept_name(&real) {
        below(&mut source.tree, name)?;
    }
    let name = file.display().to_string();
    let packed = packing::make(source, file, &name, &options, output)?;
    output.answer(name)?;
    Ok(packing::ending(&packed))
}

fn open(directory: &Path, target: &Path, output: &Output) -> Result<Source> {
    let exclude = Patterns::new([""; 0]).map_err(|error| from_bundle(&error))?;
    Reading { exclude: &exclude, target, any_order: false, output }.directory(directory)
}

/// The name that a directory has in its bundle; none if the bundle has only what is in it.
fn kept_name(directory: &Path) -> Option<OsString> {
    let name = directory.file_name()?;
    let is_root = name == "squashfs-root" || directory.extension().is_some_and(|suffix| suffix == "sb");
    (!is_root).then(|| name.to_owned())
}

/// Puts all of a tree into a directory of its own.
fn below(tree: &mut Tree, name: OsString) -> Result<()> {
    let mtime = tree.node(Tree::ROOT).mtime;
    let top = std::mem::replace(tree.node_mut(Tree::ROOT), Node { mtime, ..Node::directory() });
    debug_assert!(matches!(top.kind, Kind::Directory(_)));
    tree.insert(Path::new(&name), top).map_err(|error| from_chain(&error))?;
    Ok(())
}

/// Turns a directory into the bundle of its name, at once, and only if all of it is in the bundle.
fn replace(directory: &Path, options: &PackOptions, output: &Output) -> Result<()> {
    let real = whole(directory)?;
    let scratch = Scratch::new_in(&target::folder(&real)?)?;
    let made = scratch.join("made.sb");
    let source = open(&real, &made, output)?;
    let lacks = !source.warnings.is_empty();
    let packed = packing::make(source, &made, &directory.display().to_string(), options, output)?;
    if lacks || !packed.warnings.is_empty() || packing::ending(&packed) != Ending::Done {
        let error =
            Error::new(format!("{} stays: not all of it would be in the bundle", directory.display()));
        return Err(error.hint("name a bundle beside it: livekit sb dir2sb DIR FILE.sb"));
    }
    File::open(&made).and_then(|file| file.sync_all()).at("write", &made)?;
    // Something may have been mounted meanwhile.
    whole(directory)?;
    exchange(&made, &real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_kept() {
        for (directory, name) in
            [("/x/opt", Some("opt")), ("/x/05-a.sb", None), ("/x/squashfs-root", None), ("/", None)]
        {
            assert_eq!(kept_name(Path::new(directory)), name.map(OsString::from), "{directory}");
        }
    }

    #[test]
    fn a_tree_goes_below_even_a_name_it_has() {
        let mut tree = Tree::new(Node { mode: 0o700, ..Node::directory() });
        for path in ["opt/x", "y"] {
            tree.insert(Path::new(path), Node { kind: Kind::Fifo, ..Node::directory() }).unwrap();
        }
        below(&mut tree, "opt".into()).unwrap();
        let names: Vec<String> = tree.walk().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(names, ["opt", "opt/opt", "opt/opt/x", "opt/y"]);
        assert_eq!(tree.node(tree.find(Path::new("opt")).unwrap()).mode, 0o700);
        assert_eq!(tree.node(Tree::ROOT).mode, 0o755);
    }
}
