//! `livekit sb`: Slax's words, one module for each.

mod rmsbdir;
mod sb2dir;
mod unpacked;

use crate::cli::sb::SbCommand;
use crate::error::{Ending, Failure};
use crate::output::Output;

/// Does what Slax's command of that name does.
pub fn sb(command: &SbCommand, output: &Output) -> Result<Ending, Failure> {
    match command {
        SbCommand::SbToDir(flags) => sb2dir::sb2dir(flags, output),
        SbCommand::RemoveSbDir(flags) => {
            rmsbdir::rmsbdir(&flags.directory, output)?;
            Ok(Ending::Done)
        }
    }
}
