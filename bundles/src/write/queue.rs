//! From the one who reads to those who compress, and on to the one who writes.
//!
//! Every block goes two ways at once: as a job to whoever compresses next, and as an item, in its order, to the writer, who
//! waits for what becomes of it. So the image depends on the order of reading alone. Both ways have room for few blocks: the
//! slowest sets the pace, and memory stays as it is.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::format::BlockSize;
use crate::read::StoredBlock;

/// A block to compress.
pub(super) struct Job {
    pub(super) block: Vec<u8>,
    /// A block of an older bundle that may be the same.
    pub(super) old: Option<StoredBlock>,
    pub(super) reply: SyncSender<io::Result<Stored>>,
}

/// A block as it goes into the image.
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    pub(super) size: BlockSize,
    /// Whether they are from an older bundle.
    pub(super) reused: bool,
}

/// What the writer does next. A `file` is the place of a content among all contents.
pub(super) enum Item {
    /// The next block of a file.
    Block { file: usize, stored: Receiver<io::Result<Stored>> },
    /// Blocks of a file that are not stored.
    Holes { file: usize, count: u64 },
    /// A fragment block, and its place in the table.
    Fragment { index: u32, stored: Receiver<io::Result<Stored>> },
    /// The file written last is there already: it is taken back.
    TakeBack { file: usize },
}

/// The reader's end.
pub(super) struct Queue {
    jobs: SyncSender<Job>,
    items: SyncSender<Item>,
}

/// The writer has given up, and has the reason.
#[derive(Debug)]
pub(super) struct Closed;

/// A queue for `length` blocks.
pub(super) fn queue(length: usize) -> (Queue, Mutex<Receiver<Job>>, Receiver<Item>) {
    let (jobs, work) = sync_channel(length);
    let (items, order) = sync_channel(length);
    (Queue { jobs, items }, Mutex::new(work), order)
}

impl Queue {
    pub(super) fn block(&self, file: usize, block: Vec<u8>, old: Option<StoredBlock>) -> Result<(), Closed> {
        let stored = self.job(block, old)?;
        self.item(Item::Block { file, stored })
    }

    pub(super) fn fragment(&self, index: u32, block: Vec<u8>) -> Result<(), Closed> {
        let stored = self.job(block, None)?;
        self.item(Item::Fragment { index, stored })
    }

    /// A fragment block that needs no compressing.
    pub(super) fn stored_fragment(&self, index: u32, block: Stored) -> Result<(), Closed> {
        let (reply, stored) = sync_channel(1);
        reply.send(Ok(block)).map_err(|_| Closed)?;
        self.item(Item::Fragment { index, stored })
    }

    pub(super) fn item(&self, item: Item) -> Result<(), Closed> {
        self.items.send(item).map_err(|_| Closed)
    }

    fn job(&self, block: Vec<u8>, old: Option<StoredBlock>) -> Result<Receiver<io::Result<Stored>>, Closed> {
        let (reply, stored) = sync_channel(1);
        self.jobs.send(Job { block, old, reply }).map_err(|_| Closed)?;
        Ok(stored)
    }
}
