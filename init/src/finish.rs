//! The last touches in the union before it becomes the root.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use live::changes::Changes;
use live::dpkg;
use live::error::{AtPath, Error, Result};
use live::layer::Layer;
use live::layout;
use live::log;
use live::union::Union;

use crate::drivers::Drivers;
use crate::medium::Medium;

/// Folders a root needs, with their modes; made where the bundles do not bring them.
const FOLDERS: [(&str, u32); 5] =
    [("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777)];

/// Programs that load drivers in a running system: udevd of systemd and of others, and mdev.
const DEVICE_MANAGERS: [&str; 7] = [
    "usr/lib/systemd/systemd-udevd",
    "lib/systemd/systemd-udevd",
    "usr/lib/udev/udevd",
    "lib/udev/udevd",
    "sbin/udevd",
    "usr/sbin/udevd",
    "sbin/mdev",
];

/// The line a fstab without a root gets: init systems look there for how the root is to be mounted.
const ROOT_LINE: &str = "overlay / overlay rw 0 0\n";

/// Makes the union of `layers` and `changes` fit to start.
pub fn prepare(
    union: &Union,
    layers: &[Layer],
    changes: &Changes,
    medium: &Medium,
    drivers: &Drivers,
) -> Result<()> {
    for (name, mode) in FOLDERS {
        let path = union.path.join(name);
        if !path.is_dir() {
            fs::create_dir(&path).at("make the directory", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).at("set the mode of", &path)?;
        }
    }
    if !has_device_manager(&union.path) {
        log::info(format_args!("nothing in the union loads drivers: loading all that this machine asks for"));
        drivers.load_all();
    }
    // None of these is worth a failed boot.
    if let Err(e) = add_root_line(&union.path) {
        log::warning(format_args!("fstab: {e}"));
    }
    if let Err(e) = note_live_folder(medium) {
        log::warning(format_args!("{e}"));
    }
    let rootcopy = medium.live_folder.join("rootcopy");
    if rootcopy.is_dir() {
        match copy_tree(&rootcopy, &union.path) {
            Ok(0) => {}
            Ok(files) => log::info(format_args!("rootcopy: {files} files")),
            Err(e) => log::warning(format_args!("rootcopy: {e}")),
        }
    }
    if let Err(e) = show_packages(&union.path, layers, changes) {
        log::warning(format_args!("packages: {e}"));
    }
    Ok(())
}

/// Has dpkg's database show the packages of these layers: those that a fragment tells of, and none of bundles that a kept
/// session knew and that are not here now.
fn show_packages(root: &Path, layers: &[Layer], changes: &Changes) -> Result<()> {
    let bundles: Vec<(&str, &Path)> =
        layers.iter().map(|layer| (layer.name.as_str(), layer.path.as_path())).collect();
    let changed = dpkg::converge_at_boot(root, changes.home(), &bundles)?;
    if changed != dpkg::Changed::default() {
        let (added, removed) = (changed.added.len(), changed.removed.len());
        log::info(format_args!("packages: {added} of bundles added, {removed} taken out"));
    }
    Ok(())
}

/// Leaves a note in the saved ramfs for the running system, which may not guess the folder: `from=` can name any.
fn note_live_folder(medium: &Medium) -> Result<()> {
    let path = Path::new(layout::LIVE_FOLDER_FILE);
    let text = format!("{}\n", medium.live_folder.display());
    fs::write(path, text).at("write", path)
}

/// Whether the system loads drivers by itself. Links count: they may be absolute and lead nowhere from here.
fn has_device_manager(root: &Path) -> bool {
    DEVICE_MANAGERS.iter().any(|program| fs::symlink_metadata(root.join(program)).is_ok())
}

/// Adds a line for the root to etc/fstab, if there is none. Every other line is the user's.
fn add_root_line(root: &Path) -> Result<()> {
    let path = root.join("etc/fstab");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::at("read", &path, e)),
    };
    if has_root_line(&text) || !root.join("etc").is_dir() {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(&path).at("open", &path)?;
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{start}{ROOT_LINE}").as_bytes()).at("write", &path)
}

/// Whether a fstab(5) has a line for `/`.
fn has_root_line(fstab: &str) -> bool {
    fstab
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with('#'))
        .any(|line| line.split_ascii_whitespace().nth(1) == Some("/"))
}

/// Copies what is below `from` over what is below `to`. Folders that are there keep their owner and mode, since a
/// medium with FAT has none to give. Never follows a link out of `to`. Returns the number of files.
pub fn copy_tree(from: &Path, to: &Path) -> Result<usize> {
    let mut files = 0;
    fs::create_dir_all(to).at("make the directory", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let about = fs::symlink_metadata(&source).at("look at", &source)?;
        let there = fs::symlink_metadata(&target).ok();
        if about.is_dir() {
            let folder = there.as_ref().is_some_and(fs::Metadata::is_dir);
            // A link to a folder, such as /bin to usr/bin, is followed as a user would expect.
            let leads_to_folder = !folder && fs::metadata(&target).is_ok_and(|m| m.is_dir());
            if !folder && !leads_to_folder {
                fs::create_dir(&target).at("make the directory", &target)?;
                fs::set_permissions(&target, about.permissions()).at("set the mode of", &target)?;
            }
            files += copy_tree(&source, &target)?;
            continue;
        }
        if there.is_some_and(|t| !t.is_dir()) {
            fs::remove_file(&target).at("replace", &target)?;
        }
        if about.is_symlink() {
            symlink(fs::read_link(&source).at("read", &source)?, &target).at("make the link", &target)?;
        } else if about.is_file() {
            fs::copy(&source, &target).at("copy", &source)?;
        } else {
            log::warning(format_args!(
                "{} is neither a file, a folder nor a link; left out",
                source.display()
            ));
            continue;
        }
        files += 1;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lines() {
        for (fstab, expected) in [
            ("", false),
            ("# / root\n", false),
            ("/dev/sda1 / ext4 defaults 0 1\n", true),
            ("\tUUID=x\t/\text4", true),
            ("tmpfs /tmp tmpfs\n/dev/sdb /home ext4", false),
        ] {
            assert_eq!(has_root_line(fstab), expected, "{fstab:?}");
        }
    }

    #[test]
    fn fstab_keeps_its_lines() {
        let root = std::env::temp_dir().join(format!("livekit-fstab-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        for (before, after) in [
            (None, ROOT_LINE.to_owned()),
            (Some("a /b ext4"), format!("a /b ext4\n{ROOT_LINE}")),
            (Some("a / ext4\n"), "a / ext4\n".to_owned()),
        ] {
            let path = root.join("etc/fstab");
            let _ = fs::remove_file(&path);
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            add_root_line(&root).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_tree_is_copied_over_another() {
        let base = std::env::temp_dir().join(format!("livekit-rootcopy-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::create_dir_all(from.join("new/deep")).unwrap();
        fs::create_dir_all(to.join("usr/bin")).unwrap();
        symlink("usr/bin", to.join("bin")).unwrap();
        fs::write(from.join("bin/tool"), "tool").unwrap();
        fs::write(from.join("new/deep/file"), "file").unwrap();
        fs::write(from.join("motd"), "ours").unwrap();
        fs::write(base.join("outside"), "theirs").unwrap();
        symlink("../outside", to.join("motd")).unwrap();

        assert_eq!(copy_tree(&from, &to).unwrap(), 3);

        assert_eq!(fs::read_to_string(to.join("usr/bin/tool")).unwrap(), "tool");
        assert_eq!(fs::read_to_string(to.join("new/deep/file")).unwrap(), "file");
        assert_eq!(fs::read_to_string(to.join("motd")).unwrap(), "ours");
        assert_eq!(fs::read_to_string(base.join("outside")).unwrap(), "theirs");
        fs::remove_dir_all(&base).unwrap();
    }
}
