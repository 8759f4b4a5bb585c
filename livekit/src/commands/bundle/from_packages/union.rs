//! The throw-away union: the base below, what apt changes on top, and around it what programs expect of a running system.
//!
//! All of it is mounted in a mount namespace of this thread's own.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use live::overlay::Overlay;
use live::sys::mount::{self, Mount};
use rustix::process::{Pid, Signal, kill_process};

use super::base::Base;
use crate::error::{AtPath, Result};
use crate::scratch::Scratch;

/// File systems that can hold what a union changes, by the numbers that statfs(2) has for them (linux/magic.h).
const CAN_HOLD: &[i64] = &[0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0xCA45_1A4E, 0x0102_1994];

/// Folders of the union that are empty and of the time of the work, with their modes.
const EMPTY: &[(&str, &str)] = &[("run", "0755"), ("tmp", "1777"), ("var/tmp", "1777"), ("dev", "0755")];

/// Devices that every program may use.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Tells invoke-rc.d and deb-systemd-invoke that no service is to be started (Debian's policy manual).
const NO_SERVICES: (&str, &str) = ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");

/// A temporary directory in $TMPDIR, or /var/tmp.
pub fn scratch() -> Result<Scratch> {
    let wanted = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
    let folder = wanted.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    Scratch::new_in(&folder.canonicalize().at("find the directory for temporary files", &folder)?)
}

/// Room for what is made.
#[derive(Debug)]
pub struct Place<'a>(&'a Scratch);

impl<'a> Place<'a> {
    /// In `scratch`; in memory, where a union cannot write to that.
    pub fn new(scratch: &'a Scratch) -> Result<Self> {
        let kind = rustix::fs::statfs(scratch.path()).at("look at", scratch.path())?.f_type;
        if !CAN_HOLD.contains(&kind) {
            Mount::new("tmpfs", "livekit-packages").set("mode", "0700").at(scratch.path())?;
        }
        let place = Place(scratch);
        let upper = place.folder("upper")?;
        // The mode of the union's root.
        fs::set_permissions(&upper, Permissions::from_mode(0o755)).at("set the mode of", &upper)?;
        Ok(place)
    }

    /// A folder in it, made if it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).at("make the directory", &path)?;
        Ok(path)
    }

    /// What was changed.
    pub fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }
}

/// The mounted union.
#[derive(Debug)]
pub struct ThrowAway {
    pub path: PathBuf,
}

impl ThrowAway {
    /// Mounts it, ready for apt.
    pub fn mount(base: &Base, place: &Place<'_>) -> Result<Self> {
        let path = place.folder("union")?;
        for part in &base.parts {
            make_like(&base.path, &place.upper(), part)?;
        }
        let parts = std::iter::once(Path::new("")).chain(base.parts.iter().map(PathBuf::as_path));
        for (number, part) in parts.enumerate() {
            let work = place.folder(&format!("work-{number}"))?;
            let lowers = [inside(&base.path, part)];
            let upper = inside(&place.upper(), part);
            let overlay = Overlay { source: "livekit-packages", lowers: &lowers, upper: &upper, work: &work };
            overlay.at(&inside(&path, part))?;
        }
        let union = ThrowAway { path };
        union.kernel_filesystems()?;
        union.names(place)?;
        union.no_services()?;
        Ok(union)
    }

    fn kernel_filesystems(&self) -> Result<()> {
        for (name, mode) in EMPTY {
            let path = self.made(name)?;
            Mount::new("tmpfs", "livekit-packages").set("mode", mode).at(&path)?;
        }
        let (proc, sys, dev) = (self.made("proc")?, self.made("sys")?, self.path.join("dev"));
        Mount::new("proc", "proc").attributes("nosuid,nodev,noexec").at(&proc)?;
        // Maintainer scripts are not to set up the kernel that runs.
        let settings = proc.join("sys");
        mount::bind(&settings, &settings)?;
        mount::set_attributes(&settings, "ro,nosuid,nodev,noexec")?;
        Mount::new("sysfs", "sysfs").attributes("ro,nosuid,nodev,noexec").at(&sys)?;
        for name in DEVICES {
            let node = dev.join(name);
            File::create(&node).at("create", &node)?;
            mount::bind(Path::new("/dev").join(name), &node)?;
        }
        let terminals = self.made("dev/pts")?;
        Mount::new("devpts", "devpts").options("mode=620,ptmxmode=666").at(&terminals)?;
        let shared = self.made("dev/shm")?;
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).at("set the mode of", &shared)?;
        for (name, to) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(to, dev.join(name)).at("make the link", dev.join(name))?;
        }
        Ok(())
    }

    /// Gives the union this system's way to look up names of hosts.
    fn names(&self, place: &Place<'_>) -> Result<()> {
        let Ok(ours) = fs::read("/etc/resolv.conf") else { return Ok(()) };
        let theirs = self.path.join("etc/resolv.conf");
        if let Ok(target) = fs::read_link(&theirs) {
            let below = plain(&Path::new("/etc").join(target));
            // What is in /run is not there.
            if below.starts_with("run") {
                let path = self.path.join(below);
                let folder = path.parent().unwrap_or(&path);
                fs::create_dir_all(folder).at("make the directory", folder)?;
                fs::write(&path, ours).at("write", &path)?;
            }
            return Ok(());
        }
        let copy = place.folder("files")?.join("resolv.conf");
        fs::write(&copy, ours).at("write", &copy)?;
        if !theirs.exists() {
            File::create(&theirs).at("create", &theirs)?;
        }
        mount::bind(&copy, &theirs)
    }

    fn no_services(&self) -> Result<()> {
        let (name, text) = NO_SERVICES;
        let path = self.path.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).at("write", &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).at("set the mode of", &path)
    }

    fn made(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).at("make the directory", &path)?;
        Ok(path)
    }

    /// A command to be run in it, with nothing of this process's environment but what leads into the network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).arg(program).env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| {
            name.to_str().is_some_and(|name| name.to_ascii_lowercase().ends_with("_proxy"))
        }));
        command.envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBIAN_PRIORITY", "critical"),
            ("UCF_FORCE_CONFFOLD", "1"),
        ]);
        command.current_dir("/").stdin(std::process::Stdio::null());
        command
    }

    /// Ends what packages started in spite of all: it would keep the union mounted, and write to it.
    pub fn end_processes(&self) {
        let Ok(root) = fs::metadata(&self.path) else { return };
        let Ok(entries) = fs::read_dir("/proc") else { return };
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let theirs = fs::metadata(entry.path().join("root"));
            let inside = theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (root.dev(), root.ino()));
            if let Some(pid) = Pid::from_raw(pid).filter(|_| inside) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        self.end_processes();
        // Nothing is left to do about a failure; the namespace goes anyway.
        let _ = mount::detach(&self.path);
    }
}

/// `path/part`, without a slash at the end.
fn inside(path: &Path, part: &Path) -> PathBuf {
    if part.as_os_str().is_empty() { path.to_owned() } else { path.join(part) }
}

/// A path without `.` and `..`, relative to the root.
fn plain(path: &Path) -> PathBuf {
    let mut names: Vec<&OsStr> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.iter().collect()
}

/// Makes the folder `part` of `to`, and those above it, with modes and owners as in `from`.
fn make_like(from: &Path, to: &Path, part: &Path) -> Result<()> {
    let mut relative = PathBuf::new();
    for name in part {
        relative.push(name);
        let (like, path) = (from.join(&relative), to.join(&relative));
        if path.is_dir() {
            continue;
        }
        let about = fs::metadata(&like).at("look at", &like)?;
        fs::create_dir(&path).at("make the directory", &path)?;
        chown(&path, Some(about.uid()), Some(about.gid())).at("set the owner of", &path)?;
        fs::set_permissions(&path, Permissions::from_mode(about.mode() & 0o7777))
            .at("set the mode of", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_links_lead() {
        for (path, expected) in [
            ("/etc/../run/systemd/resolve/stub-resolv.conf", "run/systemd/resolve/stub-resolv.conf"),
            ("/run/x", "run/x"),
            ("/etc/./a/../../../b", "b"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected));
        }
    }
}
