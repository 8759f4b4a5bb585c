//! Changes that are kept: on the medium or beside it, from boot to boot.

use std::os::unix::fs::FileExt;

use live::container;
use tests::programs::{command, output};
use tests::{Disk, Firmware, Format, Guest, Kernel, Kit, Machine, Medium, Vm};

const CHANGES: &str = "/run/initramfs/memory/changes";
const DATA: &str = "/run/initramfs/memory/data";

/// Boots the kit from `stick` with these parameters.
fn boot(kit: &Kit, stick: &Disk, parameters: &str) -> (Machine, Guest) {
    let mut machine = kit.direct().append(parameters).usb("stick", stick).start();
    let guest = machine.guest();
    (machine, guest)
}

fn power_off(mut machine: Machine, guest: Guest, stick: &Disk) {
    machine.power_off(guest);
    stick.is_clean();
}

#[test]
fn changes_come_back_at_the_next_boot() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let kit = Kit::tiny(kernel);
        let stick = kit.medium().stick(Format::Ext4);
        let (machine, mut guest) = boot(&kit, &stick, "perchdir=resume");
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
        assert_eq!(guest.report.mount(DATA).kind, "ext4");
        assert!(guest.try_run(&["/bin/busybox", "touch", &format!("{DATA}/x")]).status != Some(0));
        guest.shell("echo mine > /etc/mine; rm /etc/passwd; mkdir -p /opt/new /srv; echo x > /srv/x; mv /opt/new /opt/newer",
        );
        power_off(machine, guest, &stick);
        assert_eq!(stick.read("/livekit/changes/1/upper/etc/mine"), "mine\n");
        assert_eq!(stick.read("/livekit/changes/last_session.txt"), "1\n");

        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert_eq!(guest.read("/etc/mine"), "mine\n");
        assert!(!guest.exists("/etc/passwd") && guest.exists("/opt/newer") && guest.exists("/srv/x"));
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perchdir=new");
        assert!(!guest.exists("/etc/mine") && guest.exists("/etc/passwd"));
        guest.write("/etc/second", "2\n");
        power_off(machine, guest, &stick);
        let (machine, mut guest) = boot(&kit, &stick, "persistence");
        assert!(guest.exists("/etc/second"), "the last used session goes on");
        assert!(guest.report.logged("persistence: read as perch"));
        power_off(machine, guest, &stick);
        let (_machine, mut guest) = boot(&kit, &stick, "perchdir=1");
        assert!(guest.exists("/etc/mine") && !guest.exists("/etc/second"));
    }
}

/// As a user does it: the image's files copied to a stick, and the entry of the menu.
#[test]
fn the_menu_has_an_entry_that_keeps_changes() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick_with_room(Format::Fat32, 100);
    for boots in 0..2 {
        let mut machine = Vm::firmware(Firmware::Uefi).usb("stick", &stick).start();
        machine.answers(&[("keeping changes", "k")]);
        let mut guest = machine.guest();
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4", "{:#?}", guest.report.log);
        assert_eq!(guest.shell("cat /etc/boots 2> /dev/null || true"), "again\n".repeat(boots));
        guest.shell("echo again >> /etc/boots");
        power_off(machine, guest, &stick);
    }
}

/// What the container's file system says of itself.
fn room(guest: &mut Guest) -> (u64, u64) {
    let said = guest.shell(&format!("df -k {CHANGES} | tail -1"));
    let numbers: Vec<u64> = said.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect();
    (numbers[0] >> 10, numbers[2] >> 10)
}

#[test]
fn on_fat_changes_are_in_a_container_that_grows() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let kit = Kit::tiny(kernel);
        let stick = kit.medium().stick_with_room(Format::Fat32, 700);
        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
        guest.shell("mkdir -p /opt; echo mine > /etc/mine; rm /etc/passwd; dd if=/dev/zero of=/opt/large bs=1M count=300 2>&1; sync; md5sum /opt/large > /opt/sum",
        );
        let (size, free) = room(&mut guest);
        assert!(size > 400 && free > 64, "{size} MiB, {free} free");
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert_eq!(guest.read("/etc/mine"), "mine\n");
        assert!(!guest.exists("/etc/passwd"));
        guest.shell("md5sum -c /opt/sum");
        // To the last byte: no error but the one that says so, and the system goes on.
        let filled = guest.try_run(&["/bin/busybox", "sh", "-c", "cat /dev/zero > /opt/more"]);
        assert!(filled.stderr.contains("No space left"), "{filled:?}");
        let left = guest.shell("df -k /run/initramfs/memory/sessions | tail -1");
        let left: u64 = left.split_ascii_whitespace().nth(3).unwrap().parse().unwrap();
        assert!((50..90).contains(&(left >> 10)), "{} MiB are left on the medium", left >> 10);
        assert!(guest.report_now().logged("changes are full"));
        guest.shell("rm /opt/more; echo works > /etc/works; sync");
        power_off(machine, guest, &stick);
    }
}

/// A container as the boot makes it, in a folder of this host.
fn new_container() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fill =
        |file: &std::fs::File, _: &std::path::Path| container::ext4::write_template(file, [1; 16], [2; 16]);
    container::create(folder.path(), container::FIRST, fill).expect("a container");
    folder
}

#[test]
fn a_session_that_cannot_be_used_is_left_alone() {
    let kit = Kit::tiny(Kernel::V6_1);
    let whole = new_container();
    let part = |number: u32| format!("livekit/changes/{number}/changes.000");
    let place = whole.path().join("changes.000");
    let medium = (1..=4).fold(kit.medium(), |medium, number| medium.copy_of(&part(number), &place));
    let medium = medium.renamed(&part(2), "livekit/changes/2/changes.001").torn(&part(3));
    // The beginning of the fourth is overwritten.
    let damaged = std::fs::OpenOptions::new().write(true).open(medium.path(&part(4))).expect("the container");
    damaged.write_all_at(&[0xff; 4096], 0).expect("a writable file");
    let stick = medium.stick(Format::Fat32);
    let sums = |stick: &Disk| {
        ["1/changes.000", "2/changes.001", "3/changes.000", "4/changes.000"]
            .map(|file| stick.digest(&format!("/livekit/changes/{file}")))
    };
    let before = sums(&stick);
    for (parameters, said) in [
        ("perchdir=2", "changes.000 is missing"),
        ("perchdir=3", "missing or cut short"),
        ("perchdir=4", "its beginning is damaged"),
        ("perchdir=9", "there is no session 9"),
        ("perchdir=LABEL=NOWHERE", "no disk LABEL=NOWHERE"),
    ] {
        let (machine, mut guest) = boot(&kit, &stick, parameters);
        assert!(guest.report.logged(said), "{parameters}: {:#?}", guest.report.log);
        assert!(guest.report.logged("changes are in memory, and gone at power-off"));
        assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
        let left: Vec<_> =
            guest.report.loops.iter().filter(|l| l.backing_file.contains("/changes")).collect();
        assert!(left.is_empty(), "{left:?}");
        guest.write("/etc/works", "yes\n");
        power_off(machine, guest, &stick);
        assert_eq!(sums(&stick), before, "{parameters}: what is on the stick has changed");
    }
    let (machine, guest) = boot(&kit, &stick, "perchdir=1");
    assert_eq!(guest.report.mount(CHANGES).kind, "ext4", "the whole one can be used");
    power_off(machine, guest, &stick);
}

/// A superblock of which one sector of two was written: only what a mounted system changes does not fit its checksum.
fn tear(image: &std::path::Path, file_system: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(image).expect("an image");
    // When it was last written to.
    let place = file_system + 1024 + 0x30;
    let mut time = [0; 4];
    file.read_exact_at(&mut time, place).expect("a superblock");
    file.write_all_at(&time.map(|byte| !byte), place).expect("a writable image");
}

#[test]
fn a_superblock_that_a_power_cut_tore_is_mended() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick_with_room(Format::Ext4, 200);
    // Somebody's disk in the same machine.
    let other = Medium::empty().file("note", "not a system").stick_with_room(Format::Ext4, 200);
    for disk in [&stick, &other] {
        tear(disk.path(), tests::media::PARTITION);
    }
    let before = std::fs::read(other.path()).expect("the disk");
    let vm = kit.direct().append("perch").virtio("other", &other).virtio("stick", &stick);
    let mut machine = vm.start();
    let mut guest = machine.guest();
    assert!(guest.report.logged("tore the superblock on /dev/vdb1: mended"), "{:#?}", guest.report.log);
    assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
    guest.shell("echo safe > /etc/safe; sync");
    machine.cut();
    tear(stick.path(), tests::media::PARTITION);
    let (machine, mut guest) = boot(&kit, &stick, "perch");
    assert_eq!(guest.read("/etc/safe"), "safe\n", "its journal was not replayed");
    power_off(machine, guest, &stick);
    assert!(
        std::fs::read(other.path()).expect("the disk") == before,
        "a disk that is not ours was written to"
    );

    let container = new_container();
    let part = container.path().join("changes.000");
    tear(&part, 0);
    let stick =
        kit.medium().copy_of("livekit/changes/1/changes.000", &part).stick_with_room(Format::Fat32, 200);
    let (machine, mut guest) = boot(&kit, &stick, "perch");
    assert!(guest.report.logged("mended"), "{:#?}", guest.report.log);
    assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
    guest.write("/etc/works", "yes\n");
    power_off(machine, guest, &stick);
}

#[test]
fn a_medium_that_cannot_be_written_to_says_so() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("perch").cd(&kit.iso()).start();
    let guest = machine.guest();
    assert!(guest.report.logged("iso9660, which cannot be written to"), "{:#?}", guest.report.log);
    assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
}

/// What was written to a stick as an image has room behind it.
#[test]
fn a_partition_behind_the_image_keeps_changes() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = Disk::written_from(kit.iso().path(), 80, "persistence");
    for (parameters, expected) in [("perch", false), ("perch toram", true)] {
        let (machine, mut guest) = boot(&kit, &stick, parameters);
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4", "{:#?}", guest.report.log);
        assert_eq!(guest.exists("/etc/mine"), expected, "{parameters}");
        assert_eq!(guest.report.logged("leave the medium in"), parameters.contains("toram"));
        guest.write("/etc/mine", "mine\n");
        power_off(machine, guest, &stick);
    }
    assert_eq!(stick.read("/livekit/changes/1/upper/etc/mine"), "mine\n");
    // The image still starts, by both kinds of firmware.
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        Vm::firmware(firmware).usb("stick", &stick).start().guest();
    }
}

#[test]
fn changes_are_kept_on_another_disk() {
    let kit = Kit::tiny(Kernel::V6_12);
    let disk = Medium::empty().stick(Format::Ext4);
    for (round, expected) in [(1, false), (2, true)] {
        let vm = kit.direct().append("toram perchdir=LABEL=STICK/my/changes");
        let mut machine = vm.cd(&kit.iso()).virtio("disk", &disk).start();
        let mut guest = machine.guest();
        assert_eq!(guest.exists("/etc/mine"), expected, "round {round}");
        guest.write("/etc/mine", "mine\n");
        power_off(machine, guest, &disk);
    }
    assert_eq!(disk.read("/my/changes/1/upper/etc/mine"), "mine\n");
}

#[test]
fn changes_may_be_written_at_shutdown_or_never() {
    for format in [Format::Ext4, Format::Fat32] {
        let kit = Kit::tiny(Kernel::V6_1);
        let stick = kit.medium().stick_with_room(format, 400);
        let (machine, mut guest) = boot(&kit, &stick, "changes=EXIT:/livekit/changes");
        assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
        let large = "mkdir -p /opt; dd if=/dev/urandom of=/opt/large bs=1M count=90 2>&1; md5sum /opt/large > /opt/sum";
        guest.shell(&format!("{large}; echo 1 > /etc/first; rm /etc/passwd"));
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perch changes-ro");
        assert!(guest.exists("/etc/first") && !guest.exists("/etc/passwd"), "{format:?}");
        guest.shell("md5sum -c /opt/sum; rm /etc/first /opt/large; echo x > /etc/lost");
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "changes=EXIT:");
        assert!(
            guest.exists("/etc/first") && !guest.exists("/etc/lost"),
            "{format:?}: it was to stay as it was"
        );
        guest.shell("md5sum -c /opt/sum; rm -r /opt/large /etc/first; mkdir /etc/passwd");
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert!(guest.exists("/opt/sum") && !guest.exists("/opt/large") && !guest.exists("/etc/first"));
        assert_eq!(guest.list("/etc/passwd"), [""; 0]);
        power_off(machine, guest, &stick);
    }
}

#[test]
fn snapshots_are_taken_and_gone_back_to() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Ext4);
    let livekit =
        |guest: &mut Guest, words: &str| guest.shell(&format!("/usr/bin/livekit session {words} 2>&1"));
    let (machine, mut guest) = boot(&kit, &stick, "perch");
    guest.shell("echo one > /etc/state; echo keep > /etc/keep; rm /etc/passwd");
    livekit(&mut guest, "snapshot");
    power_off(machine, guest, &stick);

    let (machine, mut guest) = boot(&kit, &stick, "perch");
    assert!(guest.report.logged("a snapshot is taken"));
    assert_eq!(guest.read("/etc/state"), "one\n");
    guest.shell("echo two > /etc/state; rm /etc/keep; echo x > /etc/passwd");
    assert!(livekit(&mut guest, "list").contains("(snapshots 1)"));
    livekit(&mut guest, "back 1");
    power_off(machine, guest, &stick);

    let (machine, mut guest) = boot(&kit, &stick, "perch");
    assert_eq!(guest.read("/etc/state"), "one\n");
    assert!(guest.exists("/etc/keep") && !guest.exists("/etc/passwd"));
    power_off(machine, guest, &stick);
    let (machine, mut guest) = boot(&kit, &stick, "perch nop=wipe");
    assert!(!guest.exists("/etc/state") && guest.exists("/etc/passwd"));
    power_off(machine, guest, &stick);
}

/// Boots and types `answers`, each when the text before it has been shown.
fn boot_typing(kit: &Kit, stick: &Disk, parameters: &str, answers: &[(&str, &str)]) -> (Machine, Guest) {
    let mut machine = kit.direct().append(parameters).usb("stick", stick).start();
    machine.answers(answers);
    let guest = machine.guest();
    (machine, guest)
}

fn boot_asking(kit: &Kit, stick: &Disk, answers: &[(&str, &str)]) -> (Machine, Guest) {
    boot_typing(kit, stick, "perchdir=ask", answers)
}

#[test]
fn the_user_is_asked_for_session_and_state() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Ext4);
    let answers = [("a new session", "1\r"), ("Name of the new", "work\r")];
    let (machine, mut guest) = boot_asking(&kit, &stick, &answers);
    guest.shell("echo one > /etc/state; livekit session snapshot");
    power_off(machine, guest, &stick);
    let (machine, mut guest) = boot_asking(&kit, &stick, &[("no session", "3\r")]);
    assert!(!guest.exists("/etc/state"));
    assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
    guest.write("/etc/lost", "x\n");
    power_off(machine, guest, &stick);
    let (machine, mut guest) =
        boot_asking(&kit, &stick, &[("session 1: work", "2\r"), ("Name of the new", "\r")]);
    assert!(!guest.exists("/etc/state") && !guest.exists("/etc/lost"), "the second is new");
    power_off(machine, guest, &stick);
    let (machine, mut guest) = boot_asking(&kit, &stick, &[("session 1: work", "1\r")]);
    assert!(guest.report.logged("a snapshot is taken"));
    guest.shell("echo two > /etc/state");
    power_off(machine, guest, &stick);
    let answers = [("session 1: work", "\r"), ("the previous state 1", "2\r")];
    let (machine, mut guest) = boot_asking(&kit, &stick, &answers);
    assert_eq!(guest.read("/etc/state"), "one\n");
    power_off(machine, guest, &stick);
}

/// cryptsetup takes the passphrase, and no other.
fn opens_with_cryptsetup(stick: &Disk) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let part = folder.path().join("changes.000");
    stick.copy_out("/livekit/changes/1/changes.000", &part);
    for (passphrase, expected) in [("open sesame", true), ("open barley", false)] {
        let script = "printf %s \"$1\" | cryptsetup open --test-passphrase --key-file - \"$0\"";
        let judged = command("sh").args(["-c", script]).arg(&part).arg(passphrase).output().expect("a shell");
        assert_eq!(judged.status.success(), expected, "{passphrase}: {judged:?}");
    }
}

#[test]
fn sessions_are_encrypted() {
    for (kernel, format) in [(Kernel::V6_1, Format::Fat32), (Kernel::V6_12, Format::Ext4)] {
        let kit = Kit::tiny(kernel);
        let stick = kit.medium().stick_with_room(format, 300);
        let parameters = "perch persistence-encryption=luks";
        let answers = [("New passphrase", "open sesame\r"), ("once more", "open sesame\r")];
        let (machine, mut guest) = boot_typing(&kit, &stick, parameters, &answers);
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
        let large = "mkdir -p /opt; dd if=/dev/urandom of=/opt/large bs=1M count=100 2>&1; md5sum /opt/large > /opt/sum";
        guest.shell(&format!("echo SECRETWORD > /etc/mine; {large}"));
        assert!(guest.shell("livekit status").contains("an encrypted container"));
        power_off(machine, guest, &stick);
        assert!(!stick.contains(b"SECRETWORD"), "{format:?}: it can be read");

        if format == Format::Ext4 {
            opens_with_cryptsetup(&stick);
        }

        let answers = [("Passphrase of session 1", "wrong\r"), ("try again", "open sesame\r")];
        let (machine, mut guest) = boot_typing(&kit, &stick, "perch", &answers);
        assert_eq!(guest.read("/etc/mine"), "SECRETWORD\n");
        guest.shell("md5sum -c /opt/sum");
        power_off(machine, guest, &stick);
        if format == Format::Fat32 {
            let answers = [("Passphrase of", "a\r"), ("2 left", "b\r"), ("1 left", "c\r")];
            let (machine, mut guest) = boot_typing(&kit, &stick, "perch", &answers);
            assert!(guest.report.logged("the passphrase was wrong 3 times"));
            assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
            guest.write("/etc/works", "yes\n");
            power_off(machine, guest, &stick);
        }
    }
}

/// A disk that cryptsetup has encrypted, with an ext4 in it.
fn encrypted_disk(label: &str) -> Disk {
    let disk = Disk::blank(200 << 20);
    let path = disk.path();
    let make = "mkfs.ext4 -q \"$0\" 160M && printf 'open sesame' | cryptsetup reencrypt --encrypt --type luks2 \
        --reduce-device-size 16M --pbkdf-memory 32768 --pbkdf-force-iterations 4 --key-file - --batch-mode \"$0\" && cryptsetup config --label \"$1\" \"$0\"";
    output(command("sh").args(["-c", make]).arg(path).arg(label));
    disk
}

#[test]
fn an_encrypted_disk_is_opened() {
    let kit = Kit::tiny(Kernel::V6_1);
    let disk = encrypted_disk("VAULT");
    let boot = |answers: &[(&str, &str)]| {
        let vm = kit.direct().append("perchdir=LABEL=VAULT/mine luksvol").patience(300);
        let mut machine = vm.cd(&kit.iso()).virtio("disk", &disk).start();
        machine.answers(answers);
        let guest = machine.guest();
        (machine, guest)
    };
    for expected in ["", "SECRETWORD\n"] {
        let (mut machine, mut guest) = boot(&[("Passphrase of the disk vda", "open sesame\r")]);
        assert_eq!(guest.report.mount(CHANGES).kind, "ext4");
        assert!(!machine.serial_log().contains("recovery complete"), "it was not unmounted cleanly");
        assert_eq!(guest.shell("cat /etc/mine 2> /dev/null || true"), expected);
        guest.shell("echo SECRETWORD > /etc/mine");
        machine.power_off(guest);
    }
    assert!(!disk.contains(b"SECRETWORD"), "it can be read");

    let answers = [("Passphrase of", "a\r"), ("2 left", "b\r"), ("1 left", "c\r")];
    let (mut machine, guest) = boot(&answers);
    assert!(guest.report.logged("the disk vda is encrypted, and the passphrase was wrong 3 times"));
    assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
    machine.power_off(guest);
}

#[test]
fn single_directories_are_kept() {
    const KEPT: &str = "/run/initramfs/memory/kept";
    for format in [Format::Ext4, Format::Fat32] {
        let kit = Kit::tiny(Kernel::V6_1);
        let conf =
            "# all else goes\n/home\n/etc union,source=settings\n/root link,source=dots\n/var/deep/er bind\n";
        let medium = kit.medium().file("livekit/changes/persistence.conf", conf);
        let stick = medium.stick_with_room(format, 300);
        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
        assert_eq!(guest.report.mount(KEPT).kind, "ext4");
        guest.shell("echo 1 > /home/mine; echo 2 > /etc/mine; rm /etc/passwd; echo 3 > /var/deep/er/mine");
        guest.shell(&format!("mkdir -p /opt; echo x > /opt/lost; echo 4 > {KEPT}/dots/.profile"));
        assert!(guest.shell("livekit status").contains("single directories"));
        assert!(guest.try_run(&["/usr/bin/livekit", "session", "snapshot"]).status != Some(0));
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perch");
        let files = "cat /home/mine /etc/mine /var/deep/er/mine /root/.profile";
        assert_eq!(guest.shell(files), "1\n2\n3\n4\n", "{format:?}");
        assert!(!guest.exists("/etc/passwd") && !guest.exists("/opt/lost"), "{format:?}");
        assert!(guest.exists("/etc/os-release"), "{format:?}: the system's own files are below");
        power_off(machine, guest, &stick);
    }

    // A mistake in it is told, and keeps nothing.
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium().file("livekit/changes/persistence.conf", "/home sticky\n");
    let stick = medium.stick(Format::Ext4);
    let (machine, guest) = boot(&kit, &stick, "perch");
    assert!(guest.report.logged("line 1: sticky is no option"));
    assert_eq!(guest.report.mount(CHANGES).kind, "tmpfs");
    power_off(machine, guest, &stick);
}
