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

/// Bytes that this user can still write in `folder`; none if the file system does not tell.
fn free(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Before the bundles are made: refuses what cannot fit, warns of what may not. `root` is the size of what is packed;
/// bundles and image are on the same disk for a while.
pub fn check_before_packing(folder: &Path, root: u64, output: &Output) -> Result<()> {
    let Some(free) = free(folder) else { return Ok(()) };
    match judge(free, root) {
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

/// Before the image is written, when its size is known.
pub fn check_before_writing(folder: &Path, image: u64) -> Result<()> {
    match free(folder) {
        Some(free) if free < image.saturating_add(SLACK) => Err(too_little(folder, free, image + SLACK)),
        _ => Ok(()),
    }
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

fn judge(free: u64, root: u64) -> Verdict {
    let need = |ratio: u64| (root / ratio).saturating_mul(2).saturating_add(SLACK);
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

    #[test]
    fn verdicts() {
        const MIB: u64 = 1 << 20;
        for (free, root, verdict) in [
            (2000 * MIB, 1000 * MIB, Verdict::Fits),
            (800 * MIB, 1000 * MIB, Verdict::MayNotFit(1024 * MIB)),
            (100 * MIB, 1000 * MIB, Verdict::CannotFit(274 * MIB)),
            (0, 0, Verdict::CannotFit(24 * MIB)),
            (25 * MIB, 0, Verdict::Fits),
        ] {
            assert_eq!(judge(free, root), verdict, "{free} {root}");
        }
    }
}
