//! `livekit bundle`: what is done with bundles, one module for each.

mod cat;
mod convert;
mod diff;
pub mod extract;
mod from_packages;
mod info;
mod largest;
mod list;
mod names;
mod pack;
pub mod packing;
mod plan;
pub mod sources;
mod summary;
pub mod target;
mod verify;

use bundles::{Device, Kind};

use crate::cli::bundle::BundleCommand;
use crate::error::{Ending, Error, Failure, from_chain_hinting};
use crate::output::Output;

/// Does one of the commands.
pub fn bundle(command: BundleCommand, output: &Output) -> Result<Ending, Failure> {
    match command {
        BundleCommand::Pack(flags) => return pack::pack(&flags, output),
        BundleCommand::Plan(flags) => plan::plan(flags, output)?,
        BundleCommand::List(flags) => list::list(&flags, output)?,
        BundleCommand::Cat(flags) => cat::cat(&flags, output)?,
        BundleCommand::Extract(flags) => return Ok(extract::extract(&flags, output)?),
        BundleCommand::Diff(flags) => return diff::diff(&flags, output),
        BundleCommand::Convert(flags) => return convert::convert(&flags, output),
        BundleCommand::FromPackages(flags) => return from_packages::from_packages(&flags, output),
        BundleCommand::Verify(flags) => return Ok(verify::verify(&flags, output)?),
        BundleCommand::Info(flags) => info::info(&flags, output)?,
    }
    Ok(Ending::Done)
}

/// What a node is, in words.
fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory(_) => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symlink",
        Kind::BlockDevice(_) => "block device",
        Kind::CharDevice(Device::WHITEOUT) => "whiteout",
        Kind::CharDevice(_) => "character device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

/// An error of the library, with a hint where there is one.
pub fn from_bundle(error: &bundles::Error) -> Error {
    from_chain_hinting(error, "free some space, or write elsewhere")
}
