//! `livekit activate`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::activation::arrive::{self, Keeping, Wanted};
use crate::activation::hooks::{self, Hook};
use crate::activation::system::{live_folder, memory_folder};
use crate::activation::{System, medium, source, triggers};
use crate::cli::running::Activate;
use crate::download::{self, Digest, address};
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::output::Output;

/// Adds bundles to the running system.
pub fn activate(flags: &Activate, output: &Output) -> Result<Ending, Failure> {
    let expected = expected(flags).map_err(Failure::Usage)?;
    let mut system = System::enter(output)?;
    let keeping = Keeping { keep: flags.keep, persist: flags.persist };
    let (mut wanted, mut fetched) = (Vec::new(), Fetched::default());
    for typed in &flags.files {
        if address::is_address(typed) {
            wanted.push(fetched.add(typed, expected.as_ref(), keeping, output)?);
            continue;
        }
        let stack = system.stack()?;
        if let Some(hidden) = stack.iter().find(|s| s.hidden && hooks::satisfies(typed, &s.name)) {
            arrive::show_again(&mut system, hidden, output)?;
            afterwards(&[(hidden.name.clone(), hidden.mount.clone())], flags.no_triggers, output);
            continue;
        }
        wanted.push(find(typed)?);
    }
    bring(&mut system, wanted, keeping, flags.no_triggers, output)?;
    fetched.keep();
    Ok(Ending::Done)
}

/// What an address has to have.
fn expected(flags: &Activate) -> Result<Option<Digest>> {
    let Some(text) = &flags.sha256 else { return Ok(None) };
    if flags.files.len() != 1 || !address::is_address(&flags.files[0]) {
        return Err(
            Error::new("--sha256 is for one address").hint("activate the others by a command of their own")
        );
    }
    text.parse().map(Some).map_err(Error::new)
}

/// Files that were downloaded, and are removed again unless their bundles are active in the end.
#[derive(Default)]
struct Fetched(Vec<PathBuf>);

impl Fetched {
    fn add(
        &mut self,
        typed: &str,
        expected: Option<&Digest>,
        keeping: Keeping,
        output: &Output,
    ) -> Result<Wanted> {
        let fetch = |folder: &Path| download::fetch(typed, folder, expected, output);
        let to_medium = keeping.keep || keeping.persist;
        let file = if to_medium {
            medium::fill_modules(fetch)?
        } else {
            let folder = memory_folder();
            fs::create_dir_all(&folder).at("make the directory", &folder)?;
            fetch(&folder)?
        };
        self.0.push(file.clone());
        Ok(Wanted { origin: address::shown(typed), file, copied: !to_medium })
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        for file in self.0.iter().filter(|file| file.exists()) {
            let removed = if file.starts_with(memory_folder()) {
                fs::remove_file(file).at("remove", file)
            } else {
                medium::remove(file)
            };
            if let Err(e) = removed {
                live::log::warning(format_args!("{e}"));
            }
        }
    }
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
