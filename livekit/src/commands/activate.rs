//! `livekit activate`.

use crate::activation::arrive::{self, Keeping, Wanted};
use crate::activation::{System, source};
use crate::cli::running::Activate;
use crate::error::{Ending, Failure};
use crate::output::Output;

/// Adds bundles to the running system.
pub fn activate(flags: &Activate, output: &Output) -> Result<Ending, Failure> {
    let mut system = System::enter(output)?;
    let keeping = Keeping { keep: flags.keep, persist: flags.persist };
    let mut wanted = Vec::new();
    for typed in &flags.files {
        let hidden = system.stack()?.into_iter().find(|s| s.hidden && s.name == *typed);
        if let Some(bundle) = hidden {
            arrive::show_again(&mut system, &bundle, output)?;
            continue;
        }
        let file = source::find(typed, |_| None)?;
        wanted.push(Wanted { origin: typed.clone(), file, copied: false });
    }
    if !wanted.is_empty() {
        arrive::arrive(&mut system, wanted, keeping, output)?;
    }
    Ok(Ending::Done)
}
