//! What a bundle says of itself in its folder /run, by the names Slax gave them: `requires` lists the bundles it cannot do
//! without, `activate.sh` is run when it has come, `deactivate.sh` before it goes. The system's own /run lies over that
//! folder, so they are read from the bundle's mount.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bundles::BundleName;

use super::bounded;
use crate::error::{AtPath, Result};
use crate::output::Output;

/// How long a hook may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where hooks find programs, whatever the user's own PATH is.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Folders of the live folder that bundles are looked for in, after the live folder itself.
const FOLDERS: [&str; 2] = ["modules", "optional"];

/// A script of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Activate,
    Deactivate,
}

impl Hook {
    const fn file(self) -> &'static str {
        match self {
            Self::Activate => "run/activate.sh",
            Self::Deactivate => "run/deactivate.sh",
        }
    }
}

/// The bundles that the one mounted at `bundle` requires, as it names them.
pub fn requires(bundle: &Path) -> Result<Vec<String>> {
    let path = bundle.join("run/requires");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(names(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).at("read", &path),
    }
}

/// Names between blanks, commas and ends of lines; what follows a `#` is for people.
fn names(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split([' ', '\t', ','])).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Whether the bundle `name` is meant by `wanted`: its file name, with or without `.sb`, with or without its number.
pub fn satisfies(wanted: &str, name: &str) -> bool {
    rank(wanted, name).is_some()
}

/// How closely a name is meant, the closest first.
fn rank(wanted: &str, name: &str) -> Option<u8> {
    let parsed = BundleName::parse(name)?;
    let stem = name.strip_suffix(".sb").unwrap_or(name);
    let wanted_stem = wanted.strip_suffix(".sb").unwrap_or(wanted);
    if wanted == name || wanted_stem == stem {
        Some(0)
    } else if wanted_stem == parsed.title() {
        Some(1)
    } else {
        None
    }
}

/// The bundle of the medium that is meant by `wanted`: the closest name; of equals the one that a boot would take, which
/// is that of the live folder before modules/ before optional/.
pub fn find_on(live_folder: &Path, wanted: &str) -> Option<PathBuf> {
    let mut found = Vec::new();
    collect(live_folder, wanted, false, 0, &mut found);
    for (place, folder) in (1..).zip(FOLDERS) {
        collect(&live_folder.join(folder), wanted, true, place, &mut found);
    }
    found.into_iter().min().map(|(_, _, path)| path)
}

fn collect(folder: &Path, wanted: &str, deep: bool, place: u8, found: &mut Vec<(u8, u8, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // A link to a folder is not entered: it could lead in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if deep {
                collect(&path, wanted, deep, place, found);
            }
        } else if let Some(rank) = entry.file_name().to_str().and_then(|name| rank(wanted, name)) {
            found.push((rank, place, path));
        }
    }
}

/// Runs a script of the bundle `name` mounted at `bundle`, if it has it. What fails is a warning.
pub fn run(bundle: &Path, name: &str, hook: Hook, output: &Output) {
    let script = bundle.join(hook.file());
    let Ok(about) = fs::metadata(&script) else { return };
    let mut command = if about.permissions().mode() & 0o111 != 0 && names_its_program(&script) {
        Command::new(&script)
    } else {
        let mut shell = Command::new("/bin/sh");
        shell.arg(&script);
        shell
    };
    command.env("LIVEKIT_BUNDLE", name).env("LIVEKIT_BUNDLE_DIR", bundle).env("PATH", PATH).current_dir("/");
    if let Err(why) = bounded::run(&mut command, LIMIT) {
        output.warning(format!("{name}: {} failed: {why}", hook.file()));
    }
}

/// Whether the kernel can start it: without `#!` it is a text for the shell, executable or not.
fn names_its_program(script: &Path) -> bool {
    let mut begin = [0; 4];
    let read = File::open(script).and_then(|mut file| file.read(&mut begin)).unwrap_or(0);
    begin[..read].starts_with(b"#!") || begin == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required() {
        for (text, expected) in [
            ("05-x.sb\n10-y\n", &["05-x.sb", "10-y"][..]),
            ("# all of it\n x , y z # and\n\n", &["x", "y", "z"]),
            ("", &[]),
        ] {
            assert_eq!(names(text), expected, "{text:?}");
        }
    }

    #[test]
    fn which_bundle_is_meant() {
        for (wanted, name, meant) in [
            ("20-x.sb", "20-x.sb", true),
            ("20-x", "20-x.sb", true),
            ("x", "20-x.sb", true),
            ("x.sb", "20-x.sb", true),
            ("20", "20-x.sb", false),
            ("x", "20-xx.sb", false),
            ("x", "x", false),
            ("x", "x.sb", true),
            ("20-x", "30-x.sb", false),
        ] {
            assert_eq!(satisfies(wanted, name), meant, "{wanted} {name}");
        }
    }

    #[test]
    fn bundles_of_the_medium() {
        let folder = tempfile::tempdir().unwrap();
        for path in
            ["00-core.sb", "modules/20-x.sb", "optional/x.sb", "optional/deep/30-y.sb", "changes/z.sb"]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        // Each of two circles doubles the ways into the other.
        for circle in ["modules/a", "modules/b"] {
            std::os::unix::fs::symlink("../modules", folder.path().join(circle)).unwrap();
        }
        for (wanted, expected) in [
            ("core", Some("00-core.sb")),
            ("x", Some("optional/x.sb")),
            ("20-x", Some("modules/20-x.sb")),
            ("y.sb", Some("optional/deep/30-y.sb")),
            ("z", None),
        ] {
            let found = find_on(folder.path(), wanted);
            assert_eq!(found, expected.map(|e| folder.path().join(e)), "{wanted}");
        }
    }

    #[test]
    fn scripts_know_their_bundle() {
        let bundle = tempfile::tempdir().unwrap();
        let out = bundle.path().join("out");
        fs::create_dir(bundle.path().join("run")).unwrap();
        let path = bundle.path().join("run/activate.sh");
        let print = format!("echo $LIVEKIT_BUNDLE $LIVEKIT_BUNDLE_DIR $PWD $PATH > {}", out.display());
        for (begin, mode) in [("", 0o644), ("", 0o755), ("#!/bin/sh\n", 0o755), ("#!/no/such/shell\n", 0o644)]
        {
            let _ = fs::remove_file(&out);
            fs::write(&path, format!("{begin}{print}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            run(bundle.path(), "20-x.sb", Hook::Activate, &Output::new(true));
            let expected = format!("20-x.sb {} / {PATH}\n", bundle.path().display());
            assert_eq!(fs::read_to_string(&out).unwrap(), expected, "{begin:?} {mode:o}");
        }
        // None is there, none is missed.
        run(bundle.path(), "20-x.sb", Hook::Deactivate, &Output::new(true));
    }
}
