//! The tables an image ends with: owners, fragments, places of inodes, sets of extended attributes.

use std::ops::Range;

use super::image::Image;
use super::limits::Budget;
use super::metadata::{Cache, Stream};
use crate::format::tables::{EXPORT_SIZE, FragmentEntry, ID_SIZE, block_count};
use crate::format::xattr::{Header, SetEntry, Value, read_pair, read_value};
use crate::format::{METADATA_SIZE, NONE_64, Reference};
use crate::{Error, Superblock, Xattr};

/// A table of entries of one size, found by their number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    /// Where the places of its metadata blocks are.
    pub(crate) index: u64,
    pub(crate) count: u64,
    entry_size: usize,
    pub(crate) name: &'static str,
}

impl Lookup {
    /// Sees that the index lies within the image.
    fn new(
        image: &Image,
        index: u64,
        count: u64,
        entry_size: usize,
        name: &'static str,
    ) -> Result<Self, Error> {
        let table = Self { index, count, entry_size, name };
        let fits = table.blocks().checked_mul(8).is_some_and(|length| image.has(index, length));
        if index < Superblock::SIZE as u64 || !fits {
            let what = format!("the {name} table, of {count} entries at byte {index}, is not in the image");
            return Err(image.malformed(index, what));
        }
        Ok(table)
    }

    /// Number of its metadata blocks.
    pub(crate) fn blocks(&self) -> u64 {
        block_count(self.count, self.entry_size)
    }

    /// Bytes of a metadata block of it.
    pub(crate) fn block_bytes(&self, block: u64) -> u64 {
        let before = block.saturating_mul(METADATA_SIZE as u64);
        (self.count * self.entry_size as u64).saturating_sub(before).min(METADATA_SIZE as u64)
    }

    /// Where a metadata block of it is.
    pub(crate) fn block_place(&self, image: &Image, block: u64) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(image.array(self.index + 8 * block)?))
    }

    /// Bytes of the entry of that number.
    fn entry<const N: usize>(&self, image: &Image, cache: &Cache, number: u64) -> Result<[u8; N], Error> {
        debug_assert_eq!(N, self.entry_size);
        let missing =
            |place| image.malformed(place, format!("there is no entry {number} in the {} table", self.name));
        if number >= self.count {
            return Err(missing(self.index));
        }
        let per_block = (METADATA_SIZE / self.entry_size) as u64;
        let place = self.block_place(image, number / per_block)?;
        // The blocks of a table come before their list.
        let block = cache.block(image, place, self.index)?;
        let offset = usize::try_from(number % per_block).unwrap_or(usize::MAX).saturating_mul(N);
        let bytes = block.bytes.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or_else(|| missing(place))
    }
}

/// All of them.
pub(crate) struct Tables {
    pub(crate) inodes: Range<u64>,
    pub(crate) directories: Range<u64>,
    /// Owners and groups.
    pub(crate) ids: Vec<u32>,
    pub(crate) id_table: Lookup,
    pub(crate) fragments: Option<Lookup>,
    pub(crate) export: Option<Lookup>,
    pub(crate) xattrs: Option<XattrTable>,
}

/// Sets of extended attributes and where the attributes are.
pub(crate) struct XattrTable {
    pub(crate) sets: Lookup,
    pub(crate) pairs: Range<u64>,
}

impl Tables {
    pub(crate) fn open(image: &Image, cache: &Cache, superblock: &Superblock) -> Result<Self, Error> {
        let places = superblock.tables;
        // A list of places has its name by the superblock, the blocks before it have none.
        let ends = [places.fragments, places.export, places.ids, places.xattrs, image.length()];
        let end = |start| ends.into_iter().filter(|&end| end >= start).min().unwrap_or(start);
        let inodes = places.inodes..places.directories;
        let directories = places.directories..end(places.directories).min(image.length());
        if inodes.start < Superblock::SIZE as u64 || inodes.is_empty() || inodes.end > image.length() {
            return Err(image.malformed(64, "the tables of inodes and directories are not in the image"));
        }
        let id_table = Lookup::new(image, places.ids, superblock.ids.into(), ID_SIZE, "id")?;
        let ids = (0..id_table.count)
            .map(|number| Ok(u32::from_le_bytes(id_table.entry(image, cache, number)?)))
            .collect::<Result<_, Error>>()?;
        let fragments = (superblock.fragments > 0)
            .then(|| {
                let count = superblock.fragments.into();
                Lookup::new(image, places.fragments, count, FragmentEntry::SIZE, "fragment")
            })
            .transpose()?;
        let export = (places.export != NONE_64)
            .then(|| Lookup::new(image, places.export, superblock.inodes.into(), EXPORT_SIZE, "export"))
            .transpose()?;
        let xattrs =
            (places.xattrs != NONE_64).then(|| XattrTable::open(image, places.xattrs)).transpose()?;
        Ok(Self { inodes, directories, ids, id_table, fragments, export, xattrs })
    }

    pub(crate) fn fragment(&self, image: &Image, cache: &Cache, index: u32) -> Result<FragmentEntry, Error> {
        let table = self.fragments.ok_or_else(|| {
            image.malformed(80, format!("there is no fragment {index}: the image has none"))
        })?;
        let bytes: [u8; FragmentEntry::SIZE] = table.entry(image, cache, index.into())?;
        FragmentEntry::read(&mut bytes.as_slice())
            .map_err(|error| image.malformed(table.index, error.to_string()))
    }

    /// Where the inode of that number is; nothing without an export table.
    pub(crate) fn exported(
        &self,
        image: &Image,
        cache: &Cache,
        inode: u32,
    ) -> Result<Option<Reference>, Error> {
        let Some(table) = self.export else { return Ok(None) };
        let number =
            inode.checked_sub(1).ok_or_else(|| image.malformed(table.index, "there is no inode 0"))?;
        let bits = u64::from_le_bytes(table.entry(image, cache, number.into())?);
        Ok(Some(Reference::from_bits(bits)))
    }
}

impl XattrTable {
    fn open(image: &Image, place: u64) -> Result<Self, Error> {
        let bytes: [u8; 16] = image.array(place)?;
        let header =
            Header::read(&mut bytes.as_slice()).map_err(|error| image.malformed(place, error.to_string()))?;
        if header.pairs_start < Superblock::SIZE as u64 || header.pairs_start > place {
            return Err(image.malformed(place, "the extended attributes are not in the image"));
        }
        let sets = Lookup::new(image, place + 16, header.count.into(), SetEntry::SIZE, "xattr")?;
        Ok(Self { sets, pairs: header.pairs_start..place })
    }

    /// The attributes of a set, sorted by name.
    pub(crate) fn set(
        &self,
        image: &Image,
        cache: &Cache,
        number: u32,
        budget: &mut Budget,
    ) -> Result<Vec<Xattr>, Error> {
        let bytes: [u8; SetEntry::SIZE] = self.sets.entry(image, cache, number.into())?;
        let set = SetEntry::read(&mut bytes.as_slice())
            .map_err(|error| image.malformed(self.sets.index, error.to_string()))?;
        let mut stream = Stream::open(image, cache, &self.pairs, set.pairs, budget.left())?;
        let mut xattrs = Vec::new();
        for _ in 0..set.count {
            let at = stream.at();
            let (name, value) = read_pair(&mut stream)
                .map_err(|error| stream.explain("a set of extended attributes", error))?;
            let value = match value {
                Value::Here(value) => value,
                Value::There(place) => {
                    let mut elsewhere = Stream::open(image, cache, &self.pairs, place, budget.left())?;
                    read_value(&mut elsewhere)
                        .map_err(|error| elsewhere.explain("the value of an extended attribute", error))?
                }
            };
            if name.as_encoded_bytes().contains(&0) {
                return Err(image.malformed(at, "the name of an extended attribute has a NUL in it"));
            }
            budget.take((name.len() + value.len() + size_of::<Xattr>()) as u64, image, at)?;
            xattrs.push(Xattr { name, value });
        }
        xattrs.sort();
        if let Some(pair) = xattrs.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let what = format!("the extended attribute {} is there twice", pair[0].name.display());
            return Err(image.malformed(stream.at(), what));
        }
        Ok(xattrs)
    }
}
