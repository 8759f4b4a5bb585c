//! The way down: whatever the guest did to its medium, it is clean and free at the end, for every verb.

use tests::{Ending, Format, Guest, Kernel, Kit, Machine};

const DATA: &str = "/run/initramfs/memory/data";
const FORMATS: [Format; 2] = [Format::Fat32, Format::Ext4];

/// Makes the medium writable and writes to it, synced and not, with a process that has a file of it open and
/// does not end when asked to.
fn writes_to_its_medium(guest: &mut Guest) {
    guest.make_writable(DATA);
    guest.write(&format!("{DATA}/livekit/note"), "written by the guest\n");
    let script = format!(
        "trap '' TERM HUP; echo unsynced > {DATA}/livekit/late; exec 3>>{DATA}/livekit/held; echo open >&3; \
         while :; do sleep 1; done"
    );
    let start = format!("({script}) < /dev/null > /dev/null 2>&1 & sleep 1");
    guest.shell(&start);
}

/// What the cleanup program had to say that is not good.
fn complaints(machine: &Machine) -> Vec<String> {
    let log = machine.serial_log();
    let bad = |line: &&str| {
        line.contains("cleanup: ") && (line.contains("cannot") || line.contains("is read only now"))
    };
    log.lines().filter(bad).map(String::from).collect()
}

fn ends_clean(kernel: Kernel, how: Ending) {
    let kit = Kit::tiny(kernel);
    for format in FORMATS {
        let stick = kit.medium().stick(format);
        let mut machine = kit.direct().usb("stick", &stick).start();
        let mut guest = machine.guest();
        writes_to_its_medium(&mut guest);
        guest.end(how);
        match how {
            Ending::Poweroff => machine.powers_off(),
            Ending::Reboot | Ending::Kexec => machine.reboots(),
            Ending::Halt => machine.halts(),
        }
        assert_eq!(complaints(&machine), Vec::<String>::new(), "{format:?}");
        stick.is_clean();
        assert_eq!(stick.read("/livekit/note"), "written by the guest\n");
        assert_eq!(stick.read("/livekit/late"), "unsynced\n");
        assert_eq!(stick.read("/livekit/held"), "open\n");
    }
}

#[test]
fn poweroff_leaves_the_stick_clean() {
    ends_clean(Kernel::V6_1, Ending::Poweroff);
}

#[test]
fn poweroff_leaves_the_stick_clean_on_the_newer_kernel() {
    ends_clean(Kernel::V6_12, Ending::Poweroff);
}

#[test]
fn reboot_leaves_the_stick_clean() {
    ends_clean(Kernel::V6_1, Ending::Reboot);
}

#[test]
fn halt_leaves_the_stick_clean() {
    ends_clean(Kernel::V6_1, Ending::Halt);
}

#[test]
fn kexec_without_a_kernel_loaded_restarts() {
    ends_clean(Kernel::V6_1, Ending::Kexec);
}

#[test]
fn users_mounts_and_loops_do_not_hold_the_stick() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Ext4);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let mut guest = machine.guest();
    guest.make_writable(DATA);
    // A file of the medium on a loop, a mount of it in the union, one below a folder of the medium itself,
    // and binds of both: all hold the stick.
    let script = format!(
        "set -e; cp {DATA}/livekit/00-core.sb {DATA}/copy.sb; mkdir -p /mnt/a /mnt/b {DATA}/inside; \
         losetup -f {DATA}/copy.sb; loop=$(losetup -a | grep copy.sb | cut -d: -f1); \
         mount -t squashfs -o ro $loop /mnt/a; mount -o bind {DATA}/livekit /mnt/b; \
         mount -t tmpfs none {DATA}/inside; mount -o bind /mnt/a/usr {DATA}/livekit/rootcopy"
    );
    let start = format!("mkdir -p {DATA}/livekit/rootcopy; {script}");
    guest.shell(&start);
    guest.end(Ending::Poweroff);
    machine.powers_off();
    assert_eq!(complaints(&machine), Vec::<String>::new());
    stick.is_clean();
}

#[test]
fn a_disc_is_given_back() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().cd(&kit.iso()).start();
    machine.guest().end(Ending::Poweroff);
    machine.tray_opens();
    machine.powers_off();
    assert_eq!(complaints(&machine), Vec::<String>::new());
}

#[test]
fn a_disc_is_taken_in_again_for_a_restart() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().cd(&kit.iso()).start();
    machine.guest().end(Ending::Reboot);
    machine.tray_opens();
    machine.tray_closes();
    machine.reboots();
}

#[test]
fn a_disc_stays_in_when_asked_to() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("noeject").cd(&kit.iso()).start();
    machine.guest().end(Ending::Poweroff);
    machine.powers_off();
    assert!(!machine.tray_moved(), "the tray opened");
}
