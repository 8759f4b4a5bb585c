//! What a system needs after bundles came or went: caches made anew, services told. Each only where the system has the
//! program and the bundles bring something it is about.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bounded;
use crate::output::Output;

/// How long each may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Where programs are looked for.
const PROGRAMS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// The running system, as far as the decision asks.
pub trait System {
    /// The path of a program, if the system has it.
    fn program(&self, name: &str) -> Option<PathBuf>;
    /// Whether a path is there.
    fn has(&self, path: &str) -> bool;
    /// The kernel that runs.
    fn release(&self) -> String;
}

/// Folders with shared libraries, and with the names of further ones.
const LIBRARIES: [&str; 7] = [
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/i386-linux-gnu",
    "usr/lib64",
    "usr/local/lib",
    "usr/local/lib64",
    "etc/ld.so.conf.d",
];

/// The system bus, told to look for new services and policies: after a switch of /etc or /usr the folders it watches are
/// not the ones that are seen.
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";
const RELOAD_BUS: [&str; 5] =
    ["call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig"];
const SEND_TO_BUS: [&str; 6] = [
    "--system",
    "--type=method_call",
    "--print-reply",
    "--dest=org.freedesktop.DBus",
    "/org/freedesktop/DBus",
    "org.freedesktop.DBus.ReloadConfig",
];

/// What to run after the bundles mounted at `bundles` came or went, in this order.
pub fn plan(bundles: &[PathBuf], system: &dyn System) -> Vec<Trigger> {
    let mut plan = Plan { bundles, system, triggers: Vec::new() };
    if plan.bring_any(&LIBRARIES, |name| name.contains(".so") || name.ends_with(".conf")) {
        plan.add("ldconfig", &[]);
    }
    let release = system.release();
    if plan.bring(&[&format!("usr/lib/modules/{release}"), &format!("lib/modules/{release}")]) {
        plan.add("depmod", &["-a", &release]);
    }
    if plan.bring(&["usr/lib/sysusers.d", "etc/sysusers.d"]) {
        plan.add("systemd-sysusers", &[]);
    }
    let rules = plan.files(&["usr/lib/tmpfiles.d", "etc/tmpfiles.d"]);
    if !rules.is_empty() {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        plan.add("systemd-tmpfiles", &[&["--create"], &rules[..]].concat());
    }
    if system.has("/run/systemd/system")
        && plan.bring(&["usr/lib/systemd/system", "etc/systemd/system", "usr/lib/systemd/system.conf.d"])
    {
        plan.add("systemctl", &["daemon-reload"]);
    }
    // It keeps its databases and the lists of modules open, and with them the view it found them in.
    if plan.bring(&["usr", "etc/udev"]) && system.has("/run/udev/control") {
        plan.add("udevadm", &["control", "--reload"]);
    }
    if system.has(BUS_SOCKET) && plan.bring(&["usr", "etc"]) && !plan.add("busctl", &RELOAD_BUS) {
        plan.add("dbus-send", &SEND_TO_BUS);
    }
    if plan.bring(&["usr/share/applications"]) {
        plan.add("update-desktop-database", &["-q"]);
    }
    if plan.bring(&["usr/share/glib-2.0/schemas"]) {
        plan.add("glib-compile-schemas", &["/usr/share/glib-2.0/schemas"]);
    }
    for theme in plan.names_in("usr/share/icons") {
        let folder = format!("/usr/share/icons/{theme}");
        if system.has(&format!("{folder}/index.theme")) {
            plan.add("gtk-update-icon-cache", &["-q", "-t", "-f", &folder]);
        }
    }
    if plan.bring(&["usr/share/mime"]) {
        plan.add("update-mime-database", &["/usr/share/mime"]);
    }
    if plan.bring(&["usr/share/fonts", "usr/local/share/fonts"]) {
        plan.add("fc-cache", &[]);
    }
    plan.triggers
}

struct Plan<'a> {
    bundles: &'a [PathBuf],
    system: &'a dyn System,
    triggers: Vec<Trigger>,
}

impl Plan<'_> {
    /// Adds a program, if the system has it.
    fn add(&mut self, name: &str, arguments: &[&str]) -> bool {
        let Some(program) = self.system.program(name) else { return false };
        let arguments = arguments.iter().map(OsString::from).collect();
        self.triggers.push(Trigger { program, arguments });
        true
    }

    /// Whether a bundle has one of these folders.
    fn bring(&self, folders: &[&str]) -> bool {
        self.bundles.iter().any(|bundle| folders.iter().any(|folder| bundle.join(folder).is_dir()))
    }

    /// Whether a bundle has a file of such a name directly in one of these folders.
    fn bring_any(&self, folders: &[&str], wanted: impl Fn(&str) -> bool) -> bool {
        folders.iter().any(|folder| self.names_in(folder).iter().any(|name| wanted(name)))
    }

    /// The names that bundles have in a folder, each once.
    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = self.bundles.iter().filter_map(|b| fs::read_dir(b.join(folder)).ok()).flatten();
        let mut names: Vec<String> =
            entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The files that bundles have in these folders, as the system has them: what is gone with a bundle is left out.
    fn files(&self, folders: &[&str]) -> Vec<String> {
        let paths = folders.iter().flat_map(|folder| {
            self.names_in(folder).into_iter().map(move |name| format!("/{folder}/{name}"))
        });
        paths.filter(|path| self.system.has(path)).collect()
    }
}

/// How a trigger ended.
#[derive(Debug, serde::Serialize)]
pub struct Ran {
    pub name: String,
    pub seconds: f64,
    pub failed: bool,
}

/// Runs them one after the other, and tells how long each took. What fails is a warning: the bundles are there.
pub fn run(triggers: &[Trigger], output: &Output) -> Vec<Ran> {
    triggers.iter().map(|trigger| one(trigger, output)).collect()
}

fn one(trigger: &Trigger, output: &Output) -> Ran {
    let name = trigger.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let began = Instant::now();
    let ended = bounded::run(Command::new(&trigger.program).args(&trigger.arguments).current_dir("/"), LIMIT);
    let seconds = began.elapsed().as_secs_f64();
    // The first argument tells one systemctl from another.
    let first = trigger.arguments.first().and_then(|a| a.to_str()).filter(|a| !a.starts_with(['-', '/']));
    let shown = [Some(name.as_str()), first].into_iter().flatten().collect::<Vec<_>>().join(" ");
    match &ended {
        Ok(()) => output.status(format!("  {shown} {seconds:.2} s")),
        Err(why) => output.warning(format!("{shown}: {why}")),
    }
    Ran { name, seconds, failed: ended.is_err() }
}

/// This machine.
pub struct Here;

impl System for Here {
    fn program(&self, name: &str) -> Option<PathBuf> {
        PROGRAMS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
    }

    fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(OsStr::new(path)).is_ok()
    }

    fn release(&self) -> String {
        rustix::system::uname().release().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with all programs but some.
    struct Model {
        without: &'static [&'static str],
        has: &'static [&'static str],
    }

    impl System for Model {
        fn program(&self, name: &str) -> Option<PathBuf> {
            (!self.without.contains(&name)).then(|| Path::new("/usr/bin").join(name))
        }
        fn has(&self, path: &str) -> bool {
            self.has.contains(&path)
        }
        fn release(&self) -> String {
            "6.1.0".into()
        }
    }

    fn lines(files: &[&str], model: &Model) -> Vec<String> {
        let bundle = tempfile::tempdir().unwrap();
        for file in files {
            let path = bundle.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        plan(&[bundle.path().to_owned()], model)
            .into_iter()
            .map(|t| {
                let words = t.arguments.iter().map(|a| a.to_str().unwrap().to_owned());
                let name = t.program.file_name().unwrap().to_str().unwrap().to_owned();
                [name].into_iter().chain(words).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn what_bundles_bring_decides() {
        let bare = Model { without: &[], has: &[] };
        let systemd = Model {
            without: &[],
            has: &["/run/systemd/system", "/run/udev/control", BUS_SOCKET, "/usr/lib/tmpfiles.d/x.conf"],
        };
        let table: [(&[&str], &Model, &[&str]); 17] = [
            (&["usr/bin/x", "opt/x/lib/y.so"], &bare, &[]),
            (&["usr/lib/libx.so.1"], &bare, &["ldconfig"]),
            (&["etc/ld.so.conf.d/x.conf"], &bare, &["ldconfig"]),
            (&["usr/lib/x/plugin.so"], &bare, &[]),
            (&["usr/lib/modules/6.1.0/x.ko"], &bare, &["depmod -a 6.1.0"]),
            (&["usr/lib/modules/6.2.0/x.ko"], &bare, &[]),
            (&["usr/lib/systemd/system/x.service"], &bare, &[]),
            (
                &[
                    "usr/lib/systemd/system/x.service",
                    "usr/lib/sysusers.d/x.conf",
                    "usr/lib/udev/rules.d/x.rules",
                ],
                &systemd,
                &[
                    "systemd-sysusers",
                    "systemctl daemon-reload",
                    "udevadm control --reload",
                    "busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig",
                ],
            ),
            (
                &["usr/lib/tmpfiles.d/x.conf", "usr/lib/tmpfiles.d/gone.conf"],
                &Model { without: &[], has: &["/usr/lib/tmpfiles.d/x.conf"] },
                &["systemd-tmpfiles --create /usr/lib/tmpfiles.d/x.conf"],
            ),
            (&["opt/x"], &systemd, &[]),
            (
                &["etc/udev/rules.d/x.rules"],
                &Model { without: &["busctl", "dbus-send"], has: systemd.has },
                &["udevadm control --reload"],
            ),
            (
                &["usr/share/x"],
                &Model { without: &[], has: &["/run/udev/control"] },
                &["udevadm control --reload"],
            ),
            (
                &["etc/x"],
                &Model { without: &["busctl"], has: &[BUS_SOCKET] },
                &[
                    "dbus-send --system --type=method_call --print-reply --dest=org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus.ReloadConfig",
                ],
            ),
            (&["etc/x"], &Model { without: &["busctl", "dbus-send"], has: &[BUS_SOCKET] }, &[]),
            (
                &["usr/share/icons/hicolor/48x48/apps/x.png", "usr/share/icons/other/x.png"],
                &Model { without: &[], has: &["/usr/share/icons/hicolor/index.theme"] },
                &["gtk-update-icon-cache -q -t -f /usr/share/icons/hicolor"],
            ),
            (
                &["usr/share/applications/x.desktop", "usr/share/mime/x", "usr/share/fonts/x.ttf"],
                &bare,
                &["update-desktop-database -q", "update-mime-database /usr/share/mime", "fc-cache"],
            ),
            (
                &["usr/share/glib-2.0/schemas/x.xml", "usr/lib/libx.so"],
                &Model { without: &["ldconfig"], has: &[] },
                &["glib-compile-schemas /usr/share/glib-2.0/schemas"],
            ),
        ];
        for (files, model, expected) in table {
            assert_eq!(lines(files, model), expected, "{files:?}");
        }
    }

    #[test]
    fn each_is_run_and_what_fails_is_told() {
        let trigger = |line: &str| Trigger {
            program: "/bin/sh".into(),
            arguments: ["-c", line].map(OsString::from).into(),
        };
        let ran = run(&[trigger("exit 3"), trigger("exit 0")], &Output::new(true));
        assert_eq!(ran.iter().map(|r| r.failed).collect::<Vec<_>>(), [true, false]);
        assert!(ran.iter().all(|r| r.name == "sh" && r.seconds > 0.0));
    }
}
