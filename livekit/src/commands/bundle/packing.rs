//! Making a bundle, with what the user sees of it.

use std::path::Path;

use bundles::{PackOptions, Packed, Source};

use super::from_bundle;
use crate::cli::bundle::Compressing;
use crate::error::{Ending, Error, Failure, Result};
use crate::output::{Output, ratio, size};
use crate::scratch::Unfinished;
use crate::settings::{epoch, parse_block_size, parse_compressor};

/// What the flags and SOURCE_DATE_EPOCH say.
pub fn options(flags: &Compressing) -> Result<PackOptions, Failure> {
    let default = PackOptions::default();
    let compressor = flags.compressor.as_deref().map_or(Ok(default.compressor), parse_compressor);
    let block_size = flags.block_size.as_deref().map_or(Ok(default.block_size), parse_block_size);
    Ok(PackOptions {
        compressor: compressor.map_err(Failure::Usage)?,
        block_size: block_size.map_err(Failure::Usage)?,
        epoch: epoch()?,
        processors: flags.processors.map(usize::from),
        ..default
    })
}

/// Makes `path`, which users know as `name`, of `source`. Warns of what is not in it as it should be.
pub fn make(
    source: Source,
    path: &Path,
    name: &str,
    options: &PackOptions,
    output: &Output,
) -> Result<Packed> {
    let mut step = output.step(format!("Packing {name}"));
    let partial = Unfinished::new(bundles::partial_name(path));
    let mut read = 0;
    let packed = bundles::pack(source, path, options, &mut |progress| {
        read = progress.bytes;
        step.amounts(progress.into());
    })
    .map_err(|error| from_source(&error).doing(format!("packing {name}")))?;
    partial.keep();
    output.warnings(name, &packed.warnings);
    output.warnings(name, &unsteady(&packed));
    step.done(summary(&packed, read));
    Ok(packed)
}

/// An error of reading what becomes a bundle.
pub fn from_source(error: &bundles::Error) -> Error {
    let error = from_bundle(error);
    if error.message().contains("Permission denied") {
        return error.hint("run the command with sudo, or leave it out with --exclude");
    }
    error
}

/// Whether all that was there is in the bundle as it was.
pub fn ending(packed: &Packed) -> Ending {
    if packed.changed.is_empty() && packed.vanished.is_empty() { Ending::Done } else { Ending::Incomplete }
}

fn unsteady(packed: &Packed) -> Vec<String> {
    let changed = packed.changed.iter().map(|path| {
        format!("{} changed while it was read: what is in the bundle may be a mixture", path.display())
    });
    let vanished =
        packed.vanished.iter().map(|path| format!("{} vanished: it is not in the bundle", path.display()));
    changed.chain(vanished).collect()
}

fn summary(packed: &Packed, read: u64) -> String {
    let mut text = format!(
        "{} files, {} in, {} out, {}",
        packed.files,
        size(read),
        size(packed.bytes),
        ratio(packed.bytes, read)
    );
    if packed.duplicates > 0 {
        let plural = if packed.duplicates == 1 { "" } else { "s" };
        text.push_str(&format!(", {} duplicate{plural}", packed.duplicates));
    }
    if packed.reused_bytes > 0 {
        text.push_str(&format!(", {} reused", size(packed.reused_bytes)));
    }
    text
}
