//! `livekit deactivate`.

use std::path::PathBuf;

use crate::activation::hooks::{self, Hook};
use crate::activation::stack::Stacked;
use crate::activation::{System, leave, triggers};
use crate::cli::running::Deactivate;
use crate::error::{Ending, Error, Failure, Result};
use crate::output::Output;

/// Takes bundles out of the running system.
pub fn deactivate(flags: &Deactivate, output: &Output) -> Result<Ending, Failure> {
    let mut system = System::enter(output)?;
    let stack = system.stack()?;
    let mut leaving: Vec<Stacked> = Vec::new();
    for name in &flags.names {
        let found = named(&stack, name)?;
        if !leaving.contains(found) {
            leaving.push(found.clone());
        }
    }
    send(&mut system, &leaving, flags.lazy, flags.no_triggers, output)?;
    Ok(Ending::Done)
}

/// Deactivates bundles and runs what is due before and afterwards.
pub fn send(
    system: &mut System,
    bundles: &[Stacked],
    lazy: bool,
    no_triggers: bool,
    output: &Output,
) -> Result<()> {
    leave::check(system, bundles, lazy)?;
    if !no_triggers {
        for bundle in bundles.iter().rev() {
            hooks::run(&bundle.mount, &bundle.name, Hook::Deactivate, output);
        }
    }
    leave::leave(system, bundles, lazy, output)?;
    if !no_triggers {
        let mounts: Vec<PathBuf> = bundles.iter().map(|b| b.mount.clone()).collect();
        triggers::run(&triggers::plan(&mounts, &triggers::Here), output);
    }
    leave::release(system, bundles, output)
}

/// The one active bundle of that name, with or without number and suffix.
fn named<'a>(stack: &'a [Stacked], name: &str) -> Result<&'a Stacked> {
    let seen: Vec<&Stacked> = stack.iter().filter(|s| !s.hidden).collect();
    if let Some(exact) = seen.iter().find(|s| s.name == name) {
        return Ok(exact);
    }
    let meant: Vec<&&Stacked> = seen.iter().filter(|s| hooks::satisfies(name, &s.name)).collect();
    let list = |bundles: &mut dyn Iterator<Item = &str>| bundles.collect::<Vec<_>>().join(", ");
    match meant[..] {
        [one] => Ok(one),
        [] => {
            let active = list(&mut seen.iter().map(|s| s.name.as_str()));
            Err(Error::new(format!("{name} is not active")).hint(format!("active are {active}")))
        }
        _ => {
            let several = list(&mut meant.iter().map(|s| s.name.as_str()));
            Err(Error::new(format!("{name} may be any of {several}")).hint("name it with its number"))
        }
    }
}
