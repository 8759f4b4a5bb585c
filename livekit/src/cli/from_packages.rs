//! Flags of `livekit bundle from-packages`.

use std::path::PathBuf;

use clap::Args;

use super::bundle::Compressing;

/// Make a bundle of Debian packages
///
/// Installs the packages with apt, and what they need and the system has not, in a throw-away union over it: over the
/// running system, unless --root or --base says otherwise. What that changes becomes the bundle. The system itself stays
/// as it is: no service is started, no question is asked, and all mounts are seen by this command alone. Needs root.
///
/// While the bundle is active, dpkg -l shows its packages. Users and groups that the packages need are in the bundle as a
/// file for systemd-sysusers.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  What would be installed, with sizes:
      sudo livekit bundle from-packages --dry-run 20-vim vim
  A bundle for the system that runs (20-vim.sb):
      sudo livekit bundle from-packages 20-vim vim vim-doc
  Without recommended packages, from fresh lists:
      sudo livekit bundle from-packages --no-recommends --update 30-web nginx
  For another system: a directory, or the bundles of a kit, lowest first:
      sudo livekit bundle from-packages --root /srv/root 20-vim vim
      sudo livekit bundle from-packages --base 00-core.sb --base 01-firmware.sb 20-vim vim

What the system has is not in the bundle: it fits this system, and others with the same packages.
PACKAGE may be anything that apt-get install understands, such as vim=2:9 or vim/bookworm-backports.

Everything is made in $TMPDIR, else /var/tmp; in memory where a union cannot write to that. The
answer on standard output is the path of the bundle; with --dry-run a line for each package: name,
version, architecture, bytes to download, bytes installed, with tabs between.

Exit code: 0 done; 1 could not, apt's messages say why; 2 wrong usage."#)]
pub struct FromPackages {
    /// The bundle to write; .sb is added where it is missing. One that is there is never replaced
    #[arg(value_name = "NAME")]
    pub name: PathBuf,

    /// Packages, as apt-get install takes them
    #[arg(value_name = "PACKAGE", required = true, num_args = 1.., value_parser = package)]
    pub packages: Vec<String>,

    /// The system it is for: a directory with a Debian in it
    #[arg(long, value_name = "DIR", conflicts_with = "base")]
    pub root: Option<PathBuf>,

    /// The system it is for: a bundle of it, lowest first [repeatable]
    #[arg(long, value_name = "FILE.sb")]
    pub base: Vec<PathBuf>,

    /// Without the packages that others recommend [default: as apt is configured]
    #[arg(long)]
    pub no_recommends: bool,

    /// Fetch apt's package lists, even if there are some
    #[arg(long)]
    pub update: bool,

    /// Take newer versions of packages of the system into the bundle, where they are needed
    ///
    /// Such a bundle fits only a system with the very versions that this one has. Without it, that is an error.
    #[arg(long)]
    pub upgrade: bool,

    /// Say what would be installed, and make nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub compressing: Compressing,
}

/// A package, and no flag of apt's; nor `vim-`, which would have apt remove it.
fn package(word: &str) -> Result<String, String> {
    if word.is_empty() || word.starts_with('-') || word.ends_with('-') {
        return Err("it is not a package".to_owned());
    }
    Ok(word.to_owned())
}
