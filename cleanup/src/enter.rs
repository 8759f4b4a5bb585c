//! Entering the saved ramfs, for the inits that do not do it themselves.

use std::fs;
use std::path::Path;

use live::error::{AtPath, Result};
use live::layout::{OLD_ROOT, SAVED_RAMFS};
use live::log;
use live::sys::{console, mount};
use rustix::process::{chdir, chroot, pivot_root};

/// Mounts of the kernel that the way down needs.
const KERNEL_FILESYSTEMS: [&str; 3] = ["proc", "sys", "dev"];

/// Makes the saved ramfs the root and the live system /oldroot, unless that is so already.
pub fn saved_ramfs() -> Result<()> {
    let ramfs = Path::new(SAVED_RAMFS);
    if !ramfs.join("shutdown").exists() {
        // We are inside: systemd has done it. Not every init opens the console anew on the way.
        console::reopen();
        return mount::make_private("/");
    }
    // pivot_root refuses where a mount would propagate.
    mount::make_private("/")?;
    for name in KERNEL_FILESYSTEMS {
        let target = ramfs.join(name);
        fs::create_dir_all(&target).at("make the directory", &target)?;
        mount::bind(Path::new("/").join(name), &target)?;
    }
    let put_old = ramfs.join(&OLD_ROOT[1..]);
    fs::create_dir_all(&put_old).at("make the directory", &put_old)?;
    chdir(ramfs).at("enter", ramfs)?;
    pivot_root(".", &OLD_ROOT[1..]).at("make the root", ramfs)?;
    chroot(".").at("make the root", ramfs)?;
    chdir("/").at("enter", "/")?;
    console::reopen();
    log::info(format_args!("entered the saved ramfs"));
    Ok(())
}
