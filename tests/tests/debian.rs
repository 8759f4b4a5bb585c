//! Debian 12 with systemd, nothing of ours in its root: it runs on the union as on any disk, and its shutdown
//! goes through the saved ramfs.

use tests::{Ending, Firmware, Format, Guest, Kernel, Kit, Machine, Vm};

const DATA: &str = "/run/initramfs/memory/data";

/// Waits until systemd has started all it wants to start.
fn comes_up(machine: &mut Machine) -> Guest {
    let mut guest = machine.guest();
    // It ends with 1 when the system is degraded; what failed is looked at below.
    guest.try_run(&["systemctl", "is-system-running", "--wait"]);
    guest
}

/// The distribution is content: what a user sees after logging in.
fn is_content(guest: &mut Guest, kernel: Kernel) {
    assert_eq!(guest.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]), "");
    assert_eq!(guest.try_run(&["systemctl", "is-system-running"]).stdout.trim(), "running");
    assert_eq!(guest.run(&["systemctl", "is-active", "multi-user.target"]).trim(), "active");
    assert_eq!(guest.report.release, kernel.unpacked().release);
    let id = guest.read("/etc/machine-id");
    assert!(
        id.trim().len() == 32 && id.trim().chars().all(|c| c.is_ascii_hexdigit()),
        "machine-id is {id:?}"
    );
    let journal = guest.run(&["journalctl", "-b", "--no-pager", "-o", "cat", "_PID=1"]);
    assert!(journal.contains("Reached target multi-user.target"), "{journal}");
    let boot_log = guest.run(&["journalctl", "-b", "-t", "init", "--no-pager", "-o", "cat"]);
    assert!(boot_log.contains("starting /sbin/init"), "the journal has not the initramfs's log");
    assert!(
        guest.list("/usr/lib/modules").contains(&guest.report.release),
        "no modules of the kernel that runs"
    );
    assert_eq!(guest.report.mount("/").kind, "overlay");
}

/// Mounts that the boot has made must be seen with the same places in every Debian; systemd adds its own.
fn keeps_the_live_mounts(guest: &Guest, kit: &Kit, medium: &str) {
    let mut expected = vec![
        ("/run/initramfs".to_string(), "tmpfs"),
        ("/run/initramfs/memory/changes".into(), "tmpfs"),
        (DATA.into(), medium),
    ];
    let names = kit.bundles().into_iter().chain(["95-probe.sb".into()]);
    expected.extend(names.map(|name| (format!("/run/initramfs/memory/bundles/{name}"), "squashfs")));
    expected.sort();
    let live = guest.report.mounted().into_iter().filter(|(place, _)| place.starts_with("/run/initramfs"));
    let live: Vec<_> = live.map(|(place, kind)| (place.to_string(), kind)).collect();
    assert_eq!(live, expected);
}

fn writes_to_its_stick(guest: &mut Guest) {
    guest.make_writable(DATA);
    guest.write(&format!("{DATA}/livekit/note"), "written by the guest\n");
    let held =
        format!("trap '' TERM HUP; exec 3>>{DATA}/livekit/held; echo open >&3; while :; do sleep 1; done");
    // systemd itself kills it after this time; by default it would wait for a minute and a half.
    guest.run(&["systemd-run", "--quiet", "--property=TimeoutStopSec=2", "/bin/sh", "-c", &held]);
}

/// Changes take about all the memory there is: much of it is swapped, which the shutdown must not want back.
fn fills_its_memory(guest: &mut Guest) {
    guest.run(&["/bin/sh", "-c", "yes 'all the same' | head -c 650M > /large"]);
    let used = guest.swapped();
    assert!(used > 60 << 10, "{used} KiB are swapped");
}

fn runs_from_a_stick(kernel: Kernel, format: Format, kind: &str, how: Ending) {
    let kit = Kit::debian(kernel);
    let stick = kit.medium_with_probe().stick(format);
    let machine = kit.direct().memory(768).append("ramsize=100%");
    let mut machine = machine.patience(480).usb("stick", &stick).start();
    let mut guest = comes_up(&mut machine);
    is_content(&mut guest, kernel);
    keeps_the_live_mounts(&guest, &kit, kind);
    writes_to_its_stick(&mut guest);
    fills_its_memory(&mut guest);
    guest.end(how);
    match how {
        Ending::Poweroff => machine.powers_off(),
        Ending::Reboot | Ending::Kexec => machine.reboots(),
        Ending::Halt => machine.halts(),
    }
    stick.is_clean();
    assert_eq!(stick.read("/livekit/note"), "written by the guest\n");
    assert_eq!(stick.read("/livekit/held"), "open\n");
    let log = machine.serial_log();
    let bad: Vec<_> = log.lines().filter(|line| line.contains("cleanup: cannot")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn debian_powers_off_and_leaves_a_fat_stick_clean() {
    runs_from_a_stick(Kernel::V6_1, Format::Fat32, "vfat", Ending::Poweroff);
}

#[test]
fn debian_reboots_and_leaves_an_ext4_stick_clean() {
    runs_from_a_stick(Kernel::V6_1, Format::Ext4, "ext4", Ending::Reboot);
}

#[test]
fn debian_halts_and_leaves_an_ext4_stick_clean() {
    runs_from_a_stick(Kernel::V6_1, Format::Ext4, "ext4", Ending::Halt);
}

#[test]
fn debian_with_the_newer_kernel_powers_off_and_leaves_an_ext4_stick_clean() {
    runs_from_a_stick(Kernel::V6_12, Format::Ext4, "ext4", Ending::Poweroff);
}

#[test]
fn debian_starts_a_loaded_kernel_and_leaves_the_stick_clean_for_it() {
    let kit = Kit::debian(Kernel::V6_1);
    let stick = kit.medium_with_probe().stick(Format::Ext4);
    let mut machine = kit.direct().memory(1024).patience(600).usb("stick", &stick).start();
    let mut guest = comes_up(&mut machine);
    let boot = format!("{DATA}/livekit/boot");
    let (kernel, initrd) = (format!("{boot}/vmlinuz"), format!("--initrd={boot}/initramfs.img"));
    let line = format!("--command-line={} second", guest.report.cmdline);
    guest.run(&["/sbin/kexec", "-l", &kernel, &initrd, &line]);
    writes_to_its_stick(&mut guest);
    guest.end(Ending::Kexec);
    let mut guest = machine.guest_again(guest);
    assert!(guest.report.cmdline.ends_with(" second"), "{}", guest.report.cmdline);
    assert_eq!(guest.read(&format!("{DATA}/livekit/note")), "written by the guest\n");
    // The second boot mounted it read only: what it found is what the first had left.
    machine.quit();
    stick.is_clean();
}

#[test]
fn debian_boots_through_the_menu_from_a_disc_that_it_gives_back() {
    let kit = Kit::debian(Kernel::V6_1);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let iso = kit.iso_with_probe(&folder.path().join("live.iso"));
    let mut machine = Vm::firmware(Firmware::Uefi).memory(768).patience(600).cd(&iso).start();
    let mut guest = comes_up(&mut machine);
    is_content(&mut guest, Kernel::V6_1);
    keeps_the_live_mounts(&guest, &kit, "iso9660");
    guest.end(Ending::Poweroff);
    machine.tray_opens();
    machine.powers_off();
}
