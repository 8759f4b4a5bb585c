//! One block, compressed and back: the same form for data, fragments and metadata.

use std::io;

use libdeflater::CompressionLvl;
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use lz4::block::CompressionMode;

use crate::format::malformed;
use crate::{Compression, Compressor};

/// What mksquashfs' `-Xhc` takes, and the highest there is.
const LZ4_LEVEL: i32 = 12;
/// Of libdeflate: no larger than zlib at its level 9, in less time.
const DEFLATE_LEVEL: i32 = 9;
/// The preset of `xz` that is the default; of the higher ones only the dictionary differs, which is a block anyway.
const XZ_PRESET: u32 = 6;
/// What random bytes may grow by, beside a 255th: 64 for zstd, 16 for LZ4.
const SLACK: usize = 64;
/// Enough for a dictionary of the largest block; a stream that claims a larger one is refused.
const XZ_MEMORY: u64 = 64 << 20;

/// Compresses blocks, one after the other, with what it allocated for the first.
pub(crate) struct Encoder {
    method: Method,
    /// The last block.
    packed: Vec<u8>,
    /// A second try at it.
    other: Vec<u8>,
}

enum Method {
    Zstd(zstd::bulk::Compressor<'static>),
    /// Without and with the filter for x86 code.
    Xz([Filters; 2]),
    Gzip(libdeflater::Compressor),
    Lz4,
}

impl Encoder {
    /// For an image with blocks of `block_size`.
    pub(crate) fn new(compressor: Compressor, block_size: u32) -> io::Result<Self> {
        let method = match compressor {
            Compressor::Zstd { level } => {
                let level = i32::try_from(level).map_err(io::Error::other)?;
                Method::Zstd(zstd::bulk::Compressor::new(level)?)
            }
            Compressor::Xz => {
                let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
                options.dict_size(Compressor::xz_dictionary(block_size));
                let (mut plain, mut code) = (Filters::new(), Filters::new());
                plain.lzma2(&options);
                code.x86().lzma2(&options);
                Method::Xz([plain, code])
            }
            Compressor::Gzip => {
                let level = CompressionLvl::new(DEFLATE_LEVEL)
                    .map_err(|_| io::Error::other("unknown level of deflate"))?;
                Method::Gzip(libdeflater::Compressor::new(level))
            }
            Compressor::Lz4 => Method::Lz4,
        };
        Ok(Self { method, packed: Vec::new(), other: Vec::new() })
    }

    /// The compressed form of a block, if it is smaller than the block.
    pub(crate) fn compress(&mut self, block: &[u8]) -> io::Result<Option<&[u8]>> {
        self.packed.resize(block.len() + block.len() / 255 + SLACK, 0);
        let length = match &mut self.method {
            Method::Zstd(context) => Some(context.compress_to_buffer(block, self.packed.as_mut_slice())?),
            Method::Xz(filters) => xz_smaller(filters, block, &mut self.packed, &mut self.other)?,
            Method::Gzip(context) => context.zlib_compress(block, &mut self.packed).ok(),
            Method::Lz4 => {
                let mode = Some(CompressionMode::HIGHCOMPRESSION(LZ4_LEVEL));
                Some(lz4::block::compress_to_buffer(block, mode, false, &mut self.packed)?)
            }
        };
        Ok(length.filter(|&length| length < block.len()).map(|length| &self.packed[..length]))
    }
}

/// The filter is for machine code, and makes other things larger: both are tried.
fn xz_smaller(
    filters: &[Filters; 2],
    block: &[u8],
    packed: &mut Vec<u8>,
    other: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    let plain = xz_block(&filters[0], block, packed)?;
    other.resize(plain.unwrap_or(block.len()), 0);
    let code = xz_block(&filters[1], block, other)?;
    if code.is_some() {
        std::mem::swap(packed, other);
    }
    Ok(code.or(plain))
}

/// Nothing if it does not fit.
fn xz_block(filters: &Filters, block: &[u8], packed: &mut [u8]) -> io::Result<Option<usize>> {
    let mut stream = Stream::new_stream_encoder(filters, Check::Crc32)?;
    let status = stream.process(block, packed, Action::Finish)?;
    let length = usize::try_from(stream.total_out()).map_err(io::Error::other)?;
    Ok((status == Status::StreamEnd && length < block.len()).then_some(length))
}

/// Unpacks blocks.
pub(crate) enum Decoder {
    Zstd(zstd::bulk::Decompressor<'static>),
    Xz,
    Gzip(libdeflater::Decompressor),
    Lz4,
}

impl Decoder {
    /// Nothing for the compressors no kernel of today is built for.
    pub(crate) fn new(compression: Compression) -> io::Result<Option<Self>> {
        Ok(Some(match compression {
            Compression::Zstd => Self::Zstd(zstd::bulk::Decompressor::new()?),
            Compression::Xz => Self::Xz,
            Compression::Gzip => Self::Gzip(libdeflater::Decompressor::new()),
            Compression::Lz4 => Self::Lz4,
            Compression::Lzma | Compression::Lzo => return Ok(None),
        }))
    }

    /// Unpacks one block, which must not have more than `limit` bytes, into `block`, which is emptied first.
    pub(crate) fn decompress(&mut self, stored: &[u8], limit: usize, block: &mut Vec<u8>) -> io::Result<()> {
        block.clear();
        block.resize(limit, 0);
        let length = match self {
            Self::Zstd(context) => context.decompress_to_buffer(stored, block.as_mut_slice()),
            Self::Xz => unpack_xz(stored, block),
            Self::Gzip(context) => context.zlib_decompress(stored, block).map_err(io::Error::other),
            Self::Lz4 => {
                let limit = i32::try_from(limit).map_err(io::Error::other)?;
                lz4::block::decompress_to_buffer(stored, Some(limit), block)
            }
        };
        // What the libraries say of damage is as good as nothing, and not the same from one to the next.
        let length = length.map_err(|_| malformed("a compressed block is damaged"))?;
        block.truncate(length);
        Ok(())
    }
}

fn unpack_xz(stored: &[u8], block: &mut [u8]) -> io::Result<usize> {
    let mut stream = Stream::new_stream_decoder(XZ_MEMORY, 0)?;
    match stream.process(stored, block, Action::Finish)? {
        Status::StreamEnd => usize::try_from(stream.total_out()).map_err(io::Error::other),
        _ => Err(malformed("a stream of xz without its end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compressor; 4] =
        [Compressor::Zstd { level: 3 }, Compressor::Xz, Compressor::Gzip, Compressor::Lz4];

    /// Bytes that do not repeat.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn blocks_come_back() {
        for compressor in ALL {
            let mut encoder = Encoder::new(compressor, 4096).unwrap();
            let mut decoder = Decoder::new(compressor.compression()).unwrap().unwrap();
            let mut unpacked = Vec::new();
            for length in [1, 100, 4096, 8192, 131_072, 1 << 20] {
                let text: Vec<u8> = b"the same again, ".iter().copied().cycle().take(length).collect();
                if let Some(packed) = encoder.compress(&text).unwrap() {
                    assert!(packed.len() < length);
                    decoder.decompress(packed, length, &mut unpacked).unwrap();
                    assert!(unpacked == text, "{compressor:?} {length}");
                    assert!(decoder.decompress(packed, length - 1, &mut unpacked).is_err());
                    assert!(
                        decoder.decompress(&packed[..packed.len() / 2], length, &mut unpacked).is_err()
                            || unpacked != text
                    );
                } else {
                    assert!(length < 4096, "{compressor:?} {length}");
                }
                assert_eq!(encoder.compress(&noise(length)).unwrap(), None, "{compressor:?} {length}");
            }
        }
    }

    #[test]
    fn the_same_bytes_from_a_used_encoder() {
        for compressor in ALL {
            let mut used = Encoder::new(compressor, 128 << 10).unwrap();
            for block in [vec![1; 100_000], noise(70_000), vec![2; 8192]] {
                used.compress(&block).unwrap();
                let mut fresh = Encoder::new(compressor, 128 << 10).unwrap();
                let block = [b"calls 1 2 3 calls 1 2 3".as_slice(), &block[..4000]].concat();
                assert_eq!(used.compress(&block).unwrap(), fresh.compress(&block).unwrap());
            }
        }
    }

    #[test]
    fn machine_code_is_filtered_where_it_helps() {
        let mut code = Vec::new();
        for at in (0..60_000_u32).step_by(12) {
            // Calls of one function from everywhere: only relative to the end do they look alike.
            code.extend(
                [&[0xe8][..], &(1_000_000 - at).to_le_bytes(), &noise(at as usize % 7 + 7)[..7]].concat(),
            );
        }
        let mut encoder = Encoder::new(Compressor::Xz, 128 << 10).unwrap();
        let both = encoder.compress(&code).unwrap().unwrap().to_vec();
        let mut plain = vec![0; code.len()];
        let Method::Xz(filters) = &encoder.method else { unreachable!() };
        let plain = xz_block(&filters[0], &code, &mut plain).unwrap().unwrap();
        assert!(both.len() < plain, "{} {plain}", both.len());
        let (mut decoder, mut unpacked) = (Decoder::new(Compression::Xz).unwrap().unwrap(), Vec::new());
        decoder.decompress(&both, code.len(), &mut unpacked).unwrap();
        assert!(unpacked == code);
    }
}
