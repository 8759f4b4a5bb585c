//! What a bundle has beyond its figures: attributes, what it hides, and where most of it is.

use std::collections::{BTreeSet, HashSet};

use bundles::source::aufs;
use bundles::{Compression, Kind, NodeId, Tree};

use super::largest::DirectorySizes;

/// What is told of a bundle's names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Names of extended attributes.
    pub xattrs: BTreeSet<String>,
    /// Directories that hide what is below them in other bundles, by overlayfs' attribute.
    pub opaque: u64,
    /// Names that only aufs understands: whiteouts, opaque directories, and what it keeps for itself.
    pub aufs: u64,
    /// The largest directories, with the bytes of files in them before compression.
    pub largest: Vec<(String, u64)>,
}

/// Directories shown.
const LARGEST: usize = 8;

impl Summary {
    /// Goes through all of a bundle's names.
    pub fn of(tree: &Tree) -> Self {
        let mut summary = Summary::default();
        let mut sizes = DirectorySizes::default();
        let mut seen = HashSet::new();
        summary.attributes(tree, Tree::ROOT);
        let mut walk = tree.walk();
        while let Some((path, name, id)) = walk.advance() {
            summary.aufs += u64::from(aufs::is_name(name));
            if !seen.insert(id) {
                continue;
            }
            summary.attributes(tree, id);
            if let Kind::File { size, .. } = tree.node(id).kind {
                sizes.add(path, size);
            }
        }
        let largest = sizes.largest(LARGEST).into_iter();
        summary.largest = largest.map(|(path, bytes)| (path.display().to_string(), bytes)).collect();
        summary
    }

    fn attributes(&mut self, tree: &Tree, id: NodeId) {
        for xattr in &tree.node(id).xattrs {
            self.xattrs.insert(xattr.name.to_string_lossy().into_owned());
            let opaque = ["trusted.overlay.opaque", "user.overlay.opaque"];
            let is = opaque.iter().any(|name| xattr.name == *name) && xattr.value == b"y";
            self.opaque += u64::from(is);
        }
    }
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
