//! The bundles of the running system in their order, as mounts and what is remembered tell it.

use std::fs;
use std::path::{Path, PathBuf};

use bundles::BundleName;
use live::layout::{BUNDLES, SAVED_RAMFS};
use live::mounts::MountPoint;

use super::state::State;

/// Where a bundle came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was there from the start.
    Boot,
    /// It came while the system ran.
    Activated,
}

/// A mounted bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stacked {
    /// Its file name.
    pub name: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    pub origin: Origin,
    /// Whether its files are not in the covers: a bundle of the boot that was deactivated.
    pub hidden: bool,
    /// Its block device, as mountinfo has it: `/dev/loop3`.
    pub device: String,
}

/// The folder that bundles are mounted in, as the running system sees it.
pub fn bundles_folder() -> PathBuf {
    Path::new(SAVED_RAMFS).join(&BUNDLES[1..])
}

/// All mounted bundles, lowest first: those of the boot as their names sort, then the others as they came. Bundles that
/// are on their way in or out are not among them.
pub fn stack(mounts: &[MountPoint], state: &State) -> Vec<Stacked> {
    let folder = bundles_folder();
    let on_the_way = |name: &str| state.arriving.iter().chain(&state.leaving).any(|b| b.name == name);
    let mounted = mounts.iter().filter(|m| m.path.parent() == Some(&folder)).filter_map(|m| {
        let name = m.path.file_name()?.to_str()?.to_owned();
        let origin = if state.activated(&name).is_some() { Origin::Activated } else { Origin::Boot };
        let hidden = state.is_hidden(&name);
        Some(Stacked { mount: m.path.clone(), origin, hidden, device: m.source.clone(), name })
    });
    let mut found: Vec<Stacked> = mounted.filter(|s| !on_the_way(&s.name)).collect();
    found.sort_by_key(|s| match s.origin {
        Origin::Boot => (0, BundleName::parse(&s.name)),
        Origin::Activated => {
            let place = state.activated.iter().position(|a| a.name == s.name).unwrap_or_default();
            (1 + place, None)
        }
    });
    found
}

/// The mounts of the bundles whose files are seen, highest first: the layers of covers.
pub fn layers(stack: &[Stacked]) -> Vec<PathBuf> {
    stack.iter().rev().filter(|s| !s.hidden).map(|s| s.mount.clone()).collect()
}

/// The file that a loop device shows, as this process sees it.
pub fn file_of(device: &str) -> Option<PathBuf> {
    let name = Path::new(device).file_name()?;
    let path = Path::new("/sys/block").join(name).join("loop/backing_file");
    fs::read_to_string(path).ok().map(|text| PathBuf::from(text.trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::super::state::Activated;
    use super::*;
    use live::mounts;

    #[test]
    fn boot_bundles_by_name_and_the_others_as_they_came() {
        let text =
            ["10-b.sb", "9-a.sb", "00-new.sb", "extra.sb", "05-late.sb", "07-gone.sb", "08-not-yet.sb"]
                .iter()
                .enumerate()
                .map(|(n, name)| {
                    format!(
                        "{n} 0 7:{n} / /run/initramfs/memory/bundles/{name} ro - squashfs /dev/loop{n} ro\n"
                    )
                })
                .collect::<String>();
        let other = "99 0 7:9 / /run/initramfs/memory/bundles/10-b.sb/deep ro - tmpfs x ro\n";
        let bundle = |name: &str| Activated {
            name: name.into(),
            origin: String::new(),
            file: PathBuf::new(),
            copied: false,
            since: 0,
            since_boot: 0,
            by: String::new(),
        };
        let state = State {
            activated: vec![bundle("05-late.sb"), bundle("00-new.sb")],
            hidden: vec!["9-a.sb".into()],
            leaving: vec![bundle("07-gone.sb")],
            arriving: vec![bundle("08-not-yet.sb")],
            ..State::default()
        };
        let found = stack(&mounts::parse((text + other).as_bytes()), &state);
        let names: Vec<&str> = found.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["9-a.sb", "10-b.sb", "extra.sb", "05-late.sb", "00-new.sb"]);
        assert_eq!(found[4].origin, Origin::Activated);
        let layers = layers(&found);
        assert_eq!(layers.len(), 4);
        assert_eq!(layers[0], Path::new("/run/initramfs/memory/bundles/00-new.sb"));
        assert!(!layers.iter().any(|l| l.ends_with("9-a.sb")));
    }
}
