//! Changes that are kept: on the medium or beside it, from boot to boot.

use tests::{Disk, Ending, Format, Guest, Kernel, Kit, Machine};

const CHANGES: &str = "/run/initramfs/memory/changes";
const DATA: &str = "/run/initramfs/memory/data";

fn shell(guest: &mut Guest, script: &str) -> String {
    guest.run(&["/bin/busybox", "sh", "-c", script])
}

/// Boots the kit from `stick` with these parameters.
fn boot(kit: &Kit, stick: &Disk, parameters: &str) -> (Machine, Guest) {
    let mut machine = kit.direct().append(parameters).usb("stick", stick).start();
    let guest = machine.guest();
    (machine, guest)
}

fn power_off(mut machine: Machine, mut guest: Guest, stick: &Disk) {
    guest.end(Ending::Poweroff);
    machine.powers_off();
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
        shell(
            &mut guest,
            "echo mine > /etc/mine; rm /etc/passwd; mkdir -p /opt/new /srv; echo x > /srv/x; mv /opt/new /opt/newer",
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

/// What the container's file system says of itself.
fn room(guest: &mut Guest) -> (u64, u64) {
    let said = shell(guest, &format!("df -k {CHANGES} | tail -1"));
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
        shell(
            &mut guest,
            "mkdir -p /opt; echo mine > /etc/mine; rm /etc/passwd; dd if=/dev/zero of=/opt/large bs=1M count=300 2>&1; sync; md5sum /opt/large > /opt/sum",
        );
        let (size, free) = room(&mut guest);
        assert!(size > 400 && free > 64, "{size} MiB, {free} free");
        power_off(machine, guest, &stick);

        let (machine, mut guest) = boot(&kit, &stick, "perch");
        assert_eq!(guest.read("/etc/mine"), "mine\n");
        assert!(!guest.exists("/etc/passwd"));
        shell(&mut guest, "md5sum -c /opt/sum");
        // To the last byte: no error but the one that says so, and the system goes on.
        let filled = guest.try_run(&["/bin/busybox", "sh", "-c", "cat /dev/zero > /opt/more"]);
        assert!(filled.stderr.contains("No space left"), "{filled:?}");
        let left = shell(&mut guest, "df -k /run/initramfs/memory/sessions | tail -1");
        let left: u64 = left.split_ascii_whitespace().nth(3).unwrap().parse().unwrap();
        assert!((50..90).contains(&(left >> 10)), "{} MiB are left on the medium", left >> 10);
        assert!(guest.report_now().logged("changes are full"));
        shell(&mut guest, "rm /opt/more; echo works > /etc/works; sync");
        power_off(machine, guest, &stick);
    }
}
