//! `livekit bundle extract`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use bundles::{Bundle, BundleName, ExtractOptions, Extracted, extract as unpack};

use super::{from_bundle, target};
use crate::cli::bundle::Extract;
use crate::error::{AtPath, Ending, Error, Result};
use crate::output::{Amounts, Output, size};
use crate::scratch::Scratch;

/// Unpacks a bundle. The directory is the answer.
pub fn extract(flags: &Extract, output: &Output) -> Result<Ending> {
    let directory = flags.directory.clone().map_or_else(|| default_directory(&flags.bundle), Ok)?;
    let options = ExtractOptions {
        only: flags.paths.clone(),
        owners: rustix::process::geteuid().is_root(),
        force: flags.force,
        ..ExtractOptions::default()
    };
    let bundle = Bundle::open(&flags.bundle).map_err(|error| from_bundle(&error))?;
    let extracted = to_directory(&bundle, &directory, &options, output)?;
    output.answer(directory.display().to_string())?;
    Ok(if extracted.warnings.is_empty() { Ending::Done } else { Ending::Incomplete })
}

/// Unpacks into a directory, which gets its name when it is complete if there is none of that name yet.
pub fn to_directory(
    bundle: &Bundle,
    directory: &Path,
    options: &ExtractOptions,
    output: &Output,
) -> Result<Extracted> {
    match directory.symlink_metadata() {
        Ok(_) if !directory.is_dir() => {
            Err(Error::new(format!("{} is not a directory", directory.display())))
        }
        Ok(_) => {
            let empty = directory.read_dir().at("list", directory)?.next().is_none();
            if !empty && !options.force {
                let error = Error::new(format!("{} is not empty", directory.display()));
                return Err(error.hint("--force unpacks into it, and replaces files of the same names"));
            }
            show(bundle, directory, directory, options, output)
        }
        Err(_) => {
            let scratch = Scratch::new_in(&target::folder(directory)?)?;
            let unpacked = scratch.join("unpacked");
            let extracted = show(bundle, &unpacked, directory, options, output)?;
            std::fs::rename(&unpacked, directory).at("make", directory)?;
            Ok(extracted)
        }
    }
}

/// Unpacks into `place`, which users know as `directory`.
pub fn show(
    bundle: &Bundle,
    place: &Path,
    directory: &Path,
    options: &ExtractOptions,
    output: &Output,
) -> Result<Extracted> {
    let name = bundle.path().display().to_string();
    let mut step = output.step(format!("Unpacking {name} to {}", directory.display()));
    let extracted = unpack(bundle, place, options, &mut |progress| {
        step.amounts(Amounts {
            files: (progress.files, progress.total_files),
            bytes: (progress.bytes, progress.total_bytes),
            written: None,
        });
    })
    .map_err(|error| from_bundle(&error).doing(format!("unpacking {name}")))?;
    output.warnings(&name, &extracted.warnings);
    step.done(format!("{} files, {}", extracted.files, size(extracted.bytes)));
    Ok(extracted)
}

/// The bundle's name without .sb, here.
fn default_directory(bundle: &Path) -> Result<PathBuf> {
    let name = bundle.file_name().and_then(OsStr::to_str).filter(|name| BundleName::parse(name).is_some());
    match name.and_then(|name| name.strip_suffix(".sb")) {
        Some(stem) => Ok(PathBuf::from(stem)),
        None => Err(Error::new(format!("the name of {} does not end in .sb", bundle.display()))
            .hint("name the directory with --directory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_called_like_bundles() {
        for (bundle, directory) in [
            ("/media/x/05-tools.sb", Some("05-tools")),
            ("a.sb.sb", Some("a.sb")),
            (".sb", None),
            ("x.iso", None),
        ] {
            let found = default_directory(Path::new(bundle)).ok();
            assert_eq!(found.as_deref(), directory.map(Path::new), "{bundle}");
        }
    }
}
