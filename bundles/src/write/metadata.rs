//! Tables of metadata: bytes in, compressed blocks of 8 KiB kept. What has been packed is never needed raw again, so a
//! table takes the memory it will take in the image.

use std::io;

use crate::codec::Encoder;
use crate::format::{METADATA_SIZE, METADATA_UNCOMPRESSED, Reference};

/// A stream of metadata blocks.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// Stored blocks, each behind its length.
    stored: Vec<u8>,
    /// Where each stored block begins.
    starts: Vec<u64>,
    /// Less than a block.
    pending: Vec<u8>,
}

impl Metadata {
    /// Where the next byte will be.
    pub(super) fn position(&self) -> Reference {
        #[expect(clippy::cast_possible_truncation, reason = "less than a block")]
        let offset = self.pending.len() as u16;
        Reference { block: self.stored.len() as u64, offset }
    }

    /// Blocks stored so far.
    pub(super) fn full_blocks(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], encoder: &mut Encoder) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = METADATA_SIZE - self.pending.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend(now);
            bytes = later;
            if self.pending.len() == METADATA_SIZE {
                self.store(encoder)?;
            }
        }
        Ok(())
    }

    /// The stored blocks, and where each begins among them.
    pub(super) fn finish(mut self, encoder: &mut Encoder) -> io::Result<(Vec<u8>, Vec<u64>)> {
        if !self.pending.is_empty() {
            self.store(encoder)?;
        }
        Ok((self.stored, self.starts))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a block has 8192 bytes at most")]
    fn store(&mut self, encoder: &mut Encoder) -> io::Result<()> {
        self.starts.push(self.stored.len() as u64);
        let packed = encoder.compress(&self.pending)?;
        let (length, bytes) = match packed {
            Some(packed) => (packed.len() as u16, packed),
            None => (self.pending.len() as u16 | METADATA_UNCOMPRESSED, self.pending.as_slice()),
        };
        self.stored.extend(length.to_le_bytes());
        self.stored.extend(bytes);
        self.pending.clear();
        Ok(())
    }
}

/// One block that is not compressed, such as the compressor's options.
#[expect(clippy::cast_possible_truncation, reason = "a few bytes")]
pub(super) fn plain_block(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16 | METADATA_UNCOMPRESSED;
    [&length.to_le_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compressor;
    use crate::codec::Decoder;

    #[test]
    fn places_are_those_of_the_stored_blocks() {
        let compressor = Compressor::default();
        let mut encoder = Encoder::new(compressor, 4096).unwrap();
        let mut metadata = Metadata::default();
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for n in 0..7000_u32 {
            places.push((metadata.position(), n));
            metadata.write(&n.to_le_bytes(), &mut encoder).unwrap();
            bytes.extend(n.to_le_bytes());
        }
        assert_eq!(metadata.full_blocks(), 3);
        let (stored, starts) = metadata.finish(&mut encoder).unwrap();
        assert_eq!(starts.len(), 4);
        let mut decoder = Decoder::new(compressor.compression()).unwrap().unwrap();
        let mut block = Vec::new();
        for (place, n) in places {
            let stored = &stored[usize::try_from(place.block).unwrap()..];
            let length = usize::from(u16::from_le_bytes([stored[0], stored[1]]));
            decoder.decompress(&stored[2..2 + length], METADATA_SIZE, &mut block).unwrap();
            assert_eq!(block[usize::from(place.offset)..][..4], n.to_le_bytes());
        }
    }
}
