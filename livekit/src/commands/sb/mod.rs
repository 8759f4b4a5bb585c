//! `livekit sb`: Slax's words, one module for each.

mod dir2sb;
mod rmsbdir;
mod sb2dir;
mod unpacked;

pub use unpacked::MARKER;

use crate::cli::sb::SbCommand;
use crate::error::{Ending, Failure};
use crate::output::Output;

/// Does what Slax's command of that name does.
pub fn sb(command: &SbCommand, output: &Output) -> Result<Ending, Failure> {
    match command {
        SbCommand::DirToSb(flags) => dir2sb::dir2sb(flags, output),
        SbCommand::SbToDir(flags) => sb2dir::sb2dir(flags, output),
        SbCommand::RemoveSbDir(flags) => {
            rmsbdir::rmsbdir(&flags.directory, output)?;
            Ok(Ending::Done)
        }
    }
}
