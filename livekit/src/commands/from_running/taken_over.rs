//! What is taken over from the medium beside the bundles: optional/ and rootcopy/.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::contents::{Content, Item};
use crate::error::{AtPath, Result};
use crate::output::Output;

/// Folders of the live folder that are taken over as they are, links and modes included.
const FOLDERS: [&str; 2] = ["optional", "rootcopy"];

/// All that is in those folders of the live folder, but for `without`: what has another place in the image.
pub fn taken_over(live_folder: &Path, without: &BTreeSet<PathBuf>, output: &Output) -> Result<Vec<Item>> {
    let mut walk = Walk { live_folder, without, items: Vec::new(), left_out: Vec::new() };
    for name in FOLDERS {
        // A link would lead out of the image.
        if fs::symlink_metadata(live_folder.join(name)).is_ok_and(|about| about.is_dir()) {
            walk.folder(Path::new(name))?;
        }
    }
    output.warnings("left out", &walk.left_out);
    Ok(walk.items)
}

struct Walk<'a> {
    live_folder: &'a Path,
    without: &'a BTreeSet<PathBuf>,
    items: Vec<Item>,
    left_out: Vec<String>,
}

impl Walk<'_> {
    fn folder(&mut self, below: &Path) -> Result<()> {
        let folder = self.live_folder.join(below);
        for entry in fs::read_dir(&folder).at("list", &folder)? {
            let entry = entry.at("list", &folder)?;
            if !self.without.contains(&entry.path()) {
                self.entry(&below.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, place: &Path) -> Result<()> {
        let path = self.live_folder.join(place);
        let about = fs::symlink_metadata(&path).at("look at", &path)?;
        let target = about.is_symlink().then(|| fs::read_link(&path)).transpose().at("read", &path)?;
        let name = place.to_str().map(str::to_owned);
        let target = target.map(|target| target.into_os_string().into_string());
        let (Some(name), None | Some(Ok(_))) = (name, &target) else {
            self.left_out.push(format!("{}: its name is no text", path.display()));
            return Ok(());
        };
        let mode = Some(about.permissions().mode() & 0o7777);
        let (content, mode) = match target {
            Some(Ok(target)) => (Content::Link(target), None),
            _ if about.is_dir() => (Content::Folder, mode),
            _ if about.is_file() => (Content::File(path), mode),
            _ => {
                self.left_out.push(format!("{}: neither a file, a folder nor a link", path.display()));
                return Ok(());
            }
        };
        self.items.push(Item { place: name, content, mode });
        if about.is_dir() { self.folder(place) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_not_followed_and_modes_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, mode) in [
            ("optional/20-x.sb", 0o644),
            ("optional/30-active.sb", 0o644),
            ("rootcopy/usr/bin/tool", 0o755),
            ("changes/1/etc/x", 0o644),
            ("modules/40-y.sb", 0o644),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), name).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(path("rootcopy/usr"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(path("rootcopy/usr/bin"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/", path("rootcopy/all")).unwrap();
        symlink("nowhere", path("rootcopy/usr/link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("rootcopy/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let without = BTreeSet::from([path("optional/30-active.sb")]);
        let mut found = taken_over(folder.path(), &without, &Output::new(true)).unwrap();
        found.sort_by(|a, b| a.place.cmp(&b.place));
        let item = |place: &str, content, mode| Item { place: place.to_owned(), content, mode };
        let file = |place: &str, mode| item(place, Content::File(path(place)), Some(mode));
        let link = |place, target: &str| item(place, Content::Link(target.to_owned()), None);
        assert_eq!(
            found,
            [
                file("optional/20-x.sb", 0o644),
                link("rootcopy/all", "/"),
                item("rootcopy/usr", Content::Folder, Some(0o700)),
                item("rootcopy/usr/bin", Content::Folder, Some(0o755)),
                file("rootcopy/usr/bin/tool", 0o755),
                link("rootcopy/usr/link", "nowhere"),
            ]
        );
        assert_eq!(taken_over(&path("modules"), &without, &Output::new(true)).unwrap(), []);
    }
}
