//! `livekit bundle cat`.

use std::io::{Read, Write};
use std::path::Path;

use bundles::{Bundle, ContentId, Kind, Tree};

use super::{from_bundle, names};
use crate::cli::bundle::Cat;
use crate::error::{Error, Result, from_chain};
use crate::output::{Output, Stopped};

/// Writes the contents of the files, one after the other, once all are known to be files.
pub fn cat(flags: &Cat, output: &Output) -> Result<()> {
    let bundle = Bundle::open(&flags.bundle).map_err(|error| from_bundle(&error))?;
    let tree = bundle.tree().map_err(|error| from_bundle(&error))?;
    let contents: Result<Vec<ContentId>> =
        flags.paths.iter().map(|path| content(tree, path, &flags.bundle)).collect();
    let contents = contents?;
    output.answers(|out| {
        contents
            .into_iter()
            .zip(&flags.paths)
            .try_for_each(|(content, path)| copy(&bundle, content, path, out))
    })
}

fn content(tree: &Tree, path: &Path, bundle: &Path) -> Result<ContentId> {
    match &tree.node(names::find(tree, path, bundle)?).kind {
        Kind::File { content, .. } => Ok(*content),
        Kind::Symlink(target) => Err(Error::new(format!("{} is a symbolic link", path.display()))
            .hint(format!("it leads to {}", target.to_string_lossy()))),
        other => Err(Error::new(format!("{} is a {}", path.display(), super::kind_name(other)))),
    }
}

fn copy(bundle: &Bundle, content: ContentId, path: &Path, out: &mut dyn Write) -> Result<(), Stopped> {
    let mut reader = bundle.reader(content).map_err(|error| from_bundle(&error))?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|error| from_chain(&error).doing(format!("reading {}", path.display())))?;
        if read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..read])?;
    }
}
