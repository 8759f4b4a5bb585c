//! What cannot be booted says what and why, offers a shell, and neither panics nor restarts. There is no
//! guest to ask here: the user's screen, the serial port, is what is judged.

use tests::{Disk, Format, Kernel, Kit, Machine, Medium};

/// The lines between here and the offer of a shell, and proof that the shell works.
fn fails_with_a_shell(machine: &mut Machine) -> String {
    let said = machine.serial_shows("This is a rescue shell");
    machine.serial_shows("livekit# ");
    machine.types("echo shell-$((6*7)); ls /sys/class/block > /dev/null && echo has-tools\r");
    machine.serial_shows("shell-42");
    machine.serial_shows("has-tools");
    assert!(!said.contains("Kernel panic"), "{said}");
    said
}

#[test]
fn without_a_medium_all_that_was_looked_at_is_listed() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = Medium::empty().file("photos/1.jpg", "not a system").stick(Format::Fat32);
    let ext4 = Medium::empty().file("home/note", "not a system").stick(Format::Ext4);
    let vm = kit
        .direct()
        .append("wait=8")
        .usb("stick", &stick)
        .virtio("disk", &ext4)
        .virtio("blank", &Disk::blank(1 << 20));
    let mut machine = vm.start();
    let said = fails_with_a_shell(&mut machine);
    let line = said.lines().find(|line| line.contains("no medium with /livekit")).expect("what was missing");
    for seen in ["sda1 (", "vda1 (", "vdb (", "vfat", "ext4", &kit.id, "in 8 s"] {
        assert!(line.contains(seen), "{seen} is not in {line:?}");
    }
    assert!(said.contains("hint: "), "no hint");
    machine.quit();
    stick.is_clean();
    ext4.is_clean();
}

#[test]
fn without_any_disk_the_hint_is_about_drivers() {
    let kit = Kit::tiny(Kernel::V6_12);
    let mut machine = kit.direct().append("wait=3").start();
    let said = fails_with_a_shell(&mut machine);
    assert!(said.contains("no disk was seen"), "{said}");
    assert!(said.contains("hint: "), "no hint");
}

#[test]
fn a_torn_bundle_is_named_with_the_reason() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().torn("livekit/00-core.sb").stick(Format::Fat32);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let said = fails_with_a_shell(&mut machine);
    let line = said.lines().find(|line| line.contains("init: ") && line.contains("step layers"));
    let line = line.unwrap_or_else(|| panic!("the step is not named: {said}"));
    assert!(line.contains("00-core.sb"), "the bundle is not named: {line}");
    assert!(said.contains("torn") || said.contains("bytes") || said.contains("short"), "no reason: {said}");
    assert!(said.contains("hint: "), "no hint");
}

#[test]
fn a_file_that_is_no_bundle_is_named_with_the_reason() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().file("livekit/modules/20-page.sb", "<html>404</html>").stick(Format::Fat32);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let said = fails_with_a_shell(&mut machine);
    let line = said.lines().find(|line| line.contains("init: ") && line.contains("20-page.sb"));
    let line = line.unwrap_or_else(|| panic!("the bundle is not named: {said}"));
    assert!(line.contains("squashfs") || line.contains("bundle"), "no reason: {line}");
}

#[test]
fn a_medium_without_its_core_has_no_init() {
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium().bundle("livekit/00-core.sb.new", &[("etc/nothing", "")]);
    let stick = medium.renamed("livekit/00-core.sb.new", "livekit/00-core.sb").stick(Format::Ext4);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let said = fails_with_a_shell(&mut machine);
    assert!(said.contains("step handover") && said.contains("no init"), "{said}");
    assert!(said.contains("/sbin/init"), "what was looked for is not said: {said}");
    assert!(said.contains("hint: "), "no hint");
}

#[test]
fn an_init_that_is_missing_is_named() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("init=/usr/bin/no-such").cd(&kit.iso()).start();
    let said = fails_with_a_shell(&mut machine);
    assert!(said.contains("/usr/bin/no-such: No such file or directory"), "{said}");
    assert!(said.contains("hint: init="), "no hint");
}

#[test]
fn bundles_that_are_all_left_out_are_said() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("noload=*").cd(&kit.iso()).start();
    let said = fails_with_a_shell(&mut machine);
    assert!(said.contains("none of them to be loaded"), "{said}");
    assert!(said.contains("hint: noload="), "no hint");
}

#[test]
fn without_rescue_there_is_no_shell_and_no_restart() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("wait=2 rescue=off").start();
    let said = machine.serial_shows("The live system did not start (rescue=off)");
    assert!(said.contains("no medium with /livekit"), "{said}");
    machine.types("echo shell-$((6*7))\r");
    std::thread::sleep(std::time::Duration::from_secs(10));
    machine.still_runs();
    let log = machine.serial_log();
    assert!(!log.contains("shell-42") && !log.contains("Kernel panic"), "{log}");
}

#[test]
fn break_opens_a_shell_before_its_step_and_the_boot_goes_on_after_it() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Ext4);
    let mut machine = kit.direct().append("break=drivers,union").usb("stick", &stick).start();
    for (step, look, there) in [
        ("drivers", "/memory/data/livekit", "absent"),
        ("union", "/memory/bundles/00-core.sb/usr", "present"),
    ] {
        machine.serial_shows(&format!("break={step}"));
        machine.serial_shows("livekit# ");
        machine.types(&format!("if [ -e {look} ]; then echo pre''sent; else echo ab''sent; fi\r"));
        machine.serial_shows(there);
        machine.types("exit\r");
    }
    let mut guest = machine.guest();
    assert!(guest.exists("/sbin/init"));
}

#[test]
fn a_step_that_is_not_known_is_answered_with_those_that_are() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("break=mount wait=soon").cd(&kit.iso()).start();
    let report = machine.guest().report;
    assert!(report.logged("break=mount: no such step"), "{:#?}", report.log);
    assert!(report.logged("wait=soon"), "{:#?}", report.log);
}

#[test]
fn debug_says_every_step() {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = kit.direct().append("debug").cd(&kit.iso()).start();
    let guest = machine.guest();
    for step in ["ramfs", "drivers", "medium", "changes", "toram", "layers", "union", "finish", "handover"] {
        assert!(guest.report.logged(&format!("init: step {step}")), "{step}: {:#?}", guest.report.log);
    }
    // The rescue tools are kept with the saved ramfs.
    assert!(machine.serial_log().contains("init: step union"), "debug shows nothing on the console");
}
