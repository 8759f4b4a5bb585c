//! Ends of files and small files, put together in blocks. Files that are alike share one: it gets smaller, and one that is
//! wanted at boot brings no strangers along.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::queue::{Closed, Queue, Stored};
use crate::format::inode::Fragment;

/// How many classes there are: as many blocks are open at most.
const CLASSES: u8 = 32;
/// A longer one is none.
const EXTENSION: usize = 8;

/// Files that share fragment blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class(u8);

impl Class {
    /// Those that were asked to be first.
    pub(super) const FIRST: Self = Self(0);
    const PROGRAMS: Self = Self(1);
    const COMPRESSED: Self = Self(2);
    /// Those without an extension to their name.
    const PLAIN: Self = Self(3);
    const NAMED: u8 = 4;

    /// That of a file as far as its name tells.
    pub(super) fn by_name(name: &OsStr) -> Self {
        let Some(extension) = Path::new(name).extension().map(OsStr::as_bytes) else { return Self::PLAIN };
        // Versions are none, nor are long words behind a dot, or nothing.
        if extension.len() > EXTENSION || !extension.first().is_some_and(u8::is_ascii_alphabetic) {
            return Self::PLAIN;
        }
        let sum = extension.iter().fold(0_u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of classes")]
        Self(Self::NAMED + (sum % u32::from(CLASSES - Self::NAMED)) as u8)
    }

    /// That of a file that begins like this.
    pub(super) fn with_content(self, begin: &[u8]) -> Self {
        const COMPRESSED: [&[u8]; 8] = [
            b"\x1f\x8b",
            b"\xfd7zXZ",
            b"\x28\xb5\x2f\xfd",
            b"BZh",
            b"PK\x03\x04",
            b"\x89PNG",
            b"\xff\xd8\xff",
            b"wOF2",
        ];
        if self == Self::FIRST {
            self
        } else if begin.starts_with(b"\x7fELF") {
            Self::PROGRAMS
        } else if COMPRESSED.iter().any(|magic| begin.starts_with(magic)) {
            Self::COMPRESSED
        } else {
            self
        }
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

    /// Takes up a block that is stored already; returns its place in the table.
    pub(super) fn add_stored(&mut self, block: Stored, queue: &Queue) -> Result<u32, Closed> {
        let index = self.count;
        self.count += 1;
        queue.stored_fragment(index, block)?;
        Ok(index)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_names() {
        let class = |name: &str| Class::by_name(OsStr::new(name));
        for name in ["README", "a.", ".", "..", ".bashrc", "libc.so.6", "x.éé", "a.verylongword", "a.-b"] {
            assert_eq!(class(name), Class::PLAIN, "{name}");
        }
        for name in ["a.h", "a.tar.gz", "..a", "x.CONF", "x.b\n"] {
            assert!(class(name) >= Class(Class::NAMED) && class(name) < Class(CLASSES), "{name}");
        }
        assert_eq!(class("a.py"), class("b.c.py"));
    }
}
