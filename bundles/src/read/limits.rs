//! How much a bundle may ask for: whoever made it need not mean well.

use super::image::Image;
use crate::Error;

/// What reading a bundle may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory for paths, attributes and places of blocks, in bytes, roughly. By default 64 MiB and 32 times the size of the
    /// image, at most 8 GiB. What is missed by that are images of nothing but empty files by the million, or of holes
    /// of terabytes.
    pub memory: u64,
}

impl Limits {
    /// The default for an image of that many bytes.
    pub fn for_image(bytes: u64) -> Self {
        let memory = bytes.saturating_mul(32).saturating_add(64 << 20).min(8 << 30);
        Self { memory }
    }
}

/// What is left of the memory.
#[derive(Debug)]
pub(crate) struct Budget(u64);

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(limits.memory)
    }

    pub(crate) fn left(&self) -> u64 {
        self.0
    }

    /// Takes `bytes` for what lies `at` that place.
    pub(crate) fn take(&mut self, bytes: u64, image: &Image, at: u64) -> Result<(), Error> {
        let what = "more files, names and attributes than an image of its size should have";
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| image.malformed(at, what))?;
        Ok(())
    }
}
