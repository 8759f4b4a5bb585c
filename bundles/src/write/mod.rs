//! The writer of bundles: squashfs 4.0 images.
//!
//! [`plan`] puts the files in order. One thread reads them ([`blocks`]): it finds what is there twice, leaves out zeros
//! ([`content`]), collects the ends of files ([`fragments`]) and hands over block after block ([`queue`]). A thread for each
//! processor compresses ([`compress`]); the thread of the caller writes what comes out, in the order of reading ([`output`]).
//! Instead of compressing, they may find the same in an older bundle ([`reuse`]). When all data are there, the [`tables`] follow: inodes and listings ([`inodes`], [`directories`]), owners ([`ids`]) and
//! extended attributes ([`xattrs`], [`acl`]), in blocks of [`metadata`].
//!
//! Which block goes where is decided by the reader alone: neither the number of threads nor their timing is in the image.

mod acl;
mod blocks;
mod compress;
mod content;
mod directories;
mod fragments;
mod ids;
mod inodes;
mod metadata;
mod output;
mod plan;
mod queue;
mod reuse;
mod tables;
#[cfg(test)]
mod tests;
mod xattrs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;

use blocks::{Contained, Counters, Reader, Stop, path_of};
use output::{Data, Output};
use plan::Plan;
use queue::Job;
use reuse::Reuse;

use crate::codec::Encoder;
use crate::{Contents, Error, PackOptions, Packed, Progress, Source, Superblock, Tree};

/// Bytes of blocks that wait to be compressed or written at most, if that is enough to keep the processors busy.
const IN_FLIGHT: usize = 16 << 20;

/// Writes the bundle to `file`, which is empty.
pub(crate) fn write(
    source: Source,
    file: &File,
    path: &Path,
    options: &PackOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Packed, Error> {
    let Source { tree, mut contents, mut warnings } = source;
    let mut plan = plan::plan(&tree, &options.order, contents.stored_order(), options.block_size.into());
    warnings.append(&mut plan.warnings);
    let option_block = options.compressor.option_block(options.block_size);
    let option_block = option_block.map(|bytes| metadata::plain_block(&bytes)).unwrap_or_default();
    let mut output = Output::new(file, path, Superblock::SIZE as u64);
    output.write(&option_block)?;
    let reuse = options.reuse.as_deref().and_then(|bundle| {
        let reuse = Reuse::new(bundle, options, &tree, &plan);
        let untaken = |why| format!("nothing is taken from {}: {why}", bundle.path().display());
        reuse.map_err(|why| warnings.push(untaken(why))).ok()
    });
    let (contained, data) = write_data(&tree, &plan, reuse, &mut *contents, &mut output, options, progress)?;
    drop(contents);
    let mut encoder = Encoder::new(options.compressor, options.block_size)
        .map_err(Error::io("compress the metadata of", path))?;
    let made = inodes::Made { tree: &tree, contained: &contained, data: &data, options, output: path };
    let (bytes, lost) = tables::write(&made, output, &mut encoder)?;
    warnings.extend(lost.warnings());
    let paths = |nodes: &[_]| nodes.iter().map(|&node| path_of(&tree, node)).collect::<Vec<PathBuf>>();
    let vanished = paths(&contained.vanished);
    Ok(Packed {
        bytes,
        files: count_files(&tree) - vanished.len() as u64,
        warnings,
        changed: paths(&contained.changed),
        vanished,
        duplicates: contained.duplicates,
        reused_bytes: data.reused,
    })
}

/// Reads, compresses and writes what is in the files.
fn write_data(
    tree: &Tree,
    plan: &Plan,
    reuse: Option<Reuse>,
    contents: &mut dyn Contents,
    output: &mut Output,
    options: &PackOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Contained, Data), Error> {
    let threads =
        options.processors.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into)).max(1);
    let block_size = options.block_size as usize;
    let length = (IN_FLIGHT / block_size).clamp(threads + 2, 8 * threads);
    let (queue, jobs, items) = queue::queue(length);
    let counters = Counters::default();
    let jobs: &Mutex<Receiver<Job>> = &jobs;
    let (read, data) = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| compress::work(jobs, options, options.reuse.as_deref()));
        }
        let reader = Reader::new(tree, queue, block_size, &counters, reuse);
        let reader = scope.spawn(|| reader.read(plan, contents));
        let mut report = |written| {
            progress(Progress {
                files: counters.files.load(Ordering::Relaxed),
                total_files: plan.files.len() as u64,
                bytes: counters.bytes.load(Ordering::Relaxed),
                total_bytes: plan.bytes,
                written,
            });
        };
        let data = output.take(items, &mut report);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (read, data)
    });
    match (read, data) {
        (Err(Stop::Error(error)), _) | (_, Err(error)) => Err(error),
        (Ok(contained), Ok(data)) => Ok((contained, data)),
        (Err(Stop::Closed), Ok(_)) => unreachable!("the queue closes when the writer has failed"),
    }
}

/// Names that are not those of directories.
fn count_files(tree: &Tree) -> u64 {
    let mut walk = tree.walk();
    std::iter::from_fn(|| walk.advance().map(|(_, _, id)| id))
        .filter(|&id| !tree.node(id).is_directory())
        .count() as u64
}
