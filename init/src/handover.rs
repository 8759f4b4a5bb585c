//! Handover: the union becomes the root, the ramfs stays at /run/initramfs, the distribution's init takes our place.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use live::error::{AtPath, Error, Result};
use live::layout;
use live::log;
use live::options::{self, BootOptions};
use live::sys::console;
use live::sys::mount::{self, Mount};
use live::union::Union;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::process::{chdir, chroot, pivot_root};

use crate::early::KERNEL_FILESYSTEMS;
use crate::ramfs::SavedRamfs;

/// The init programs tried when none is named, the kernel's own list without the shell.
const INITS: [&str; 3] = ["/sbin/init", "/etc/init", "/bin/init"];

/// How systemd mounts /run (src/shared/mount-setup.c has the same limits).
const RUN_OPTIONS: &str = "mode=0755,size=20%,nr_inodes=800k";

/// Makes the union the root and starts the distribution's init. Returns only on failure.
pub fn become_init(union: &Union, ramfs: &SavedRamfs, options: &BootOptions) -> Result<Infallible> {
    let init = choose_init(&union.path, options)?;
    let run = union.path.join("run");
    Mount::new("tmpfs", "tmpfs").options(RUN_OPTIONS).attributes("nosuid,nodev").at(&run)?;
    let place = union.path.join(&layout::SAVED_RAMFS[1..]);
    fs::create_dir(&place).at("make the directory", &place)?;
    ramfs.forget_modules();
    log::info(format_args!("starting {init}"));
    log::restore_limit();
    for (path, _, _) in KERNEL_FILESYSTEMS {
        mount::move_to(path, union.path.join(&path[1..]))?;
    }
    chdir(&union.path).at("enter", &union.path)?;
    pivot_root(".", &layout::SAVED_RAMFS[1..]).at("make the root", &union.path)?;
    chroot(".").at("make the root", "/")?;
    chdir("/").at("enter", "/")?;
    prune_ramfs(options);
    start_keeper();
    console::reopen();
    Err(execute(&init))
}

/// Finds the program to start and makes sure that it is there while there is still a way back.
fn choose_init(root: &Path, options: &BootOptions) -> Result<String> {
    if let Some(init) = &options.init {
        return match is_executable_in(root, init) {
            Ok(()) => Ok(init.clone()),
            Err(e) => Err(Error::at("start", init, e).hint("init= must name a program of the live system")),
        };
    }
    INITS
        .into_iter()
        .find(|init| is_executable_in(root, init).is_ok())
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("the union has no init: looked for {}", INITS.join(", "))))
        .map_err(|e| {
            e.hint(
                "is a bundle missing? load=, noload= and the medium's contents decide; init= names another",
            )
        })
}

/// Whether `path` is a program when `root` is the root; links in it are resolved there.
fn is_executable_in(root: &Path, path: &str) -> std::io::Result<()> {
    let root = fs::File::open(root)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let program = openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let mode = rustix::fs::fstat(&program)?.st_mode;
    if !rustix::fs::FileType::from_raw_mode(mode).is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    if mode & 0o111 == 0 {
        return Err(std::io::Error::other("it is not executable"));
    }
    Ok(())
}

/// Removes from the ramfs what only the boot needed: it takes memory as long as the system runs.
fn prune_ramfs(options: &BootOptions) {
    let mut unneeded = vec!["init", "lib", "lib64", "sbin", "union", "usr"];
    if !options.debug {
        unneeded.push("bin");
    }
    for path in unneeded.into_iter().map(|name| Path::new(layout::SAVED_RAMFS).join(name)) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(e) = removed
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::debug(format_args!("cannot remove {} from the ramfs: {e}", path.display()));
        }
    }
}

/// Starts the process that watches over the changes. Without it a container does not grow, and nobody is warned.
fn start_keeper() {
    let program = format!("{}{}", layout::SAVED_RAMFS, layout::SHUTDOWN);
    let mut command = Command::new(&program);
    command.arg0(layout::KEEPER).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(e) = command.spawn() {
        log::warning(format_args!("{}", Error::at("start", program, e)));
    }
}

fn execute(init: &str) -> Error {
    let keep = |word: &OsString| !word.to_str().is_some_and(options::is_ours);
    let arguments = std::env::args_os().skip(1).filter(keep);
    let environment = std::env::vars_os().filter(|(name, _)| keep(name) && name != "BOOT_IMAGE");
    let e = Command::new(init).args(arguments).env_clear().envs(environment).exec();
    Error::at("start", init, e).hint("init= names another program")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn inits_are_looked_for_inside_the_root() {
        let root = std::env::temp_dir().join(format!("livekit-init-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/lib/systemd")).unwrap();
        fs::create_dir_all(root.join("sbin")).unwrap();
        let program = root.join("usr/lib/systemd/systemd");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/usr/lib/systemd/systemd", root.join("sbin/init")).unwrap();

        let with =
            |init: Option<&str>| BootOptions { init: init.map(str::to_owned), ..BootOptions::default() };
        assert_eq!(choose_init(&root, &with(None)).unwrap(), "/sbin/init");
        assert_eq!(
            choose_init(&root, &with(Some("/usr/lib/systemd/systemd"))).unwrap(),
            "/usr/lib/systemd/systemd"
        );
        // There is a /bin/sh outside.
        let error = choose_init(&root, &with(Some("/bin/sh"))).unwrap_err();
        assert!(error.message().contains("/bin/sh") && error.hint_text().is_some());
        fs::remove_file(root.join("sbin/init")).unwrap();
        assert!(choose_init(&root, &with(None)).unwrap_err().message().contains("no init"));
        fs::remove_dir_all(&root).unwrap();
    }
}
