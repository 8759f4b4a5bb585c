//! Who uses a file system that will not go.

use std::fs;
use std::path::{Path, PathBuf};

use live::mounts::MountPoint;

use crate::processes;

/// What processes hold on the file system mounted at `path`: `name (pid): what`. At most a handful.
pub fn of(path: &Path, mounts: &[MountPoint]) -> Vec<String> {
    let mut found = Vec::new();
    for process in processes::all() {
        let home = PathBuf::from(format!("/proc/{}", process.pid));
        if let Some(what) = held_by(&home, |target| is_on(target, path, mounts)) {
            found.push(format!("{} ({}): {what}", process.name, process.pid));
        }
        if found.len() == 5 {
            break;
        }
    }
    found
}

/// Whether what is at `target` lies on the mount at `path` and on none above it. Told by names: a file of a union
/// has the device number of the layer it comes from.
fn is_on(target: &Path, path: &Path, mounts: &[MountPoint]) -> bool {
    let home = mounts
        .iter()
        .map(|m| m.path.as_path())
        .filter(|p| target.starts_with(p))
        .max_by_key(|p| p.as_os_str().len());
    home == Some(path)
}

/// The first thing that the process at `home` in /proc uses and that is `wanted`.
fn held_by(home: &Path, wanted: impl Fn(&Path) -> bool) -> Option<String> {
    let links = [("exe", "its program is"), ("root", "its root is"), ("cwd", "its directory is")]
        .map(|(link, what)| (home.join(link), what));
    let folders = [("fd", "it has open"), ("map_files", "it maps")].into_iter().flat_map(|(folder, what)| {
        let list = fs::read_dir(home.join(folder)).into_iter().flatten().flatten();
        list.map(move |entry| (entry.path(), what))
    });
    links.into_iter().chain(folders).find_map(|(link, what)| {
        let target = fs::read_link(link).ok()?;
        wanted(&target).then(|| format!("{what} {}", target.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use live::mounts;

    #[test]
    fn finds_its_own_open_file() {
        let path = std::env::temp_dir().join(format!("livekit-holders-{}", std::process::id()));
        let _file = fs::File::create(&path).unwrap();
        let found = held_by(Path::new("/proc/self"), |target| target == path);
        assert_eq!(found.unwrap(), format!("it has open {}", path.display()));
        assert_eq!(held_by(Path::new("/proc/self"), |_| false), None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_is_on_the_mount_nearest_to_it() {
        let mounts = mounts::parse(b"1 0 0:1 / / rw - tmpfs a rw\n2 1 0:2 / /oldroot rw - overlay b rw\n3 2 0:3 / /oldroot/mnt rw - ext4 c rw\n");
        let table = [
            ("/oldroot/sbin/init", "/oldroot", true),
            ("/oldroot/mnt/x", "/oldroot", false),
            ("/oldroot/mnt", "/oldroot/mnt", true),
            ("/oldrootx", "/oldroot", false),
        ];
        for (target, path, expected) in table {
            assert_eq!(is_on(Path::new(target), Path::new(path), &mounts), expected, "{target} {path}");
        }
    }
}
