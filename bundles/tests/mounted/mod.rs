//! A bundle mounted by the kernel: root's work.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount with its loop device; both go with the value.
pub struct Mounted {
    device: String,
    at: tempfile::TempDir,
}

impl Mounted {
    pub fn new(bundle: &Path) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "mounting a bundle takes root: run this test as root (make unit does)"
        );
        let at = tempfile::tempdir().expect("a temporary directory");
        let words = ["--find", "--show", "--read-only"].map(OsStr::new);
        let device = run("losetup", &[&words[..], &[bundle.as_os_str()]].concat()).trim().to_owned();
        let mounted = Self { device, at };
        let words = ["-t", "squashfs", "-o", "ro", &mounted.device].map(OsStr::new);
        run("mount", &[&words[..], &[mounted.path().as_os_str()]].concat());
        mounted
    }

    pub fn path(&self) -> PathBuf {
        self.at.path().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // If it was never mounted, the loop device must go nevertheless; which failed is seen from what is left.
        let unmounted = Command::new("umount").arg(self.at.path()).output();
        let detached = Command::new("losetup").args(["--detach", &self.device]).output();
        let done = [&unmounted, &detached].map(|o| o.as_ref().is_ok_and(|o| o.status.success()));
        assert!(
            done == [true; 2] || std::thread::panicking(),
            "{} on {:?} is left: {unmounted:?} {detached:?}",
            self.device,
            self.at.path()
        );
    }
}

/// What a program wrote to its standard output.
pub fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {} {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
