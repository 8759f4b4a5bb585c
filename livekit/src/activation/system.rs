//! The running live system in the hands of one command: looked at, changed step by step, and put right after a crash.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use live::changes::Changes;
use live::cover::sweep::Views;
use live::cover::{self, Cover, switch};
use live::dpkg;
use live::layer::Layer;
use live::layout::{ACTIVATED, CHANGES, EMPTY, LIVE_FOLDER_FILE, RUN_STATE, SAVED_RAMFS};
use live::mounts::{self, MountPoint};
use live::sys::mount;
use live::union;

use super::brings::{Brings, Surroundings};
use super::copies::Copies;
use super::stack::{self, Origin, Stacked};
use super::state::{Activated, State};
use crate::error::{AtPath, Error, Result};
use crate::interrupt;
use crate::output::Output;

/// How long another command that changes the system is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running live system.
pub struct System {
    /// What is meant to be.
    pub state: State,
    changes: Changes,
    /// Held by the one command that may change things.
    _lock: Option<File>,
}

/// A path of the saved ramfs as the running system sees it.
pub fn in_ramfs(path: &str) -> PathBuf {
    Path::new(SAVED_RAMFS).join(path.trim_start_matches('/'))
}

impl System {
    /// Only to look.
    pub fn look() -> Result<Self> {
        must_be_live()?;
        Ok(Self { state: State::load(&state_file())?, changes: changes(), _lock: None })
    }

    /// To change it. Whatever an earlier command has left half done is finished first.
    pub fn enter(output: &Output) -> Result<Self> {
        must_be_live()?;
        if !rustix::process::geteuid().is_root() {
            return Err(Error::new("only root can change which bundles are active").hint("run it with sudo"));
        }
        let folder = Path::new(RUN_STATE);
        fs::create_dir_all(folder).at("make the directory", folder)?;
        let lock = lock(&folder.join("lock"), output)?;
        let mut system = Self { state: State::load(&state_file())?, changes: changes(), _lock: Some(lock) };
        system.repair(output)?;
        Ok(system)
    }

    /// What is written while the system runs.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The bundles, lowest first.
    pub fn stack(&self) -> Result<Vec<Stacked>> {
        Ok(stack::stack(&mounts::current()?, &self.state))
    }

    /// How the files of the bundle mounted at `bundle` come to be seen.
    pub fn brings(&self, bundle: &Path) -> Result<Brings> {
        let around =
            Surroundings { root: Path::new("/"), upper: &self.changes.upper(), covered: &covered()? };
        Brings::of(bundle, &around)
    }

    /// Attaches a bundle, which nobody sees before a cover has it. It is remembered first.
    pub fn attach(&mut self, bundle: Activated) -> Result<PathBuf> {
        let file = bundle.file.clone();
        self.state.arriving.push(bundle);
        self.save()?;
        Layer::attach(&file, &stack::bundles_folder()).map(|layer| layer.path)
    }

    /// Sends back what has been attached and is in no cover.
    pub fn give_up_arriving(&mut self) -> Result<()> {
        let arriving = std::mem::take(&mut self.state.arriving);
        self.state.leaving.extend(arriving);
        self.save()?;
        self.release()
    }

    /// Brings the system to `next`, with new covers at `places`. If that fails it is brought back to what it was.
    pub fn change(&mut self, next: State, places: &BTreeSet<PathBuf>, output: &Output) -> Result<()> {
        let before = self.state.clone();
        self.state = next;
        interrupt::undisturbed(|| {
            self.renew(places).inspect_err(|_| {
                let generation = self.state.generation;
                self.state = State { generation, covers: self.state.covers.clone(), ..before };
                if let Err(e) = self.renew(places) {
                    output.warning(format!("going back: {e}; the next command tries again"));
                }
            })
        })
    }

    fn renew(&mut self, places: &BTreeSet<PathBuf>) -> Result<()> {
        for place in places {
            self.state.renew(place);
        }
        self.state.unfinished = true;
        self.save()?;
        self.converge()
    }

    /// Copies files of a bundle to where no cover shows them.
    pub fn copy(&self, bundle: &str, mount: &Path, paths: &BTreeSet<PathBuf>) -> Result<usize> {
        Copies::load(self.changes.home())?.make(self.changes.home(), Path::new("/"), bundle, mount, paths)
    }

    /// The record of what was copied.
    pub fn copies(&self) -> Result<Copies> {
        Copies::load(self.changes.home())
    }

    /// Takes back the copies of bundles that are gone, and copies what others have in the same places. Gives the number of
    /// those that stay because the user has changed them.
    pub fn tidy_copies(&self) -> Result<usize> {
        let stack = self.stack()?;
        let mut copies = self.copies()?;
        let is_there = |name: &str| stack.iter().any(|s| s.name == name);
        if !copies.has_any_of_others(is_there) {
            return Ok(0);
        }
        let kept = copies.take_back(self.changes.home(), Path::new("/"), is_there)?;
        for bundle in stack.iter().rev().filter(|s| s.origin == Origin::Activated) {
            self.copy(&bundle.name, &bundle.mount, &self.brings(&bundle.mount)?.copies)?;
        }
        Ok(kept)
    }

    /// Makes dpkg show the packages of the bundles that are seen.
    pub fn tell_dpkg(&self, output: &Output) {
        let stack = self.stack().unwrap_or_default();
        let seen = stack.iter().filter(|s| !s.hidden);
        let bundles: Vec<(&str, &Path)> = seen.map(|s| (s.name.as_str(), s.mount.as_path())).collect();
        match dpkg::converge(Path::new("/"), self.changes.home(), &bundles) {
            Ok(changed) => {
                for (packages, what) in [(changed.added, "now has"), (changed.removed, "no longer has")] {
                    if !packages.is_empty() {
                        output.status(format!("dpkg {what} {}", packages.join(" ")));
                    }
                }
            }
            Err(e) => output.warning(format!("dpkg's list of packages: {e}")),
        }
    }

    /// Unmounts the bundles that are in no cover any more. Those still in use go when their last user ends.
    pub fn release(&mut self) -> Result<()> {
        let mounts = mounts::current()?;
        for bundle in std::mem::take(&mut self.state.leaving) {
            let path = stack::bundles_folder().join(&bundle.name);
            if mounts::at(&mounts, &path).is_some() {
                mount::detach(&path)?;
            }
            let _ = fs::remove_dir(&path);
            if bundle.copied {
                match fs::remove_file(&bundle.file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(e).at("remove", &bundle.file);
                    }
                    _ => {}
                }
            }
        }
        self.save()
    }

    /// Writes down what is meant.
    pub fn save(&self) -> Result<()> {
        self.state.save(&state_file())
    }

    /// Makes every cover the one that is wanted.
    fn converge(&mut self) -> Result<()> {
        let mounts = mounts::current()?;
        let mut layers = self.changes.below()?;
        layers.reverse();
        layers.extend(stack::layers(&stack::stack(&mounts, &self.state)));
        let present = covers(&mounts);
        let mut places: BTreeSet<PathBuf> = present.iter().map(|c| c.place.clone()).collect();
        places.extend(self.state.covers.iter().map(|c| c.place.clone()));
        let top = |place: &Path| present.iter().rev().find(|c| c.place == place);
        let is_due = places.iter().any(|place| top(place) != Some(&self.state.cover(place)));
        // To look into every mount namespace takes longer than all the rest.
        let views = (is_due || self.state.unfinished).then(Views::now);
        let mut made = Vec::new();
        let done = places.iter().try_for_each(|place| self.bring(place, &layers, &present, &mut made));
        // What has come has to come everywhere, even if the rest has failed, and what a crash kept from it too.
        if let Some(views) = views {
            let unfinished = self.state.covers.iter().map(|c| self.state.cover(&c.place));
            made.extend(unfinished.filter(|c| present.contains(c)));
            views.follow(&made);
        }
        done?;
        self.state.unfinished = false;
        self.save()
    }

    /// Makes the cover at one place the one that is wanted.
    fn bring(
        &mut self,
        place: &Path,
        layers: &[PathBuf],
        present: &[Cover],
        made: &mut Vec<Cover>,
    ) -> Result<()> {
        let wanted = self.state.cover(place);
        let path = Path::new("/").join(place);
        let here: Vec<&Cover> = present.iter().filter(|c| c.place == place).collect();
        let is_there = here.last().is_some_and(|top| **top == wanted);
        if is_there && wanted.generation == 0 {
            return Ok(());
        }
        if !is_there && here.contains(&&wanted) {
            // A crash has come between its way in and its predecessor's way out.
            return switch::detach(&path);
        }
        let mut lowers = cover::layers_at(layers, place)?;
        let is_empty = lowers.is_empty();
        if is_empty && here.is_empty() {
            return self.remove_folder(place, &path);
        }
        if !is_there {
            if is_empty {
                lowers.push(empty()?);
            } else if here.is_empty() {
                make_folder(&path, &lowers[0])?;
            }
            switch::put(&wanted, &lowers, &self.changes)?;
        }
        if is_empty && self.is_left_as_it_came(place)? {
            self.take_away(&wanted, &path)?;
        }
        if !is_there && self.state.cover(place).generation > 0 {
            made.push(self.state.cover(place));
        }
        Ok(())
    }

    /// Whether nothing has been written at a place: not even a mark of something removed.
    fn is_left_as_it_came(&self, place: &Path) -> Result<bool> {
        let upper = self.changes.upper().join(place);
        Ok(fs::read_dir(&upper).at("list", &upper)?.next().is_none())
    }

    /// Removes a folder that was made for bundles that are gone, with its cover. If it cannot be removed, somebody has
    /// just begun to use it, or a bundle of the boot has it: then the cover stays, as every cover does.
    fn take_away(&mut self, cover: &Cover, path: &Path) -> Result<()> {
        if self.is_of_the_boot(&cover.place)? {
            return Ok(());
        }
        switch::take_away(cover, &self.changes)?;
        if fs::remove_dir(path).is_ok() {
            self.forget(&cover.place);
            return Ok(());
        }
        self.state.renew(&cover.place);
        switch::put(&self.state.cover(&cover.place), &[empty()?], &self.changes)
    }

    /// Removes a folder that was made for bundles and lost its cover before a crash, unless somebody has come to use it.
    fn remove_folder(&mut self, place: &Path, path: &Path) -> Result<()> {
        if !self.is_of_the_boot(place)? {
            let _ = fs::remove_dir(path);
        }
        self.forget(place);
        Ok(())
    }

    fn is_of_the_boot(&self, place: &Path) -> Result<bool> {
        let boot = self.stack()?.into_iter().filter(|s| s.origin == Origin::Boot);
        Ok(boot.into_iter().any(|s| s.mount.join(place).is_dir()))
    }

    fn forget(&mut self, place: &Path) {
        self.state.covers.retain(|c| c.place != place);
    }

    /// Finishes what an earlier command could not.
    fn repair(&mut self, output: &Output) -> Result<()> {
        for bundle in &self.state.arriving {
            output.warning(format!("{} was not activated to the end; it is sent back", bundle.name));
        }
        self.converge()?;
        self.give_up_arriving()?;
        self.tidy_copies()?;
        self.remove_old_work()
    }

    /// Workshops of covers that are gone: those in use when their cover went.
    fn remove_old_work(&self) -> Result<()> {
        let mounts = mounts::current()?;
        let used: BTreeSet<String> = covers(&mounts).iter().map(Cover::work_name).collect();
        let work = self.changes.work();
        for entry in fs::read_dir(&work).at("list", &work)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // The root's own has no generation.
            if name.contains('.') && !used.contains(&name) {
                // One that is still in use goes another time.
                let _ = self.changes.remove_work(&name);
            }
        }
        Ok(())
    }
}

/// The covers in `mounts`; of those in one place the seen one last.
fn covers(mounts: &[MountPoint]) -> Vec<Cover> {
    let in_place = |m: &MountPoint, cover: &Cover| m.path == Path::new("/").join(&cover.place);
    let mounts = mounts::topmost_first(mounts.to_vec()).into_iter().rev();
    mounts.filter_map(|m| Cover::parse(&m.source).filter(|cover| in_place(&m, cover))).collect()
}

/// The places that have a cover now.
pub fn covered() -> Result<BTreeSet<PathBuf>> {
    Ok(covers(&mounts::current()?).into_iter().map(|c| c.place).collect())
}

/// The covers that show something of the bundle mounted at `bundle`, or would.
pub fn covers_of(bundle: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for place in covered()? {
        if cover::kind_below(bundle, &place)? != (cover::Kind::Missing, false) {
            found.insert(place);
        }
    }
    Ok(found)
}

/// The folder of the medium that holds the bundles.
pub fn live_folder() -> Result<PathBuf> {
    let path = in_ramfs(LIVE_FOLDER_FILE);
    let folder = fs::read_to_string(&path).at("read", &path)?;
    Ok(in_ramfs(folder.trim_end()))
}

/// Where bundles are copied that are to be in memory.
pub fn memory_folder() -> PathBuf {
    in_ramfs(ACTIVATED)
}

fn state_file() -> PathBuf {
    Path::new(RUN_STATE).join("state.json")
}

fn changes() -> Changes {
    Changes::at(&in_ramfs(CHANGES))
}

fn empty() -> Result<PathBuf> {
    let path = in_ramfs(EMPTY);
    fs::create_dir_all(&path).at("make the directory", &path)?;
    Ok(path)
}

/// Makes a folder in the root that looks like the bundle's.
fn make_folder(path: &Path, like: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => cover::like(like, path),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(e) => Err(e).at("make the directory", path),
    }
}

fn must_be_live() -> Result<()> {
    let mounts = mounts::current()?;
    if mounts::at(&mounts, Path::new("/")).is_some_and(|root| root.source == union::SOURCE) {
        return Ok(());
    }
    Err(Error::new("this is not a live system of livekit: / is not a union of bundles").hint(
        "in a container or chroot the union is not seen; `livekit build-iso` makes a live system, `livekit run` starts it",
    ))
}

fn lock(path: &Path, output: &Output) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).at("open", path)?;
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(e)) => return Err(e).at("lock", path),
            Err(fs::TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(Error::new("another livekit command is at work"));
            }
            Err(fs::TryLockError::WouldBlock) => {
                if !told {
                    output.status("Waiting for another livekit command …");
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
