//! The init systems of a root, and the files that lead their shutdown through the saved ramfs.
//!
//! systemd goes to /run/initramfs/shutdown by itself. The others are shown the way by files in the kit's own bundle,
//! which lie over the distribution's.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{AtPath, Result};
use crate::root::resolve;

/// A program that runs as PID 1, or what it starts services with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitSystem {
    Systemd,
    SysVinit,
    OpenRc,
    Runit,
    Busybox,
}

impl InitSystem {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            InitSystem::Systemd => "systemd",
            InitSystem::SysVinit => "sysvinit",
            InitSystem::OpenRc => "OpenRC",
            InitSystem::Runit => "runit",
            InitSystem::Busybox => "busybox init",
        }
    }
}

/// A file of the kit's own bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFile {
    /// Where it goes, relative to the root.
    pub path: Cow<'static, str>,
    pub content: Content,
}

/// What a [`HookFile`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A program, mode 0755.
    Program(&'static str),
    /// A file, mode 0644.
    Text(Cow<'static, str>),
    /// A symbolic link.
    Link(&'static str),
}

/// The init systems that `root` has, the one that runs as PID 1 first where that can be told.
pub fn detect(root: &Path) -> Vec<InitSystem> {
    let has = |path: &str| resolve(root, Path::new(path)).is_some();
    let init = resolve(root, Path::new("sbin/init"));
    let init_is = |name: &str| init.as_deref().and_then(Path::file_name).is_some_and(|file| file == name);
    let checks = [
        (InitSystem::Systemd, init_is("systemd") || (init.is_none() && has("usr/lib/systemd/systemd"))),
        (InitSystem::Busybox, init_is("busybox") || init_is("bbsuid")),
        (InitSystem::SysVinit, init_is("init") && has("etc/inittab") && has("etc/init.d/rc")),
        (InitSystem::OpenRc, (init_is("init") || init_is("openrc-init")) && has("etc/runlevels/shutdown")),
        (InitSystem::Runit, has("etc/runit/3") && has("etc/runit/shutdown.d") && !init_is("systemd")),
    ];
    checks.into_iter().filter_map(|(system, there)| there.then_some(system)).collect()
}

/// The files that `inits` need in `root`. None for systemd alone.
pub fn hooks(root: &Path, inits: &[InitSystem]) -> Result<Vec<HookFile>> {
    let program = |path: &'static str, text| HookFile { path: path.into(), content: Content::Program(text) };
    let mut files = Vec::new();
    for init in inits {
        match init {
            InitSystem::Systemd => {}
            InitSystem::SysVinit => {
                files.push(program("etc/init.d/halt", include_str!("../assets/inits/sysvinit/halt")));
                files.push(program("etc/init.d/reboot", include_str!("../assets/inits/sysvinit/reboot")));
            }
            InitSystem::OpenRc => {
                files.push(program("etc/init.d/livekit", include_str!("../assets/inits/openrc/livekit")));
                let content = Content::Link("/etc/init.d/livekit");
                files.push(HookFile { path: "etc/runlevels/shutdown/livekit".into(), content });
            }
            InitSystem::Runit => {
                let content = Content::Text(include_str!("../assets/inits/runit/99-livekit.sh").into());
                files.push(HookFile { path: "etc/runit/shutdown.d/99-livekit.sh".into(), content });
            }
            InitSystem::Busybox => files.extend(busybox_hooks(root)?),
        }
    }
    Ok(files)
}

/// busybox init knows only its inittab: one more action at its end. Without an inittab its shutdown cannot be led.
fn busybox_hooks(root: &Path) -> Result<Vec<HookFile>> {
    const SHUTDOWN: &str = "usr/lib/livekit/busybox-shutdown";
    let Some(path) = resolve(root, Path::new("etc/inittab")) else { return Ok(Vec::new()) };
    let inittab = std::fs::read_to_string(&path).at("read", &path)?;
    let end = if inittab.ends_with('\n') || inittab.is_empty() { "" } else { "\n" };
    let inittab = format!("{inittab}{end}# livekit: releases the boot medium\n::shutdown:/{SHUTDOWN}\n");
    let mut files = vec![
        HookFile { path: "etc/inittab".into(), content: Content::Text(inittab.into()) },
        HookFile {
            path: SHUTDOWN.into(),
            content: Content::Program(include_str!("../assets/inits/busybox/shutdown")),
        },
    ];
    for verb in ["reboot", "halt", "poweroff"] {
        // Where the command is: /sbin may be a link, and a folder of that name in a bundle would hide it.
        let Some(folder) = resolve(root, Path::new("sbin")) else { continue };
        let path = format!("{}/{verb}", folder.strip_prefix(root).unwrap_or(&folder).display());
        if root.join(&path).is_symlink() {
            let content = Content::Program(include_str!("../assets/inits/busybox/verb"));
            files.push(HookFile { path: path.into(), content });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let (path, target) =
                path.split_once(" -> ").map_or((*path, None), |(path, target)| (path, Some(target)));
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match target {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, "text").unwrap(),
            }
        }
        dir
    }

    #[test]
    fn inits_are_told_apart_and_led() {
        for (paths, inits, files) in [
            (
                &["usr/lib/systemd/systemd", "usr/sbin/init -> ../lib/systemd/systemd", "sbin -> usr/sbin"][..],
                &[InitSystem::Systemd][..],
                &[][..],
            ),
            (
                &["sbin/init", "etc/inittab", "etc/init.d/rc"],
                &[InitSystem::SysVinit],
                &["etc/init.d/halt", "etc/init.d/reboot"],
            ),
            (
                &["sbin/init", "etc/inittab", "etc/runlevels/shutdown/mount-ro"],
                &[InitSystem::OpenRc],
                &["etc/init.d/livekit", "etc/runlevels/shutdown/livekit"],
            ),
            (
                &[
                    "usr/bin/runit-init",
                    "usr/bin/init -> runit-init",
                    "sbin -> usr/bin",
                    "etc/runit/3",
                    "etc/runit/shutdown.d/1",
                ],
                &[InitSystem::Runit],
                &["etc/runit/shutdown.d/99-livekit.sh"],
            ),
            (
                &[
                    "bin/busybox",
                    "sbin/init -> /bin/busybox",
                    "sbin/reboot -> /bin/busybox",
                    "etc/inittab",
                    "etc/runlevels/shutdown/x",
                ],
                &[InitSystem::Busybox],
                &["etc/inittab", "usr/lib/livekit/busybox-shutdown", "sbin/reboot"],
            ),
            (&["etc/passwd"], &[], &[]),
        ] {
            let dir = tree(paths);
            assert_eq!(detect(dir.path()), inits, "{paths:?}");
            let hooks = hooks(dir.path(), inits).unwrap();
            let named: Vec<&str> = hooks.iter().map(|file| file.path.as_ref()).collect();
            assert_eq!(named, files, "{paths:?}");
        }
    }

    #[test]
    fn the_inittab_keeps_its_lines() {
        let dir = tree(&["bin/busybox", "sbin/init -> /bin/busybox", "etc/inittab"]);
        let hooks = busybox_hooks(dir.path()).unwrap();
        let Content::Text(text) = &hooks[0].content else { panic!("no text") };
        assert_eq!(
            text,
            "text\n# livekit: releases the boot medium\n::shutdown:/usr/lib/livekit/busybox-shutdown\n"
        );
    }

    #[test]
    fn hooks_are_shell_that_parses() {
        let shells = [
            include_str!("../assets/inits/sysvinit/halt"),
            include_str!("../assets/inits/sysvinit/reboot"),
            include_str!("../assets/inits/openrc/livekit"),
            include_str!("../assets/inits/runit/99-livekit.sh"),
            include_str!("../assets/inits/busybox/shutdown"),
            include_str!("../assets/inits/busybox/verb"),
        ];
        for text in shells {
            let status = std::process::Command::new("sh").args(["-n", "-c", text]).status().unwrap();
            assert!(status.success(), "{text}");
        }
    }
}
