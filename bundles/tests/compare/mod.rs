//! Two trees on disk, compared in everything a squashfs keeps: the source of a bundle, and the bundle mounted by the kernel
//! or unpacked by somebody.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use contents::Stored;

mod contents;

/// What the copy can be expected to have beside names, contents, modes, owners, times, links and attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// The block size whose holes the copy's `st_blocks` must show: a mounted bundle's. Else they are not compared.
    pub holes: Option<u32>,
    /// Whether directories must say what is in them as a mounted squashfs does: type and inode number of each entry and of
    /// `..`, and a link count of two and one more for each directory in it.
    pub directories: bool,
}

/// Names of extended attributes that squashfs has room for.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// A squashfs has 32 bits without sign for seconds; earlier and later times become the nearest there is.
const TIMES: std::ops::RangeInclusive<i64> = 0..=u32::MAX as i64;

/// What is not the same in `copy` as in `source`, in sentences that begin with the path. Both are looked at without following
/// symbolic links, the two tops included. Panics when either cannot be read.
pub fn differences(source: &Path, copy: &Path, expected: &Expected) -> Vec<String> {
    let ours = Tree::read(source);
    let theirs = Tree::read(copy);
    let mut found = Found::default();
    for path in theirs.entries.keys().filter(|path| !ours.entries.contains_key(*path)) {
        found.add(path, "is not in the source");
    }
    let (our_groups, their_groups) = (ours.groups(), theirs.groups());
    for (path, entry) in &ours.entries {
        let Some(other) = theirs.entries.get(path) else {
            found.add(path, "is missing");
            continue;
        };
        let mut pair = Pair { path, ours: (source, entry), theirs: (copy, other), found: &mut found };
        pair.attributes();
        pair.data(expected.holes);
        if let (Some(ours), Some(theirs)) = (our_groups.get(path.as_path()), their_groups.get(path.as_path()))
        {
            pair.links(ours, theirs);
        }
    }
    if expected.directories {
        theirs.directories(&mut found);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, path: &Path, what: impl AsRef<str>) {
        self.0.push(format!("{path:?} {}", what.as_ref()));
    }
}

struct Entry {
    metadata: Metadata,
    /// Type and inode number as its directory has them.
    listed: Option<(fs::FileType, u64)>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// A tree by relative paths; the top is the empty one.
struct Tree {
    top: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    fn read(top: &Path) -> Self {
        let mut tree = Self { top: top.to_owned(), entries: BTreeMap::new() };
        let mut todo = vec![(PathBuf::new(), None)];
        while let Some((relative, listed)) = todo.pop() {
            let path = if listed.is_none() { top.to_owned() } else { top.join(&relative) };
            let metadata =
                fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("cannot read {path:?}: {e}"));
            if metadata.is_dir() {
                let list = fs::read_dir(&path).unwrap_or_else(|e| panic!("cannot list {path:?}: {e}"));
                for child in list {
                    let child = child.unwrap_or_else(|e| panic!("cannot list {path:?}: {e}"));
                    let kind = child.file_type().unwrap_or_else(|e| panic!("cannot list {path:?}: {e}"));
                    let listed = (kind, std::os::unix::fs::DirEntryExt::ino(&child));
                    todo.push((relative.join(child.file_name()), Some(listed)));
                }
            }
            let entry = Entry { metadata, listed, xattrs: xattrs(&path) };
            let twice = tree.entries.insert(relative, entry);
            assert!(twice.is_none(), "{path:?} is listed twice");
        }
        tree
    }

    /// For each path that is no directory, the first path of its file and how many there are.
    fn groups(&self) -> BTreeMap<&Path, (&Path, u64)> {
        let mut files: BTreeMap<(u64, u64), Vec<&Path>> = BTreeMap::new();
        for (path, entry) in self.entries.iter().filter(|(_, entry)| !entry.metadata.is_dir()) {
            files.entry((entry.metadata.dev(), entry.metadata.ino())).or_default().push(path);
        }
        let all = files.values().flat_map(|paths| paths.iter().map(|p| (*p, (paths[0], paths.len() as u64))));
        all.collect()
    }

    /// Whether the directories of a mounted squashfs say the truth.
    fn directories(&self, found: &mut Found) {
        let mut below: BTreeMap<&Path, u64> = BTreeMap::new();
        for (path, entry) in &self.entries {
            let Some((kind, inode)) = entry.listed else { continue };
            let parent = path.parent().expect("only the top has none");
            if entry.metadata.is_dir() {
                *below.entry(parent).or_default() += 1;
                let up = self.entries[parent].metadata.ino();
                let shown = inode_of_parent(&self.top.join(path));
                if shown != up {
                    found.add(path, format!("has {shown} as the inode of '..', not {up}"));
                }
            }
            if kind != entry.metadata.file_type() {
                found.add(path, "has another type in its directory than in its inode");
            }
            if inode != entry.metadata.ino() {
                found.add(path, "has another inode number in its directory than in its inode");
            }
        }
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.metadata.is_dir()) {
            let wanted = 2 + below.get(path.as_path()).copied().unwrap_or(0);
            if entry.metadata.nlink() != wanted {
                found.add(path, format!("has {} links, not {wanted}", entry.metadata.nlink()));
            }
        }
    }
}

fn inode_of_parent(directory: &Path) -> u64 {
    let file = fs::File::open(directory).unwrap_or_else(|e| panic!("cannot open {directory:?}: {e}"));
    let list = rustix::fs::Dir::read_from(file).unwrap_or_else(|e| panic!("cannot list {directory:?}: {e}"));
    let up = list.flatten().find(|entry| entry.file_name() == c"..");
    up.unwrap_or_else(|| panic!("{directory:?} has no '..'")).ino()
}

/// The extended attributes that a squashfs can have.
fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    const LARGEST: usize = 64 << 10;
    // On the stack: memory from the kernel for each file takes longer than all else.
    let mut list = [0; LARGEST];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        // What the kernel says of a squashfs in which nothing has attributes.
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length.unwrap_or_else(|e| panic!("cannot list the attributes of {path:?}: {e}")),
    };
    let names = list[..length].split(|b| *b == 0);
    let names = names.filter(|name| NAMESPACES.iter().any(|space| name.starts_with(space)));
    let value = |name: &[u8]| {
        let mut value = [0; LARGEST];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .unwrap_or_else(|e| panic!("cannot read an attribute of {path:?}: {e}"));
        value[..length].to_vec()
    };
    names.map(|name| (OsString::from_vec(name.to_vec()), value(name))).collect()
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    let kinds = [
        (kind.is_dir(), "directory"),
        (kind.is_file(), "file"),
        (kind.is_symlink(), "symbolic link"),
        (kind.is_block_device(), "block device"),
        (kind.is_char_device(), "character device"),
        (kind.is_fifo(), "fifo"),
        (kind.is_socket(), "socket"),
    ];
    kinds.iter().find(|(is, _)| *is).expect("there are seven").1
}

/// Size of these in the table of a squashfs: with values kept elsewhere, to which eight bytes refer, and without. A name has
/// four bytes before it and no namespace, a value four.
fn attribute_bytes(xattrs: &BTreeMap<OsString, Vec<u8>>) -> (u64, u64) {
    let mut sizes = (0, 0);
    for (name, value) in xattrs {
        let space = NAMESPACES.iter().find(|space| name.as_bytes().starts_with(space)).map_or(0, |s| s.len());
        let name = 8 + name.len() - space;
        sizes.0 += (name + value.len().min(8)) as u64;
        sizes.1 += (name + value.len()) as u64;
    }
    sizes
}

/// The same path on both sides.
struct Pair<'a> {
    path: &'a Path,
    ours: (&'a Path, &'a Entry),
    theirs: (&'a Path, &'a Entry),
    found: &'a mut Found,
}

impl Pair<'_> {
    fn differ(&mut self, what: impl AsRef<str>) {
        self.found.add(self.path, what);
    }

    fn attributes(&mut self) {
        let (ours, theirs) = (&self.ours.1.metadata, &self.theirs.1.metadata);
        if ours.file_type() != theirs.file_type() {
            self.differ(format!("is a {}, not a {}", kind(theirs), kind(ours)));
            return;
        }
        let device = ours.file_type().is_block_device() || ours.file_type().is_char_device();
        let number = |metadata: &Metadata| if device { metadata.rdev() } else { 0 };
        let time = ours.mtime().clamp(*TIMES.start(), *TIMES.end());
        let rows = [
            ("mode", format!("{:o}", ours.mode()), format!("{:o}", theirs.mode())),
            ("owner", ours.uid().to_string(), theirs.uid().to_string()),
            ("group", ours.gid().to_string(), theirs.gid().to_string()),
            ("time", time.to_string(), theirs.mtime().to_string()),
            ("device number", format!("{:x}", number(ours)), format!("{:x}", number(theirs))),
        ];
        for (what, wanted, shown) in rows {
            if wanted != shown {
                self.differ(format!("has the {what} {shown}, not {wanted}"));
            }
        }
        self.xattrs();
    }

    fn xattrs(&mut self) {
        let (ours, theirs) = (&self.ours.1.xattrs, &self.theirs.1.xattrs);
        let lacks = ours.keys().filter(|name| !theirs.contains_key(*name)).map(|n| format!("lacks {n:?}"));
        let more =
            theirs.keys().filter(|name| !ours.contains_key(*name)).map(|n| format!("has {n:?} in addition"));
        let other = ours.iter().filter(|(name, value)| theirs.get(*name).is_some_and(|v| v != *value));
        let other = other.map(|(name, _)| format!("has another value of {name:?}"));
        let all: Vec<String> = lacks.chain(more).chain(other).collect();
        for what in all {
            self.differ(what);
        }
    }

    /// Where symbolic links point, and what is in files.
    fn data(&mut self, holes: Option<u32>) {
        let (ours, theirs) = (&self.ours.1.metadata, &self.theirs.1.metadata);
        if ours.file_type() != theirs.file_type() {
            return;
        }
        let [one, two] = [self.ours.0, self.theirs.0].map(|top| top.join(self.path));
        if ours.is_symlink() {
            let [wanted, shown] =
                [&one, &two].map(|p| fs::read_link(p).unwrap_or_else(|e| panic!("{p:?}: {e}")));
            if wanted != shown {
                self.differ(format!("points to {shown:?}, not {wanted:?}"));
            }
            if theirs.len() != shown.as_os_str().as_bytes().len() as u64 {
                self.differ(format!("says {} for the length of where it points", theirs.len()));
            }
        } else if ours.is_file() {
            let stored = holes
                .map(|block_size| Stored { block_size, attributes: attribute_bytes(&self.ours.1.xattrs) });
            if let Some(what) = contents::difference(&one, &two, stored) {
                self.differ(what);
            }
        }
    }

    fn links(&mut self, ours: &(&Path, u64), theirs: &(&Path, u64)) {
        if ours != theirs {
            let (first, count) = ours;
            self.differ(format!(
                "is one of {} names of {:?}, not of {count} of {first:?}",
                theirs.1, theirs.0
            ));
        }
        // Another name outside the tree does not count.
        let shown = self.theirs.1.metadata.nlink();
        if shown != theirs.1 {
            self.differ(format!("has {shown} links, but {} names", theirs.1));
        }
    }
}
