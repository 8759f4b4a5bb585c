//! A live system without a machine: the union, its covers and the saved ramfs in namespaces of this machine's kernel.
//!
//! What init does from the step `changes` to the handover is done by the program `nest` with the same code; the probe is
//! process 1 in it, and the command under test is the one in the nest's own bundle. It starts in a fraction of a second,
//! and goes with the value. Needs root.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cache::{self, Key};
use crate::guest::{Guest, Port};
use crate::media::Medium;
use crate::programs::{self, command, output};
use crate::protocol::{NESTED, Reply};
use crate::roots;

/// How long the start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A live system to be started.
#[derive(Debug)]
pub struct Nest {
    medium: Medium,
    arguments: Vec<String>,
}

/// A running one, ended when the value goes.
#[derive(Debug)]
pub struct Nested {
    /// Loop devices are the whole machine's: to count them, a nest has to be alone.
    _alone: File,
    child: Child,
    pub guest: Guest,
    _medium: Medium,
}

impl Default for Nest {
    fn default() -> Self {
        Self::new()
    }
}

impl Nest {
    /// Busybox, the probe and the livekit command, in a bundle each as a kit has them.
    pub fn new() -> Self {
        let [core, kit] = [core(), kit()];
        let medium = Medium::empty();
        let medium = medium.copy_of("livekit/00-core.sb", &core).copy_of("livekit/90-livekit.sb", &kit);
        Self { medium, arguments: Vec::new() }
    }

    /// Changes what is on the medium.
    #[must_use]
    pub fn medium(mut self, change: impl FnOnce(Medium) -> Medium) -> Self {
        self.medium = change(self.medium);
        self
    }

    /// Mounts are not shared with other namespaces, as inits other than systemd leave them.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.arguments.push("private".into());
        self
    }

    /// Keeps the changes in a folder of this machine, which may have some already.
    #[must_use]
    pub fn changes_in(mut self, folder: &std::path::Path) -> Self {
        self.arguments.push(format!("changes={}", folder.display()));
        self
    }

    /// Limits the memory for changes, in KiB.
    #[must_use]
    pub fn room_for_changes(mut self, kibibytes: u32) -> Self {
        self.arguments.push(format!("size={kibibytes}k"));
        self
    }

    /// Starts it.
    pub fn start(self) -> Nested {
        assert!(rustix::process::geteuid().is_root(), "a nest needs root\nhint: sudo");
        let alone = cache::folder().join("nest.lock");
        let alone = cache::lock(&alone);
        wait_for_earlier_ones();
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let theirs = OwnedFd::from(theirs);
        let mut command = command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
        command.arg(programs::built_beside("nest")).arg(self.medium.path("livekit")).args(&self.arguments);
        command.env(NESTED, "1").stdin(Stdio::from(theirs)).stdout(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start a nest: {error}"));
        // The child has the only other handle on its end now.
        drop(command);
        let mut port = Port::new(ours).expect("a socket takes a timeout");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match port.poll() {
                Ok(Some(Reply::Report(report))) => {
                    let guest = Guest::new(port, *report);
                    return Nested { _alone: alone, child, guest, _medium: self.medium };
                }
                Ok(Some(other)) => panic!("the probe began with {other:?}"),
                Ok(None) => assert!(Instant::now() < deadline, "no report from the nest in {PATIENCE:?}"),
                Err(error) => panic!("no report from the nest: {error}"),
            }
        }
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel takes the mounts of a nest apart after its last process has ended. Until then its loop devices are there.
fn wait_for_earlier_ones() {
    let deadline = Instant::now() + PATIENCE;
    let of_a_nest = || {
        let blocks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let mut files = blocks.filter_map(|b| fs::read_to_string(b.path().join("loop/backing_file")).ok());
        files.any(|file| file.trim_end().ends_with("livekit/00-core.sb"))
    };
    while of_a_nest() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A bundle of busybox with its usual applets.
fn core() -> PathBuf {
    const APPLETS: &[&str] = &[
        "cat", "chmod", "chown", "cp", "dd", "find", "grep", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod",
        "mount", "mv", "ps", "rm", "rmdir", "sed", "setsid", "sh", "sleep", "sort", "stat", "sync", "tail",
        "touch", "truncate", "umount", "uniq", "unshare", "wc",
    ];
    let busybox = roots::static_busybox();
    let key = Key::default().word("nest-core 2").file(&busybox);
    cache::entry("nest-core", &key, |bundle| {
        let root = Medium::empty();
        let links = [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("usr/sbin", "bin")];
        for folder in
            ["usr/bin", "usr/lib", "etc", "opt", "var/lib/base", "var/log", "home", "root", "tmp", "run"]
        {
            fs::create_dir_all(root.path(folder)).expect("a folder in the new root");
        }
        for (link, target) in links {
            std::os::unix::fs::symlink(target, root.path(link)).expect("a link in the new root");
        }
        let root = root.copy_of("usr/bin/busybox", &busybox);
        for applet in APPLETS {
            let link = root.path("usr/bin").join(applet);
            std::os::unix::fs::symlink("busybox", link).expect("a link in the new root");
        }
        pack(root, bundle);
    })
}

/// A bundle of the livekit command and the probe.
fn kit() -> PathBuf {
    let (livekit, probe) = (&programs::livekit().livekit, programs::probe());
    let key = Key::default().word("nest-kit 1").file(livekit).file(&probe);
    cache::entry("nest-kit", &key, |bundle| {
        let root = Medium::empty().copy_of("usr/bin/livekit", livekit).copy_of("usr/bin/init", &probe);
        pack(root, bundle);
    })
}

/// Quickly, for it is read once or twice.
fn pack(root: Medium, bundle: &std::path::Path) {
    let options = ["-all-root", "-noappend", "-quiet", "-no-progress", "-comp", "lz4"];
    let mut command: Command = command("mksquashfs");
    output(command.arg(root.path("")).arg(bundle).args(options));
}
