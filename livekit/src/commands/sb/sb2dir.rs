//! `livekit sb sb2dir`.

use std::path::Path;

use bundles::{Bundle, ExtractOptions};

use super::unpacked::{exchange, mark};
use crate::cli::sb::SbToDir;
use crate::commands::bundle::{extract, from_bundle, target};
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::output::Output;
use crate::scratch::Scratch;

/// Unpacks a bundle. The directory is the answer.
pub fn sb2dir(flags: &SbToDir, output: &Output) -> Result<Ending, Failure> {
    let is_root = rustix::process::geteuid().is_root();
    let options = ExtractOptions { owners: is_root, ..ExtractOptions::default() };
    let bundle = Bundle::open(&flags.file).map_err(|error| from_bundle(&error))?;
    let Some(directory) = &flags.directory else {
        if flags.file.extension().is_none_or(|suffix| suffix != "sb") {
            let error = Error::new(format!("the name of {} does not end in .sb", flags.file.display()));
            return Err(Failure::Usage(error.hint("name the directory: livekit sb sb2dir FILE DIR")));
        }
        if !is_root {
            let error = Error::new(format!(
                "{} stays: its files have owners that only root can set",
                flags.file.display()
            ));
            return Err(error.hint("run the command with sudo, or name a directory").into());
        }
        replace(&bundle, &options, output)?;
        output.answer(flags.file.display().to_string())?;
        return Ok(Ending::Done);
    };
    let extracted = extract::to_directory(&bundle, directory, &options, output).map_err(|error| {
        let hint = "choose another directory, or unpack over it: livekit bundle extract --force";
        if error.message().ends_with("is not empty") { Error::new(error.message()).hint(hint) } else { error }
    })?;
    mark(directory)?;
    output.answer(directory.display().to_string())?;
    Ok(if extracted.warnings.is_empty() { Ending::Done } else { Ending::Incomplete })
}

/// Turns a bundle into the directory of its name, at once, and only if that has all of it.
fn replace(bundle: &Bundle, options: &ExtractOptions, output: &Output) -> Result<()> {
    // A link to a bundle stays, and leads to the directory then.
    let file = bundle.path().canonicalize().at("find", bundle.path())?;
    let scratch = Scratch::new_in(&target::folder(&file)?)?;
    let unpacked = scratch.join("unpacked");
    let extracted = extract::show(bundle, &unpacked, Path::new(bundle.path()), options, output)?;
    if !extracted.warnings.is_empty() {
        let error = Error::new(format!("{} stays: not all of it would be in the directory", file.display()));
        return Err(error.hint("name a directory beside it: livekit sb sb2dir FILE.sb DIR"));
    }
    mark(&unpacked)?;
    exchange(&unpacked, &file)
}
