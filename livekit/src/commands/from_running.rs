//! `livekit build-iso --from-running`: an image of what is active now, bundle by bundle.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bundles::{BundleName, PackOptions};
use iso::grub::{BootFiles, Firmware};
use iso::{Source, Tree};
use live::layout::{KIT_NAME_FILE, MEDIUM};

use super::savechanges::{Rules, SaveOptions, pack_changes, running_changes};
use crate::activation::System;
use crate::activation::medium::MODULES;
use crate::activation::stack::{self, Origin, Stacked};
use crate::activation::system::{in_ramfs, live_folder};
use crate::cli::BuildIso;
use crate::config::Config;
use crate::error::{AtPath, Error, Failure, Result};
use crate::kit_image::{KitImage, find_boot_files, iso_error, output_folder, system_name};
use crate::output::{Output, size};
use crate::scratch::Scratch;
use crate::settings::{self, BuildSettings};
use crate::space;

/// Folders of the live folder that are taken over as they are.
const TAKEN_OVER: [&str; 2] = ["optional", "rootcopy"];

/// Makes the image. Its path is the answer.
pub fn from_running(mut flags: BuildIso, config: Config, output: &Output) -> Result<(), Failure> {
    let name = kit_name()?;
    if let Some(wanted) = flags.name.as_deref().filter(|wanted| *wanted != name) {
        let what = format!("--name {wanted}: the running system's initramfs looks for the name {name}");
        return Err(Failure::Usage(
            Error::new(what).hint("leave it out, or build from the root: without --from-running"),
        ));
    }
    flags.name = Some(name);
    let (with_changes, with_secrets, any_firmware) =
        (flags.changes, flags.with_secrets, flags.firmware.is_none());
    let mut settings = BuildSettings::new(flags, config, settings::epoch()?)?;
    let boot_files = boot_files(&mut settings, any_firmware, output)?;
    let work = Scratch::new_in(&output_folder(&settings.output)?)?;
    let mut kit = Contents::gather()?;
    if with_changes {
        kit.add_changes(&settings, with_secrets, &work, output)?;
    }
    write(&kit, &settings, &boot_files, output)?;
    Ok(output.answer(settings.output.display().to_string())?)
}

fn write(kit: &Contents, settings: &BuildSettings, boot_files: &BootFiles, output: &Output) -> Result<()> {
    for (place, file) in &kit.bundles {
        output.status(format!("{:>12}  {place}", size(length(file)?)));
    }
    let made: Vec<u64> = kit.made.iter().map(|(_, file)| length(file)).collect::<Result<_>>()?;
    let copied: Vec<u64> =
        kit.bundles.iter().chain(&kit.others).map(|(_, file)| length(file)).collect::<Result<_>>()?;
    space::check_before_writing(&output_folder(&settings.output)?, &made, copied.iter().sum())?;
    let tree = kit.tree(&settings.name).map_err(|error| iso_error(&error))?;
    let title = settings.title.clone().unwrap_or_else(|| system_name(Path::new("/")));
    let image = KitImage { settings, title, boot_files, output }.write(tree)?;
    output.status(format!("{:>12}  {}", size(image.size), settings.output.display()));
    Ok(())
}

/// The name that the initramfs looks for on media.
fn kit_name() -> Result<String> {
    // Tells first whether this is a live system at all.
    System::look()?;
    let path = in_ramfs(KIT_NAME_FILE);
    Ok(fs::read_to_string(&path).at("read", &path)?.trim().to_owned())
}

/// The boot loader of this system, or what the medium has of it. Where only UEFI's is to be had and nobody has asked for
/// BIOS, that will do.
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

/// What goes into the live folder, each with its place there and its file.
#[derive(Debug, Default)]
struct Contents {
    bundles: Vec<(String, PathBuf)>,
    /// Kernel, initramfs, and what is taken over from the medium.
    others: Vec<(String, PathBuf)>,
    /// Made for the image, and given up to it.
    made: Vec<(String, PathBuf)>,
}

impl Contents {
    fn gather() -> Result<Self> {
        let folder = live_folder()?;
        let stack: Vec<Stacked> = System::look()?.stack()?.into_iter().filter(|s| !s.hidden).collect();
        let files = stack.iter().map(file_of).collect::<Result<Vec<PathBuf>>>()?;
        let bundles: Vec<(String, PathBuf)> =
            places(&stack, &files, &folder).into_iter().zip(files).collect();
        let mut others = Vec::new();
        for name in ["boot/vmlinuz", "boot/initramfs.img"] {
            let file = folder.join(name);
            if !file.is_file() {
                return Err(Error::at("find", &file, "it is not on the medium").hint(
                    "the copy in memory of `toram` has none: boot without it, or build from the root, without --from-running",
                ));
            }
            others.push((name.to_owned(), file));
        }
        let taken: BTreeSet<PathBuf> = bundles.iter().map(|(_, file)| file.clone()).collect();
        for name in TAKEN_OVER {
            collect(&folder, Path::new(name), &taken, &mut others)?;
        }
        Ok(Self { bundles, others, made: Vec::new() })
    }

    fn add_changes(
        &mut self,
        settings: &BuildSettings,
        with_secrets: bool,
        work: &Scratch,
        output: &Output,
    ) -> Result<()> {
        let last = self.bundles.iter().filter_map(|(place, _)| name_of(place)).max();
        let place = format!("{MODULES}/{}", above(last.as_ref(), "changes.sb"));
        let file = work.join("changes.sb");
        // What is being made may lie among the changes itself.
        let own = [work.path().to_owned(), settings.output.clone(), iso::partial_name(&settings.output)];
        let own = own.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        let options = SaveOptions {
            rules: Rules::new(&[], &own.collect::<Vec<_>>(), with_secrets)?,
            merge: Vec::new(),
            below: Vec::new(),
            pack: PackOptions {
                compressor: settings.compressor,
                block_size: settings.block_size,
                epoch: settings.epoch,
                ..PackOptions::default()
            },
        };
        pack_changes(&running_changes(), &file, &options, output)?;
        self.made.push((place, file));
        Ok(())
    }

    fn tree(&self, name: &str) -> Result<Tree, iso::Error> {
        let mut tree = Tree::new();
        for (place, file) in self.bundles.iter().chain(&self.others) {
            tree.add_file(&format!("/{name}/{place}"), Source::Path(file.clone()))?;
        }
        for (place, file) in &self.made {
            tree.add_file(&format!("/{name}/{place}"), Source::Scratch(file.clone()))?;
        }
        for folder in ["modules", "optional", "rootcopy", "changes"] {
            tree.add_directory(&format!("/{name}/{folder}"))?;
        }
        Ok(tree)
    }
}

/// The file of an active bundle.
fn file_of(bundle: &Stacked) -> Result<PathBuf> {
    let file = stack::file_of(&bundle.device).filter(|file| file.is_file());
    file.ok_or_else(|| {
        Error::at("find the file of", &bundle.name, "it was removed or moved while it is active")
            .hint("deactivate it, or put it back")
    })
}

/// Where each bundle goes: those of the boot where they lie on the medium, the others into modules/ under names that sort
/// above all before them.
fn places(stack: &[Stacked], files: &[PathBuf], folder: &Path) -> Vec<String> {
    let mut last: Option<BundleName> = None;
    let mut places = Vec::new();
    for (bundle, file) in stack.iter().zip(files) {
        let on_medium = file.strip_prefix(folder).ok().and_then(|path| path.to_str());
        let place = match (bundle.origin, on_medium) {
            (Origin::Boot, Some(path)) if !path.starts_with("optional/") => path.to_owned(),
            (Origin::Boot, _) => format!("{MODULES}/{}", bundle.name),
            (Origin::Activated, _) => format!("{MODULES}/{}", above(last.as_ref(), &bundle.name)),
        };
        last = last.max(name_of(&place));
        places.push(place);
    }
    places
}

fn name_of(place: &str) -> Option<BundleName> {
    BundleName::parse(place.rsplit('/').next().unwrap_or(place))
}

/// A name that sorts above `last`: the bundle's own if it does, else with the next number; where the last has no number,
/// which is above all that have one, with its name in front.
fn above(last: Option<&BundleName>, name: &str) -> String {
    let (Some(last), Some(own)) = (last, BundleName::parse(name)) else { return name.to_owned() };
    if own > *last {
        return name.to_owned();
    }
    match last.order() {
        Some(number) => format!("{:02}-{}.sb", number.saturating_add(1), own.title()),
        None => format!("{}~{}.sb", last.title(), own.title()),
    }
}

/// All files below a folder of the live folder but those that have a place already.
fn collect(
    live_folder: &Path,
    below: &Path,
    taken: &BTreeSet<PathBuf>,
    into: &mut Vec<(String, PathBuf)>,
) -> Result<()> {
    let folder = live_folder.join(below);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).at("list", &folder),
    };
    for entry in entries {
        let entry = entry.at("list", &folder)?;
        let (path, place) = (entry.path(), below.join(entry.file_name()));
        if path.is_dir() {
            collect(live_folder, &place, taken, into)?;
        } else if let Some(place) = place.to_str().filter(|_| path.is_file() && !taken.contains(&path)) {
            into.push((place.to_owned(), path));
        }
    }
    Ok(())
}

fn length(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).at("look at", path)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_keep_the_order() {
        for (last, name, expected) in [
            (None, "20-x.sb", "20-x.sb"),
            (Some("10-a.sb"), "20-x.sb", "20-x.sb"),
            (Some("90-livekit.sb"), "20-x.sb", "91-x.sb"),
            (Some("90-livekit.sb"), "x.sb", "x.sb"),
            (Some("99-a.sb"), "05-x.sb", "100-x.sb"),
            (Some("extra.sb"), "20-x.sb", "extra~x.sb"),
            (Some("extra.sb"), "zoo.sb", "zoo.sb"),
            (Some("91-x.sb"), "changes.sb", "changes.sb"),
        ] {
            let last = last.and_then(BundleName::parse);
            let found = above(last.as_ref(), name);
            assert_eq!(found, expected);
            assert!(last.is_none() || BundleName::parse(&found) > last, "{found}");
        }
    }

    #[test]
    fn bundles_keep_their_order_at_the_next_boot() {
        let bundle = |name: &str, origin| Stacked {
            name: name.into(),
            mount: PathBuf::new(),
            origin,
            hidden: false,
            device: String::new(),
        };
        let stack = [
            bundle("00-core.sb", Origin::Boot),
            bundle("20-x.sb", Origin::Boot),
            bundle("30-loaded.sb", Origin::Boot),
            bundle("90-livekit.sb", Origin::Boot),
            bundle("50-b.sb", Origin::Activated),
            bundle("10-a.sb", Origin::Activated),
        ];
        let files = [
            "/m/kit/00-core.sb",
            "/m/kit/modules/deep/20-x.sb",
            "/m/kit/optional/30-loaded.sb",
            "/m/kit/90-livekit.sb",
            "/memory/50-b.sb",
            "/m/kit/optional/10-a.sb",
        ]
        .map(PathBuf::from);
        let found = places(&stack, &files, Path::new("/m/kit"));
        assert_eq!(
            found,
            [
                "00-core.sb",
                "modules/deep/20-x.sb",
                "modules/30-loaded.sb",
                "90-livekit.sb",
                "modules/91-b.sb",
                "modules/92-a.sb"
            ]
        );
    }
}
