//! What each of the compressing threads does.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use super::queue::{Job, Stored};
use crate::codec::Encoder;
use crate::format::BlockSize;
use crate::{Bundle, PackOptions};

/// Takes jobs until there are no more. What is in the `old` bundle already is not compressed again.
pub(super) fn work(jobs: &Mutex<Receiver<Job>>, options: &PackOptions, old: Option<&Bundle>) {
    let mut encoder = Encoder::new(options.compressor, options.block_size);
    let mut unpacked = Vec::new();
    loop {
        // The lock is held while waiting: the others would only wait as well.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, old: old_block, reply }) = job else { return };
        // An old block that cannot be read is none.
        let same = old
            .zip(old_block)
            .filter(|(bundle, old)| bundle.read_block(*old, &mut unpacked).is_ok() && unpacked == block);
        if let Some((bundle, old)) = same {
            let mut bytes = Vec::new();
            if bundle.read_stored(old, &mut bytes).is_ok() {
                let _ = reply.send(Ok(Stored { bytes, size: old.size, reused: true }));
                continue;
            }
        }
        let stored = match &mut encoder {
            Ok(encoder) => store(block, encoder),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // Nobody waits any more when the writer has given up.
        let _ = reply.send(stored);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "no longer than a block")]
fn store(block: Vec<u8>, encoder: &mut Encoder) -> io::Result<Stored> {
    let packed = encoder.compress(&block)?.map(<[u8]>::to_vec);
    let compressed = packed.is_some();
    let bytes = packed.unwrap_or(block);
    Ok(Stored { size: BlockSize::new(bytes.len() as u32, compressed), bytes, reused: false })
}
