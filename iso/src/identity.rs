//! Numbers that must differ between images and be equal for equal ones: derived from what goes in, never random.

use hadris_part::Guid;
use sha2::{Digest, Sha256};

use crate::{ImageOptions, Tree};

/// A digest of what an image is made from: volume name, time, paths, and the bytes that are in memory.
///
/// Bytes of input files are left out, as they would have to be read twice. The kit's marker file, named after the
/// build, is in memory and makes the difference between two builds of the same list of files.
#[derive(Clone)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    pub(crate) fn of(tree: &Tree, options: &ImageOptions) -> Self {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(options.volume_id.as_bytes());
        field(&options.epoch.to_le_bytes());
        for path in tree.directories() {
            field(path.as_bytes());
        }
        for (path, source) in tree.files() {
            field(path.as_bytes());
            field(source.bytes().unwrap_or_default());
        }
        Self(hash.finalize().into())
    }

    /// A GUID for `purpose`, marked as made from a name by a private scheme (version 8 of RFC 9562).
    pub(crate) fn guid(&self, purpose: &str) -> Guid {
        let digest = Sha256::new().chain_update(self.0).chain_update(purpose).finalize();
        let field = |at: usize| u16::from_be_bytes([digest[at], digest[at + 1]]);
        let mut rest = [0; 8];
        rest.copy_from_slice(&digest[8..16]);
        rest[0] = rest[0] & 0x3f | 0x80;
        let low = u32::from(field(0)) << 16 | u32::from(field(2));
        Guid::from_fields(low, field(4), field(6) & 0x0fff | 0x8000, rest)
    }
}

/// A volume serial for a FAT file system that belongs to the build `id`.
pub(crate) fn fat_serial(id: &str) -> u32 {
    let digest = Sha256::digest(id);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn guids_follow_the_input() {
        let options = ImageOptions { volume_id: "LIVE".to_owned(), epoch: 1 };
        let mut tree = Tree::new();
        tree.add_file("/a", Source::Bytes(vec![1])).unwrap();
        let guid = |tree: &Tree, options: &ImageOptions| Identity::of(tree, options).guid("disk").to_string();
        let first = guid(&tree, &options);
        assert_eq!(first, guid(&tree, &options));
        assert_eq!(first.as_bytes()[14], b'8', "{first}");
        assert!(b"89ab".contains(&first.as_bytes()[19]), "{first}");
        assert_ne!(first, Identity::of(&tree, &options).guid("esp").to_string());
        assert_ne!(first, guid(&tree, &ImageOptions { epoch: 2, ..options.clone() }));
        tree.add_file("/b", Source::Bytes(vec![])).unwrap();
        assert_ne!(first, guid(&tree, &options));
    }
}
