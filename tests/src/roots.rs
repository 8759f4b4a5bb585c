//! Roots that live systems are made of.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cache::{self, Key};
use crate::kernels::Kernel;
use crate::programs::{self, command, output};

/// Parts of the module tree that the tiny root keeps: storage, file systems and what they stand on. A whole
/// tree would be packed and copied in every quick test.
const MODULE_FOLDERS: &[&str] = &[
    "mm",
    "arch",
    "block",
    "crypto",
    "fs",
    "lib",
    "drivers/ata",
    "drivers/block",
    "drivers/cdrom",
    "drivers/char",
    "drivers/dax",
    "drivers/hid",
    "drivers/md",
    "drivers/message",
    "drivers/mmc",
    "drivers/nvdimm",
    "drivers/nvme",
    "drivers/scsi",
    "drivers/usb/common",
    "drivers/usb/core",
    "drivers/usb/host",
    "drivers/usb/storage",
    "drivers/virtio",
];

/// A folder with busybox, the probe as `/sbin/init`, and a kernel with its modules.
pub fn tiny(kernel: Kernel) -> PathBuf {
    let busybox = static_busybox();
    let probe = programs::probe();
    let unpacked = kernel.unpacked();
    let key = Key::default().word("tiny 2").word(&unpacked.release).file(&busybox).file(&probe);
    cache::entry(&format!("tiny-root-{kernel}"), &key, |root| {
        for folder in
            ["boot", "dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "usr/bin", "var/tmp"]
        {
            fs::create_dir_all(root.join(folder)).expect("a folder in the new root");
        }
        for (link, target) in
            [("bin", "usr/bin"), ("sbin", "usr/bin"), ("usr/sbin", "bin"), ("lib", "usr/lib")]
        {
            symlink(target, root.join(link)).expect("a link in the new root");
        }
        install(&busybox, &root.join("usr/bin/busybox"), 0o755);
        for applet in ["sh", "cat", "ls", "mount", "umount", "sleep", "modprobe"] {
            symlink("busybox", root.join("usr/bin").join(applet)).expect("a link in the new root");
        }
        install(&probe, &root.join("usr/bin/init"), 0o755);
        fs::write(root.join("etc/os-release"), "NAME=Tiny\nID=tiny\n").expect("a file in the new root");
        fs::write(root.join("etc/passwd"), "root::0:0:root:/root:/bin/sh\n").expect("a file in the new root");
        let boot = root.join("boot").join(unpacked.vmlinuz().file_name().expect("a kernel has a name"));
        install(&unpacked.vmlinuz(), &boot, 0o644);
        copy_modules(&unpacked.modules(), root, &unpacked.release);
    })
}

fn copy_modules(source: &Path, root: &Path, release: &str) {
    let target = root.join("usr/lib/modules").join(release);
    for folder in MODULE_FOLDERS {
        let [from, to] = [source, &target].map(|tree| tree.join("kernel").join(folder));
        if from.is_dir() {
            fs::create_dir_all(to.parent().expect("a path in the tree")).expect("a folder in the new root");
            output(command("cp").arg("-r").arg(from).arg(to));
        }
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        install(&source.join(list), &target.join(list), 0o644);
    }
    output(command("depmod").arg("-b").arg(root).arg(release));
}

/// A tar of Debian 12 with systemd, nothing of ours in it, and a kernel with all its modules.
pub fn debian(kernel: Kernel) -> PathBuf {
    let unpacked = kernel.unpacked();
    let base = debian_base();
    let base_name = base.file_name().expect("an entry has a name").to_string_lossy();
    let key = Key::default().word("debian 1").word(&unpacked.release).word(&base_name);
    cache::entry(&format!("debian-root-{kernel}"), &key, |tar| {
        fs::copy(&base, tar).unwrap_or_else(|error| panic!("cannot copy the Debian root: {error}"));
        let owner = ["--owner=root:0", "--group=root:0", "--sort=name"];
        let kernel = format!("./boot/vmlinuz-{}", unpacked.release);
        output(
            command("tar")
                .arg("-rf")
                .arg(tar)
                .args(owner)
                .arg("-C")
                .arg(&unpacked.tree)
                .args([kernel.as_str(), "./usr/lib/modules"]),
        );
    })
}

/// What is in [`debian`]'s tar, as a folder with its owners and attributes: root's work.
pub fn debian_folder(kernel: Kernel) -> PathBuf {
    let tar = debian(kernel);
    let name = tar.file_name().expect("an entry has a name").to_string_lossy();
    let key = Key::default().word("debian-folder 1").word(&name);
    cache::entry(&format!("debian-folder-{kernel}"), &key, |folder| {
        fs::create_dir(folder).expect("a new entry of the cache");
        let options = ["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "-xpf"];
        output(command("tar").args(options).arg(&tar).arg("-C").arg(folder));
    })
}

/// A tar of Debian 12 without a kernel.
fn debian_base() -> PathBuf {
    let key = Key::default().word("debian-base 1");
    cache::entry("debian-base", &key, |tar| {
        let packages = "--include=systemd-sysv,dbus,udev,kmod,kexec-tools";
        let options = ["--variant=minbase", "--format=tar", "--skip=output/dev", packages, "bookworm"];
        output(command("mmdebstrap").args(options).arg(tar));
    })
}

/// Files that make the probe a service of a systemd root: the content of a bundle.
pub fn probe_service(folder: &Path) {
    const UNIT: &str = "[Unit]\nDescription=Probe of the end-to-end tests\n\n\
        [Service]\nExecStart=/usr/local/bin/probe\n";
    let units = folder.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).expect("a temporary folder");
    fs::write(units.join("probe.service"), UNIT).expect("a temporary file");
    symlink("../probe.service", wants.join("probe.service")).expect("a link in a temporary folder");
    fs::create_dir_all(folder.join("usr/local/bin")).expect("a temporary folder");
    install(&programs::probe(), &folder.join("usr/local/bin/probe"), 0o755);
}

fn install(source: &Path, target: &Path, mode: u32) {
    let result =
        fs::copy(source, target).and_then(|_| fs::set_permissions(target, fs::Permissions::from_mode(mode)));
    result
        .unwrap_or_else(|error| panic!("cannot copy {} to {}: {error}", source.display(), target.display()));
}

/// Debian's static busybox; the dynamic one has the same path.
pub fn static_busybox() -> PathBuf {
    let busybox = programs::file_of_package("/bin/busybox", "busybox-static");
    let content = fs::read(&busybox).expect("a readable busybox");
    let interpreter = b"/lib64/ld-linux-x86-64.so.2";
    let dynamic = content.windows(interpreter.len()).any(|window| window == interpreter);
    assert!(!dynamic, "{} is not static\nhint: apt-get install busybox-static", busybox.display());
    busybox
}
