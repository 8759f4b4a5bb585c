//! One overlayfs mount (Documentation/filesystems/overlayfs.rst): read-only layers with a writable one on top.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::sys::mount::{self, Mount};

/// Options of every overlay. Each of these features ties the changes to the very layers they were made on, or makes
/// new directories opaque, which hides what a bundle added later brings to them.
pub const OPTIONS: &str = "index=off,redirect_dir=off,metacopy=off,xino=off";

/// An overlay to be mounted.
#[derive(Debug, Clone)]
pub struct Overlay<'a> {
    /// Its name in /proc/mounts.
    pub source: &'a str,
    /// The layers, the highest first; at least one.
    pub lowers: &'a [PathBuf],
    /// Where writes go.
    pub upper: &'a Path,
    /// An empty folder on the file system of `upper` that no other overlay uses.
    pub work: &'a Path,
}

impl Overlay<'_> {
    /// Mounts it on `path`. Before Linux 6.8 this process is in another working directory meanwhile.
    pub fn at(&self, path: &Path) -> Result<()> {
        match self.meant_for(path)? {
            Some(overlay) => mount::attach(&overlay, path),
            None => self.mount_by_list(path),
        }
    }

    /// Makes it without a place in the tree, where the kernel can (Linux 6.8). `path`, where it is to be later, is for the
    /// error.
    pub fn meant_for(&self, path: &Path) -> Result<Option<OwnedFd>> {
        if !names_layers_one_by_one(rustix::system::uname().release().to_string_lossy().as_ref()) {
            return Ok(None);
        }
        let lowers: Vec<_> = self.lowers.iter().map(|l| l.to_string_lossy()).collect();
        // A backslash means something in these, and nothing in `lowerdir+` (fs/overlayfs/params.c).
        let (upper, work) = (escape(self.upper), escape(self.work));
        let mut overlay = Mount::new("overlay", self.source);
        for lower in &lowers {
            overlay = overlay.set("lowerdir+", lower);
        }
        overlay.set("upperdir", &upper).set("workdir", &work).options(OPTIONS).meant_for(path).map(Some)
    }

    /// All layers in one option, within the page that mount(2) reads. Names relative to the layers' common folder make
    /// room for some hundred of them.
    fn mount_by_list(&self, path: &Path) -> Result<()> {
        let home = common_folder(self.lowers);
        let names: Vec<String> = self.lowers.iter().map(|l| escape(below(l, &home))).collect();
        let data = format!(
            "lowerdir={},upperdir={},workdir={},{OPTIONS}",
            names.join(":"),
            escape(self.upper),
            escape(self.work)
        );
        let before = std::env::current_dir().at("find", ".")?;
        std::env::set_current_dir(&home).at("enter", &home)?;
        let made = mount::mount_with_data(self.source, path, "overlay", &data);
        std::env::set_current_dir(&before).at("enter", &before)?;
        made
    }
}

/// Whether this kernel release has the option `lowerdir+` (Linux 6.8). To try it on an older one leaves an error
/// on the console.
fn names_layers_one_by_one(release: &str) -> bool {
    kernel_version(release) >= (6, 8)
}

/// Major and minor number of a kernel release; zeros where it does not begin with numbers.
pub fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The deepest folder that all paths are in.
fn common_folder(paths: &[PathBuf]) -> PathBuf {
    let mut home = paths.first().and_then(|p| p.parent()).unwrap_or(Path::new("/"));
    while !paths.iter().all(|p| p.starts_with(home) && p != home) {
        let Some(parent) = home.parent() else { break };
        home = parent;
    }
    home.to_owned()
}

/// The path as seen from `home`.
fn below<'a>(path: &'a Path, home: &Path) -> &'a Path {
    // The root itself may be a layer.
    if path == home { Path::new(".") } else { path.strip_prefix(home).unwrap_or(path) }
}

/// overlayfs takes a colon for the next layer and a comma for the next option, unless a backslash is before it.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ':' | ',' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_lowerdir_plus() {
        for (release, expected) in [
            ("6.1.0-40-amd64", false),
            ("6.7.12", false),
            ("6.8.0", true),
            ("6.12.43+deb12-amd64", true),
            ("7.0-rc1", true),
            ("x", false),
        ] {
            assert_eq!(names_layers_one_by_one(release), expected, "{release}");
        }
    }

    #[test]
    fn separators_in_names_are_escaped() {
        assert_eq!(
            escape(Path::new("/memory/bundles/05-a:b,c\\d.sb")),
            "/memory/bundles/05-a\\:b\\,c\\\\d.sb"
        );
    }

    #[test]
    fn layers_are_named_from_the_folder_they_share() {
        for (paths, expected) in [
            (&["/b/1.sb", "/b/2.sb"][..], "/b"),
            (&["/b/1.sb/usr"], "/b/1.sb"),
            (&["/b/1.sb/usr", "/b/2.sb/usr"], "/b"),
            (&["/b/1.sb", "/b/1.sb/usr"], "/b"),
            (&["/a/x", "/b/y"], "/"),
            (&["/"], "/"),
            (&["/a/x", "/"], "/"),
        ] {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            assert_eq!(common_folder(&paths), Path::new(expected), "{paths:?}");
        }
        let root = Path::new("/");
        assert_eq!(
            (below(root, root), below(Path::new("/b/1.sb"), root)),
            (Path::new("."), Path::new("b/1.sb"))
        );
    }
}
