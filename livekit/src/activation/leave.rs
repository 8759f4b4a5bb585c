//! Bundles go: out of the covers at once, and off their loop devices when nobody uses them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use live::dpkg;

use super::arrive::DPKG_PATIENCE;
use super::holders::{self, Holder, Search};
use super::hooks;
use super::stack::{Origin, Stacked};
use super::system::{System, covered, covers_of};
use crate::error::{Error, Result};
use crate::output::Output;

/// How many users of a bundle are named.
const NAMED: usize = 10;

/// Refuses what cannot go: what others require, the running init, and, unless `lazy`, what somebody uses.
pub fn check(system: &System, bundles: &[Stacked], lazy: bool) -> Result<()> {
    not_required(system, bundles)?;
    for bundle in bundles {
        not_the_init(system, bundle)?;
        if lazy {
            continue;
        }
        let users = holders(system, bundle)?;
        if !users.is_empty() {
            return Err(in_use(bundle, &users));
        }
    }
    Ok(())
}

/// Takes `bundles` out of what is seen, after another [`check`]: a script of theirs may have changed things. They stay
/// mounted until [`release`].
pub fn leave(system: &mut System, bundles: &[Stacked], lazy: bool, output: &Output) -> Result<()> {
    let _dpkg = dpkg::Lock::take(Path::new("/"), DPKG_PATIENCE)?;
    check(system, bundles, lazy)?;
    let mut places = BTreeSet::new();
    for bundle in bundles {
        places.extend(covers_of(&bundle.mount)?);
    }
    let mut next = system.state.clone();
    for bundle in bundles {
        match bundle.origin {
            Origin::Boot => next.hidden.push(bundle.name.clone()),
            Origin::Activated => {
                next.leaving.extend(next.activated.iter().find(|a| a.name == bundle.name).cloned());
                next.activated.retain(|a| a.name != bundle.name);
            }
        }
    }
    system.change(next, &places, output)?;
    match system.tidy_copies()? {
        0 => {}
        kept => output.status(format!("{kept} copied files that you have changed stay")),
    }
    system.tell_dpkg(output);
    Ok(())
}

/// Unmounts the bundles that have left, and tells what became of each.
pub fn release(system: &mut System, bundles: &[Stacked], output: &Output) -> Result<()> {
    let since = |name: &str| system.state.leaving.iter().find(|l| l.name == name).map_or(0, |l| l.since_boot);
    let times: Vec<u64> = bundles.iter().map(|bundle| since(&bundle.name)).collect();
    system.release()?;
    for (bundle, since) in bundles.iter().zip(&times) {
        let name = &bundle.name;
        match bundle.origin {
            Origin::Boot => output.status(format!(
                "Deactivated {name}; it came with the boot and is released at the next one, which takes it again (noload={name})"
            )),
            Origin::Activated => output.status(match still_held(*since) {
                None => format!("Deactivated {name}"),
                Some(by) => format!("Deactivated {name}; {} is freed when these end: {by}", bundle.device),
            }),
        }
    }
    Ok(())
}

/// The processes that were started while a bundle was active and still run from the view of that time.
fn still_held(since: u64) -> Option<String> {
    let holders = holders::of_old_views(since);
    let named: Vec<String> = holders.iter().take(NAMED).map(|h| format!("{} ({})", h.name, h.pid)).collect();
    let more = holders.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| named.join(", ") + &more)
}

/// Refuses what another bundle that stays requires.
fn not_required(system: &System, leaving: &[Stacked]) -> Result<()> {
    let stack = system.stack()?;
    let goes = |bundle: &Stacked| leaving.iter().any(|l| l.name == bundle.name);
    let stays: Vec<&Stacked> = stack.iter().filter(|s| !s.hidden && !goes(s)).collect();
    for bundle in &stays {
        for required in hooks::requires(&bundle.mount)? {
            let met = stays.iter().any(|s| hooks::satisfies(&required, &s.name));
            if let Some(lost) = leaving.iter().find(|l| !met && hooks::satisfies(&required, &l.name)) {
                let what = format!("{} requires {}", bundle.name, lost.name);
                return Err(Error::new(what).hint("name both to deactivate both"));
            }
        }
    }
    Ok(())
}

/// Who uses a bundle.
fn holders(system: &System, bundle: &Stacked) -> Result<Vec<Holder>> {
    let others: Vec<PathBuf> = system
        .stack()?
        .into_iter()
        .filter(|s| s.name != bundle.name && !s.hidden)
        .map(|s| s.mount)
        .chain([system.changes().upper()])
        .collect();
    Ok(Search::new(&bundle.mount, &others, covered()?).holders())
}

fn in_use(bundle: &Stacked, users: &[Holder]) -> Error {
    let mut lines: Vec<String> =
        users.iter().take(NAMED).map(|u| format!("  {} ({}) {}", u.name, u.pid, u.what)).collect();
    if users.len() > NAMED {
        lines.push(format!("  and {} more", users.len() - NAMED));
    }
    Error::new(format!("{} is in use:\n{}", bundle.name, lines.join("\n")))
        .hint("end these first, or use --lazy: they keep what they have, and the bundle is freed with the last of them")
}

/// Refuses the bundle that the running init is of: nothing could be started or shut down any more.
fn not_the_init(system: &System, bundle: &Stacked) -> Result<()> {
    let Ok(init) = fs::read_link("/proc/1/exe") else { return Ok(()) };
    let covered = covered()?;
    // Its own view may be that of a cover that is gone.
    let places: Vec<PathBuf> = [PathBuf::new()].into_iter().chain(covered).collect();
    let below = init.strip_prefix("/").unwrap_or(&init);
    let found_in = |bundle: &Stacked| {
        let mut paths = places.iter().map(|place| place.join(below));
        paths.find(|path| bundle.mount.join(path).is_file())
    };
    let stack = system.stack()?;
    let mut seen = stack.iter().rev().filter(|s| !s.hidden);
    if let Some((highest, path)) = seen.find_map(|s| Some((s, found_in(s)?)))
        && highest.name == bundle.name
    {
        let what = format!("{} holds the running init, /{}", bundle.name, path.display());
        return Err(Error::new(what).hint("a system without it could not even shut down"));
    }
    Ok(())
}
