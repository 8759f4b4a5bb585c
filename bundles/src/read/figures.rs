//! Figures of a bundle.

use std::collections::HashMap;
use std::path::PathBuf;

use super::load::Loaded;
use super::{Bundle, StoredFile};
use crate::{Device, Error, Flags, Kind, NodeId, Superblock, Tree};

/// What a bundle has, in numbers. A file with several names is counted once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Regular files.
    pub files: u64,
    /// Directories, with the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Block and character devices, without whiteouts.
    pub devices: u64,
    /// Character devices 0:0: names that hide what is below.
    pub whiteouts: u64,
    /// Named pipes.
    pub fifos: u64,
    /// Sockets.
    pub sockets: u64,
    /// Names of files beyond their first.
    pub hard_links: u64,
    /// Files and directories with extended attributes.
    pub with_xattrs: u64,
    /// Bytes of regular files, holes included.
    pub bytes: u64,
    /// Bytes of holes in them.
    pub holes: u64,
    /// Bytes of the image that blocks and fragments take.
    pub stored: u64,
    /// Bytes of the image that everything else takes.
    pub metadata: u64,
    /// Files whose content is stored for another one.
    pub duplicates: u64,
    /// Bytes of them.
    pub duplicate_bytes: u64,
    /// Fragment blocks.
    pub fragments: u64,
    /// Files that have their end in one.
    pub files_with_fragments: u64,
    /// The directories with the largest files in and below them, the largest first, and the bytes of those. A file counts
    /// where its first name is. The root is not among them.
    pub largest: Vec<(PathBuf, u64)>,
}

impl Figures {
    /// Of `bundle`, with the `largest` directories.
    ///
    /// # Errors
    /// The bundle is damaged or cannot be read.
    pub fn of(bundle: &Bundle, largest: usize) -> Result<Self, Error> {
        let loaded = bundle.loaded()?;
        let superblock = &bundle.superblock;
        let options = if superblock.flags.has(Flags::COMPRESSOR_OPTIONS) {
            bundle.cache.block(&bundle.image, Superblock::SIZE as u64, bundle.image.length())?.next
        } else {
            Superblock::SIZE as u64
        };
        let stored = superblock.tables.inodes.saturating_sub(options);
        let mut figures = Self {
            fragments: superblock.fragments.into(),
            stored,
            metadata: superblock.bytes_used.saturating_sub(stored),
            largest: largest_directories(loaded, largest),
            ..Self::default()
        };
        figures.count(loaded);
        figures.measure(&loaded.files, superblock.block_size);
        Ok(figures)
    }

    /// Unpacked bytes for each byte of the image, both of all there is.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn ratio(&self) -> f64 {
        self.bytes as f64 / (self.stored + self.metadata).max(1) as f64
    }

    fn count(&mut self, loaded: &Loaded) {
        let links = loaded.tree.link_counts();
        for &id in loaded.by_number.values() {
            let node = loaded.tree.node(id);
            let counter = match &node.kind {
                Kind::Directory(_) => &mut self.directories,
                Kind::File { .. } => &mut self.files,
                Kind::Symlink(_) => &mut self.symlinks,
                Kind::CharDevice(Device::WHITEOUT) => &mut self.whiteouts,
                Kind::BlockDevice(_) | Kind::CharDevice(_) => &mut self.devices,
                Kind::Fifo => &mut self.fifos,
                Kind::Socket => &mut self.sockets,
            };
            *counter += 1;
            self.with_xattrs += u64::from(!node.xattrs.is_empty());
            self.hard_links += links.get(id.index()).map_or(0, |&links| u64::from(links).saturating_sub(1));
        }
    }

    fn measure(&mut self, files: &[StoredFile], block_size: u32) {
        let mut places = HashMap::new();
        for file in files {
            self.bytes = self.bytes.saturating_add(file.size());
            self.files_with_fragments += u64::from(file.fragment().is_some());
            for (number, _) in file.blocks().enumerate().filter(|(_, block)| block.is_hole()) {
                self.holes += u64::from(file.block_length(number, block_size));
            }
            // Whatever is stored has a place of its own, and files that share one are the same.
            let first = file.blocks().find(|block| !block.is_hole()).map(|block| block.start);
            if first.is_some() || file.fragment().is_some() {
                let times: &mut u64 = places.entry((first, file.fragment(), file.size())).or_default();
                *times += 1;
                if *times > 1 {
                    self.duplicates += 1;
                    self.duplicate_bytes = self.duplicate_bytes.saturating_add(file.size());
                }
            }
        }
    }
}

fn largest_directories(loaded: &Loaded, count: usize) -> Vec<(PathBuf, u64)> {
    let mut bytes = vec![0_u64; loaded.nodes.len()];
    for &id in loaded.by_number.values() {
        let Kind::File { size, .. } = loaded.tree.node(id).kind else { continue };
        let mut at = id;
        while at != Tree::ROOT {
            let Some(parent) = loaded.nodes.get(at.index()).map(|node| node.parent) else { break };
            if let Some(bytes) = bytes.get_mut(parent.index()) {
                *bytes = bytes.saturating_add(size);
            }
            at = parent;
        }
    }
    let of = |id: NodeId| bytes.get(id.index()).copied().unwrap_or(0);
    let mut directories: Vec<NodeId> = loaded
        .by_number
        .values()
        .copied()
        .filter(|&id| id != Tree::ROOT && loaded.tree.node(id).is_directory() && of(id) > 0)
        .collect();
    directories.sort_by_key(|&id| (std::cmp::Reverse(of(id)), id));
    directories.into_iter().take(count).map(|id| (loaded.path_of(id), of(id))).collect()
}
