//! What each of the compressing threads does.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use super::queue::{Job, Stored};
use crate::Compressor;
use crate::codec::Encoder;
use crate::format::BlockSize;

/// Takes jobs until there are no more.
pub(super) fn work(jobs: &Mutex<Receiver<Job>>, compressor: Compressor, block_size: u32) {
    let mut encoder = Encoder::new(compressor, block_size);
    loop {
        // The lock is held while waiting: the others would only wait as well.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, reply }) = job else { return };
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
    Ok(Stored { size: BlockSize::new(bytes.len() as u32, compressed), bytes })
}
