//! `livekit activate`.

use std::path::PathBuf;

use crate::activation::arrive::{self, Keeping, Wanted};
use crate::activation::hooks::{self, Hook};
use crate::activation::system::live_folder;
use crate::activation::{System, source, triggers};
use crate::cli::running::Activate;
use crate::error::{Ending, Failure, Result};
use crate::output::Output;

/// Adds bundles to the running system.
pub fn activate(flags: &Activate, output: &Output) -> Result<Ending, Failure> {
    let mut system = System::enter(output)?;
    let keeping = Keeping { keep: flags.keep, persist: flags.persist };
    let mut wanted = Vec::new();
    for typed in &flags.files {
        let stack = system.stack()?;
        if let Some(hidden) = stack.iter().find(|s| s.hidden && hooks::satisfies(typed, &s.name)) {
            arrive::show_again(&mut system, hidden, output)?;
            afterwards(&[(hidden.name.clone(), hidden.mount.clone())], flags.no_triggers, output);
            continue;
        }
        wanted.push(find(typed)?);
    }
    bring(&mut system, wanted, keeping, flags.no_triggers, output)?;
    Ok(Ending::Done)
}

/// Activates bundles and runs what is due afterwards.
pub fn bring(
    system: &mut System,
    wanted: Vec<Wanted>,
    keeping: Keeping,
    no_triggers: bool,
    output: &Output,
) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let arrived = arrive::arrive(system, wanted, keeping, output)?;
    let arrived: Vec<(String, PathBuf)> = arrived.into_iter().map(|a| (a.name, a.mount)).collect();
    afterwards(&arrived, no_triggers, output);
    Ok(())
}

/// The file that the user means.
fn find(typed: &str) -> Result<Wanted> {
    let folder = live_folder().ok();
    let file = source::find(typed, |name| hooks::find_on(folder.as_ref()?, name))?;
    Ok(Wanted { origin: typed.to_owned(), file, copied: false })
}

/// What is due when bundles have come: the system's caches and services, then the bundles' own scripts.
fn afterwards(bundles: &[(String, PathBuf)], no_triggers: bool, output: &Output) {
    if no_triggers {
        return;
    }
    let mounts: Vec<PathBuf> = bundles.iter().map(|(_, mount)| mount.clone()).collect();
    triggers::run(&triggers::plan(&mounts, &triggers::Here), output);
    for (name, mount) in bundles {
        hooks::run(mount, name, Hook::Activate, output);
    }
}
