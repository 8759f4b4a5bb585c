//! `livekit bundle from-packages`: apt at work in a throw-away union, and what it leaves as a bundle.

mod accounts;
mod apt;
mod base;
mod fragments;
mod leave_out;
mod plan;
mod tree;
mod union;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::{BundleName, PackOptions};
use live::dpkg::Lock;
use live::sys::{mount, namespace};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::packing::{self, ending, make};
use super::target;
use crate::cli::from_packages::FromPackages;
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::interrupt;
use crate::output::{Output, size};
use crate::scratch::Scratch;
use apt::Apt;
use base::Base;
use plan::Plan;
use union::{Place, ThrowAway};

/// How long to wait for another program that installs packages.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the bundle. Its path is the answer, or what would be in it.
pub fn from_packages(flags: &FromPackages, output: &Output) -> Result<Ending, Failure> {
    let options = packing::options(&flags.compressing)?;
    let path = named(&flags.name);
    if !flags.dry_run {
        free(&path)?;
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new("only root can install packages").hint("run the command with sudo").into());
    }
    let scratch = union::scratch()?;
    // Whatever is mounted in this namespace is gone with it, however that ends.
    Ok(namespace::in_copy(|| {
        mount::make_private("/")?;
        work(flags, &path, &Place::new(&scratch)?, &options, output)
    })?)
}

/// The name with `.sb` at its end.
fn named(name: &Path) -> PathBuf {
    if name.extension().is_some_and(|extension| extension == "sb") {
        return name.to_owned();
    }
    let mut named = name.as_os_str().to_owned();
    named.push(live::layout::BUNDLE_SUFFIX);
    named.into()
}

/// Whether the bundle can be written, and replaces nothing.
fn free(path: &Path) -> Result<(), Failure> {
    target::check(path, true)?;
    if path.symlink_metadata().is_ok() {
        let error = Error::new(format!("{} is there already", path.display()));
        return Err(error.hint("choose another name, or remove it").into());
    }
    Ok(())
}

fn work(
    flags: &FromPackages,
    path: &Path,
    place: &Place<'_>,
    options: &PackOptions,
    output: &Output,
) -> Result<Ending> {
    let base = Base::open(flags, place)?;
    // Under the union nothing must change.
    let lock = if base.writable() { Some(Lock::take(&base.path, PATIENCE)?) } else { None };
    let union = ThrowAway::mount(&base, place)?;
    let apt = Apt { union: &union, recommends: !flags.no_recommends, output };
    if flags.update || !apt.has_lists() {
        apt.update()?;
    }
    let plan = apt.plan(&flags.packages)?;
    plan.check(flags.upgrade, &flags.packages)?;
    if flags.dry_run {
        return show(&plan, output);
    }
    let (download, installed) = plan.sizes();
    let step = output.step(format!("Installing {}", plan.title()));
    apt.install(&flags.packages, &step)?;
    step.done(format!("{} downloaded, {} installed", size(download), size(installed)));
    union.end_processes();

    fragments::write(&base.path, &union.path)?;
    accounts::write(&base.path, &union.path, &title(path))?;
    let made = tree::of(&place.upper(), &base.path)?;
    if plan.upgraded.is_empty() {
        output.warnings("", &made.replaced);
    }
    output.warnings("", &made.keys);
    drop((union, lock));
    let name = path.display().to_string();
    // A signal takes away what is being packed. A bundle that misses it must not get the name.
    let beside = Scratch::new_in(&target::folder(path)?)?;
    let packing = beside.join(path.file_name().unwrap_or_default());
    let packed = make(made.source, &packing, &name, options, output)?;
    interrupt::undisturbed(|| rename(&packing, path))?;
    output.answer(name)?;
    Ok(ending(&packed))
}

/// Gives the bundle its name, if it is still free.
fn rename(from: &Path, to: &Path) -> Result<()> {
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(CWD, from, CWD, to, flags) {
        // A file system that cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => {
            std::fs::rename(from, to).at("rename the bundle to", to)
        }
        Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST).at("rename the bundle to", to),
        other => other.at("rename the bundle to", to),
    }
}

fn show(plan: &Plan, output: &Output) -> Result<Ending> {
    output.answers(|out| {
        for package in plan.installed() {
            let (name, version, architecture) = (&package.name, &package.version, &package.architecture);
            let (download, installed) = (package.download, package.installed);
            writeln!(out, "{name}\t{version}\t{architecture}\t{download}\t{installed}")?;
        }
        Ok(())
    })?;
    let (download, installed) = plan.sizes();
    output.status(format!("{}: {} to download, {} installed", plan.title(), size(download), size(installed)));
    Ok(Ending::Done)
}

/// What a bundle is called in names of files in it.
fn title(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let title = BundleName::parse(&name).map_or_else(|| name.to_string(), |name| name.title().to_owned());
    title.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_titles() {
        for (name, path, expected) in [
            ("20-vim", "20-vim.sb", "vim"),
            ("d/20-vim.sb", "d/20-vim.sb", "vim"),
            ("my tools.v1", "my tools.v1.sb", "my_tools.v1"),
        ] {
            let named = named(Path::new(name));
            assert_eq!((named.as_path(), title(&named).as_str()), (Path::new(path), expected));
        }
    }
}
