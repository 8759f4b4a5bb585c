//! A tar archive as a source, plain or packed with gzip, xz or zstd. Nothing is unpacked but, where that must be, the
//! whole archive into a file without a name.
//!
//! It is read twice: for the names, then for the contents.

use std::path::{Path, PathBuf};

use self::collect::enter_single_folder;
use super::Source;
use crate::Error;

mod collect;
mod contents;
mod entries;
mod pax;
mod sparse;
mod stream;
#[cfg(test)]
pub(super) mod tests;

pub(super) use collect::{Collector, copy, relative};
pub(super) use entries::{Broken, Entries, EntryKind};
pub(super) use stream::Stream;

/// How an archive is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Where a file without a name is made for what comes through a pipe, or for `any_order`.
    pub temporary: PathBuf,
    /// Whether the files of a packed archive can be read in any order: it is unpacked once, and takes its unpacked size
    /// in the directory `temporary`. Plain archives are read in any order as they are.
    pub any_order: bool,
}

/// The tar archive `path`, or the one that comes through standard input if that is `-`.
///
/// The last of several files of one name counts. Names from the root are taken as relative. Links on the way to a file
/// are followed within the archive. An archive of one folder with `etc` and `usr` in it is that of the folder.
///
/// # Errors
/// The archive cannot be read, is cut off or broken, or has a name with `..` or a hard link to nothing.
pub fn archive(path: &Path, options: &ArchiveOptions) -> Result<Source, Error> {
    let mut stream = Stream::open(path, &options.temporary)?;
    if options.any_order {
        stream = stream.unpacked(&options.temporary)?;
    }
    let mut collector = Collector::default();
    let tree = collector.take(stream, None)?;
    let warnings = collector.warnings();
    Ok(Source { tree: enter_single_folder(tree), contents: Box::new(collector.contents), warnings })
}
