//! Ends of files and small files, put together in blocks. Files that are alike share one: it gets smaller, and one that is
//! wanted at boot brings no strangers along.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use super::queue::{Closed, Queue};
use crate::format::inode::Fragment;

/// Files that share fragment blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class(u8);

impl Class {
    /// Those that were asked to be first.
    pub(super) const FIRST: Self = Self(0);

    /// That of a file in the order of the tree.
    pub(super) fn of(_name: &OsStr, _path: &Path) -> Self {
        Self(1)
    }
}

/// The blocks that are being filled.
#[derive(Debug)]
pub(super) struct Fragments {
    block_size: usize,
    open: BTreeMap<Class, (u32, Vec<u8>)>,
    /// Places in the table given away.
    count: u32,
}

impl Fragments {
    pub(super) fn new(block_size: usize) -> Self {
        Self { block_size, open: BTreeMap::new(), count: 0 }
    }

    /// Takes up the end of a file, less than a block.
    pub(super) fn add(&mut self, class: Class, end: &[u8], queue: &Queue) -> Result<Fragment, Closed> {
        if self.open.get(&class).is_some_and(|(_, block)| block.len() + end.len() > self.block_size) {
            self.close(class, queue)?;
        }
        let count = &mut self.count;
        let (index, block) = self.open.entry(class).or_insert_with(|| {
            *count += 1;
            (*count - 1, Vec::new())
        });
        #[expect(clippy::cast_possible_truncation, reason = "within a block")]
        let fragment = Fragment { index: *index, offset: block.len() as u32 };
        block.extend(end);
        Ok(fragment)
    }

    /// Hands over the block of a class as it is.
    pub(super) fn close(&mut self, class: Class, queue: &Queue) -> Result<(), Closed> {
        self.open.remove(&class).map_or(Ok(()), |(index, block)| queue.fragment(index, block))
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self, queue: &Queue) -> Result<(), Closed> {
        while let Some((&class, _)) = self.open.first_key_value() {
            self.close(class, queue)?;
        }
        Ok(())
    }
}
