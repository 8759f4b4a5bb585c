//! The union: layers with the changes on top, the root people see. Made with overlayfs.

use std::path::{Path, PathBuf};

use crate::changes::Changes;
use crate::error::{AtPath, Context, Error, Result};
use crate::layer::Layer;
use crate::sys::mount::{self, Mount};

/// The root union's name in /proc/mounts.
pub const SOURCE: &str = "lk:@";

/// Options of every union. Each of these features ties the changes to the very layers they were made on, or makes
/// new directories opaque, which hides what a bundle added later brings to them.
pub const OPTIONS: &str = "index=off,redirect_dir=off,metacopy=off,xino=off";

/// A mounted union.
#[derive(Debug)]
pub struct Union {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Union {
    /// Mounts `layers`, lowest first, under `changes` at `path`.
    pub fn mount(layers: &[Layer], changes: &Changes, path: &Path) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::new("there is no bundle to make a union of"));
        }
        std::fs::create_dir_all(path).at("make the directory", path)?;
        let highest_first: Vec<&Path> = layers.iter().rev().map(|l| l.path.as_path()).collect();
        let made = if names_layers_one_by_one(rustix::system::uname().release().to_string_lossy().as_ref()) {
            mount_by_layer(&highest_first, changes, path)
        } else {
            mount_by_list(&highest_first, changes, path)
        };
        made.doing(&format!("the union of {} bundles", layers.len()))?;
        Ok(Self { path: path.to_owned() })
    }
}

/// Whether this kernel release has the option `lowerdir+` (Linux 6.8). To try it on an older one leaves an error
/// on the console.
fn names_layers_one_by_one(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 8)
}

fn mount_by_layer(layers: &[&Path], changes: &Changes, path: &Path) -> Result<()> {
    let texts: Vec<_> = layers.iter().map(|l| l.to_string_lossy()).collect();
    let (upper, work) = (changes.upper.to_string_lossy(), changes.work.to_string_lossy());
    let mut overlay = Mount::new("overlay", SOURCE);
    for text in &texts {
        overlay = overlay.set("lowerdir+", text);
    }
    overlay.set("upperdir", &upper).set("workdir", &work).options(OPTIONS).at(path)
}

/// Before Linux 6.8: all layers in one option, within the page that mount(2) reads. Names relative to the layers'
/// common folder make room for some hundred of them.
fn mount_by_list(layers: &[&Path], changes: &Changes, path: &Path) -> Result<()> {
    let home = layers[0].parent().unwrap_or(Path::new("/"));
    let names: Vec<String> = layers.iter().map(|l| escape(l.strip_prefix(home).unwrap_or(l))).collect();
    let data = format!(
        "lowerdir={},upperdir={},workdir={},{OPTIONS}",
        names.join(":"),
        escape(&changes.upper),
        escape(&changes.work)
    );
    let before = std::env::current_dir().at("find", ".")?;
    std::env::set_current_dir(home).at("enter", home)?;
    let made = mount::mount_with_data(SOURCE, path, "overlay", &data);
    std::env::set_current_dir(&before).at("enter", &before)?;
    made
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
}
