//! `livekit build-iso`: from a root file system to a bootable image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bundles::{Bundle, PackOptions, Wanted};
use iso::{Source, Tree, Written};

use crate::cli::BuildIso;
use crate::config::Config;
use crate::error::{AtPath, DISK_FULL, Error, Failure, Result, from_chain};
use crate::inits::{self, InitSystem};
use crate::interrupt;
use crate::kernel::Kernel;
use crate::kit_bundle::{self, KitBundle};
use crate::kit_image::{KitImage, find_boot_files, iso_error, output_folder, system_name};
use crate::kit_initramfs;
use crate::last_image::{LastImage, Record};
use crate::order::Order;
use crate::output::{Output, size};
use crate::root::survey::{Survey, survey};
use crate::root::{Root, Selection};
use crate::scratch::Scratch;
use crate::settings::{self, BuildSettings};
use crate::space;
use crate::split::{Part, Split};

/// Makes the image. Its path is the answer.
pub fn build_iso(flags: BuildIso, output: &Output) -> Result<(), Failure> {
    let config = Config::read(flags.config.as_deref())?;
    if flags.from_running {
        return super::from_running::from_running(flags, config, output);
    }
    let settings = BuildSettings::new(flags, config, settings::epoch()?)?;
    build(&settings, output).map_err(with_disk_hint)?;
    Ok(output.answer(settings.output.display().to_string())?)
}

fn build(settings: &BuildSettings, output: &Output) -> Result<()> {
    let started = Instant::now();
    let folder = output_folder(&settings.output)?;
    let programs = kit_bundle::find_programs()?;
    let order = settings.order.as_deref().map(Order::read).transpose()?;
    let work = Scratch::new_in(&folder)?;
    let temporary =
        std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map_or(folder.clone(), PathBuf::from);
    let root = Root::prepare(&settings.root, &temporary, output)?;
    let kernel = Kernel::find(root.path(), settings.kernel.as_deref())?;
    output.status(format!("Kernel {} ({})", kernel.version, kernel.image.display()));
    let boot_files = find_boot_files(settings, &[root.path(), Path::new("/")])?;
    let record = Record::of(&settings.name, &settings.root);
    let build = Build {
        settings,
        root: &root,
        kernel: &kernel,
        programs: &programs,
        work: &work,
        order: order.map(|order| in_root(&order, &root, output)).unwrap_or_default(),
        last: record.as_ref().filter(|_| settings.reuse).and_then(|record| last_image(record, output)),
        output,
    };

    let selection = build.selection()?;
    let split = build.split()?;
    let survey = build.survey(&folder, &selection, &split)?;
    let initramfs = build.initramfs()?;
    let mut made = build.pack_root(&selection, &split, &survey)?;
    made.push(build.pack_kit()?);
    made.push(initramfs);
    let sizes: Vec<u64> = made.iter().map(|file| file.bytes).collect();
    space::check_before_writing(&folder, &sizes, length(&kernel.image)?)?;
    let contents = tree(&settings.name, &made, &kernel.image).map_err(|error| iso_error(&error))?;
    let title = settings.title.clone().unwrap_or_else(|| system_name(root.path()));
    let image = KitImage { settings, title, boot_files: &boot_files, output }.write(contents)?;
    if let Some(record) = record {
        build.remember(&record, &folder, &made, &image);
    }

    for file in &made {
        output.status(format!("{:>12}  {}", size(file.bytes), file.name()));
    }
    let seconds = started.elapsed().as_secs();
    output.status(format!("{:>12}  {} in {seconds} s", size(image.size), settings.output.display()));
    Ok(())
}

/// Where the files of `order` lie in `root`.
fn in_root(order: &Order, root: &Root, output: &Output) -> Vec<PathBuf> {
    let paths = order.in_root(root.path());
    let (found, all) = (paths.len(), order.len());
    output.status(format!("{found} files of {all} in the order are in the root; they are laid out first."));
    paths
}

/// The image whose bundles hold what is unchanged, if there is one.
fn last_image(record: &Record, output: &Output) -> Option<LastImage> {
    match record.read() {
        Ok(Some(last)) if last.path.is_file() => Some(last),
        Ok(Some(last)) => {
            output.status(format!("{} is gone: all is packed anew.", last.path.display()));
            None
        }
        Ok(None) => None,
        Err(error) => {
            output.status(format!("All is packed anew: {}.", error.message()));
            None
        }
    }
}

/// A full disk may show in any step.
pub(super) fn with_disk_hint(error: Error) -> Error {
    if error.message().contains("No space left on device") { error.hint(DISK_FULL) } else { error }
}

/// A finished file, made for the image alone.
struct Made {
    path: PathBuf,
    /// Where it goes in the kit's folder.
    place: String,
    bytes: u64,
}

impl Made {
    fn name(&self) -> &str {
        self.place.rsplit('/').next().unwrap_or(&self.place)
    }
}

/// What every step of a build needs.
struct Build<'a> {
    settings: &'a BuildSettings,
    root: &'a Root,
    kernel: &'a Kernel,
    programs: &'a [PathBuf; 2],
    work: &'a Scratch,
    /// Files of the root that are laid out first.
    order: Vec<PathBuf>,
    /// Whose bundles unchanged blocks are taken from.
    last: Option<LastImage>,
    output: &'a Output,
}

impl Build<'_> {
    fn selection(&self) -> Result<Selection> {
        let output = &self.settings.output;
        let never = [output.clone(), iso::partial_name(output), self.work.path().to_owned()];
        Selection::new(self.root, &self.settings.exclude, &never, self.output)
    }

    fn split(&self) -> Result<Split> {
        let mut warnings = Vec::new();
        let split = Split::new(&self.settings.split, self.root.path(), &mut warnings)?;
        warnings.iter().for_each(|warning| self.output.warning(warning));
        Ok(split)
    }

    fn survey(&self, folder: &Path, selection: &Selection, split: &Split) -> Result<Survey> {
        let step = self.output.step(format!("Looking through {}", self.root.path().display()));
        let survey = survey(self.root.path(), selection, split, &mut |_, _, _, _| {})?;
        survey.check_readable()?;
        let total = survey.total();
        step.done(format!("{} files, {}", total.files, size(total.bytes)));
        space::check_before_packing(folder, total.bytes, self.output)?;
        Ok(survey)
    }

    /// The bundles of the root itself. Of a rule that takes nothing there is none.
    fn pack_root(&self, selection: &Selection, split: &Split, survey: &Survey) -> Result<Vec<Made>> {
        let mut bundles = Vec::new();
        for part in split.parts().filter(|&part| part == Part::CORE || survey.has(part)) {
            let wanted =
                &mut |path: &Path, metadata: &std::fs::Metadata| split.wants(part, path, metadata, selection);
            bundles.push(self.pack(self.root.path(), wanted, split.bundle(part), false)?);
        }
        Ok(bundles)
    }

    fn pack_kit(&self) -> Result<Made> {
        let found = inits::detect(self.root.path());
        if let [.., last] = found.as_slice()
            && found != [InitSystem::Systemd]
        {
            self.output.status(format!("Shutdown goes through hooks for {}.", last.name()));
        }
        let hooks = inits::hooks(self.root.path(), &found)?;
        let tree = self.work.join("kit");
        let [init, cleanup] = self.programs;
        KitBundle { programs: [init, cleanup], hooks: &hooks, machine_id: self.root.is_running() }
            .lay_out(&tree)?;
        let bundle = self.pack(&tree, &mut |_, _| Wanted::Keep, kit_bundle::BUNDLE, true)?;
        interrupt::remove_tree(&tree).at("remove", &tree)?;
        Ok(bundle)
    }

    fn pack(
        &self,
        source: &Path,
        wanted: &mut dyn FnMut(&Path, &std::fs::Metadata) -> Wanted,
        name: &str,
        owned_by_root: bool,
    ) -> Result<Made> {
        let mut step = self.output.step(format!("Packing {name}"));
        let path = self.work.join(name);
        let options = PackOptions {
            compressor: self.settings.compressor,
            block_size: self.settings.block_size,
            epoch: self.settings.epoch,
            owned_by_root,
            order: self.order.clone(),
            reuse: self.last_bundle(name).map(Arc::new),
            ..PackOptions::default()
        };
        let mut progress = |progress: bundles::Progress| step.amounts(progress.into());
        let packed = bundles::source::directory(source, wanted)
            .and_then(|source| bundles::pack(source, &path, &options, &mut progress))
            .map_err(|error| from_chain(&error).doing(format!("packing {name}")))?;
        self.output.warnings(name, &packed.all_warnings());
        step.done(format!(
            "{} files, {}{}",
            packed.files,
            size(packed.bytes),
            self.taken(packed.reused_bytes)
        ));
        Ok(Made { path, place: name.to_owned(), bytes: packed.bytes })
    }

    /// The bundle of this name in the last image. It is only a shortcut: whatever is wrong with it means to pack anew.
    fn last_bundle(&self, name: &str) -> Option<Bundle> {
        let last = self.last.as_ref()?;
        let bundle = Bundle::open_at(&last.path, last.offset_of(name)?).and_then(|bundle| {
            bundle.tree()?;
            Ok(bundle)
        });
        match bundle {
            Ok(bundle) => Some(bundle),
            Err(error) => {
                let reason = from_chain(&error);
                self.output.status(format!("{name} is packed anew: {}.", reason.message()));
                None
            }
        }
    }

    /// What is said of a bundle that has `bytes` of the last image.
    fn taken(&self, bytes: u64) -> String {
        let last = self.last.as_ref().filter(|_| bytes > 0).and_then(|last| last.path.file_name());
        last.map(|name| format!(", {} of it as in {}", size(bytes), name.display())).unwrap_or_default()
    }

    /// Writes down where the bundles lie, for the next build. The image is complete, with or without.
    fn remember(&self, record: &Record, folder: &Path, made: &[Made], image: &Written) {
        let bundle = |file: &Made| {
            let place = image.places.get(&format!("/{}/{}", self.settings.name, file.place))?;
            file.place.ends_with(".sb").then(|| (file.place.clone(), *place))
        };
        let path = folder.join(self.settings.output.file_name().unwrap_or_default());
        if let Err(error) = record.write(&path, made.iter().filter_map(bundle)) {
            self.output.status(format!("The next build packs all anew: {}.", error.message()));
        }
    }

    fn initramfs(&self) -> Result<Made> {
        let path = self.work.join("initramfs.img");
        let bytes = kit_initramfs::make(
            self.settings,
            self.root.path(),
            self.kernel,
            self.programs,
            &path,
            self.output,
        )?;
        Ok(Made { path, place: "boot/initramfs.img".to_owned(), bytes })
    }
}

/// The live folder of the medium. The menu, the boot loader and the marker are `iso::grub`'s to add.
fn tree(name: &str, made: &[Made], kernel: &Path) -> Result<Tree, iso::Error> {
    let mut tree = Tree::new();
    for file in made {
        tree.add_file(&format!("/{name}/{}", file.place), Source::Scratch(file.path.clone()))?;
    }
    tree.add_file(&format!("/{name}/boot/vmlinuz"), Source::Path(kernel.to_owned()))?;
    for folder in ["modules", "optional", "rootcopy", "changes"] {
        tree.add_directory(&format!("/{name}/{folder}"))?;
    }
    Ok(tree)
}

fn length(path: &Path) -> Result<u64> {
    Ok(path.metadata().at("look at", path)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medium_has_the_agreed_folders() {
        let made = ["00-core.sb", "boot/initramfs.img"].map(|place| Made {
            path: "/m".into(),
            place: place.to_owned(),
            bytes: 1,
        });
        let tree = tree("kit", &made, Path::new("/k")).unwrap();
        let files: Vec<&str> = tree.files().map(|(path, _)| path).collect();
        assert_eq!(files, ["/kit/00-core.sb", "/kit/boot/initramfs.img", "/kit/boot/vmlinuz"]);
        let given_up = tree.files().filter(|(_, source)| matches!(source, Source::Scratch(_)));
        let given_up: Vec<&str> = given_up.map(|(path, _)| path).collect();
        assert_eq!(given_up, ["/kit/00-core.sb", "/kit/boot/initramfs.img"]);
        let folders: Vec<&str> = tree.directories().collect();
        assert_eq!(
            folders,
            ["/kit", "/kit/boot", "/kit/changes", "/kit/modules", "/kit/optional", "/kit/rootcopy"]
        );
    }
}
