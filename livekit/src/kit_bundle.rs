//! The kit's own bundle: what a running live system has beyond its distribution. It lies over all others of the build.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::initramfs::programs;
use crate::inits::{Content, HookFile};

/// Its file name: above everything a distribution or a user is likely to number.
pub const BUNDLE: &str = "90-livekit.sb";

/// Where the programs of the initramfs are in it, so that a live system can make images too.
const PROGRAMS: &str = "usr/lib/livekit";

const BUILDING: &str = include_str!("../../docs/building.md");

/// What goes in.
pub struct KitBundle<'a> {
    /// `init` and `cleanup`.
    pub programs: [&'a Path; 2],
    /// For the root's init systems.
    pub hooks: &'a [HookFile],
    /// Whether an empty machine-id goes in: for a root whose own stays out. Without any, systemd would take the
    /// start for the first of an unconfigured system and reset which services are enabled.
    pub machine_id: bool,
}

impl KitBundle<'_> {
    /// Lays the tree out below `folder`.
    pub fn lay_out(&self, folder: &Path) -> Result<()> {
        let livekit = std::env::current_exe().at("find", "/proc/self/exe")?;
        copy_program(&livekit, folder, "usr/bin/livekit")?;
        for program in self.programs {
            let name =
                program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            copy_program(program, folder, &format!("{PROGRAMS}/{name}"))?;
        }
        write(folder, "usr/share/doc/livekit/building.md", BUILDING.as_bytes(), 0o644)?;
        for hook in self.hooks {
            match &hook.content {
                Content::Program(text) => write(folder, &hook.path, text.as_bytes(), 0o755)?,
                Content::Text(text) => write(folder, &hook.path, text.as_bytes(), 0o644)?,
                Content::Link(target) => {
                    let path = place(folder, &hook.path)?;
                    symlink(target, &path).at("make the link", &path)?;
                }
            }
        }
        if self.machine_id {
            write(folder, "etc/machine-id", b"", 0o444)?;
        }
        Ok(())
    }
}

fn copy_program(from: &Path, folder: &Path, name: &str) -> Result<()> {
    let bytes = fs::read(from).at("read the program", from)?;
    write(folder, name, &bytes, 0o755)
}

fn write(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let path = place(folder, name)?;
    fs::write(&path, bytes).at("write", &path)?;
    set_mode(&path, mode)
}

/// The path of `name`, with the directories above it made. Whatever the umask, the system's directories can be entered.
fn place(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut at = folder.to_owned();
    make(&at)?;
    let parent = Path::new(name).parent().unwrap_or(Path::new(""));
    for part in parent.components() {
        at.push(part);
        make(&at)?;
    }
    Ok(folder.join(name))
}

fn make(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        fs::create_dir(folder).at("make the directory", folder)?;
        set_mode(folder, 0o755)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("set the mode of", path)
}

/// The programs of the initramfs, as they were built with this command: `init` and `cleanup`.
pub fn find_programs() -> Result<[PathBuf; 2]> {
    Ok([programs::find("init")?, programs::find("cleanup")?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn everything_is_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (init, cleanup) = (dir.path().join("init"), dir.path().join("cleanup"));
        fs::write(&init, "i").unwrap();
        fs::write(&cleanup, "c").unwrap();
        let hooks = [
            HookFile { path: "etc/init.d/halt".into(), content: Content::Program("#!/bin/sh\n") },
            HookFile {
                path: "etc/runlevels/shutdown/livekit".into(),
                content: Content::Link("/etc/init.d/livekit"),
            },
        ];
        let tree = dir.path().join("tree");
        KitBundle { programs: [&init, &cleanup], hooks: &hooks, machine_id: true }.lay_out(&tree).unwrap();
        for (path, mode, size) in [
            ("usr", 0o40_755, None),
            ("usr/lib/livekit/init", 0o100_755, Some(1)),
            ("usr/lib/livekit/cleanup", 0o100_755, Some(1)),
            ("etc/init.d/halt", 0o100_755, Some(10)),
            ("etc/machine-id", 0o100_444, Some(0)),
            ("usr/share/doc/livekit/building.md", 0o100_644, None),
            ("usr/bin/livekit", 0o100_755, None),
        ] {
            let metadata = tree.join(path).symlink_metadata().unwrap();
            assert_eq!(metadata.mode(), mode, "{path}");
            assert_eq!(metadata.size(), size.unwrap_or(metadata.size()), "{path}");
        }
        let link = fs::read_link(tree.join("etc/runlevels/shutdown/livekit")).unwrap();
        assert_eq!(link, Path::new("/etc/init.d/livekit"));
    }
}
