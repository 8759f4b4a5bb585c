//! Flags of `livekit savechanges`.

use std::path::PathBuf;

use clap::Args;

use super::bundle::Compressing;

/// Save the changes of the running system as a bundle
///
/// What was written, changed and removed since the boot becomes a bundle. Put into `modules/` on the medium, every boot
/// has it; `livekit activate FILE.sb` brings it into a system that runs. The changes themselves stay as they are.
///
/// Left out are temporary and generated files, caches, logs, and unchanged copies that `livekit activate` made. Secrets
/// (private keys, password hashes and saved passwords, cookies, histories, the machine's id) are left out too, and
/// named: whoever has the bundle would have them.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  To changes-DATE-TIME.sb here (the time is UTC):
      sudo livekit savechanges
  Where the next boot takes it from, if the medium can be written to:
      sudo livekit savechanges /media/stick/livekit/modules/80-mine.sb
  What would be in it, and what not:
      sudo livekit savechanges --dry-run
  With the system's accounts and their passwords, but no other secrets:
      sudo livekit savechanges --include /etc/shadow --include /etc/gshadow
  One bundle of two earlier saves and what has changed since:
      sudo livekit savechanges 80-all.sb --merge 80-mine.sb 81-more.sb
  The changes of another session:
      sudo livekit savechanges --changes /media/stick/changes/1/upper --base 00-core.sb old.sb

The answer on standard output is the path of the bundle; what was left out is said on standard error.

Exit code: 0 done; 1 could not; 2 wrong usage; 3 done, but files changed or vanished while they were read."#)]
pub struct SaveChanges {
    /// The bundle to write, or a folder/ for it; it must not be there yet [default: changes-DATE-TIME.sb here]
    ///
    /// `.sb` is added if it is missing. Name it before --merge.
    #[arg(value_name = "FILE.sb")]
    pub file: Option<PathBuf>,

    /// Put earlier saves below the changes, into the same bundle; later ones count more
    ///
    /// What a later one removed stays removed. The same is left out of them as of the changes; they stay as they are.
    #[arg(long, value_name = "OLD.sb", num_args = 1..)]
    pub merge: Vec<PathBuf>,

    /// Take in what is left out otherwise, in the syntax of .gitignore; a secret only by its whole path [repeatable]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub include: Vec<String>,

    /// Leave out what matches, in the syntax of .gitignore; `!` takes back in [repeatable]
    ///
    /// Counts more than --include.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub exclude: Vec<String>,

    /// Take in private keys, passwords, cookies, histories, the machine's id
    #[arg(long)]
    pub with_secrets: bool,

    /// Say what would be saved and what not, with sizes, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// As JSON: file, bytes, packed, left_out, secrets, changed, vanished
    #[arg(long)]
    pub json: bool,

    /// The changes: the upper folder of an overlay [default: those of the running system]
    #[arg(long, value_name = "DIR")]
    pub changes: Option<PathBuf>,

    /// What the changes of --changes lie over: its bundles, or directories, the lowest first [repeatable]
    ///
    /// Needed where packages were installed: which of them are new is seen by comparing with dpkg's database there.
    #[arg(long, value_name = "FILE.sb", requires = "changes")]
    pub base: Vec<PathBuf>,

    #[command(flatten)]
    pub compressing: Compressing,
}
