//! Files that are neither regular, nor folders, nor links.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::error::{AtPath, Result};

/// Makes a device, a pipe or a socket like the one that `about` is of, with its mode.
pub fn make_like(about: &Metadata, to: &Path) -> Result<()> {
    let kind = about.file_type();
    let kind = if kind.is_char_device() {
        FileType::CharacterDevice
    } else if kind.is_block_device() {
        FileType::BlockDevice
    } else if kind.is_fifo() {
        FileType::Fifo
    } else {
        FileType::Socket
    };
    mknodat(CWD, to, kind, Mode::from_raw_mode(about.mode() & 0o7777), about.rdev()).at("make the node", to)
}
