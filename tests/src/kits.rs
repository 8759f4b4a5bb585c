//! Live systems under test: ISOs made by `livekit build-iso`, and the files in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{self, Key};
use crate::kernels::Kernel;
use crate::media::{Disk, Medium};
use crate::programs::{self, command, output};
use crate::roots;
use crate::vm::Vm;

/// Written into every kit, so that runs are alike.
const EPOCH: &str = "1767225600";
/// For boots through the menu: the serial port is where a test sees what went wrong.
const MENU_APPEND: &str = "console=ttyS0 panic=-1";

/// A live system: its ISO, and the same files in a folder.
#[derive(Debug)]
pub struct Kit {
    folder: PathBuf,
    /// Build id, from the marker file
    pub id: String,
}

impl Kit {
    /// Busybox with the probe as its init: boots in seconds.
    pub fn tiny(kernel: Kernel) -> Self {
        Self::build(&format!("tiny-{kernel}"), &roots::tiny(kernel))
    }

    /// Debian 12 with systemd, untouched. The probe comes as a bundle, see [`Kit::medium`].
    pub fn debian(kernel: Kernel) -> Self {
        Self::build(&format!("debian-{kernel}"), &roots::debian(kernel))
    }

    fn build(name: &str, root: &Path) -> Self {
        let programs = programs::livekit();
        let key = Key::default().word("kit 1").word(&root.to_string_lossy()).word(MENU_APPEND);
        let key = key.file(&programs.livekit).file(&programs.init).file(&programs.cleanup);
        let folder = cache::entry(&format!("kit-{name}"), &key, |folder| {
            fs::create_dir(folder)
                .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
            let iso = folder.join("live.iso");
            let mut build = std::process::Command::new(&programs.livekit);
            build.arg("build-iso").arg("--root").arg(root).arg("--output").arg(&iso);
            // Without a home it keeps no record of the image.
            build.env_remove("HOME").env_remove("XDG_CACHE_HOME");
            output(build.args(["--append", MENU_APPEND]).env("SOURCE_DATE_EPOCH", EPOCH));
            let medium = folder.join("medium");
            let extract = ["-osirrox", "on:auto_chmod_on", "-indev"];
            output(command("xorriso").args(extract).arg(&iso).args(["-extract", "/"]).arg(&medium));
            output(command("chmod").args(["-R", "u+rwX"]).arg(&medium));
        });
        let id = build_id(&folder.join("medium/livekit"));
        Self { folder, id }
    }

    /// The ISO, as a disc or written to a stick by `dd`.
    pub fn iso(&self) -> Disk {
        Disk::image(&self.folder.join("live.iso"))
    }

    /// The medium's files, for a stick made by copying.
    pub fn medium(&self) -> Medium {
        Medium::copy(&self.folder.join("medium"))
    }

    /// The medium's files with a bundle that starts the probe, for a Debian kit.
    pub fn medium_with_probe(&self) -> Medium {
        let probe = probe_bundle();
        self.medium().bundle_of("livekit/modules/95-probe.sb", probe.path())
    }

    /// The ISO with the probe's bundle added, for a Debian kit; into `iso`.
    pub fn iso_with_probe(&self, iso: &Path) -> Disk {
        let probe = probe_bundle();
        let bundle = Medium::empty().bundle_of("95-probe.sb", probe.path());
        let mut command = command("xorriso");
        command.arg("-indev").arg(self.iso().path()).arg("-outdev").arg(iso);
        command.args(["-boot_image", "any", "replay", "-map"]);
        output(command.arg(bundle.path("95-probe.sb")).arg("/livekit/modules/95-probe.sb"));
        Disk::image(iso)
    }

    /// Names of the bundles at the top of the live folder, sorted.
    pub fn bundles(&self) -> Vec<String> {
        let folder = self.folder.join("medium/livekit");
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut bundles: Vec<_> = names.filter(|name| name.ends_with(".sb")).collect();
        bundles.sort();
        bundles
    }

    pub fn kernel(&self) -> PathBuf {
        self.folder.join("medium/livekit/boot/vmlinuz")
    }

    pub fn initramfs(&self) -> PathBuf {
        self.folder.join("medium/livekit/boot/initramfs.img")
    }

    /// A machine that starts this kit's kernel with the parameters of the menu's first entry, without a
    /// boot loader; it has no medium yet.
    pub fn direct(&self) -> Vm {
        Vm::direct(&self.kernel(), &self.initramfs()).append(&format!("livekit.id={}", self.id))
    }
}

fn probe_bundle() -> tempfile::TempDir {
    let folder = tempfile::TempDir::with_prefix("livekit-probe-").expect("a temporary folder");
    roots::probe_service(folder.path());
    folder
}

/// The id in the name of the marker file `ID.id`.
fn build_id(live_folder: &Path) -> String {
    let names =
        fs::read_dir(live_folder).unwrap_or_else(|error| panic!("{}: {error}", live_folder.display()));
    let names: Vec<_> =
        names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let id = names.iter().find_map(|name| name.strip_suffix(".id"));
    id.unwrap_or_else(|| panic!("no ID.id in {}: {names:?}", live_folder.display())).into()
}
