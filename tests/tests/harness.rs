//! The harness itself, on a guest that is only the tiny root in an initramfs: if these fail, no other
//! test says anything about the project.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::cache::{self, Key};
use tests::programs::output;
use tests::{Disk, Format, Kernel, Medium, Vm, roots};

/// The tiny root as an initramfs.
fn archive(root: &Path) -> PathBuf {
    let name = root.to_string_lossy();
    cache::entry("tiny-archive", &Key::default().word(&name), |archive| {
        let pack = "cd \"$0\" && find . | cpio --quiet --create --format=newc > \"$1\"";
        output(Command::new("sh").args(["-c", pack]).arg(root).arg(archive));
    })
}

fn guest_of_the_initramfs(kernel: Kernel) -> Vm {
    let initramfs = archive(&roots::tiny(kernel));
    Vm::direct(&kernel.unpacked().vmlinuz(), &initramfs).append("rdinit=/sbin/init quiet")
}

#[test]
fn a_guest_reports_and_obeys() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let mut machine = guest_of_the_initramfs(kernel).start();
        let mut guest = machine.guest();
        assert_eq!(guest.report.pid, 1);
        assert_eq!(guest.report.release, kernel.unpacked().release);
        assert!(guest.report.cmdline.contains("rdinit=/sbin/init quiet"), "{}", guest.report.cmdline);
        let mounts = [("/", "rootfs"), ("/dev", "devtmpfs"), ("/proc", "proc"), ("/sys", "sysfs")];
        assert_eq!(guest.report.mounted(), mounts);
        assert!(guest.report.memory["MemTotal"] > 300_000, "{:?}", guest.report.memory);
        guest.run(&["/bin/busybox", "modprobe", "loop"]);
        assert!(guest.report_now().modules.contains(&"loop".into()), "{:?}", guest.report.modules);
        assert!(guest.report.busy > 0.0 && guest.report.busy <= guest.report.uptime, "{:?}", guest.report);
        guest.write("/tmp/note", "hello");
        assert_eq!(guest.read("/tmp/note"), "hello");
        assert_eq!(guest.list("/tmp"), ["note"]);
        assert!(!guest.exists("/tmp/other"));
        assert_eq!(guest.try_run(&["/bin/busybox", "false"]).status, Some(1));
        guest.shell("echo '<5>init: a line' > /dev/kmsg");
        assert!(guest.report_now().logged("init: a line"));
    }
}

#[test]
fn what_a_guest_writes_stays_on_its_stick() {
    for (format, kind) in [(Format::Fat32, "vfat"), (Format::Ext4, "ext4")] {
        let stick = Medium::empty().file("old", "from the host\n").stick(format);
        let mut machine = guest_of_the_initramfs(Kernel::V6_1).usb_later("stick", &stick).start();
        let mut guest = machine.guest();
        for module in ["xhci_pci", "usb_storage", "sd_mod", "nls_cp437", "nls_ascii", kind, "crc32c_generic"]
        {
            guest.run(&["/bin/busybox", "modprobe", module]);
        }
        machine.plug_in("stick");
        let mount =
            format!("until [ -b /dev/sda1 ]; do sleep 0.1; done; mount -t {kind} -o ro /dev/sda1 /mnt");
        guest.shell(&mount);
        assert_eq!(guest.read("/mnt/old"), "from the host\n");
        guest.make_writable("/mnt");
        guest.write("/mnt/new", "from the guest\n");
        guest.run(&["/bin/busybox", "umount", "/mnt"]);
        machine.pull_out("stick");
        machine.quit();
        stick.is_clean();
        assert_eq!(stick.read("/new"), "from the guest\n");
    }
}

#[test]
fn a_stick_in_use_when_the_plug_is_pulled_is_not_clean() {
    for (format, kind) in [(Format::Fat32, "vfat"), (Format::Ext4, "ext4")] {
        let stick = Medium::empty().file("old", "from the host\n").stick(format);
        let mut machine = guest_of_the_initramfs(Kernel::V6_1).virtio("stick", &stick).start();
        let mut guest = machine.guest();
        for module in ["virtio_blk", "nls_cp437", "nls_ascii", "crc32c_generic", kind] {
            guest.run(&["/bin/busybox", "modprobe", module]);
        }
        guest.run(&["/bin/busybox", "mount", "-t", kind, "/dev/vda1", "/mnt"]);
        guest.write("/mnt/new", "from the guest\n");
        machine.quit();
        let judged = std::panic::catch_unwind(|| stick.is_clean());
        assert!(judged.is_err(), "{format:?} passed for clean");
    }
}

#[test]
fn a_hanging_guest_is_given_up_and_explained() {
    let disk = Disk::blank(1 << 20);
    let vm = guest_of_the_initramfs(Kernel::V6_1).append("rdinit=/bin/sh").virtio("disk", &disk).patience(15);
    let mut machine = vm.start();
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.guest()));
    let message = *waited.expect_err("no probe runs").downcast::<String>().expect("a formatted message");
    assert!(message.contains("no report from the guest in 15s"), "{message}");
    machine.types("echo typed-$((6*7))\n");
    machine.serial_shows("typed-42");
}
