//! What `livekit bundle pack` makes bundles of.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bundles::source::filter::{self, Patterns};
use bundles::source::{self, ArchiveOptions, ImageLayer};
use bundles::{Bundle, Kind, Source, Tree, Wanted, partial_name};

use super::packing::from_source;
use super::target;
use crate::commands::sb::MARKER;
use crate::error::{AtPath, Error, Result};
use crate::output::Output;
use crate::root::inside;

/// How sources are read.
pub struct Reading<'a> {
    /// What is left out.
    pub exclude: &'a Patterns,
    /// The bundle that is made, which may be in a directory that it is made of.
    pub target: &'a Path,
    /// Whether files are read in another order than they are stored in.
    pub any_order: bool,
    /// Where the user reads of it.
    pub output: &'a Output,
}

/// What a path on the command line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Directory,
    Bundle,
    Image,
    /// Or an image: only its names tell.
    Archive,
}

impl Reading<'_> {
    /// Opens all, and lays later ones over earlier ones.
    pub fn open(&self, paths: &[PathBuf]) -> Result<Source> {
        let sources: Result<Vec<Source>> = paths.iter().map(|path| self.one(path)).collect();
        let mut sources = sources?;
        if sources.len() == 1 {
            return sources.pop().ok_or_else(|| Error::new("nothing to pack"));
        }
        source::merge(sources).map_err(|error| from_source(&error))
    }

    fn one(&self, path: &Path) -> Result<Source> {
        let form = form(path)?;
        if form == Form::Directory {
            return self.directory(path);
        }
        let step = self.output.step(format!("Looking through {}", path.display()));
        let mut source = match form {
            Form::Bundle => Bundle::open(path).and_then(source::bundle),
            Form::Image => source::oci(path, &self.options()?),
            _ => {
                let options = self.options()?;
                match source::archive(path, &options) {
                    Ok(source) if is_image(&source.tree) => {
                        reopenable(path)?;
                        source::oci(path, &options)
                    }
                    other => other,
                }
            }
        }
        .map_err(|error| from_source(&error))?;
        filter::exclude(&mut source.tree, self.exclude);
        step.done(format!("{} names", source.tree.walk().count()));
        Ok(source)
    }

    /// The layers of an image, the lowest first.
    pub fn layers(&self, path: &Path) -> Result<Vec<ImageLayer>> {
        reopenable(path)?;
        let step = self.output.step(format!("Looking through {}", path.display()));
        let layers = source::oci_layers(path, &self.options()?);
        let mut layers = layers.map_err(|error| from_source(&error))?;
        for layer in &mut layers {
            filter::exclude(&mut layer.source.tree, self.exclude);
        }
        step.done(format!("{} layers", layers.len()));
        Ok(layers)
    }

    /// A directory, without the bundle itself and the mark of sb2dir.
    pub fn directory(&self, path: &Path) -> Result<Source> {
        let own = [self.target.to_owned(), partial_name(self.target)];
        let own: HashSet<PathBuf> = own.iter().filter_map(|file| inside(path, file)).collect();
        if !own.is_empty() {
            let (target, path) = (self.target.display(), path.display());
            self.output.warning(format!("{target} is in {path}, and is left out of itself"));
        }
        let step = self.output.step(format!("Looking through {}", path.display()));
        let mut wanted = self.exclude.wanted();
        let source = source::directory(path, &mut |relative, metadata| {
            let left_out = own.contains(relative) || relative == Path::new(MARKER);
            if left_out { Wanted::Skip } else { wanted(relative, metadata) }
        })
        .map_err(|error| from_source(&error))?;
        step.done(format!("{} names", source.tree.walk().count()));
        Ok(source)
    }

    /// What comes through a pipe is kept beside the bundle, in a file without a name.
    fn options(&self) -> Result<ArchiveOptions> {
        Ok(ArchiveOptions { temporary: target::folder(self.target)?, any_order: self.any_order })
    }
}

fn reopenable(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Err(Error::new("standard input is the image of a container, which is read out of order")
            .hint("write it to a file, and name that"));
    }
    Ok(())
}

fn form(path: &Path) -> Result<Form> {
    if path == Path::new("-") {
        return Ok(Form::Archive);
    }
    let metadata = path.metadata().at("find the source", path)?;
    if metadata.is_dir() {
        let image = path.join("oci-layout").is_file();
        return Ok(if image { Form::Image } else { Form::Directory });
    }
    let mut magic = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic)).at("read", path)?;
    Ok(if magic == b"hsqs" { Form::Bundle } else { Form::Archive })
}

/// Whether a tar archive is the image of a container: by the file that the OCI image layout has, or by that of
/// `docker save` where no system is.
fn is_image(tree: &Tree) -> bool {
    let is_file = |name: &str| {
        tree.find(Path::new(name)).is_some_and(|id| matches!(tree.node(id).kind, Kind::File { .. }))
    };
    let is_system = ["usr", "etc", "bin"].iter().any(|name| tree.find(Path::new(name)).is_some());
    is_file("oci-layout") || (is_file("manifest.json") && !is_system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::{ContentId, Node};

    #[test]
    fn forms() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("image/blobs")).unwrap();
        std::fs::write(path("image/oci-layout"), "{}").unwrap();
        std::fs::create_dir(path("tree")).unwrap();
        std::fs::write(path("x.sb"), b"hsqs....").unwrap();
        std::fs::write(path("x.tar"), b"").unwrap();
        for (name, expected) in [
            ("image", Form::Image),
            ("tree", Form::Directory),
            ("x.sb", Form::Bundle),
            ("x.tar", Form::Archive),
        ] {
            assert_eq!(form(&path(name)).unwrap(), expected, "{name}");
        }
        assert_eq!(form(Path::new("-")).unwrap(), Form::Archive);
        assert!(form(&path("none")).unwrap_err().message().starts_with("cannot find the source"));
    }

    #[test]
    fn images_are_known_by_their_names() {
        for (names, expected) in [
            (&["oci-layout", "index.json"][..], true),
            (&["manifest.json", "abc/layer.tar"], true),
            (&["manifest.json", "usr/bin/x"], false),
            (&["etc/passwd"], false),
        ] {
            let mut tree = Tree::new(Node::directory());
            for name in names {
                let kind = Kind::File { size: 0, content: ContentId(0) };
                tree.insert(Path::new(name), Node { kind, ..Node::directory() }).unwrap();
            }
            assert_eq!(is_image(&tree), expected, "{names:?}");
        }
    }
}
