//! Other programs that the tests use: found or asked for by package, run to their end or loudly failed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Debian package of each program, for the message when it is missing.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("dpkg", "dpkg"),
    ("dumpe2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("fsck.fat", "dosfstools"),
    ("gensquashfs", "squashfs-tools-ng"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("mtype", "mtools"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sgdisk", "gdisk"),
    ("tar", "tar"),
    ("unsquashfs", "squashfs-tools"),
    ("xorriso", "xorriso"),
];

/// Path of a program. Panics with the package to install if there is none.
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps mkfs and friends out of the path of ordinary users.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is not installed\nhint: {}", how_to_install(program)))
}

fn how_to_install(program: &str) -> String {
    match PACKAGES.iter().find(|(name, _)| *name == program) {
        Some((_, package)) => {
            format!("apt-get install {package}, or `make setup` for everything the tests need")
        }
        None => "`make setup` installs everything the tests need".into(),
    }
}

/// A file that an installed package brings. Panics with the package to install if it is missing.
pub fn file_of_package(file: &str, package: &str) -> PathBuf {
    let path = PathBuf::from(file);
    assert!(path.is_file(), "{file} is missing\nhint: apt-get install {package}, or `make setup`");
    path
}

/// What a program wrote to its standard output. Panics with the whole command and its messages if it fails.
pub fn output(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {shown}\n{stdout}{stderr}", output.status);
    stdout
}

/// A command with its program found, see [`find`].
pub fn command(program: &str) -> Command {
    Command::new(find(program))
}

/// The probe, built by Cargo beside the tests.
pub fn probe() -> PathBuf {
    built_beside("probe")
}

/// A program of this crate.
pub fn built_beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test knows its own path");
    // Tests run from target/TRIPLE/PROFILE/deps, benchmarks lie beside it.
    let folders = own.ancestors().skip(1).take(2);
    let program = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    program.unwrap_or_else(|| {
        panic!("{name} is not beside {}\nhint: run the tests with `cargo test -p tests`", own.display())
    })
}

/// The programs under test, as users get them: release builds, brought up to date once per test process.
#[derive(Debug)]
pub struct Livekit {
    pub livekit: PathBuf,
    pub init: PathBuf,
    pub cleanup: PathBuf,
}

/// Builds `livekit`, `init` and `cleanup`. `LIVEKIT_PROGRAMS` names a folder to take them from instead.
pub fn livekit() -> &'static Livekit {
    static BUILT: OnceLock<Livekit> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = std::env::var_os("LIVEKIT_PROGRAMS").map_or_else(build, PathBuf::from);
        let [livekit, init, cleanup] = ["livekit", "init", "cleanup"].map(|name| folder.join(name));
        for program in [&livekit, &init, &cleanup] {
            assert!(program.is_file(), "{} is missing", program.display());
        }
        Livekit { livekit, init, cleanup }
    })
}

fn build() -> PathBuf {
    let workspace = workspace();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "-p", "livekit", "-p", "init", "-p", "cleanup"]);
    output(command.current_dir(&workspace));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("x86_64-unknown-linux-gnu/release")
}

/// Top of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        assert!(how_to_install("sgdisk").contains("apt-get install gdisk"));
        assert!(std::panic::catch_unwind(|| find("no-such-program")).is_err());
    }

    #[test]
    fn a_failing_program_is_shown_with_what_it_said() {
        let result = std::panic::catch_unwind(|| output(command("sh").args(["-c", "echo why >&2; exit 3"])));
        let message = *result.expect_err("it fails").downcast::<String>().expect("a formatted message");
        assert!(message.contains("exit status: 3") && message.contains("why"), "{message}");
    }
}
