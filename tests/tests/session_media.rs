//! Sessions on file systems of all kinds, and on media that are locked, pulled out or full.

use std::fs::File;

use tests::media::copy_data;
use tests::programs::{command, output};
use tests::{Disk, Format, Guest, Kernel, Kit, Medium};

const CHANGES: &str = "/run/initramfs/memory/changes";

/// Runs a program on a disk's image.
#[track_caller]
fn on_image(line: &str, disk: &Disk) {
    let mut words = line.split(' ');
    output(command(words.next().expect("a program")).args(words).arg(disk.path()));
}

/// Two boots with a session on a disk without partitions, which `make` formats and `judge` looks at. The changes are on a
/// file system of the kind `changes` then.
#[track_caller]
fn sessions_are_kept_on(kernel: Kernel, changes: &str, make: &str, judge: &str) {
    let kit = Kit::tiny(kernel);
    let disk = Disk::blank(700 << 20);
    on_image(make, &disk);
    let boot = || {
        let vm = kit.direct().append("perchdir=/dev/vda/mine");
        let mut machine = vm.cd(&kit.iso()).virtio("disk", &disk).start();
        let guest = machine.guest();
        (machine, guest)
    };
    let (mut machine, mut guest) = boot();
    assert_eq!(guest.report.mount(CHANGES).kind, changes, "{:#?}", guest.report.log);
    let large = "dd if=/dev/urandom of=/opt/large bs=1M count=80 2>&1; md5sum /opt/large > /opt/sum";
    guest.shell(&format!(
        "mkdir -p /opt/new; {large}; echo mine > /etc/mine; rm /etc/passwd; mv /opt/new /opt/newer"
    ));
    machine.power_off(guest);
    on_image(judge, &disk);

    let (mut machine, mut guest) = boot();
    assert_eq!(guest.read("/etc/mine"), "mine\n");
    assert!(!guest.exists("/etc/passwd") && guest.exists("/opt/newer"));
    guest.shell("md5sum -c /opt/sum");
    machine.power_off(guest);
    on_image(judge, &disk);
}

#[test]
fn on_btrfs() {
    sessions_are_kept_on(Kernel::V6_1, "btrfs", "mkfs.btrfs -q", "btrfs check --readonly");
}

#[test]
fn on_xfs() {
    sessions_are_kept_on(Kernel::V6_12, "xfs", "mkfs.xfs -q", "xfs_repair -n -f");
}

#[test]
fn on_f2fs() {
    sessions_are_kept_on(Kernel::V6_1, "f2fs", "mkfs.f2fs -q", "fsck.f2fs --dry-run");
}

#[test]
fn on_exfat() {
    sessions_are_kept_on(Kernel::V6_12, "ext4", "mkfs.exfat", "fsck.exfat -n");
}

#[test]
fn on_ntfs() {
    sessions_are_kept_on(Kernel::V6_12, "ext4", "mkfs.ntfs --quick --force --quiet", "ntfsfix --no-action");
}

#[test]
fn a_locked_card_is_told() {
    let kit = Kit::tiny(Kernel::V6_1);
    for format in [Format::Ext4, Format::Fat32] {
        let card = kit.medium().stick(format);
        let mut machine = kit.direct().append("perch").usb_locked("card", &card).start();
        let mut guest = machine.guest();
        assert!(guest.report.logged("is a card locked?"), "{format:?}: {:#?}", guest.report.log);
        assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
        guest.write("/etc/works", "yes\n");
        machine.power_off(guest);
    }
}

#[test]
fn a_clock_that_goes_back_harms_nothing() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick_with_room(Format::Fat32, 200);
    for (year, expected) in [("2030", ""), ("2003", "2030\n"), ("2035", "2030\n2003\n")] {
        let vm = kit.direct().append("perch").usb("stick", &stick).clock(&format!("{year}-05-05T12:00:00"));
        let mut machine = vm.start();
        let mut guest = machine.guest();
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4", "{:#?}", guest.report.log);
        assert_eq!(guest.shell("cat /etc/years 2> /dev/null || true"), expected);
        guest.shell(&format!("echo {year} >> /etc/years; livekit session snapshot; livekit session list"));
        machine.power_off(guest);
        stick.is_clean();
    }
}

/// Writers get an error, and everything else goes on.
#[test]
fn full_memory_is_told_and_survived() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine =
        kit.direct().append("ramsize=64M").usb("stick", &kit.medium().stick(Format::Ext4)).start();
    let mut guest = machine.guest();
    guest.shell("dd if=/dev/zero of=/most bs=1M count=59 2>&1");
    machine.serial_shows("% full");
    let said = guest.shell("dd if=/dev/zero of=/rest bs=1M count=64 2>&1 || true");
    assert!(said.contains("No space left on device"), "{said}");
    machine.serial_shows("changes are full");
    assert!(guest.shell("livekit status").contains("100 %"));
    guest.shell("rm /most /rest; echo again > /etc/again; cat /etc/again");
    // Swapping is nobody's by the name in /proc/swaps, but an administrator's.
    let swaps = guest.shell("swapoff -a; cat /proc/swaps; echo; swapoff /dev/zram1; cat /proc/swaps");
    let (before, after) = swaps.split_once("\n\n").expect("two lists");
    assert_eq!((before.lines().count(), after.lines().count()), (2, 1), "{swaps}");
    machine.power_off(guest);
}

/// What is written is more than memory can hold as it is.
#[test]
fn memory_that_is_short_is_compressed() {
    let write = "yes 'all the same' | head -c 1300k > /piece; n=0
        while [ $((n += 1)) -le 200 ]; do cat /piece; done > /large";
    // What was written first is swapped first.
    let read = "n=0; while [ $((n += 1)) -le 40 ]; do cat /piece; done | cmp -n 53248000 - /large";
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let kit = Kit::tiny(kernel);
        let stick = kit.medium().stick(Format::Ext4);
        let vm = kit.direct().memory(256).append("ramsize=300M zram=100%");
        let mut machine = vm.usb("stick", &stick).start();
        let mut guest = machine.guest();
        guest.shell(write);
        let used = guest.swapped();
        assert!(used > 60 << 10, "{used} KiB are swapped");
        guest.shell(read);
        machine.power_off(guest);
        assert!(!machine.serial_log().contains("cleanup: cannot"), "it holds the stick");
        stick.is_clean();
    }
}

/// What is on the stick is lost to the system, which says so, and ends when it is told to.
#[test]
fn a_stick_that_is_pulled_out_is_told() {
    let kit = Kit::tiny(Kernel::V6_1);
    for format in [Format::Ext4, Format::Fat32] {
        let stick = kit.medium().stick_with_room(format, 200);
        let mut machine = kit.direct().append("perch toram").usb("stick", &stick).start();
        let mut guest = machine.guest();
        assert!(guest.report.logged("leave the medium in, it keeps the changes"), "{:#?}", guest.report.log);
        guest.shell("echo safe > /etc/safe; sync");
        machine.pull_out("stick");
        machine.serial_shows("the disk with the changes is gone");
        machine.power_off(guest);

        let mut machine = kit.direct().append("perch").usb("stick", &stick).start();
        let mut guest = machine.guest();
        assert_eq!(guest.read("/etc/safe"), "safe\n", "{format:?}");
        machine.power_off(guest);
        stick.is_clean();
    }
}

/// More than 20 GB, in six files on a sparse disk, the last almost full: it grows by a seventh.
#[test]
fn a_container_may_have_many_files() {
    const PARTS: u64 = 6;
    const PART: u64 = 4095 << 20;
    let kit = Kit::tiny(Kernel::V6_12);
    let medium = kit.medium();
    let session = medium.path("livekit/changes/1");
    std::fs::create_dir_all(&session).expect("a folder for a session");
    let whole = tempfile::NamedTempFile::new().expect("a temporary file");
    let size = PARTS * PART - (8 << 20);
    whole.as_file().set_len(size).expect("a sparse file");
    output(command("mkfs.ext4").arg("-q").arg(whole.path()));
    for part in 0..PARTS {
        let file = File::create(session.join(format!("changes.{part:03}"))).expect("a file for a part");
        copy_data(whole.as_file(), part * PART, PART.min(size - part * PART), &file);
    }
    let stick = medium.stick_with_room(Format::Ext4, 1500);
    let boot = || {
        let mut machine = kit.direct().append("perch").virtio("stick", &stick).start();
        let guest = machine.guest();
        (machine, guest)
    };
    let (mut machine, mut guest) = boot();
    let gibibytes = |guest: &mut Guest, column: &str| -> u64 {
        let script = format!("df -k {CHANGES} | tail -n 1 | awk '{{ print int(${column} / 1048576) }}'");
        guest.shell(&script).trim().parse().expect("a number")
    };
    assert!(gibibytes(&mut guest, "2") >= 22);
    // Until little is left, and then more than that.
    let left = format!("df -k {CHANGES} | tail -n 1 | awk '{{ print $4 - 150000 }}'");
    guest.shell(&format!("mkdir -p /opt; fallocate -l $({left})k /opt/most"));
    let more = "dd if=/dev/urandom of=/opt/more bs=1M count=300 2>&1; sync; md5sum /opt/more > /opt/sum";
    guest.shell(more);
    assert!(guest.exists("/run/initramfs/memory/sessions/1/changes.006"));
    machine.power_off(guest);
    stick.is_clean();

    let (mut machine, mut guest) = boot();
    guest.shell("md5sum -c /opt/sum; rm /opt/most");
    assert!(gibibytes(&mut guest, "4") >= 20);
    machine.power_off(guest);
}

/// The core bundle packed anew, by other means and with other inode numbers; one bundle gone, one new.
#[test]
fn a_session_goes_on_over_other_bundles() {
    let kit = Kit::tiny(Kernel::V6_1);
    let disk = Medium::empty().stick(Format::Ext4);
    let boot = |medium: Medium| {
        let vm = kit.direct().append("perchdir=/dev/vda1/mine");
        let mut machine = vm.usb("stick", &medium.stick(Format::Ext4)).virtio("disk", &disk).start();
        let guest = machine.guest();
        (machine, guest)
    };
    let first =
        kit.medium().bundle("livekit/modules/70-first.sb", &[("opt/both/one", "1"), ("opt/both/two", "2")]);
    let (mut machine, mut guest) = boot(first);
    guest.shell("echo mine >> /etc/os-release; ln /etc/passwd /etc/second; mv /opt/both/one /opt/both/moved");
    guest.shell("rm /opt/both/two; echo x > /opt/both/own; mkdir /usr/own; touch /usr/own/x");
    machine.power_off(guest);
    disk.is_clean();

    let second = kit
        .medium()
        .bundle("livekit/modules/71-second.sb", &[("opt/both/two", "3"), ("opt/both/three", "3")]);
    let core = second.path("livekit/00-core.sb");
    let repack = "unsquashfs -quiet -no-progress -d \"$1/root\" \"$0\" && mkdir \"$1/root/aaa\" && \
        for n in $(seq 300); do echo $n > \"$1/root/aaa/$n\"; done && rm \"$0\" && \
        mksquashfs \"$1/root\" \"$0\" -quiet -no-progress -comp xz";
    let folder = tempfile::tempdir().expect("a temporary folder");
    output(command("sh").args(["-c", repack]).arg(core).arg(folder.path()));
    let (mut machine, mut guest) = boot(second);
    assert!(guest.exists("/aaa/300"), "the new core");
    assert_eq!(guest.read("/etc/os-release"), "NAME=Tiny\nID=tiny\nmine\n");
    assert_eq!(guest.list("/opt/both"), ["moved", "own", "three"]);
    assert_eq!(guest.shell("stat -c %h /etc/passwd /etc/second; ls /usr/own"), "2\n2\nx\n");
    guest.shell("find /etc /opt /usr /var /aaa -exec stat {} + > /dev/null; cat /etc/* > /dev/null");
    guest.shell("echo again >> /etc/second; echo more >> /aaa/7; rm -r /opt/both; mkdir /opt/both");
    assert_eq!(guest.read("/etc/passwd").lines().last(), Some("again"));
    machine.power_off(guest);
    disk.is_clean();
}
