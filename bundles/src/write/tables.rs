//! Everything behind the data: the tables, and the superblock that says where they are.

use std::time::{SystemTime, UNIX_EPOCH};

use super::inodes::{Inodes, Made};
use super::metadata::Metadata;
use super::output::Output;
use super::xattrs::Lost;
use crate::codec::Encoder;
use crate::format::NONE_64;
use crate::format::xattr::Header;
use crate::{Error, Flags, Superblock, Tables};

/// Writes them, and with them the image is complete. Returns its length, and what it has no place for.
pub(super) fn write(made: &Made, output: Output, encoder: &mut Encoder) -> Result<(u64, Lost), Error> {
    let inodes = Inodes::write(made, encoder)?;
    let (root, count) = (inodes.root(), inodes.count());
    let export: Vec<u8> = inodes.places().flat_map(|place| place.to_bits().to_le_bytes()).collect();
    let mut fragments = Vec::new();
    made.data.fragments.iter().for_each(|entry| entry.write(&mut fragments));
    let (ids, owners) = inodes.ids.finish();
    let (pairs, sets, set_count, mut lost) = inodes.xattrs.finish();
    lost.times = inodes.clamped;

    let mut writer = Writer { output, encoder, made };
    // In the order in which the kernel expects them: each ends where the next begins.
    let tables = Tables {
        inodes: writer.stream(inodes.inodes)?.0,
        directories: writer.stream(inodes.listings)?.0,
        fragments: writer.table(&fragments, &[])?,
        export: writer.table(&export, &[])?,
        ids: writer.table(&owners, &[])?,
        xattrs: if set_count == 0 {
            NONE_64
        } else {
            let mut header = Vec::new();
            let pairs_start = writer.stream(pairs)?.0;
            Header { pairs_start, count: set_count }.write(&mut header);
            writer.table(&sets, &header)?
        },
    };
    let bytes_used = writer.output.position();
    let flag = |flag, set| if set { flag } else { Flags::default() };
    let options = made.options;
    let has_options = options.compressor.option_block(options.block_size).is_some();
    let superblock = Superblock {
        inodes: count,
        made: time(options.epoch),
        block_size: options.block_size,
        compression: options.compressor.compression(),
        bytes_used,
        fragments: u32::try_from(made.data.fragments.len()).unwrap_or(u32::MAX),
        flags: Flags::DUPLICATES
            .with(Flags::EXPORT)
            .with(Flags::ALWAYS_FRAGMENTS)
            .with(flag(Flags::NO_XATTRS, set_count == 0))
            .with(flag(Flags::COMPRESSOR_OPTIONS, has_options)),
        ids,
        root: root.to_bits(),
        tables,
    };
    Ok((writer.output.finish(&superblock.to_bytes())?, lost))
}

/// When the bundle is made.
fn time(epoch: Option<u64>) -> u32 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(epoch.unwrap_or_else(now)).unwrap_or(u32::MAX)
}

struct Writer<'a> {
    output: Output<'a>,
    encoder: &'a mut Encoder,
    made: &'a Made<'a>,
}

impl Writer<'_> {
    /// Writes metadata blocks; returns where the first begins, and where each does.
    fn stream(&mut self, metadata: Metadata) -> Result<(u64, Vec<u64>), Error> {
        let failed = Error::io("compress the metadata of", self.made.output);
        let (stored, starts) = metadata.finish(self.encoder).map_err(failed)?;
        let start = self.output.write(&stored)?;
        Ok((start, starts.into_iter().map(|at| start + at).collect()))
    }

    /// Writes a table of whole entries: their blocks, `header`, and where the blocks begin. Returns where the header does.
    fn table(&mut self, entries: &[u8], header: &[u8]) -> Result<u64, Error> {
        let mut metadata = Metadata::default();
        let failed = Error::io("compress the metadata of", self.made.output);
        metadata.write(entries, self.encoder).map_err(failed)?;
        let (_, starts) = self.stream(metadata)?;
        let places = starts.iter().flat_map(|start| start.to_le_bytes()).collect::<Vec<u8>>();
        let start = self.output.write(header)?;
        self.output.write(&places)?;
        Ok(start)
    }
}
