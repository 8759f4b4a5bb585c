//! What a bundle amounts to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bundles::{Bundle, Compression, Error, Kind, Node, NodeId, Tree};

use super::kind_name;
use super::largest::DirectorySizes;

/// How a bundle is compressed, and what is in it. Bytes are of contents before compression, each counted once however
/// many names it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes of each kind, by its name; the root is one.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of blocks that are all zeros and not stored.
    pub holes: u64,
    /// Files with several names, and how many names those have.
    pub hard_links: (u64, u64),
    /// Files whose content is stored for another as well, and their bytes.
    pub duplicates: (u64, u64),
    /// Nodes with extended attributes.
    pub with_xattrs: u64,
    /// Names of the attributes.
    pub xattrs: BTreeSet<String>,
    /// Directories that hide what is below them in other bundles, by overlayfs' attribute.
    pub opaque: u64,
    /// Names that only aufs understands: whiteouts, opaque directories, and what it keeps for itself.
    pub aufs: u64,
    /// The largest directories, with their bytes.
    pub largest: Vec<(String, u64)>,
}

/// Directories shown.
const LARGEST: usize = 8;

impl Summary {
    /// Goes through all of a bundle's names.
    pub fn of(bundle: &Bundle) -> Result<Self, Error> {
        let tree = bundle.tree()?;
        let mut gathering =
            Gathering { summary: Summary::default(), stored: HashSet::new(), seen: HashSet::new() };
        gathering.node(bundle, Tree::ROOT, tree.node(Tree::ROOT))?;
        let mut sizes = DirectorySizes::default();
        let names = tree.link_counts();
        let mut walk = tree.walk();
        while let Some((path, name, id)) = walk.advance() {
            gathering.summary.aufs += u64::from(is_aufs(name));
            let node = tree.node(id);
            let count = u64::from(names[id.index()]);
            if count > 1 && !node.is_directory() {
                if !gathering.seen.insert(id) {
                    continue;
                }
                gathering.summary.hard_links.0 += 1;
                gathering.summary.hard_links.1 += count;
            }
            gathering.node(bundle, id, node)?;
            if let Kind::File { size, .. } = node.kind {
                sizes.add(path, size);
            }
        }
        let mut summary = gathering.summary;
        let largest = sizes.largest(LARGEST).into_iter();
        summary.largest = largest.map(|(path, bytes)| (path.display().to_string(), bytes)).collect();
        Ok(summary)
    }

    /// Nodes of a kind.
    pub fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or_default()
    }
}

/// Where a content is: the same place is the same content.
type Place = (u64, Option<(u32, u32)>, u64);

struct Gathering {
    summary: Summary,
    stored: HashSet<Place>,
    /// Nodes with several names.
    seen: HashSet<NodeId>,
}

impl Gathering {
    fn node(&mut self, bundle: &Bundle, _: NodeId, node: &Node) -> Result<(), Error> {
        let summary = &mut self.summary;
        *summary.kinds.entry(kind_name(&node.kind)).or_default() += 1;
        summary.with_xattrs += u64::from(!node.xattrs.is_empty());
        for xattr in &node.xattrs {
            summary.xattrs.insert(xattr.name.to_string_lossy().into_owned());
            let opaque = ["trusted.overlay.opaque", "user.overlay.opaque"];
            let is = opaque.iter().any(|name| xattr.name == *name) && xattr.value == b"y";
            summary.opaque += u64::from(is);
        }
        let Kind::File { size, content } = node.kind else { return Ok(()) };
        summary.bytes += size;
        let file = bundle.file(content)?;
        let block_size = u64::from(bundle.superblock().block_size);
        let mut stored = file.fragment().is_some();
        let mut start = 0;
        for (n, block) in (0..).zip(file.blocks()) {
            if block.is_hole() {
                summary.holes += block_size.min(size.saturating_sub(n * block_size));
            } else if !stored || start == 0 {
                start = block.start;
                stored = true;
            }
        }
        // A file of holes alone is nowhere.
        if stored && !self.stored.insert((start, file.fragment(), size)) {
            summary.duplicates.0 += 1;
            summary.duplicates.1 += size;
        }
        Ok(())
    }
}

/// Whether aufs gives a meaning to a name: `.wh.NAME`, `.wh..wh..opq` and others (aufs(5)).
fn is_aufs(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".wh.")
}

/// `zstd:15`: the compressor and its level, where it has one. `options` are those stored behind the superblock, if they
/// are not the usual ones (Documentation of squashfs' format: struct zstd_comp_opts and others).
pub fn compressor(compression: Compression, options: Option<&[u8]>) -> String {
    let word = |at: usize| {
        let bytes = options?.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    match compression {
        Compression::Zstd => format!("zstd:{}", word(0).unwrap_or(15)),
        Compression::Gzip => format!("gzip:{}", word(0).unwrap_or(9)),
        Compression::Xz if word(4).is_some_and(|filters| filters & 1 != 0) => {
            "xz with the x86 filter".to_owned()
        }
        Compression::Lz4 if word(4).is_some_and(|flags| flags & 1 != 0) => "lz4, high compression".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressors() {
        for (compression, options, text) in [
            (Compression::Zstd, None, "zstd:15"),
            (Compression::Zstd, Some(&[22, 0, 0, 0][..]), "zstd:22"),
            (Compression::Zstd, Some(&[22]), "zstd:15"),
            (Compression::Gzip, Some(&[6, 0, 0, 0, 15, 0, 1, 0]), "gzip:6"),
            (Compression::Xz, Some(&[0, 0, 2, 0, 1, 0, 0, 0]), "xz with the x86 filter"),
            (Compression::Xz, None, "xz"),
            (Compression::Lz4, Some(&[1, 0, 0, 0, 1, 0, 0, 0]), "lz4, high compression"),
        ] {
            assert_eq!(compressor(compression, options), text);
        }
    }
}
