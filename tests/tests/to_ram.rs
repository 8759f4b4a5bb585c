//! `toram`: the system lives in memory and lets its medium go.

use tests::{Ending, Format, Kernel, Kit};

const DATA: &str = "/run/initramfs/memory/data";

#[test]
fn the_stick_may_be_pulled_out_while_the_system_works_on() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let kit = Kit::tiny(kernel);
        let medium = kit.medium().bundle("livekit/modules/20-tool.sb", &[("opt/tool", "tool\n")]);
        let stick =
            medium.bundle("livekit/optional/40-book.sb", &[("opt/book", "book\n")]).stick(Format::Fat32);
        let mut machine = kit.direct().append("toram").usb("stick", &stick).start();
        let mut guest = machine.guest();
        assert_eq!(guest.report.mount(DATA).kind, "tmpfs");
        assert!(guest.report.logged("the medium can be taken away"));
        let left: Vec<_> =
            guest.report.mounts.iter().filter(|mount| mount.source.starts_with("/dev/sd")).collect();
        assert!(left.is_empty(), "still mounted: {left:#?}");
        let mut files: Vec<_> =
            guest.report.loops.iter().map(|device| device.backing_file.as_str()).collect();
        files.retain(|file| file.contains("/toram/") || !file.contains("/memory/"));
        assert!(
            files.is_empty(),
            "bundles that are not where the medium's copy is: {:#?}",
            guest.report.loops
        );

        machine.pull_out("stick");
        guest.shell("echo 3 > /proc/sys/vm/drop_caches");
        assert_eq!(guest.read("/opt/tool"), "tool\n");
        let every = "find / /etc /opt /usr -xdev -type f -exec cat {} + | wc -c";
        let bytes: u64 = guest.shell(every).trim().parse().expect("a count");
        assert!(bytes > 10_000_000, "only {bytes} bytes could be read");
        let errors = "dmesg | grep -c 'SQUASHFS error\\|I/O error.*loop'";
        assert_eq!(guest.try_run(&["/bin/busybox", "sh", "-c", errors]).stdout.trim(), "0");

        guest.end(Ending::Poweroff);
        machine.powers_off();
        stick.is_clean();
    }
}

#[test]
fn only_what_is_loaded_is_copied() {
    let kit = Kit::tiny(Kernel::V6_1);
    let filler = "0123456789abcdef".repeat(1 << 10);
    let medium = kit.medium().bundle("livekit/modules/20-tool.sb", &[("opt/tool", &filler)]);
    let stick = medium.bundle("livekit/modules/30-game.sb", &[("opt/game", &filler)]).stick(Format::Ext4);
    let mut machine = kit.direct().append("toram noload=game").usb("stick", &stick).start();
    let mut guest = machine.guest();
    assert_eq!(guest.read("/opt/tool"), filler);
    assert!(!guest.exists("/opt/game"));
    let find = format!("find {DATA} -name '*.sb' | sed 's|.*/||' | sort");
    let copied = guest.shell(&find);
    assert!(copied.contains("20-tool.sb") && !copied.contains("30-game.sb"), "{copied}");
}

#[test]
fn with_too_little_memory_for_a_copy_the_medium_stays_in_use() {
    let kit = Kit::tiny(Kernel::V6_1);
    // Digits do not repeat: about half their size remains in the bundle.
    let digits = (0..6_000_000_u64).map(|i| format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let filler: String = digits.collect();
    let stick =
        kit.medium().bundle("livekit/modules/20-large.sb", &[("opt/large", &filler)]).stick(Format::Ext4);
    let mut machine = kit.direct().memory(192).append("toram").usb("stick", &stick).start();
    let guest = machine.guest();
    assert!(guest.report.logged("toram: the copy needs"), "{:#?}", guest.report.log);
    assert!(guest.report.logged("leave it in"), "{:#?}", guest.report.log);
    assert_eq!(guest.report.mount(DATA).source, "/dev/sda1");
    assert!(guest.report.mounts.iter().all(|mount| !mount.target.ends_with("/toram")), "a half copy is left");
}
