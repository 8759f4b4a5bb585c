//! Extended attributes: equal sets are stored once, and large values that several sets share lie in the first of them.

use std::collections::HashMap;
use std::io;

use super::acl;
use super::metadata::Metadata;
use crate::codec::Encoder;
use crate::format::Reference;
use crate::format::xattr::{SetEntry, VALUE_LENGTH, Value, split_name, write_pair};
use crate::{Node, Xattr};

/// A shorter value is not worth the place of another one.
const LARGE: usize = 128;

/// The sets of a tree.
#[derive(Debug, Default)]
pub(super) struct Xattrs<'a> {
    pairs: Metadata,
    sets: Vec<u8>,
    known: HashMap<Vec<&'a Xattr>, u32>,
    /// Large values and where they are.
    values: HashMap<&'a [u8], Reference>,
    lost: Lost,
}

/// Files that have something squashfs has no place for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lost {
    /// Access control lists.
    lists: u64,
    /// Other attributes.
    others: u64,
    /// Times before 1970 or after 2106.
    pub(super) times: u64,
}

impl Lost {
    /// What to tell of it.
    pub(super) fn warnings(self) -> Vec<String> {
        let files = |count| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let mut warnings = Vec::new();
        if self.lists > 0 {
            warnings.push(format!(
                "the access control lists of {} are not in the bundle: squashfs cannot store them",
                files(self.lists)
            ));
        }
        if self.others > 0 {
            warnings.push(format!(
                "extended attributes of {} are not in the bundle: squashfs has no place for their names or values",
                files(self.others)
            ));
        }
        if self.times > 0 {
            warnings.push(format!(
                "{} got the nearest time a squashfs has, from 1970 to 2106",
                files(self.times)
            ));
        }
        warnings
    }
}

impl<'a> Xattrs<'a> {
    /// The number of a node's set, if it has one.
    pub(super) fn set(&mut self, node: &'a Node, encoder: &mut Encoder) -> io::Result<Option<u32>> {
        let (kept, left): (Vec<_>, Vec<_>) = node
            .xattrs
            .iter()
            .partition(|xattr| split_name(&xattr.name).is_some() && xattr.value.len() <= VALUE_LENGTH);
        self.lost.lists += u64::from(left.iter().any(|xattr| acl::is_list(&xattr.name)));
        self.lost.others += u64::from(left.iter().any(|xattr| !acl::is_list(&xattr.name)));
        if kept.is_empty() {
            return Ok(None);
        }
        if let Some(&number) = self.known.get(&kept) {
            return Ok(Some(number));
        }
        let entry = self.write(&kept, encoder)?;
        let number = u32::try_from(self.known.len()).map_err(io::Error::other)?;
        entry.write(&mut self.sets);
        self.known.insert(kept, number);
        Ok(Some(number))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the kernel has 64 KiB for the names of a file")]
    fn write(&mut self, set: &[&'a Xattr], encoder: &mut Encoder) -> io::Result<SetEntry> {
        let mut entry = SetEntry { pairs: self.pairs.position(), count: set.len() as u32, size: 0 };
        for xattr in set {
            let shared = self.values.get(xattr.value.as_slice());
            let value = shared.map_or_else(|| Value::Here(xattr.value.clone()), |&place| Value::There(place));
            let mut bytes = Vec::new();
            write_pair(&xattr.name, &value, &mut bytes);
            entry.size += bytes.len() as u32;
            if value == Value::Here(Vec::new()) || xattr.value.len() < LARGE || shared.is_some() {
                self.pairs.write(&bytes, encoder)?;
            } else {
                // What is pointed to is the value with its length.
                let (name, value) = bytes.split_at(bytes.len() - xattr.value.len() - 4);
                self.pairs.write(name, encoder)?;
                self.values.insert(&xattr.value, self.pairs.position());
                self.pairs.write(value, encoder)?;
            }
        }
        Ok(entry)
    }

    /// The pairs, the entries of the sets, how many sets there are, and what was lost.
    pub(super) fn finish(self) -> (Metadata, Vec<u8>, u32, Lost) {
        let count = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        (self.pairs, self.sets, count, self.lost)
    }
}
