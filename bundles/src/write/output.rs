//! The one who writes: blocks in the order they were read in.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::Receiver;

use super::queue::{Item, Stored};
use crate::Error;
use crate::format::BlockSize;
use crate::format::tables::FragmentEntry;

/// The image, written from its beginning to its end.
pub(super) struct Output<'a> {
    file: &'a File,
    /// For errors.
    path: &'a Path,
    /// Where the next byte goes.
    position: u64,
}

/// Where the blocks of a file are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placed {
    /// Of the first stored one.
    pub(super) start: u64,
    pub(super) blocks: Vec<BlockSize>,
}

/// Where everything is that is not metadata.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// By their order.
    pub(super) files: Vec<Placed>,
    pub(super) fragments: Vec<FragmentEntry>,
    /// Bytes of them from an older bundle.
    pub(super) reused: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a File, path: &'a Path, position: u64) -> Self {
        Self { file, path, position }
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Appends; returns where the bytes begin.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let start = self.position;
        self.file.write_all_at(bytes, start).map_err(|error| self.failed(error))?;
        self.position += bytes.len() as u64;
        Ok(start)
    }

    /// Writes everything that comes, and says after each item how far the image has come.
    pub(super) fn take(
        &mut self,
        items: Receiver<Item>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Data, Error> {
        let mut data = Data::default();
        for item in items {
            match item {
                Item::Block { file, stored } => {
                    let stored = self.wait(&stored)?;
                    let start = self.write(&stored.bytes)?;
                    data.reused += if stored.reused { stored.bytes.len() as u64 } else { 0 };
                    let placed = data.file(file);
                    if placed.blocks.iter().all(|block| block.is_hole()) {
                        placed.start = start;
                    }
                    placed.blocks.push(stored.size);
                }
                Item::Holes { file, count } => {
                    let count =
                        usize::try_from(count).map_err(|error| self.failed(io::Error::other(error)))?;
                    let blocks = &mut data.file(file).blocks;
                    blocks.resize(blocks.len() + count, BlockSize::HOLE);
                }
                Item::Fragment { index, stored } => {
                    let stored = self.wait(&stored)?;
                    let start = self.write(&stored.bytes)?;
                    data.reused += if stored.reused { stored.bytes.len() as u64 } else { 0 };
                    data.fragment(index, FragmentEntry { start, size: stored.size });
                }
                Item::TakeBack { file } => {
                    let Placed { start, blocks } = std::mem::take(data.file(file));
                    if blocks.iter().any(|block| !block.is_hole()) {
                        self.position = start;
                    }
                }
            }
            progress(self.position);
        }
        Ok(data)
    }

    fn wait(&self, stored: &Receiver<io::Result<Stored>>) -> Result<Stored, Error> {
        let stored = stored.recv().unwrap_or_else(|_| Err(io::Error::other("a thread that compresses died")));
        stored.map_err(Error::io("compress the blocks of", self.path))
    }

    /// Writes the superblock, and cuts off what was written and taken back; the image is then as long as a loop device
    /// can show it, whose blocks are those of a page.
    pub(super) fn finish(mut self, superblock: &[u8]) -> Result<u64, Error> {
        const PAGE: u64 = 4096;
        let end = self.position;
        self.position = end.next_multiple_of(PAGE);
        self.file
            .write_all_at(superblock, 0)
            .and_then(|()| self.file.set_len(end))
            .and_then(|()| self.file.set_len(self.position))
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.failed(error))?;
        Ok(self.position)
    }

    fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { output: self.path.to_owned() }
            }
            _ => Error::io("write", self.path)(error),
        }
    }
}

impl Data {
    fn file(&mut self, file: usize) -> &mut Placed {
        if self.files.len() <= file {
            self.files.resize(file + 1, Placed::default());
        }
        &mut self.files[file]
    }

    fn fragment(&mut self, index: u32, entry: FragmentEntry) {
        let index = index as usize;
        if self.fragments.len() <= index {
            self.fragments.resize(index + 1, FragmentEntry { start: 0, size: BlockSize::HOLE });
        }
        self.fragments[index] = entry;
    }
}
