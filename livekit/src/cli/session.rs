//! Flags of `livekit session`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Manage the sessions that changes are kept in
///
/// A session is what was written, changed and removed since it was begun. `perch` on the kernel's command line goes on
/// with the default one, `perchdir=new` begins another, `perchdir=N` takes that of number N. `livekit status` shows
/// which one is in use.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit session list
  livekit session snapshot                     # the next boot keeps the present state
  livekit session back 2                       # the next boot goes back to snapshot 2
  livekit session copy 1 "before the upgrade"
  livekit session export 1 session.sb          # to another stick, with `import`"#)]
pub struct Session {
    /// The folder of sessions [default: that of the running system, else `changes` on the medium]
    #[arg(long, value_name = "DIR", global = true)]
    pub folder: Option<PathBuf>,

    #[command(subcommand)]
    pub command: SessionCommand,
}

#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List the sessions: `*` is in use, `>` is the one that the next boot goes on with
    List {
        /// As JSON: number, name, created, used, size, kind, snapshots, in_use, default
        #[arg(long)]
        json: bool,
    },
    /// Make a session for the next boot, with nothing in it; its number is the answer
    New {
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Have the boot that first opens it ask for a passphrase and encrypt it (LUKS2)
        #[arg(long)]
        encrypt: bool,
    },
    /// Copy a session that is not in use; the copy's number is the answer
    Copy {
        #[arg(value_name = "SESSION")]
        session: String,
        /// The copy's name
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Remove a session that is not in use, for good
    Delete {
        #[arg(value_name = "SESSION")]
        session: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Give a session a name
    Rename {
        #[arg(value_name = "SESSION")]
        session: String,
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have the next boots go on with this session
    SetDefault {
        #[arg(value_name = "SESSION")]
        session: String,
    },
    /// Have the next boot take a snapshot of a session, that can be gone back to
    Snapshot {
        /// [default: the one in use]
        #[arg(value_name = "SESSION")]
        session: Option<String>,
    },
    /// Have the next boot go back to a snapshot of a session; what came later is put aside
    Back {
        /// Its number
        #[arg(value_name = "SNAPSHOT")]
        snapshot: u32,
        /// [default: the one in use]
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
    },
    /// Have the next boot begin a session anew; what was in it is put aside
    Reset {
        /// [default: the one in use]
        #[arg(value_name = "SESSION")]
        session: Option<String>,
    },
    /// Pack a session into a file
    Export {
        #[arg(value_name = "SESSION")]
        session: String,
        #[arg(value_name = "FILE.sb")]
        file: PathBuf,
    },
    /// Make a session of a file that `export` has made; its number is the answer
    Import {
        #[arg(value_name = "FILE.sb")]
        file: PathBuf,
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}
