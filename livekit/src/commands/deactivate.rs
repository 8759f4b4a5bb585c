//! `livekit deactivate`.

use crate::activation::{System, leave};
use crate::cli::running::Deactivate;
use crate::error::{Ending, Error, Failure};
use crate::output::Output;

/// Takes bundles out of the running system.
pub fn deactivate(flags: &Deactivate, output: &Output) -> Result<Ending, Failure> {
    let mut system = System::enter(output)?;
    let stack = system.stack()?;
    let mut leaving = Vec::new();
    for name in &flags.names {
        let found = stack.iter().find(|s| s.name == *name && !s.hidden);
        let found = found.ok_or_else(|| {
            let active: Vec<&str> = stack.iter().filter(|s| !s.hidden).map(|s| s.name.as_str()).collect();
            Error::new(format!("{name} is not active")).hint(format!("active are {}", active.join(", ")))
        })?;
        leaving.push(found.clone());
    }
    leave::leave(&mut system, &leaving, flags.lazy, output)?;
    leave::release(&mut system, &leaving, output)?;
    Ok(Ending::Done)
}
