//! Regular files, written on all processors.

use std::fs::File as OpenFile;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::place::Place;
use super::plan::File;
use super::{ExtractProgress, Job};
use crate::Error;
use crate::read::parallel::each;
use crate::read::{ContentReader, Piece};

/// How far all threads together are.
#[derive(Default)]
struct Done {
    files: AtomicU64,
    bytes: AtomicU64,
}

/// Writes all files of a plan. Those that end in the same fragment block are one thread's.
pub(super) fn write_files(
    job: &Job<'_>,
    processors: Option<usize>,
    progress: &mut dyn FnMut(ExtractProgress),
) -> Result<ExtractProgress, Error> {
    let files = in_stored_order(job)?;
    let groups: Vec<&[Placed<'_>]> =
        files.chunk_by(|a, b| a.fragment.is_some() && a.key() == b.key()).collect();
    let total = ExtractProgress {
        files: 0,
        bytes: 0,
        total_files: files.len() as u64,
        total_bytes: files.iter().fold(0, |sum, placed| sum.saturating_add(placed.file.size)),
    };
    let done = Done::default();
    let now = || ExtractProgress {
        files: done.files.load(Ordering::Relaxed),
        bytes: done.bytes.load(Ordering::Relaxed),
        ..total
    };
    let (stop, failure) = (AtomicBool::new(false), Mutex::new(None));
    let write_group = |place: &mut Place<'_>, group: &&[Placed<'_>]| {
        let result = group.iter().try_for_each(|placed| write(job, place, placed.file, &done, &stop));
        if let Err(error) = result {
            stop.store(true, Ordering::Relaxed);
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        !stop.load(Ordering::Relaxed)
    };
    each(&groups, processors, &mut || progress(now()), || job.place(), write_group);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(now()),
    }
}

/// A file with the place of its bytes.
struct Placed<'a> {
    file: File<'a>,
    start: u64,
    /// If all of it is in one.
    fragment: Option<u32>,
}

impl Placed<'_> {
    fn key(&self) -> (Option<u32>, u64) {
        (self.fragment, if self.fragment.is_some() { 0 } else { self.start })
    }
}

fn in_stored_order<'a>(job: &Job<'a>) -> Result<Vec<Placed<'a>>, Error> {
    let mut files = Vec::with_capacity(job.plan.files.len());
    for &file in &job.plan.files {
        let stored = job.bundle.file(file.content)?;
        let first = stored.blocks().next();
        let fragment = if first.is_none() { stored.fragment().map(|(index, _)| index) } else { None };
        files.push(Placed { file, start: first.map_or(0, |block| block.start), fragment });
    }
    files.sort_by_key(Placed::key);
    Ok(files)
}

fn write(
    job: &Job<'_>,
    place: &mut Place<'_>,
    file: File<'_>,
    done: &Done,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let named = file.named;
    let failed = |errno| job.error("create", named, errno);
    let directory = place.enter(named.directory).map_err(failed)?;
    job.clear(directory, named.name).map_err(failed)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open: OpenFile =
        openat(directory, named.name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?.into();
    let unwritten =
        |error: std::io::Error| job.error("write", named, Errno::from_io_error(&error).unwrap_or(Errno::IO));
    let mut reader = ContentReader::new(job.bundle, job.bundle.file(file.content)?);
    let (mut at, mut holes) = (0_u64, false);
    while let Some(piece) = reader.piece()? {
        let length = match piece {
            Piece::Bytes(bytes) => {
                open.write_all_at(bytes, at).map_err(unwritten)?;
                bytes.len() as u64
            }
            Piece::Hole(length) => {
                holes = true;
                length
            }
        };
        at = at.saturating_add(length);
        done.bytes.fetch_add(length, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    if holes {
        open.set_len(at).map_err(unwritten)?;
    }
    job.restore
        .open(open.as_fd(), job.tree.node(named.id), job.lost)
        .map_err(|errno| job.error("restore the attributes of", named, errno))?;
    done.files.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
