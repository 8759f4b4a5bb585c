//! Whether the disk has room for a build, asked as early as it can be known.

use std::path::Path;

use crate::error::{DISK_FULL, Error, Result};
use crate::output::{Output, size};

/// Of its size on disk, no root has been seen to compress to less than this part: one in so many.
const BEST_RATIO: u64 = 8;

/// Most roots compress to less than this part.
const USUAL_RATIO: u64 = 2;

/// Boot loader, kernel, file system of the image.
const SLACK: u64 = 24 << 20;

/// How much of what is made for the image is on the disk twice while it is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// At most one [step](iso::SCRATCH_STEP).
    Step,
    /// The file that is being copied.
    File,
}

impl Twice {
    fn in_folder(folder: &Path) -> Self {
        if iso::frees_parts(folder) { Twice::Step } else { Twice::File }
    }

    /// Bytes of a file of `size` bytes.
    fn of(self, size: u64) -> u64 {
        match self {
            Twice::Step => size.min(iso::SCRATCH_STEP),
            Twice::File => size,
        }
    }
}

/// Bytes that this user can still write in `folder`; none if the file system does not tell.
fn free(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Before the bundles are made: refuses what cannot fit, warns of what may not. `root` is the size of what is packed.
pub fn check_before_packing(folder: &Path, root: u64, output: &Output) -> Result<()> {
    let Some(free) = free(folder) else { return Ok(()) };
    match judge(free, root, Twice::in_folder(folder)) {
        Verdict::Fits => Ok(()),
        Verdict::MayNotFit(need) => {
            output.warning(format!(
                "{} has {} free; the build may need {}",
                folder.display(),
                size(free),
                size(need)
            ));
            Ok(())
        }
        Verdict::CannotFit(need) => Err(too_little(folder, free, need)),
    }
}

/// Before the image is written: of the files `made` for it, with their sizes, and of `others`, which stay.
pub fn check_before_writing(folder: &Path, made: &[u64], others: u64) -> Result<()> {
    let need = needed_to_write(made, others, Twice::in_folder(folder));
    match free(folder) {
        Some(free) if free < need => Err(too_little(folder, free, need)),
        _ => Ok(()),
    }
}

fn needed_to_write(made: &[u64], others: u64, twice: Twice) -> u64 {
    let largest = made.iter().copied().max().unwrap_or_default();
    twice.of(largest).saturating_add(others).saturating_add(SLACK)
}

fn too_little(folder: &Path, free: u64, need: u64) -> Error {
    Error::new(format!(
        "{} has {} free, the build needs at least {}",
        folder.display(),
        size(free),
        size(need)
    ))
    .hint(DISK_FULL)
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fits,
    MayNotFit(u64),
    CannotFit(u64),
}

fn judge(free: u64, root: u64, twice: Twice) -> Verdict {
    let need = |ratio: u64| {
        let bundles = root / ratio;
        bundles.saturating_add(twice.of(bundles)).saturating_add(SLACK)
    };
    if free < need(BEST_RATIO) {
        Verdict::CannotFit(need(BEST_RATIO))
    } else if free < need(USUAL_RATIO) {
        Verdict::MayNotFit(need(USUAL_RATIO))
    } else {
        Verdict::Fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn verdicts() {
        for (free, root, twice, verdict) in [
            (2000, 1000, Twice::File, Verdict::Fits),
            (800, 1000, Twice::File, Verdict::MayNotFit(1024 * MIB)),
            (800, 1000, Twice::Step, Verdict::Fits),
            (500, 1000, Twice::Step, Verdict::MayNotFit(540 * MIB)),
            (150, 1000, Twice::File, Verdict::CannotFit(274 * MIB)),
            (150, 1000, Twice::Step, Verdict::CannotFit(165 * MIB)),
            (0, 0, Twice::Step, Verdict::CannotFit(24 * MIB)),
            (25, 0, Twice::File, Verdict::Fits),
        ] {
            assert_eq!(judge(free * MIB, root * MIB, twice), verdict, "{free} {root} {twice:?}");
        }
    }

    #[test]
    fn what_writing_needs() {
        for (made, twice, need) in [
            (&[600, 70, 12][..], Twice::Step, 16 + 8 + 24),
            (&[600, 70, 12], Twice::File, 600 + 8 + 24),
            (&[3, 4], Twice::Step, 4 + 8 + 24),
            (&[], Twice::File, 8 + 24),
        ] {
            let made: Vec<u64> = made.iter().map(|size| size * MIB).collect();
            assert_eq!(needed_to_write(&made, 8 * MIB, twice), need * MIB, "{made:?} {twice:?}");
        }
    }
}
