//! Which file a bundle is attached from: found by what the user typed, and copied where it may go away.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use live::mounts::{self, MountPoint};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::system::memory_folder;
use crate::error::{AtPath, Error, Result};
use crate::output::{Output, size};
use crate::scratch::Unfinished;

/// Memory that is left to the system when a bundle is copied there.
const LEFT: u64 = 32 << 20;

/// File systems in memory or of a disk's kind that stay where they are.
const MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// The file that the user means: the path, the path with `.sb`, or, for a plain name, what `on_medium` finds.
pub fn find(typed: &str, on_medium: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let path = Path::new(typed);
    let with_suffix = PathBuf::from(format!("{typed}.sb"));
    let by_path = [path, &with_suffix].into_iter().find(|p| p.is_file()).map(Path::to_owned);
    let found = by_path.or_else(|| if typed.contains('/') { None } else { on_medium(typed) });
    match found {
        Some(found) => fs::canonicalize(&found).at("find", &found),
        None if path.is_dir() => Err(Error::at("activate", path, "it is a directory")
            .hint("`livekit bundle pack DIR NAME.sb` makes a bundle of it")),
        None => Err(Error::at("find the bundle", path, "there is no such file").hint(
            "a path, with or without .sb, the name of a bundle on the medium, or an http(s):// address",
        )),
    }
}

/// Why a file cannot stay where it is while its bundle is active; nothing if it can.
pub fn may_go_away(file: &Path) -> Result<Option<String>> {
    let about = statx(CWD, file, AtFlags::empty(), StatxFlags::MNT_ID).at("look at", file)?;
    let mounts = mounts::current()?;
    let mount = mounts.iter().find(|m| u64::from(m.id) == about.stx_mnt_id);
    let Some(mount) = mount else { return Ok(Some("it is on a mount that is not seen here".into())) };
    if Path::new(live::layout::SAVED_RAMFS).join("memory").as_path() != mount.path
        && mount.path.starts_with(live::layout::SAVED_RAMFS)
    {
        return Ok(None);
    }
    let device = format!("/sys/dev/block/{}:{}", mount.device.0, mount.device.1);
    Ok(reason(mount, &fs::canonicalize(device).ok(), |path| fs::read_to_string(path).ok()))
}

/// Decides by the mount, and for disks by what sysfs says of them.
fn reason(
    mount: &MountPoint,
    device: &Option<PathBuf>,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<String> {
    if mount.fs_type == "overlay" {
        return Some("it lies in the union itself".into());
    }
    if MEMORY.contains(&mount.fs_type.as_str()) {
        return None;
    }
    let Some(device) = device else {
        return Some(format!("{} ({}) is no disk of this machine", mount.source, mount.fs_type));
    };
    // A partition's folder lies in that of its disk.
    let removable = [device.join("removable"), device.join("../removable")]
        .iter()
        .find_map(|path| read(path))
        .is_some_and(|text| text.trim() == "1");
    let usb = device.components().any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
    (removable || usb).then(|| format!("{} can be pulled out", mount.source))
}

/// Copies a bundle to memory, where it stays until it is deactivated.
pub fn to_memory(file: &Path, name: &str, output: &Output) -> Result<PathBuf> {
    let needed = fs::metadata(file).at("look at", file)?.len();
    let room = available_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    if let Some(room) = room.filter(|room| room.saturating_sub(LEFT) < needed) {
        let what = format!("it has {}, of memory {} are free", size(needed), size(room));
        return Err(Error::at("copy to memory", file, what)
            .hint("--keep copies it to the medium instead; on a disk that stays in, it needs no copy"));
    }
    let folder = memory_folder();
    fs::create_dir_all(&folder).at("make the directory", &folder)?;
    let target = folder.join(name);
    copy_whole(file, &target, output)?;
    Ok(target)
}

/// `MemAvailable` of /proc/meminfo, in bytes.
pub fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Copies a file under another name, which it has only when it is whole and on the disk.
pub fn copy_whole(from: &Path, to: &Path, output: &Output) -> Result<()> {
    let total = fs::metadata(from).at("look at", from)?.len();
    let folder = to.parent().unwrap_or(Path::new("/"));
    if let Ok(room) = rustix::fs::statvfs(folder) {
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if room.f_blocks > 0 && free < total {
            let what = format!("{} are free, it has {}", size(free), size(total));
            return Err(Error::at(&format!("copy {} to", from.display()), folder, what));
        }
    }
    let mut step = output.step(format!("Copying {}", from.display()));
    let partial = bundles::partial_name(to);
    let unfinished = Unfinished::new(partial.clone());
    let (mut source, mut target) =
        (File::open(from).at("open", from)?, File::create(&partial).at("make", &partial)?);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = source.read(&mut buffer).at("read", from)?;
        if read == 0 {
            break;
        }
        target.write_all(&buffer[..read]).at("write", &partial)?;
        done += read as u64;
        step.bytes(done, total);
    }
    target.sync_all().at("write", &partial)?;
    fs::rename(&partial, to).at("write", to)?;
    File::open(folder).and_then(|folder| folder.sync_all()).at("write", folder)?;
    unfinished.keep();
    step.done(format!("to {}", folder.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_can_stay() {
        let usb = "/sys/devices/pci0000:00/0000:00:04.0/usb1/1-1/host2/block/sda/sda1";
        let disk = "/sys/devices/pci0000:00/0000:00:05.0/virtio1/block/vda/vda1";
        let card = "/sys/devices/platform/mmc/block/mmcblk0/mmcblk0p1";
        for (fs_type, device, removable, expected) in [
            ("overlay", None, false, Some("union")),
            ("tmpfs", None, false, None),
            ("nfs4", None, false, Some("no disk")),
            ("fuse.sshfs", None, false, Some("no disk")),
            ("ext4", Some(disk), false, None),
            ("vfat", Some(usb), false, Some("pulled out")),
            ("ext4", Some(card), true, Some("pulled out")),
        ] {
            let line = format!("1 0 8:1 / /mnt rw - {fs_type} /dev/x rw");
            let mount = mounts::parse(line.as_bytes()).remove(0);
            let read = |path: &Path| {
                // Only whole disks have the file.
                path.ends_with("../removable").then(|| if removable { "1\n" } else { "0\n" }.to_owned())
            };
            let found = reason(&mount, &device.map(PathBuf::from), read);
            match (&found, expected) {
                (None, None) => {}
                (Some(text), Some(part)) => assert!(text.contains(part), "{text}"),
                _ => panic!("{fs_type}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_the_user_may_type() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::write(folder.join("a.sb"), "").unwrap();
        std::os::unix::fs::symlink("a.sb", folder.join("link")).unwrap();
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let on_medium = |name: &str| (name == "vim").then(|| folder.join("a.sb"));
        for typed in [at("a.sb"), at("a"), at("link"), "vim".to_owned()] {
            assert_eq!(find(&typed, on_medium).unwrap(), folder.join("a.sb"), "{typed}");
        }
        for (typed, part) in
            [(at("b"), "no such file"), (at(""), "directory"), ("emacs".into(), "no such file")]
        {
            let error = find(&typed, on_medium).unwrap_err();
            assert!(error.message().contains(part) && error.hint_text().is_some(), "{error}");
        }
    }

    #[test]
    fn memory_that_is_free() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert_eq!(available_memory(""), None);
    }

    #[test]
    fn a_copy_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.sb"), folder.path().join("b.sb"));
        fs::write(&from, vec![5; 3_000_000]).unwrap();
        copy_whole(&from, &to, &Output::new(true)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
