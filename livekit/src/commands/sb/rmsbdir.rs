//! `livekit sb rmsbdir`.

use std::path::Path;

use super::unpacked::{MARKER, is_marked, whole};
use crate::error::{AtPath, Error, Result};
use crate::interrupt;
use crate::output::Output;

/// Removes a directory made by sb2dir.
pub fn rmsbdir(directory: &Path, output: &Output) -> Result<()> {
    let real = whole(directory)?;
    if !is_marked(&real) {
        return Err(Error::new(format!(
            "{} was not made by sb2dir: it has no {MARKER}",
            directory.display()
        ))
        .hint(format!("if nothing in it is needed: rm -r {}", directory.display())));
    }
    let step = output.step(format!("Removing {}", directory.display()));
    interrupt::remove_tree(&real).at("remove", &real)?;
    step.done("gone");
    Ok(())
}
