//! The union: layers with the changes on top, the root people see. One overlay of the whole root, with covers on the
//! folders that bundles may come to while the system runs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::changes::Changes;
use crate::cover::{self, Cover};
use crate::error::{AtPath, Context, Error, Result};
use crate::layer::Layer;
use crate::overlay::Overlay;
use crate::sys::mount;

/// The root overlay's name in /proc/mounts.
pub const SOURCE: &str = "lk:@";

/// A mounted union.
#[derive(Debug)]
pub struct Union {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Union {
    /// Mounts `layers`, lowest first, under `changes` and those before them at `path`.
    pub fn mount(layers: &[Layer], changes: &Changes, path: &Path) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::new("there is no bundle to make a union of"));
        }
        fs::create_dir_all(path).at("make the directory", path)?;
        let mut highest_first = changes.below()?;
        highest_first.reverse();
        highest_first.extend(layers.iter().rev().map(|l| l.path.clone()));
        mount_all(&highest_first, changes, path).doing(&format!("the union of {} bundles", layers.len()))?;
        Ok(Self { path: path.to_owned() })
    }
}

/// The covers are mounted elsewhere first. The kernel warns of two overlays that share changes only if the larger one
/// was there before.
fn mount_all(layers: &[PathBuf], changes: &Changes, path: &Path) -> Result<()> {
    let upper = changes.upper();
    let waiting = path.with_extension("covers");
    let mut covers = Vec::new();
    for place in cover::at_boot(layers, &upper)? {
        let lowers = cover::layers_at(layers, &place)?;
        let upper = cover::make_upper(&upper, &place, &lowers[0])?;
        let made = Cover { place, generation: 0 };
        let stage = waiting.join(covers.len().to_string());
        fs::create_dir_all(&stage).at("make the directory", &stage)?;
        let work = changes.new_work(&made.work_name())?;
        Overlay { source: &made.source(), lowers: &lowers, upper: &upper, work: &work }.at(&stage)?;
        covers.push((made, stage));
    }
    let work = changes.root_work()?;
    Overlay { source: SOURCE, lowers: layers, upper: &upper, work: &work }.at(path)?;
    for (cover, stage) in &covers {
        mount::move_to(stage, path.join(&cover.place))?;
        fs::remove_dir(stage).at("remove", stage)?;
    }
    match fs::remove_dir(&waiting) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("remove", &waiting),
        _ => Ok(()),
    }
}
