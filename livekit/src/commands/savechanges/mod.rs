//! `livekit savechanges`: the changes of a session as a bundle.

mod below;
mod gather;
mod left_out;
mod lower;
mod packages;
mod report;
mod rules;
mod secrets;
mod survey;
mod target;

use std::path::{Path, PathBuf};

use bundles::{PackOptions, Packed};
use live::changes::Changes;
use live::layout;
use live::session::past;

use self::gather::{Gathered, gather};
pub use self::rules::Rules;
pub use self::survey::Survey;
use super::bundle::packing::{self, ending, make};
use crate::activation::system::in_ramfs;
use crate::cli::savechanges::SaveChanges;
use crate::error::{Ending, Failure, Result};
use crate::output::Output;

/// What is saved, and how.
pub struct SaveOptions {
    /// What of the changes is saved.
    pub rules: Rules,
    /// What of the session the changes lie on, the lowest first: its snapshots.
    pub earlier: Vec<PathBuf>,
    /// Earlier saves that lie below the changes in the same bundle, the lowest first.
    pub merge: Vec<PathBuf>,
    /// Folders with what the bundles below the save have, such as their mounts. Of names that an earlier save or snapshot had
    /// and a later one removed, only those there need a mark. Empty if it is not known: then all have one.
    pub below: Vec<PathBuf>,
    /// What the changes lie over, the lowest first: mounts, directories, bundle files. Their dpkg databases tell which packages
    /// are the user's. Empty if it is not known.
    pub base: Vec<PathBuf>,
    /// How the bundle is made. One that is there is never replaced, whatever this says.
    pub pack: PackOptions,
}

/// A finished save.
pub struct Saved {
    /// The bundle.
    pub packed: Packed,
    /// What is in it and what is not.
    pub survey: Survey,
}

/// The changes of the running system: what an overlay's upper has.
pub fn running_changes() -> PathBuf {
    Changes::at(&in_ramfs(layout::CHANGES)).upper()
}

/// What the changes of the running system lie on of their session, the lowest first.
pub fn running_earlier() -> Result<Vec<PathBuf>> {
    Changes::at(&in_ramfs(layout::CHANGES)).below()
}

/// The bundles of the boot that the changes of the running system lie over, the lowest first, but those of `merged`.
pub fn running_base(merged: &[PathBuf]) -> Result<Vec<PathBuf>> {
    // What is no live system is told when the changes are looked for.
    if !running_changes().exists() {
        return Ok(Vec::new());
    }
    below::of_the_boot(merged)
}

/// Packs the changes in `upper`, above earlier saves, into the bundle `target`, which must not be there. Files that
/// changed or vanished meanwhile are warned of, secrets that are left out are named.
///
/// # Errors
/// `upper` is not there or cannot be read in full, which takes root; an earlier save is damaged; there is nothing to
/// save; `target` is there or cannot be written. Nothing is left of it then.
pub fn pack_changes(upper: &Path, target: &Path, options: &SaveOptions, output: &Output) -> Result<Saved> {
    target::check_free(target)?;
    let Gathered { source, survey } = gather(upper, options, output)?;
    report::tell(&survey, output);
    let pack = PackOptions { replace: false, ..options.pack.clone() };
    let packed = make(source, target, &target.display().to_string(), &pack, output)?;
    Ok(Saved { packed, survey })
}

/// The snapshots beside the `upper` of a session's folder.
fn earlier_of(upper: &Path) -> Result<Vec<PathBuf>> {
    let home = upper.canonicalize().ok().and_then(|upper| upper.parent().map(Path::to_owned));
    home.map_or(Ok(Vec::new()), |home| past::layers(&home))
}

/// Saves the changes. The bundle's path is the answer, or what it would have.
pub fn savechanges(flags: &SaveChanges, output: &Output) -> Result<Ending, Failure> {
    let rules = Rules::new(&flags.include, &flags.exclude, flags.with_secrets).map_err(Failure::Usage)?;
    let pack = packing::options(&flags.compressing)?;
    let target = target::name(flags.file.as_deref())?;
    target::check(&target)?;
    let (upper, earlier, below) = match &flags.changes {
        Some(upper) => (upper.clone(), earlier_of(upper)?, Vec::new()),
        None => {
            let earlier = running_earlier()?;
            let is_alone = earlier.is_empty() && flags.merge.is_empty();
            let below = if is_alone { Vec::new() } else { below::running(&flags.merge)? };
            (running_changes(), earlier, below)
        }
    };
    let base = if flags.changes.is_none() { running_base(&flags.merge)? } else { flags.base.clone() };
    let options = SaveOptions { rules, earlier, merge: flags.merge.clone(), below, base, pack };
    if flags.dry_run {
        let survey = gather(&upper, &options, output)?.survey;
        output.answer(if flags.json {
            report::json(&target, &survey, None)?
        } else {
            report::text(&target, &survey)
        })?;
        return Ok(Ending::Done);
    }
    let saved = pack_changes(&upper, &target, &options, output)?;
    output.answer(if flags.json {
        report::json(&target, &saved.survey, Some(&saved.packed))?
    } else {
        target.display().to_string()
    })?;
    Ok(ending(&saved.packed))
}
