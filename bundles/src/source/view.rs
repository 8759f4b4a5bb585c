//! All that a source gives, in a form that tests compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{FileReader, FileState, Source};
use crate::{ContentId, Kind, NodeId, Tree, Xattr};

/// A name and what it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it is; of files and directories, without what is in them.
    pub(super) what: String,
    pub(super) mode: u16,
    pub(super) owner: (u32, u32),
    pub(super) mtime: i64,
    pub(super) xattrs: Vec<Xattr>,
    /// The first of its names.
    pub(super) same_as: PathBuf,
    /// Of a file.
    pub(super) bytes: Vec<u8>,
}

/// Everything in a source by its name; the root has the empty one. Files are read in the order that the source asks
/// for, each once.
pub(super) fn view(source: &mut Source) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut first: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
    let mut contents: BTreeMap<ContentId, Vec<u8>> = BTreeMap::new();
    let names: Vec<_> = [(PathBuf::new(), Tree::ROOT)].into_iter().chain(source.tree.walk()).collect();
    for (_, id) in &names {
        if let Kind::File { content, .. } = source.tree.node(*id).kind {
            contents.insert(content, Vec::new());
        }
    }
    for (content, bytes) in &mut contents {
        *bytes = read(&mut *source.contents.open(*content).unwrap());
    }
    for (path, id) in names {
        let node = source.tree.node(id);
        let (what, bytes) = match &node.kind {
            Kind::File { size, content } => {
                assert_eq!(*size, contents[content].len() as u64, "{}", path.display());
                ("file".to_owned(), contents[content].clone())
            }
            Kind::Directory(_) => ("directory".to_owned(), Vec::new()),
            other => (format!("{other:?}"), Vec::new()),
        };
        let same_as = first.entry(id).or_insert_with(|| path.clone()).clone();
        let (mode, owner, mtime) = (node.mode, (node.uid, node.gid), node.mtime);
        seen.insert(path, Seen { what, mode, owner, mtime, xattrs: node.xattrs.clone(), same_as, bytes });
    }
    seen
}

/// Names and, after a colon, what they are or what is in them: for tables.
pub(super) fn brief(source: &mut Source) -> Vec<String> {
    let brief = |(path, seen): (PathBuf, Seen)| match seen.what.as_str() {
        "directory" => format!("{}/", path.display()),
        "file" => format!("{}: {}", path.display(), String::from_utf8_lossy(&seen.bytes)),
        other => format!("{}: {other}", path.display()),
    };
    view(source).into_iter().skip(1).map(brief).collect()
}

/// The bytes of a file, with its holes passed over.
fn read(reader: &mut dyn FileReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 10_000];
    loop {
        let hole = reader.hole().unwrap();
        reader.skip(hole).unwrap();
        bytes.resize(bytes.len() + usize::try_from(hole).unwrap(), 0);
        let read = reader.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        if read == 0 && hole == 0 {
            assert_eq!(reader.finish().unwrap(), FileState::Unchanged);
            return bytes;
        }
    }
}

/// Runs a program that must succeed.
pub(super) fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = std::process::Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
