//! `livekit build-iso --from-running`: an image of what is active now, bundle by bundle.

mod bundle_file;
mod contents;
mod places;
mod taken_over;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bundles::PackOptions;
use iso::grub::{BootFiles, Firmware};
use live::layout::{KIT_NAME_FILE, MEDIUM};

use self::contents::{Content, Item, lengths, pattern_of, tree};
use super::build_iso::with_disk_hint;
use super::savechanges::{Rules, SaveOptions, pack_changes, running_base, running_changes, running_earlier};
use crate::activation::System;
use crate::activation::stack::{Origin, Stacked};
use crate::activation::system::{in_ramfs, live_folder};
use crate::cli::BuildIso;
use crate::config::Config;
use crate::error::{AtPath, Error, Failure, Result};
use crate::kernel::Kernel;
use crate::kit_bundle;
use crate::kit_image::{KitImage, find_boot_files, iso_error, output_folder, system_name};
use crate::kit_initramfs;
use crate::output::{Output, size};
use crate::scratch::Scratch;
use crate::settings::{self, BuildSettings};
use crate::space;

/// Makes the image. Its path is the answer.
pub fn from_running(mut flags: BuildIso, config: Config, output: &Output) -> Result<(), Failure> {
    let name = kit_name()?;
    if let Some(wanted) = flags.name.as_ref().or(config.name.as_ref()).filter(|wanted| **wanted != name) {
        let what = format!("the name {wanted}: the running system's initramfs looks for {name}");
        return Err(Failure::Usage(
            Error::new(what).hint("leave it out, or build from the root: without --from-running"),
        ));
    }
    flags.name = Some(name);
    let any_firmware = flags.firmware.is_none() && config.firmware.is_none();
    let changes = flags.changes.then_some(Changes { with_secrets: flags.with_secrets });
    let mut settings = BuildSettings::new(flags, config, settings::epoch()?)?;
    let boot_files = boot_files(&mut settings, any_firmware, output)?;
    let folder = output_folder(&settings.output)?;
    let gathering = Gathering {
        image: folder.join(settings.output.file_name().unwrap_or_default()),
        folder,
        live_folder: live_folder()?,
        work: Scratch::new_in(&output_folder(&settings.output)?)?,
        settings: &settings,
        output,
    };
    gathering.build(changes, &boot_files).map_err(with_disk_hint)?;
    Ok(output.answer(settings.output.display().to_string())?)
}

/// The name that the initramfs looks for on media.
fn kit_name() -> Result<String> {
    // Tells first whether this is a live system at all.
    System::look()?;
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new("only root can read all that is active").hint("run it with sudo"));
    }
    let path = in_ramfs(KIT_NAME_FILE);
    Ok(fs::read_to_string(&path).at("read", &path)?.trim().to_owned())
}

/// The boot loader of this system, or what the medium has of it. Where only UEFI's is to be had and nobody has asked for
/// BIOS, that will do: the medium's image for BIOS looks for the marker of the medium's own build.
fn boot_files(settings: &mut BuildSettings, any_firmware: bool, output: &Output) -> Result<BootFiles> {
    let medium = in_ramfs(MEDIUM);
    let roots = [Path::new("/"), &medium];
    let found = find_boot_files(settings, &roots);
    if found.is_ok() || !any_firmware {
        return found;
    }
    settings.firmware = Firmware::Uefi;
    let found = find_boot_files(settings, &roots).map_err(|_| found.expect_err("it was looked at"))?;
    output.warning(
        "the image starts with UEFI alone: for BIOS the system needs the packages grub-pc-bin and grub-common",
    );
    Ok(found)
}

/// That the changes go in, too.
struct Changes {
    with_secrets: bool,
}

/// What every step needs.
struct Gathering<'a> {
    settings: &'a BuildSettings,
    live_folder: PathBuf,
    /// Where the image goes, and its folder.
    image: PathBuf,
    folder: PathBuf,
    work: Scratch,
    output: &'a Output,
}

impl Gathering<'_> {
    fn build(&self, changes: Option<Changes>, boot_files: &BootFiles) -> Result<()> {
        let mut items = self.bundles()?;
        let mut without: BTreeSet<PathBuf> = self.own().into();
        without.extend(items.iter().filter_map(|item| match &item.content {
            Content::File(path) => Some(path.clone()),
            _ => None,
        }));
        // What cannot fit is refused before anything is made.
        self.check_space(&items)?;
        if let Some(changes) = changes {
            items.push(self.changes(&items, &changes)?);
        }
        for item in &items {
            self.output.status(format!("{:>12}  {}", size(item.length()?), item.place));
        }
        items.extend(self.kernel_and_initramfs()?);
        items.extend(taken_over::taken_over(&self.live_folder, &without, self.output)?);
        self.check_space(&items)?;
        let tree = tree(&self.settings.name, &items).map_err(|error| iso_error(&error))?;
        let (settings, output) = (self.settings, self.output);
        let title = settings.title.clone().unwrap_or_else(|| system_name(Path::new("/")));
        let image = KitImage { settings, title, boot_files, output }.write(tree)?;
        output.status(format!("{:>12}  {}", size(image.size), settings.output.display()));
        Ok(())
    }

    fn check_space(&self, items: &[Item]) -> Result<()> {
        let (made, stays) = lengths(items)?;
        space::check_before_writing(&self.folder, &made, stays)
    }

    /// The bundles that are active, each as it is.
    fn bundles(&self) -> Result<Vec<Item>> {
        let stack: Vec<Stacked> = System::look()?.stack()?.into_iter().filter(|s| !s.hidden).collect();
        let files: Vec<Option<PathBuf>> = stack.iter().map(bundle_file::file_of).collect();
        let places = places::places(&stack, &files, &self.live_folder);
        let mut items = Vec::new();
        for ((bundle, file), place) in stack.iter().zip(files).zip(places) {
            if bundle.origin == Origin::Activated && !place.ends_with(&format!("/{}", bundle.name)) {
                self.output
                    .status(format!("{} becomes {place}, so that it stays above the others.", bundle.name));
            }
            items.push(match file {
                Some(file) => Item::file(place, file),
                None => {
                    let copy = self.work.join(&bundle.name);
                    bundle_file::copy_of_device(bundle, &copy, self.output)?;
                    Item::made(place, copy)
                }
            });
        }
        Ok(items)
    }

    /// Those of the medium. Its copy in memory has none: then they are made as of any root.
    fn kernel_and_initramfs(&self) -> Result<[Item; 2]> {
        let [kernel, initramfs] = ["boot/vmlinuz", "boot/initramfs.img"];
        let on_medium = [kernel, initramfs].map(|place| self.live_folder.join(place));
        if on_medium.iter().all(|file| file.is_file()) {
            let [image, archive] = on_medium;
            return Ok([Item::file(kernel, image), Item::file(initramfs, archive)]);
        }
        let root = Path::new("/");
        let found = Kernel::find(root, running_kernel(root).as_deref()).map_err(|error| {
            error.doing("there is no kernel on the medium").hint("`toram` copies none: boot without it")
        })?;
        self.output.status(format!(
            "The medium has no kernel and initramfs: they are made of {} and its modules.",
            found.image.display()
        ));
        let archive = self.work.join("initramfs.img");
        let programs = kit_bundle::find_programs()?;
        kit_initramfs::make(self.settings, root, &found, &programs, &archive, self.output)?;
        Ok([Item::file(kernel, found.image), Item::made(initramfs, archive)])
    }

    /// What was changed, as a bundle above all others.
    fn changes(&self, bundles: &[Item], changes: &Changes) -> Result<Item> {
        let place = places::on_top(bundles.iter().map(|item| item.place.as_str()), "changes");
        let file = self.work.join("changes.sb");
        // What is being made may lie among the changes itself.
        let own: Vec<String> = self.own().iter().filter_map(|path| pattern_of(path)).collect();
        let options = SaveOptions {
            rules: Rules::new(&[], &own, changes.with_secrets)?,
            earlier: running_earlier()?,
            merge: Vec::new(),
            below: Vec::new(),
            base: running_base(&[])?,
            pack: PackOptions {
                compressor: self.settings.compressor,
                block_size: self.settings.block_size,
                epoch: self.settings.epoch,
                ..PackOptions::default()
            },
        };
        pack_changes(&running_changes(), &file, &options, self.output)?;
        Ok(Item::made(place, file))
    }

    /// What this command makes.
    fn own(&self) -> [PathBuf; 3] {
        [self.work.path().to_owned(), self.image.clone(), iso::partial_name(&self.image)]
    }
}

/// The image of the kernel that runs: a newer one may be among the changes alone.
fn running_kernel(root: &Path) -> Option<PathBuf> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(root.join(format!("boot/vmlinuz-{}", release.trim()))).filter(|image| image.is_file())
}
