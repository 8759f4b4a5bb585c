//! Layers: bundles attached to loop devices and mounted, ready for the union.

use std::path::{Path, PathBuf};

use bundles::Superblock;

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

/// Has the kernel read a bundle's superblock, and changes nothing: no mount comes of it, and the loop device is free again.
pub fn can_be_mounted(file: &Path) -> Result<()> {
    let device = LoopDevice::attach(file)?;
    let source = device.path().to_string_lossy();
    Mount::new("squashfs", &source).read_only().meant_for(file).map(drop)
}

/// Compares a bundle's length with what its superblock says, so that a file that was cut short is told by name and not
/// by I/O errors later. Returns the bytes used.
fn check_whole(file: &Path) -> Result<u64> {
    use std::io::Read;
    let mut header = Vec::with_capacity(Superblock::SIZE);
    let open = std::fs::File::open(file).at("open", file)?;
    let length = open.metadata().at("look at", file)?.len();
    open.take(Superblock::SIZE as u64).read_to_end(&mut header).at("read", file)?;
    let hint = "copy the bundle again; noload=NAME starts without it";
    let used = Superblock::parse(&header).map_err(|e| Error::at("use", file, e).hint(hint))?.bytes_used;
    if length < used {
        let torn = format!("it is torn: {length} bytes of {used} are there");
        return Err(Error::at("use", file, torn).hint(hint));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_bundles_are_told() {
        // Version 4.0, zstd, blocks of 4 KiB.
        let mut whole = vec![0u8; 200];
        whole[..4].copy_from_slice(b"hsqs");
        for (at, byte) in [(13, 0x10), (20, 6), (22, 12), (28, 4), (40, 200)] {
            whole[at] = byte;
        }
        let table: [(&[u8], &str); 4] = [
            (&whole, ""),
            (&whole[..150], "150 bytes of 200"),
            (&whole[..50], "not a squashfs: too short"),
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
