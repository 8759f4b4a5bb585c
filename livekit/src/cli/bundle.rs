//! Flags of `livekit bundle`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Make, read and compare bundles
///
/// A bundle is a squashfs file with a part of a system, `NN-title.sb`. It keeps owners, modes, times, extended
/// attributes, hard links, devices and holes. Reading bundles needs no mount and no root.
#[derive(Debug, Args)]
#[command(after_long_help = "`livekit bundle help COMMAND` explains each with examples.")]
pub struct Bundle {
    #[command(subcommand)]
    pub command: BundleCommand,
}

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    Plan(Plan),
    Pack(Box<Pack>),
    List(List),
    Cat(Cat),
    Extract(Extract),
    Info(Info),
    Verify(Verify),
    Diff(Diff),
    Convert(Convert),
    FromPackages(Box<super::from_packages::FromPackages>),
}

/// How a bundle is compressed.
#[derive(Debug, Args)]
pub struct Compressing {
    /// How it is compressed: zstd, xz, gzip or lz4; zstd takes a level [default: zstd:15]
    #[arg(long, short, value_name = "NAME[:LEVEL]")]
    pub compressor: Option<String>,

    /// Bytes compressed together, 4K to 1M: more is smaller and slower to read [default: 128K]
    #[arg(long, short, value_name = "SIZE")]
    pub block_size: Option<String>,

    /// How many processors compress [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub processors: Option<u16>,
}

/// Make a bundle of directories, archives and container images
///
/// Each SOURCE is a directory, a tar archive (plain, .gz, .xz, .zst; `-` is one on standard input), another bundle, or an
/// OCI image (a directory with `oci-layout`, or an archive of one). Several are laid over each other: what a later one
/// has wins, its whiteouts take away.
///
/// The bundle is written beside its final name and renamed when it is complete. One that is there already is refused
/// unless --force is given: nothing is ever appended to it.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  A directory as a bundle:
      livekit bundle pack tree 05-tools.sb
  Smaller, and slower to make and read:
      livekit bundle pack --compressor xz --block-size 1M tree 05-tools.sb
  Leave something out (syntax of .gitignore; the directory itself is /):
      livekit bundle pack --exclude '*.pyc' --exclude '/var/log/*' tree 05-tools.sb
  From a pipe, and from a container image:
      ssh host tar cz -C / etc opt | livekit bundle pack - 07-host.sb
      livekit bundle pack image.oci.tar 10-app.sb
  One bundle for each layer of the image, named after it (10-app-1.sb, 10-app-2.sb):
      livekit bundle pack --bundle-per-layer image.oci.tar 10-app.sb
  Again, after little has changed, in a tenth of the time:
      livekit bundle pack --force --reuse 05-tools.sb tree 05-tools.sb

The answer on standard output is the path of the bundle; what it holds is said on standard error.
SOURCE_DATE_EPOCH (seconds since 1970) fixes the bundle's time and limits those of files: the same input gives the same
bytes.

Exit code: 0 done; 1 could not; 2 wrong usage; 3 done, but files changed or vanished while they were read."#)]
pub struct Pack {
    /// Directory, tar archive, `-`, bundle, or OCI image
    #[arg(value_name = "SOURCE", required = true, num_args = 1..)]
    pub sources: Vec<PathBuf>,

    /// The bundle to write
    #[arg(value_name = "OUTPUT.sb", required = true)]
    pub output: PathBuf,

    #[command(flatten)]
    pub compressing: Compressing,

    /// Leave out what matches, in the syntax of .gitignore; `!` takes back in [repeatable]
    #[arg(long, short, value_name = "PATTERN", allow_hyphen_values = true)]
    pub exclude: Vec<String>,

    /// The same from a file, one pattern on a line [repeatable]
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,

    /// Lay files out in the order of this list, a path on a line, first read first
    ///
    /// A boot reads a bundle laid out in the order of its reads faster from a disc. What the list does not name
    /// comes after, in the order of names.
    #[arg(long, value_name = "FILE")]
    pub order: Option<PathBuf>,

    /// Take what has not changed, compressed as it is, from this bundle
    ///
    /// Every byte is compared, so nothing is taken that is not the same. The old bundle must be compressed in the same way,
    /// or all is packed anew, with a warning.
    #[arg(long, value_name = "OLD.sb")]
    pub reuse: Option<PathBuf>,

    /// Everything belongs to root, whoever owns it in the source
    #[arg(long)]
    pub owned_by_root: bool,

    /// An OCI image becomes one bundle for each of its layers
    #[arg(long)]
    pub bundle_per_layer: bool,

    /// Replace a bundle that is there
    #[arg(long, short)]
    pub force: bool,
}

/// List what is in a bundle
///
/// One path on a line, relative to the root, a directory before what is in it. With PATH only what it names, and what is
/// below.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle list 00-core.sb
  livekit bundle list -l 00-core.sb etc/ssh
  livekit bundle list --json 00-core.sb | jq 'select(.size > 10000000) | .path'

-l: type and mode, names of the file, owner/group, size (or device number), time in UTC, path. Of a file with several
names all but the first show `link to` that one; a whiteout is a character device 0,0.

--json: an object on each line, with path, type, mode (octal), uid, gid, mtime, and as it applies size, target, major,
minor, link_to, xattrs (values in hexadecimal). Bytes of names that are not UTF-8 become U+FFFD."#)]
pub struct List {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,

    /// Only these, and what is below; `*`, `?`, `[…]`, `{…,…}` within a name, `**` for any directories
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// With mode, owner, size, time, and where links lead
    #[arg(long, short)]
    pub long: bool,

    /// As JSON, an object on each line
    #[arg(long, conflicts_with = "long")]
    pub json: bool,
}

/// Print files of a bundle
///
/// Writes the contents of the files to standard output, one after the other. Symbolic links are not followed.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle cat 00-core.sb etc/os-release
  livekit bundle cat 00-core.sb boot/vmlinuz-6.1.0-18-amd64 > vmlinuz"#)]
pub struct Cat {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,

    /// Files in it
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

/// Unpack a bundle
///
/// Restores owners (as root), modes, times, extended attributes, hard links, devices and holes. Nothing is ever written
/// outside the directory, whatever the bundle says.
///
/// A new directory is made under another name and renamed when it is complete. One that is there must be empty unless
/// --force is given; an interrupt leaves what was unpacked into it by then.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  To 00-core/ here:
      sudo livekit bundle extract 00-core.sb
  A part of it, over what is there:
      sudo livekit bundle extract 00-core.sb -d /mnt/root --force etc usr/share/doc

Without root, files belong to you; devices and trusted attributes, which only root can make, are left out with a
warning, and the exit code is 3. The answer on standard output is the directory."#)]
pub struct Extract {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,

    /// Only these, and what is below; `*`, `?`, `[…]`, `{…,…}` within a name, `**` for any directories
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Where to [default: here, named like the bundle without .sb]
    #[arg(long, short, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// Into a directory that is not empty; files of the same names are replaced
    #[arg(long, short)]
    pub force: bool,
}

/// Say what bundles are
///
/// Compressor, block size, time, sizes, counts, attributes, the largest directories, and whether there are whiteouts: of
/// overlayfs, which the union obeys, or of aufs, which `livekit bundle convert` translates.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle info *.sb
  livekit bundle info --json 00-core.sb | jq .ratio

--json: an object for each bundle, one on a line."#)]
pub struct Info {
    /// The bundles
    #[arg(value_name = "BUNDLE", required = true)]
    pub bundles: Vec<PathBuf>,

    /// As JSON, an object on each line
    #[arg(long)]
    pub json: bool,
}

/// Look for damage in bundles
///
/// Reads every table and every block. What is wrong is said with the path of the file and the place in the bundle, in
/// bytes. A bundle without checksums of its own cannot tell every damage: xz and zstd find nearly all, lz4 and blocks
/// that are not compressed little.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle verify /media/stick/livekit/*.sb

Exit code: 0 nothing is wrong; 1 something is, or a bundle could not be read; 2 wrong usage."#)]
pub struct Verify {
    /// The bundles
    #[arg(value_name = "BUNDLE", required = true)]
    pub bundles: Vec<PathBuf>,
}

/// Compare two bundles
///
/// A line for each path that differs: A added, D removed (in A only), M changed, with what changed: type, mode, owner,
/// size, time, content, target, device, xattrs, links.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle diff old/00-core.sb new/00-core.sb
      M etc/os-release (content, size, time)
      A usr/bin/new
      D usr/bin/old

--json: an object on each line, with path, change (added, removed, changed) and, of what changed, a list.

Exit code, as of diff(1): 0 the same; 1 different; 2 could not compare, or wrong usage."#)]
pub struct Diff {
    /// The older one
    #[arg(value_name = "A.sb")]
    pub before: PathBuf,

    /// The newer one
    #[arg(value_name = "B.sb")]
    pub after: PathBuf,

    /// As JSON, an object on each line
    #[arg(long)]
    pub json: bool,
}

/// Make an old bundle usable: whiteouts of aufs become those of overlayfs
///
/// Bundles and sessions of Slax hide files of lower layers by names as aufs has them: `.wh.NAME` hides NAME, `.wh..wh..opq`
/// everything below a directory. The union here is overlayfs, which wants a character device 0,0 and an attribute. The
/// new bundle has those instead, and is compressed anew. OLD.sb stays as it is.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle convert changes-old.sb 80-changes.sb
  livekit bundle convert --compressor xz --block-size 1M 05-old.sb 05-new.sb

A bundle without such names is compressed anew all the same: this is also how the compressor or block size of a bundle
is changed. What was translated is said on standard error; the answer on standard output is the path of the bundle."#)]
pub struct Convert {
    /// The bundle to read
    #[arg(value_name = "OLD.sb")]
    pub old: PathBuf,

    /// The bundle to write
    #[arg(value_name = "NEW.sb")]
    pub new: PathBuf,

    #[command(flatten)]
    pub compressing: Compressing,

    /// Replace a bundle that is there
    #[arg(long, short)]
    pub force: bool,
}

/// Show which bundles a build would make of a root, without packing
///
/// Prints for each bundle how many files go in and their bytes, not compressed; which patterns of its [[bundle]] table
/// in livekit.toml took how much of it; and its largest directories. An archive is unpacked for it, and a fresh Debian
/// made, in $TMPDIR.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit bundle plan
  livekit bundle plan --root /srv/root --config desktop.toml
  livekit bundle plan --root root.tar.zst --exclude '/srv/*' --json

A root is split by these tables of livekit.toml; the rest goes to 00-core:
      [[bundle]]
      name = "01-firmware"
      paths = ["/usr/lib/firmware/**"]
      [[bundle]]
      name = "05-desktop"
      packages = ["xserver-*", "firefox-esr"]
      paths = ["/usr/share/icons/**"]"#)]
pub struct Plan {
    /// What would be packed: a directory, a tar archive, or `running` [default: as build-iso]
    #[arg(long, value_name = "DIR|TAR|running", env = "LIVEKIT_ROOT")]
    pub root: Option<PathBuf>,

    /// The configuration file [default: livekit.toml here, if there is one]
    #[arg(long, value_name = "FILE", env = "LIVEKIT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Leave out what matches, in the syntax of .gitignore; `!` takes back in [repeatable]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub exclude: Vec<String>,

    /// As JSON
    #[arg(long)]
    pub json: bool,
}
