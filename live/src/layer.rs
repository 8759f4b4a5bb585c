//! Layers: bundles attached to loop devices and mounted, ready for the union.

use std::path::{Path, PathBuf};

use crate::error::{AtPath, Context, Error, Result};
use crate::log;
use crate::sys::loop_device::LoopDevice;
use crate::sys::mount::Mount;

/// A mounted bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The bundle's file name, such as `00-core.sb`.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Layer {
    /// Attaches the bundle `file` read only and mounts it below `home`, as `home/NAME`.
    pub fn attach(file: &Path, home: &Path) -> Result<Self> {
        let name = file
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(|| Error::at("attach", file, "its name is not text"))?
            .to_owned();
        let whole = check_whole(file)?;
        let path = home.join(&name);
        std::fs::create_dir_all(&path).at("make the directory", &path)?;
        let device = LoopDevice::attach(file)?;
        let source = device.path().to_string_lossy().into_owned();
        Mount::new("squashfs", &source)
            .read_only()
            .at(&path)
            .doing(&format!("bundle {name}"))
            .inspect_err(|_| drop(std::fs::remove_dir(&path)))?;
        log::info(format_args!("bundle {name} on {source}, {} KiB", whole >> 10));
        Ok(Self { name, path })
    }
}

/// A bundle's place among others, from its file name: by the number it starts with, then by name. Bundles without
/// a number come last, on top.
pub fn order(name: &str) -> (u64, &str) {
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (name[..digits].parse().unwrap_or(u64::MAX), name)
}

/// Compares a bundle's length with what its superblock says (squashfs 4.0: magic at 0, bytes used at 40), so that
/// a file that was cut short is told by name and not by I/O errors later. Returns the bytes used.
fn check_whole(file: &Path) -> Result<u64> {
    use std::io::Read;
    let mut header = [0u8; 96];
    let mut open = std::fs::File::open(file).at("open", file)?;
    let length = open.metadata().at("look at", file)?.len();
    let complete = open.read_exact(&mut header);
    if complete.is_err() || header[..4] != *b"hsqs" {
        return Err(Error::at("use", file, "it is not a squashfs bundle")
            .hint("copy the bundle again; noload=NAME starts without it"));
    }
    let used = u64::from_le_bytes([40, 41, 42, 43, 44, 45, 46, 47].map(|i| header[i]));
    if length < used {
        return Err(Error::at("use", file, format!("it is torn: {length} bytes of {used} are there"))
            .hint("copy the bundle again; noload=NAME starts without it"));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_bundles() {
        let mut names = ["extra.sb", "10-a.sb", "9-z.sb", "09-b.sb", "010-0.sb"];
        names.sort_by_key(|n| order(n));
        assert_eq!(names, ["09-b.sb", "9-z.sb", "010-0.sb", "10-a.sb", "extra.sb"]);
    }

    #[test]
    fn torn_bundles_are_told() {
        let mut whole = vec![0u8; 200];
        whole[..4].copy_from_slice(b"hsqs");
        whole[40] = 200;
        let table: [(&[u8], &str); 4] = [
            (&whole, ""),
            (&whole[..150], "150 bytes of 200"),
            (&whole[..50], "not a squashfs"),
            (&[1; 200], "not a squashfs"),
        ];
        let folder = std::env::temp_dir().join(format!("livekit-layer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (bytes, expected) in table {
            let file = folder.join("00-x.sb");
            std::fs::write(&file, bytes).unwrap();
            match check_whole(&file) {
                Ok(used) => assert!(used == 200 && expected.is_empty()),
                Err(e) => assert!(!expected.is_empty() && e.message().contains(expected), "{e}"),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
