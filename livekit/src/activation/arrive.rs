//! Bundles come: all that were asked for, or none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bundles::source::{self as packed_from, aufs};
use bundles::{Bundle, Compressor, PackOptions};
use live::dpkg;

use super::brings::Brings;
use super::check::{self, Checked};
use super::holders;
use super::stack::{Origin, Stacked};
use super::state::Activated;
use super::system::{System, covers_of, live_folder, memory_folder};
use super::{hooks, medium, source};
use crate::error::{AtPath, Error, Result, from_chain};
use crate::output::Output;
use crate::scratch::Unfinished;

/// How long dpkg is waited for: a switch under its hands would fail what it writes.
pub const DPKG_PATIENCE: Duration = Duration::from_secs(30);

/// A bundle that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What the user called it.
    pub origin: String,
    /// Its file.
    pub file: PathBuf,
    /// Whether the file is one of ours, in memory, that goes with the bundle.
    pub copied: bool,
}

/// Where the files of bundles are to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keeping {
    /// On the medium rather than in memory.
    pub keep: bool,
    /// Where the next boot takes them.
    pub persist: bool,
}

/// A bundle that has come.
#[derive(Debug)]
pub struct Arrived {
    /// Its file name.
    pub name: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// How its files are seen.
    pub brings: Brings,
}

/// A bundle that is mounted, and seen by nobody.
struct Waiting {
    bundle: Activated,
    mount: PathBuf,
}

/// Activates bundles and what they require, the first one lowest. Returns them in that order.
pub fn arrive(
    system: &mut System,
    wanted: Vec<Wanted>,
    keeping: Keeping,
    output: &Output,
) -> Result<Vec<Arrived>> {
    let _dpkg = dpkg::Lock::take(Path::new("/"), DPKG_PATIENCE)?;
    let waiting = attach_all(system, wanted, keeping, output);
    let arrived = waiting.and_then(|waiting| show(system, waiting, output));
    arrived.inspect_err(|_| {
        if let Err(e) = system.give_up_arriving() {
            output.warning(format!("{e}"));
        }
        if let Err(e) = system.tidy_copies() {
            output.warning(format!("{e}"));
        }
    })
}

/// Attaches what is wanted, each after what it requires.
fn attach_all(
    system: &mut System,
    wanted: Vec<Wanted>,
    keeping: Keeping,
    output: &Output,
) -> Result<Vec<Waiting>> {
    let mut waiting = Vec::new();
    let mut named = BTreeSet::new();
    for wanted in wanted {
        let checked = check::bundle(&wanted.file)?;
        if !named.insert(checked.name.clone()) {
            return Err(Error::new(format!("{} is named twice", checked.name)));
        }
        // It may be there for another one that requires it.
        if !system.state.arriving.iter().any(|a| a.name == checked.name) {
            attach(system, wanted, checked, keeping, &mut waiting, output)?;
        }
    }
    Ok(waiting)
}

fn attach(
    system: &mut System,
    wanted: Wanted,
    checked: Checked,
    keeping: Keeping,
    waiting: &mut Vec<Waiting>,
    output: &Output,
) -> Result<()> {
    not_twice(system, &checked.name)?;
    let (file, copied) = settle(&wanted, &checked, keeping, output)?;
    let name = checked.name;
    let bundle = Activated {
        name: name.clone(),
        origin: wanted.origin,
        file,
        copied,
        since: now(),
        since_boot: holders::since_boot(),
        by: user(|name| std::env::var(name).ok()),
    };
    let mount = system.attach(bundle.clone())?;
    check::architecture(&mount)?;
    for required in hooks::requires(&mount)? {
        if !is_met(system, &required)? {
            let wanted = find_required(&name, &required)?;
            output.status(format!("{name} requires {}", wanted.origin));
            let checked = check::bundle(&wanted.file)?;
            attach(system, wanted, checked, keeping, waiting, output)?;
        }
    }
    waiting.push(Waiting { bundle, mount });
    Ok(())
}

/// Whether a bundle that is required is active or on its way.
fn is_met(system: &System, required: &str) -> Result<bool> {
    let on_its_way = system.state.arriving.iter().any(|a| hooks::satisfies(required, &a.name));
    Ok(on_its_way || system.stack()?.iter().any(|s| !s.hidden && hooks::satisfies(required, &s.name)))
}

fn find_required(name: &str, required: &str) -> Result<Wanted> {
    let file = live_folder().ok().and_then(|folder| hooks::find_on(&folder, required));
    let file = file.ok_or_else(|| {
        Error::new(format!("{name} requires {required}, which is neither active nor on the medium"))
            .hint("activate that first, or name both files")
    })?;
    let origin = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Wanted { origin, file, copied: false })
}

/// Makes what was attached a part of the system.
fn show(system: &mut System, waiting: Vec<Waiting>, output: &Output) -> Result<Vec<Arrived>> {
    let mut places = BTreeSet::new();
    let mut arrived: Vec<Arrived> = Vec::new();
    for Waiting { bundle, mount } in &waiting {
        let mut brings = system.brings(mount)?;
        // What an earlier one of these has a new cover for, this one is seen in too.
        let in_new =
            |path: &PathBuf| arrived.iter().any(|a| a.brings.covers.iter().any(|c| path.starts_with(c)));
        brings.copies.retain(|path| !in_new(path));
        // The copy of another bundle is nothing that the user has done.
        let copies = system.copies()?;
        brings.hidden.retain(|path| !copies.has(path));
        system.copy(&bundle.name, mount, &brings.copies)?;
        places.extend(brings.covers.iter().cloned());
        arrived.push(Arrived { name: bundle.name.clone(), mount: mount.clone(), brings });
    }
    let began = Instant::now();
    let mut next = system.state.clone();
    next.arriving.clear();
    next.activated.extend(waiting.into_iter().map(|w| w.bundle));
    system.change(next, &places, output)?;
    let time = began.elapsed();
    system.tell_dpkg(output);
    for bundle in &arrived {
        say(bundle, output);
    }
    output.status(format!("{} in {:.1} ms", counted(arrived.len(), "bundle"), time.as_secs_f64() * 1000.0));
    Ok(arrived)
}

/// Shows a bundle of the boot again that was hidden.
pub fn show_again(system: &mut System, bundle: &Stacked, output: &Output) -> Result<()> {
    let places = covers_of(&bundle.mount)?;
    let mut next = system.state.clone();
    next.hidden.retain(|name| *name != bundle.name);
    system.change(next, &places, output)?;
    system.tell_dpkg(output);
    output.status(format!("{} is shown again, in its old place", bundle.name));
    Ok(())
}

/// Tells what of a bundle is not to be seen at once.
fn say(bundle: &Arrived, output: &Output) {
    output.status(format!("Activated {}", bundle.name));
    let brings = &bundle.brings;
    let list = |paths: &BTreeSet<PathBuf>| {
        let shown: Vec<String> = paths.iter().take(5).map(|p| format!("/{}", p.display())).collect();
        let more = paths.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", shown.join(" "))
    };
    let name = &bundle.name;
    // Hooks are read from the bundle itself.
    let ignored: BTreeSet<PathBuf> =
        brings.ignored.iter().filter(|path| path.as_path() != Path::new("run")).cloned().collect();
    if !ignored.is_empty() {
        output.warning(format!("{name}: {} of a bundle does not count", list(&ignored)));
    }
    if !brings.hidden.is_empty() {
        output.warning(format!("{name}: you have removed or changed {}: it stays so", list(&brings.hidden)));
    }
    if !brings.later.is_empty() {
        output
            .warning(format!("{name}: after the next boot with it, its own {} is seen", list(&brings.later)));
    }
    if !brings.copies.is_empty() {
        output.status(format!("{name}: copied {}", list(&brings.copies)));
    }
}

/// The file that is attached, and whether it is a copy of ours.
fn settle(wanted: &Wanted, checked: &Checked, keeping: Keeping, output: &Output) -> Result<(PathBuf, bool)> {
    let Wanted { file, copied, .. } = wanted;
    if checked.is_aufs {
        return translated(wanted, &checked.name, keeping, output);
    }
    let on_medium = file.starts_with(super::system::in_ramfs(live::layout::MEDIUM));
    let reason = if *copied { Some(String::new()) } else { source::may_go_away(file)? };
    if keeping.persist || (keeping.keep && reason.is_some()) {
        let kept = if on_medium && keeping.persist {
            if file.components().any(|part| part.as_os_str() == medium::MODULES) {
                return Ok((file.clone(), false));
            }
            medium::promote(file, &checked.name)?
        } else {
            medium::keep(file, &checked.name, output)?
        };
        if *copied {
            std::fs::remove_file(file).at("remove", file)?;
        }
        return Ok((kept, false));
    }
    match reason {
        None => Ok((file.clone(), false)),
        Some(_) if *copied => Ok((file.clone(), true)),
        Some(reason) => {
            output.status(format!("{}: {reason}, so it is copied to memory", checked.name));
            Ok((source::to_memory(file, &checked.name, output)?, true))
        }
    }
}

/// Makes a bundle with overlayfs' marks of removed files of one with those of aufs, in memory or on the medium.
fn translated(wanted: &Wanted, name: &str, keeping: Keeping, output: &Output) -> Result<(PathBuf, bool)> {
    let step = output.step(format!("Translating {name} from aufs"));
    let folder = memory_folder();
    std::fs::create_dir_all(&folder).at("make the directory", &folder)?;
    let target = folder.join(name);
    let unfinished = Unfinished::new(bundles::partial_name(&target));
    let make = || {
        let mut source = packed_from::bundle(Bundle::open(&wanted.file)?)?;
        let translated = aufs::translate(&mut source.tree);
        let options = PackOptions { compressor: Compressor::Zstd { level: 3 }, ..PackOptions::default() };
        bundles::pack(source, &target, &options, &mut |_| {})?;
        Ok::<_, bundles::Error>(translated)
    };
    let done = make().map_err(|e| from_chain(&e))?;
    unfinished.keep();
    step.done(format!("{} removed files, {} opaque directories", done.whiteouts, done.opaque));
    output.warnings(name, &done.warnings);
    if wanted.copied && wanted.file != target {
        std::fs::remove_file(&wanted.file).at("remove", &wanted.file)?;
    }
    if keeping.keep || keeping.persist {
        let kept = medium::keep(&target, name, output)?;
        std::fs::remove_file(&target).at("remove", &target)?;
        return Ok((kept, false));
    }
    Ok((target, true))
}

/// Refuses the name of a bundle that is there.
pub fn not_twice(system: &System, name: &str) -> Result<()> {
    let stack = system.stack()?;
    let Some(present) = stack.iter().find(|s| s.name == name) else { return Ok(()) };
    let error = Error::new(format!("{name} is active already"));
    Err(match present.origin {
        Origin::Boot => error.hint("it came with the boot; another bundle needs another name"),
        Origin::Activated => {
            error.hint("`livekit deactivate` takes it out; another bundle needs another name")
        }
    })
}

/// The name of whoever runs the command, through sudo and doas too.
fn user(variable: impl Fn(&str) -> Option<String>) -> String {
    ["SUDO_USER", "DOAS_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| variable(name).filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A number of things: `1 bundle`, `2 bundles`.
pub fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_was() {
        let of = |pairs: &'static [(&str, &str)]| {
            user(move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(of(&[("USER", "root"), ("SUDO_USER", "ann")]), "ann");
        assert_eq!(of(&[("SUDO_USER", ""), ("USER", "root")]), "root");
        assert!(of(&[]).starts_with("uid "));
    }
}
