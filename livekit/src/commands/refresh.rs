//! `livekit refresh`.

use std::fs;
use std::path::{Path, PathBuf};

use bundles::BundleName;

use super::activate::bring;
use super::deactivate::send;
use crate::activation::System;
use crate::activation::arrive::{Keeping, Wanted};
use crate::activation::medium::MODULES;
use crate::activation::stack::{Origin, Stacked};
use crate::activation::system::live_folder;
use crate::cli::running::Refresh;
use crate::error::{AtPath, Ending, Failure, Result};
use crate::output::Output;

/// Brings the running system up to the medium's modules.
pub fn refresh(flags: &Refresh, output: &Output) -> Result<Ending, Failure> {
    let mut system = System::enter(output)?;
    let folder = live_folder()?;
    let mut found = Vec::new();
    collect(&folder, false, &mut found)?;
    collect(&folder.join(MODULES), true, &mut found)?;
    found.sort();
    let stack = system.stack()?;
    let gone: Vec<Stacked> = stack.iter().filter(|s| is_gone(&system, s, &folder)).cloned().collect();
    let new: Vec<Wanted> = found
        .into_iter()
        .filter(|(name, _)| !stack.iter().any(|s| s.name == name.as_ref()))
        .map(|(name, file)| Wanted { origin: name.to_string(), file, copied: false })
        .collect();
    if gone.is_empty() && new.is_empty() {
        output.status("Nothing on the medium has changed.");
        return Ok(Ending::Done);
    }
    if !gone.is_empty() {
        send(&mut system, &gone, flags.lazy, flags.no_triggers, output)?;
    }
    bring(&mut system, new, Keeping::default(), flags.no_triggers, output)?;
    Ok(Ending::Done)
}

/// Whether a bundle was activated from the medium's own folders and its file is not there any more.
fn is_gone(system: &System, bundle: &Stacked, folder: &Path) -> bool {
    let activated = system.state.activated(&bundle.name);
    bundle.origin == Origin::Activated
        && activated.is_some_and(|a| {
            let of_a_boot = a.file.parent() == Some(folder) || a.file.starts_with(folder.join(MODULES));
            of_a_boot && !a.file.exists()
        })
}

/// The bundles of a folder, and of those below it if `deep`.
fn collect(folder: &Path, deep: bool, found: &mut Vec<(BundleName, PathBuf)>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if deep && e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).at("list", folder),
    };
    for entry in entries {
        let path = entry.at("list", folder)?.path();
        if path.is_dir() {
            if deep {
                collect(&path, deep, found)?;
            }
        } else if let Some(name) = path.file_name().and_then(|n| n.to_str()).and_then(BundleName::parse) {
            found.push((name, path));
        }
    }
    Ok(())
}
