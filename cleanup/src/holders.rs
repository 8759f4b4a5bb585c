//! Who uses a file system that will not go.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::processes;

/// What processes hold on the file system mounted at `path`: `name (pid): what`. At most a handful.
pub fn of(path: &Path) -> Vec<String> {
    let Ok(device) = fs::metadata(path).map(|m| m.dev()) else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes::all() {
        let home = PathBuf::from(format!("/proc/{}", process.pid));
        if let Some(what) = held_by(&home, device) {
            found.push(format!("{} ({}): {what}", process.name, process.pid));
        }
        if found.len() == 5 {
            break;
        }
    }
    found
}

/// The first thing of that device that the process at `home` in /proc uses.
fn held_by(home: &Path, device: u64) -> Option<String> {
    let on_device = |link: &Path| fs::metadata(link).is_ok_and(|m| m.dev() == device);
    let name = |link: &Path| fs::read_link(link).map_or_else(|_| "?".into(), |p| p.display().to_string());
    for (link, what) in [("exe", "its program"), ("root", "its root"), ("cwd", "its directory")] {
        let link = home.join(link);
        if on_device(&link) {
            return Some(format!("{what} is {}", name(&link)));
        }
    }
    let mut links =
        [("fd", "it has open"), ("map_files", "it maps")].into_iter().flat_map(|(folder, what)| {
            let list = fs::read_dir(home.join(folder)).into_iter().flatten().flatten();
            list.map(move |entry| (entry.path(), what))
        });
    links.find(|(link, _)| on_device(link)).map(|(link, what)| format!("{what} {}", name(&link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_open_file() {
        let path = std::env::temp_dir().join(format!("livekit-holders-{}", std::process::id()));
        let file = fs::File::create(&path).unwrap();
        let device = file.metadata().unwrap().dev();
        assert!(held_by(Path::new("/proc/self"), device).is_some());
        assert_eq!(held_by(Path::new("/proc/self"), u64::MAX), None);
        fs::remove_file(&path).unwrap();
    }
}
