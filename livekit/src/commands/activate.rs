//! `livekit activate`.

use std::fs;
use std::path::PathBuf;

use crate::activation::arrive::{self, Keeping, Wanted};
use crate::activation::hooks::{self, Hook};
use crate::activation::system::{live_folder, memory_folder};
use crate::activation::{System, source, triggers};
use crate::cli::running::Activate;
use crate::download::{self, Digest, address};
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::output::Output;
use crate::scratch::Unfinished;

/// Adds bundles to the running system.
pub fn activate(flags: &Activate, output: &Output) -> Result<Ending, Failure> {
    let expected = expected(flags).map_err(Failure::Usage)?;
    let mut system = System::enter(output)?;
    let keeping = Keeping { keep: flags.keep, persist: flags.persist };
    let (mut wanted, mut fetched) = (Vec::new(), Fetched::default());
    for typed in &flags.files {
        if address::is_address(typed) {
            // Not only after gigabytes have come.
            if let Some(name) = address::Address::parse(typed)?.file_name() {
                arrive::not_twice(&system, &name)?;
            }
            wanted.push(fetched.add(typed, expected.as_ref(), output)?);
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

/// Files that were downloaded to memory. They are removed, on Ctrl-C too, unless their bundles are active in the end; what
/// is to be on the medium goes there when the bundle has proved to be of use.
#[derive(Default)]
struct Fetched(Vec<Unfinished>);

impl Fetched {
    fn add(&mut self, typed: &str, expected: Option<&Digest>, output: &Output) -> Result<Wanted> {
        let folder = memory_folder();
        fs::create_dir_all(&folder).at("make the directory", &folder)?;
        let file = download::fetch(typed, &folder, expected, output)?;
        self.0.push(Unfinished::new(file.clone()));
        Ok(Wanted { origin: address::shown(typed), file, copied: true })
    }

    fn keep(self) {
        self.0.into_iter().for_each(Unfinished::keep);
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
