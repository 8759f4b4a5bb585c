//! Numbers that must differ between images and be equal for equal ones: derived from what goes in, never random.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hadris_part::Guid;
use sha2::{Digest, Sha256};

use crate::{Boot, Error, ImageOptions, Source, Tree};

/// A digest of everything an image is made of: name and time of the volume, paths, contents, boot code. Equal input has
/// the same digest, wherever its files lie.
///
/// Fails if an input file cannot be read. All of them are, which takes its time.
pub fn digest(tree: &Tree, boot: &Boot, options: &ImageOptions) -> Result<[u8; 32], Error> {
    let mut hash = Fields::of_options(options);
    hash.directories(tree);
    hash.links_and_modes(tree);
    for (path, source) in tree.files() {
        hash.field(path.as_bytes());
        match source {
            Source::Bytes(bytes) => hash.field(bytes),
            Source::Path(host) | Source::Scratch(host) => {
                hash.file(host).map_err(|source| Error::Read { path: host.clone(), source })?;
            }
        }
    }
    hash.field(boot.esp.as_deref().unwrap_or_default());
    if let Some(bios) = &boot.bios {
        hash.field(bios.image.as_bytes());
        hash.field(&bios.mbr);
    }
    Ok(hash.0.finalize().into())
}

/// A hash of parts, each with its length: none can be taken for a piece of its neighbour.
struct Fields(Sha256);

impl Fields {
    fn of_options(options: &ImageOptions) -> Self {
        let mut hash = Self(Sha256::new());
        hash.field(options.volume_id.as_bytes());
        hash.field(&options.epoch.to_le_bytes());
        hash
    }

    fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn length(&mut self, length: u64) {
        self.0.update(length.to_le_bytes());
    }

    fn directories(&mut self, tree: &Tree) {
        self.length(tree.directories().count() as u64);
        for path in tree.directories() {
            self.field(path.as_bytes());
        }
    }

    fn links_and_modes(&mut self, tree: &Tree) {
        self.length(tree.links().count() as u64);
        for (path, target) in tree.links() {
            self.field(path.as_bytes());
            self.field(target.as_bytes());
        }
        self.length(tree.modes().count() as u64);
        for (path, mode) in tree.modes() {
            self.field(path.as_bytes());
            self.length(mode.into());
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        self.length(file.metadata()?.len());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.0.update(&buffer[..count]),
            }
        }
    }
}

/// A digest of what an image is made from: volume name, time, paths, and the bytes that are in memory.
///
/// Bytes of input files are left out, as they would have to be read twice. The kit's marker file, named after the
/// build, is in memory and makes the difference between two builds of the same list of files.
#[derive(Clone)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    pub(crate) fn of(tree: &Tree, options: &ImageOptions) -> Self {
        let mut hash = Fields::of_options(options);
        hash.directories(tree);
        hash.links_and_modes(tree);
        for (path, source) in tree.files() {
            hash.field(path.as_bytes());
            hash.field(source.bytes().unwrap_or_default());
        }
        Self(hash.0.finalize().into())
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
    use crate::BiosBoot;

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

    #[test]
    fn the_digest_follows_all_of_the_input() {
        let directory = tempfile::tempdir().unwrap();
        let host = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let options = ImageOptions { volume_id: "LIVE".to_owned(), epoch: 1 };
        let tree = |files: &[(&str, Source)], directories: &[&str]| {
            let mut tree = Tree::new();
            files.iter().for_each(|(path, source)| tree.add_file(path, source.clone()).unwrap());
            directories.iter().for_each(|path| tree.add_directory(path).unwrap());
            tree
        };
        let boot = |image: &str, byte| Boot {
            bios: Some(BiosBoot { image: image.to_owned(), mbr: [byte; 440] }),
            esp: Some(vec![byte; 512]),
        };
        let file = |path, text| tree(&[(path, Source::Path(host(text, text)))], &[]);
        let with = |change: fn(&mut Tree)| {
            let mut tree = file("/a", "one");
            change(&mut tree);
            tree
        };
        let of = |tree: &Tree, boot: &Boot| digest(tree, boot, &options).unwrap();
        let first = of(&file("/a", "one"), &boot("/a", 1));
        let copy = tree(&[("/a", Source::Scratch(host("copy", "one")))], &[]);
        assert_eq!(first, of(&copy, &boot("/a", 1)));
        let others = [
            of(&file("/a", "two"), &boot("/a", 1)),
            of(&file("/b", "one"), &boot("/a", 1)),
            of(&tree(&[("/a", Source::Path(host("x", "one")))], &["/d"]), &boot("/a", 1)),
            of(&with(|tree| tree.add_link("/l", "a").unwrap()), &boot("/a", 1)),
            of(&with(|tree| tree.add_link("/l", "b").unwrap()), &boot("/a", 1)),
            of(&with(|tree| tree.set_mode("/a", 0o600)), &boot("/a", 1)),
            of(&file("/a", "one"), &boot("/b", 1)),
            of(&file("/a", "one"), &boot("/a", 2)),
            of(&file("/a", "one"), &Boot { bios: None, ..boot("/a", 1) }),
            of(&file("/a", "one"), &Boot { esp: None, ..boot("/a", 1) }),
            digest(&file("/a", "one"), &boot("/a", 1), &ImageOptions { epoch: 2, ..options.clone() })
                .unwrap(),
            digest(
                &file("/a", "one"),
                &boot("/a", 1),
                &ImageOptions { volume_id: "L".to_owned(), ..options.clone() },
            )
            .unwrap(),
        ];
        for (number, other) in others.iter().enumerate() {
            assert_ne!(first, *other, "{number}");
        }
        let missing = tree(&[("/a", Source::Path("/nowhere".into()))], &[]);
        let error = digest(&missing, &Boot::default(), &options).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere: No such file or directory (os error 2)");
    }
}
