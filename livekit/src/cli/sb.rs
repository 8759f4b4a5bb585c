//! Flags of `livekit sb`: Slax's words.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Slax's commands for bundles, by their names
#[derive(Debug, Args)]
#[command(
    after_long_help = "`livekit bundle` has more: excluded files, archives, comparison, repair of old bundles."
)]
pub struct Sb {
    #[command(subcommand)]
    pub command: SbCommand,
}

#[derive(Debug, Subcommand)]
pub enum SbCommand {
    #[command(name = "dir2sb")]
    DirToSb(DirToSb),
    #[command(name = "sb2dir")]
    SbToDir(SbToDir),
    #[command(name = "rmsbdir")]
    RemoveSbDir(RemoveSbDir),
}

/// Make a bundle of a directory
///
/// Of a directory whose own name ends in .sb (as sb2dir makes them) the bundle has what is in it; without FILE.sb the
/// directory is replaced by the file of its name, and is gone then. Of any other directory, but for one called
/// squashfs-root, the bundle has the directory itself; FILE.sb must be given. A file that is there is never replaced.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit sb dir2sb 05-tools.sb                a directory, turned into the file
  livekit sb dir2sb 05-tools.sb 06-copy.sb     a directory, which stays
  livekit sb dir2sb opt 05-tools.sb            a bundle with /opt

Other than in Slax: compressed with zstd in blocks of 128 KiB, which a live system reads faster than xz in blocks of
1 MiB (`livekit bundle pack --compressor xz --block-size 1M` makes those); a directory is replaced only if all of it is
in the bundle, it is no mount point, and nothing is mounted in it."#)]
pub struct DirToSb {
    /// The directory
    #[arg(value_name = "DIR[.sb]")]
    pub directory: PathBuf,

    /// The bundle to write
    #[arg(value_name = "FILE.sb")]
    pub file: Option<PathBuf>,
}

/// Unpack a bundle to a directory
///
/// Without DIR the file is replaced by a directory of its name, which is root's to do: `livekit sb dir2sb` turns it back.
/// With DIR, which must be new or empty, the file stays.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit sb sb2dir 05-tools.sb                the file, turned into a directory of that name
  livekit sb sb2dir 05-tools.sb tools          the file stays
  livekit sb rmsbdir tools

Other than in Slax: extended attributes are kept; DIR need not exist; no tmpfs is mounted on the directory (Slax needs
that because a directory in its union cannot be a layer of aufs): its files take room on the disk, and outlive a
restart. A file `.livekit-sb2dir` in it tells rmsbdir that the directory may be removed. dir2sb leaves it out. To unpack
over files that are there: `livekit bundle extract --force`."#)]
pub struct SbToDir {
    /// The bundle
    #[arg(value_name = "FILE.sb")]
    pub file: PathBuf,

    /// The directory
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Remove a directory made by sb2dir
///
/// With everything in it. Refused are directories without the file `.livekit-sb2dir` that sb2dir leaves in them, symbolic
/// links, mount points, and directories with anything mounted below.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit sb rmsbdir tools

Other than in Slax, which unmounts and removes whatever it is given."#)]
pub struct RemoveSbDir {
    /// The directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
