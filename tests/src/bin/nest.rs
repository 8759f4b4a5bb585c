//! Makes a live system in the namespaces it is started in, as process 1: `nest LIVE_FOLDER [WORDS]`, with the words
//! `private`, `changes=FOLDER` and `size=SIZE`. Then it is the probe. See [`tests::Nest`].

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use bundles::BundleName;
use live::changes::Changes;
use live::error::{AtPath, Error, Result};
use live::layer::Layer;
use live::layout;
use live::sys::mount::{self, Mount, Propagation};
use live::union::Union;
use rustix::process::{chdir, chroot, pivot_root};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let error = match make(&words) {
        Ok(()) => {
            let error = Command::new("/usr/bin/init").exec();
            Error::at("start", "/usr/bin/init", error)
        }
        Err(error) => error,
    };
    eprintln!("nest: {error}");
    ExitCode::FAILURE
}

fn make(words: &[String]) -> Result<()> {
    let word = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let live_folder = Path::new(words.first().map_or("", String::as_str));
    mount::make_private("/")?;
    let ramfs = Path::new("/mnt");
    Mount::new("tmpfs", "livekit").set("mode", "0755").at(ramfs)?;
    let inside = |path: &str| ramfs.join(&path[1..]);
    for folder in ["/proc", "/sys", "/dev", "/old", "/etc/livekit", layout::MEDIUM, layout::CHANGES] {
        fs::create_dir_all(inside(folder)).at("make", folder)?;
    }
    Mount::new("proc", "proc").at(inside("/proc"))?;
    Mount::new("sysfs", "sysfs").at(inside("/sys"))?;
    mount::bind("/dev", inside("/dev"))?;
    let data = inside(layout::MEDIUM);
    Mount::new("tmpfs", "medium").at(&data)?;
    copy(live_folder, &data.join("livekit"))?;
    mount::remount_read_only(&data).at("make read only", &data)?;
    if let Some(folder) = word("changes=") {
        mount::bind(folder, inside(layout::CHANGES))?;
    }
    fs::write(inside(layout::KIT_NAME_FILE), "livekit\n").at("write", layout::KIT_NAME_FILE)?;
    let folder = format!("{}/livekit\n", layout::MEDIUM);
    fs::write(inside(layout::LIVE_FOLDER_FILE), folder).at("write", layout::LIVE_FOLDER_FILE)?;

    enter(ramfs, "old")?;
    mount::detach("/old")?;

    let changes = match (word("changes="), word("size=")) {
        (Some(_), _) => Changes::in_folder(layout::CHANGES.as_ref())?,
        (None, Some(size)) => {
            Mount::new("tmpfs", "lk:changes").set("mode", "0755").set("size", size).at(layout::CHANGES)?;
            Changes::in_folder(layout::CHANGES.as_ref())?
        }
        (None, None) => Changes::in_memory(layout::CHANGES.as_ref(), None)?,
    };
    let layers: Vec<Layer> = boot_bundles(&Path::new(layout::MEDIUM).join("livekit"))?
        .iter()
        .map(|file| Layer::attach(file, layout::BUNDLES.as_ref()))
        .collect::<Result<_>>()?;
    let union = Union::mount(&layers, &changes, layout::UNION.as_ref())?;
    for folder in ["proc", "sys", "dev", "run"] {
        fs::create_dir_all(union.path.join(folder)).at("make", folder)?;
    }
    Mount::new("tmpfs", "tmpfs").set("mode", "0755").at(union.path.join("run"))?;
    fs::create_dir(union.path.join(&layout::SAVED_RAMFS[1..])).at("make", layout::SAVED_RAMFS)?;
    for folder in ["proc", "sys", "dev"] {
        mount::move_to(Path::new("/").join(folder), union.path.join(folder))?;
    }
    enter(&union.path, &layout::SAVED_RAMFS[1..])?;
    if word("private").is_none() {
        // As systemd does.
        for mount in live::mounts::current()? {
            mount::set_propagation(&mount.path, Propagation::Shared)?;
        }
    }
    Ok(())
}

/// Makes `root` the root, the old one below it at `put_old`.
fn enter(root: &Path, put_old: &str) -> Result<()> {
    chdir(root).at("enter", root)?;
    pivot_root(".", put_old).at("make the root", root)?;
    chroot(".").at("make the root", root)?;
    chdir("/").at("enter", "/")
}

/// The bundles at the top and in modules/, lowest first.
fn boot_bundles(live_folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [live_folder.to_owned(), live_folder.join("modules")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_str().and_then(BundleName::parse);
            found.extend(name.map(|name| (name, entry.path())));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).at("make", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).at("copy", entry.path())?;
        }
    }
    Ok(())
}
