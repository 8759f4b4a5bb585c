//! The image of a kit: what is in the live folder, with boot loader, menu and marker.

use std::path::{Path, PathBuf};

use iso::grub::{BootFiles, Firmware};
use iso::menu::Menu;
use iso::{ImageOptions, Tree, Written};

use crate::build_id::BuildId;
use crate::error::{AtPath, Error, Result, from_chain};
use crate::output::{Output, size};
use crate::root::resolve;
use crate::scratch::Unfinished;
use crate::settings::BuildSettings;

/// An image to be written.
pub struct KitImage<'a> {
    pub settings: &'a BuildSettings,
    /// What the menu calls the system.
    pub title: String,
    pub boot_files: &'a BootFiles,
    pub output: &'a Output,
}

impl KitImage<'_> {
    /// Writes the image of what is in the live folder of `tree`: its scratch files are gone then.
    pub fn write(&self, mut tree: Tree) -> Result<Written> {
        let (settings, boot_files) = (self.settings, self.boot_files);
        let time = settings.time()?;
        let options = ImageOptions { volume_id: settings.name.to_uppercase(), epoch: time };
        let mut menu = Menu {
            title: self.title.clone(),
            name: settings.name.clone(),
            id: BuildId::unknown().as_str().to_owned(),
            append: settings.append.clone(),
            timeout: Some(settings.timeout),
            graphical: !settings.text_menu,
            serial: true,
        };
        menu.id = self.id(&tree, &menu, &options)?.as_str().to_owned();
        let boot =
            iso::grub::install(&mut tree, boot_files, &menu, time).map_err(|error| iso_error(&error))?;
        let mut step = self.output.step(format!("Writing {}", settings.output.display()));
        let partial = Unfinished::new(iso::partial_name(&settings.output));
        let written =
            iso::write(&tree, &boot, &options, &settings.output, &mut |done, total| step.bytes(done, total))
                .map_err(|error| iso_error(&error))?;
        partial.keep();
        for warning in &written.warnings {
            self.output.warning(warning);
        }
        step.done(size(written.size));
        Ok(written)
    }

    /// The id of an image of `contents`: with SOURCE_DATE_EPOCH that of the image as it is without one.
    fn id(&self, contents: &Tree, menu: &Menu, options: &ImageOptions) -> Result<BuildId> {
        if self.settings.epoch.is_none() {
            return BuildId::random();
        }
        let step = self.output.step("Deriving the build id");
        let mut tree = contents.clone();
        let digest = iso::grub::install(&mut tree, self.boot_files, menu, options.epoch)
            .and_then(|boot| iso::digest(&tree, &boot, options))
            .map_err(|error| iso_error(&error))?;
        let id = BuildId::of(&digest);
        step.done(id.as_str());
        Ok(id)
    }
}

/// The directory the image goes to, which must be there: everything large is made in it.
pub fn output_folder(image: &Path) -> Result<PathBuf> {
    let folder = match image.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if image.is_dir() {
        return Err(
            Error::new(format!("{} is a directory", image.display())).hint("--output names the image itself")
        );
    }
    folder.canonicalize().at("find the directory", folder)
}

/// The boot loader's files, from the first of `roots` that has each.
pub fn find_boot_files(settings: &BuildSettings, roots: &[&Path]) -> Result<BootFiles> {
    let mut places: Vec<&Path> = settings.boot_files.as_deref().into_iter().collect();
    places.extend(roots);
    BootFiles::find(&places, settings.firmware).map_err(|error| {
        let mut hint = error.hint().unwrap_or_default();
        let half = |firmware: &Firmware| BootFiles::find(&places, *firmware).is_ok();
        if settings.firmware == Firmware::Both
            && let Some(firmware) = [Firmware::Bios, Firmware::Uefi].into_iter().find(half)
        {
            let (name, flag) = if firmware == Firmware::Bios { ("BIOS", "bios") } else { ("UEFI", "uefi") };
            hint.push_str(&format!("; or make an image for {name} alone with --firmware {flag}"));
        }
        Error::new(error.to_string()).hint(hint).doing("looking for the boot loader")
    })
}

/// Turns an error of the crate `iso` into ours.
pub fn iso_error(error: &iso::Error) -> Error {
    match error.hint() {
        // Ours comes first, and the first hint stays.
        Some(hint) => Error::new(error.to_string()).hint(hint),
        None => from_chain(error),
    }
}

/// What the root calls itself: PRETTY_NAME of os-release(5).
pub fn system_name(root: &Path) -> String {
    let places = ["etc/os-release", "usr/lib/os-release"];
    let text = places
        .iter()
        .filter_map(|place| std::fs::read_to_string(resolve(root, Path::new(place))?).ok())
        .find_map(|text| pretty_name(&text));
    text.unwrap_or_else(|| "Linux".to_owned())
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let name = value.trim_matches(['"', '\'']).replace('\\', "");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_name_themselves() {
        for (text, name) in [
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("PRETTY_NAME='Void'", Some("Void")),
            ("PRETTY_NAME=", None),
            ("ID=x", None),
        ] {
            assert_eq!(pretty_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn the_output_is_a_file_in_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(output_folder(&dir.path().join("x.iso")).unwrap(), dir.path().canonicalize().unwrap());
        assert_eq!(output_folder(Path::new("x.iso")).unwrap(), std::env::current_dir().unwrap());
        assert!(output_folder(dir.path()).unwrap_err().message().ends_with("is a directory"));
        assert!(
            output_folder(&dir.path().join("none/x.iso")).unwrap_err().message().contains("No such file")
        );
    }
}
