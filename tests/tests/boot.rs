//! From power-on to the distribution's init, from every medium and firmware, on a root that is only busybox
//! and the probe.

use tests::{Disk, Firmware, Format, Guest, Kernel, Kit, Machine, Medium, Report, Vm};

const KERNELS: [Kernel; 2] = [Kernel::V6_1, Kernel::V6_12];
const FORMATS: [(Format, &str); 2] = [(Format::Fat32, "vfat"), (Format::Ext4, "ext4")];
const DATA: &str = "/run/initramfs/memory/data";

/// The mounts of a live system with these bundles whose medium has this kind of file system: these, and no
/// others but the union's covers.
fn expected_mounts<'a>(bundles: &'a [String], medium: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut mounts = vec![
        ("/", "overlay"),
        ("/dev", "devtmpfs"),
        ("/proc", "proc"),
        ("/run", "tmpfs"),
        ("/run/initramfs", "tmpfs"),
        ("/run/initramfs/memory/changes", "tmpfs"),
        (DATA, medium),
        ("/sys", "sysfs"),
    ];
    mounts.extend(bundles.iter().map(|place| (place.as_str(), "squashfs")));
    mounts.sort_unstable();
    mounts
}

/// Where the bundles of this kit's medium are mounted, with others added.
fn bundle_places(kit: &Kit, others: &[&str]) -> Vec<String> {
    let own = kit.bundles();
    let names = own.iter().map(String::as_str).chain(others.iter().copied());
    names.map(|name| format!("/run/initramfs/memory/bundles/{name}")).collect()
}

/// What is true of every live system: the whole set of mounts, read-only layers on loops that vanish with
/// their mounts, and writes that go to memory.
#[track_caller]
fn is_live(report: &Report, kit: &Kit, medium: &str, others: &[&str]) {
    let places = bundle_places(kit, others);
    let (covers, mounts): (Vec<_>, Vec<_>) =
        report.mounted().into_iter().partition(|(place, kind)| *kind == "overlay" && *place != "/");
    assert_eq!(mounts, expected_mounts(&places, medium));
    for cover in ["/etc", "/usr"].into_iter().chain(covers.iter().map(|(place, _)| *place)) {
        assert_eq!(report.mount(cover).source, format!("lk:{}:0", &cover[1..]));
    }
    assert_eq!(report.loops.len(), places.len(), "{:#?}", report.loops);
    for device in &report.loops {
        assert!(device.autoclear && device.read_only && !device.direct_io, "{device:?}");
    }
    for place in [DATA].into_iter().chain(places.iter().map(String::as_str)) {
        assert!(report.mount(place).super_options.contains(&"ro".into()), "{:?}", report.mount(place));
    }
    assert!(report.mount("/").super_options.contains(&"rw".into()), "{:?}", report.mount("/"));
    assert_eq!(report.pid, 1);
}

#[test]
fn boots_from_a_disc() {
    for kernel in KERNELS {
        let kit = Kit::tiny(kernel);
        let mut machine = kit.direct().cd(&kit.iso()).start();
        let mut guest = machine.guest();
        is_live(&guest.report, &kit, "iso9660", &[]);
        assert_eq!(guest.report.release, kernel.unpacked().release);
        guest.write("/usr/bin/new", "written in memory");
        assert_eq!(guest.read("/run/initramfs/memory/changes/upper/usr/bin/new"), "written in memory");
    }
}

#[test]
fn boots_from_a_stick_of_plain_files() {
    for kernel in KERNELS {
        let kit = Kit::tiny(kernel);
        for (format, kind) in FORMATS {
            let stick = kit.medium().stick(format);
            let mut machine = kit.direct().usb("stick", &stick).start();
            is_live(&machine.guest().report, &kit, kind, &[]);
            machine.quit();
            // Nobody has written to it: it is as clean as it was made.
            stick.is_clean();
        }
    }
}

#[test]
fn bios_boots_the_iso_as_a_disc() {
    boots_through_the_menu(Firmware::Bios, Vm::cd);
}

#[test]
fn bios_boots_the_iso_as_a_stick() {
    boots_through_the_menu(Firmware::Bios, |vm, iso| vm.usb("stick", iso));
}

#[test]
fn uefi_boots_the_iso_as_a_disc() {
    boots_through_the_menu(Firmware::Uefi, Vm::cd);
}

#[test]
fn uefi_boots_the_iso_as_a_stick() {
    boots_through_the_menu(Firmware::Uefi, |vm, iso| vm.usb("stick", iso));
}

#[test]
fn secure_boot_boots_the_iso_as_a_stick() {
    let (_machine, mut guest) = boots_through_the_menu(Firmware::SecureBoot, |vm, iso| vm.usb("stick", iso));
    // drivers/firmware/efi/libstub and arch/x86/kernel/setup.c: said when the firmware has vouched for the kernel.
    assert!(guest.run(&["/bin/busybox", "dmesg"]).contains("secureboot: Secure boot enabled"));
}

fn boots_through_the_menu(firmware: Firmware, plug: impl Fn(Vm, &Disk) -> Vm) -> (Machine, Guest) {
    let kit = Kit::tiny(Kernel::V6_1);
    let mut machine = plug(Vm::firmware(firmware), &kit.iso()).start();
    let guest = machine.guest();
    is_live(&guest.report, &kit, "iso9660", &[]);
    assert!(guest.report.cmdline.contains(&format!("livekit.id={}", kit.id)), "{}", guest.report.cmdline);
    (machine, guest)
}

#[test]
fn the_stick_of_this_build_is_taken_among_others() {
    let kit = Kit::tiny(Kernel::V6_1);
    let marker = format!("livekit/{}.id", kit.id);
    let other = kit.medium().renamed(&marker, "livekit/feedfacefeedface.id");
    let other = other.file("livekit/which", "another build");
    let [first, last] = [Format::Fat32, Format::Ext4].map(|format| other.stick(format));
    let ours = kit.medium().file("livekit/which", "this build").stick(Format::Ext4);
    let mut machine = kit.direct().virtio("first", &first).usb("stick", &ours).virtio("last", &last).start();
    let mut guest = machine.guest();
    assert_eq!(guest.read(&format!("{DATA}/livekit/which")), "this build");
    assert!(guest.report.logged("not vda1"), "{:#?}", guest.report.log);
    is_live(&guest.report, &kit, "ext4", &[]);
}

#[test]
fn a_stick_that_comes_twenty_seconds_late_is_taken() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Fat32);
    let mut machine = kit.direct().usb_later("stick", &stick).start();
    machine.serial_shows("waiting for the medium");
    std::thread::sleep(std::time::Duration::from_secs(20));
    machine.plug_in("stick");
    is_live(&machine.guest().report, &kit, "vfat", &[]);
}

#[test]
fn modules_come_by_themselves_and_optional_bundles_when_asked_for() {
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium();
    let medium = medium.bundle("livekit/modules/20-tool.sb", &[("opt/tool", "tool")]);
    let medium = medium.bundle("livekit/modules/30-game.sb", &[("opt/game", "game")]);
    let medium = medium.bundle("livekit/optional/40-book.sb", &[("opt/book", "book")]);
    let stick = medium.stick(Format::Ext4);
    for (append, loaded) in [
        ("quiet", &["20-tool.sb", "30-game.sb"][..]),
        ("load=tool", &["20-tool.sb"]),
        ("load=20-*,40-book", &["20-tool.sb", "40-book.sb"]),
        ("noload=tool,30-*", &[]),
    ] {
        let mut machine = kit.direct().append(append).usb("stick", &stick).start();
        let mut guest = machine.guest();
        is_live(&guest.report, &kit, "ext4", loaded);
        let files: Vec<_> = loaded.iter().map(|name| &name[3..name.len() - 3]).collect();
        let mut seen = if guest.exists("/opt") { guest.list("/opt") } else { Vec::new() };
        seen.sort_by_key(|name| files.iter().position(|file| file == name));
        assert_eq!(seen, files, "{append}");
    }
}

#[test]
fn bundles_with_higher_numbers_cover_those_with_lower_ones() {
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium();
    let medium = medium.bundle("livekit/modules/100-last.sb", &[("etc/a", "100")]);
    let medium = medium.bundle("livekit/modules/20-middle.sb", &[("etc/a", "20"), ("etc/b", "20")]);
    let medium =
        medium.bundle("livekit/modules/9-first.sb", &[("etc/a", "9"), ("etc/b", "9"), ("etc/c", "9")]);
    let stick = medium.stick(Format::Fat32);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let mut guest = machine.guest();
    let values = ["/etc/a", "/etc/b", "/etc/c"].map(|path| guest.read(path));
    assert_eq!(values, ["100", "20", "9"]);
}

#[test]
fn the_medium_is_taken_from_where_the_user_says() {
    let kit = Kit::tiny(Kernel::V6_1);
    let elsewhere = Medium::empty().tree("systems/rescue", &kit.medium().path("livekit"));
    let elsewhere = elsewhere.stick(Format::Ext4);
    let plain = kit.medium().stick(Format::Fat32);
    for (stick, from) in [
        (&elsewhere, "/systems/rescue".to_string()),
        (&elsewhere, "/dev/sda1/systems/rescue".into()),
        (&elsewhere, format!("UUID={}/systems/rescue", tests::media::EXT4_UUID)),
        (&plain, "/dev/sda1".into()),
        (&plain, format!("LABEL={}", tests::media::LABEL)),
        (&plain, format!("UUID={}", tests::media::FAT_UUID)),
    ] {
        let mut machine = kit.direct().append(&format!("from={from}")).usb("stick", stick).start();
        let kind = if std::ptr::eq(stick, &elsewhere) { "ext4" } else { "vfat" };
        let guest = machine.guest();
        is_live(&guest.report, &kit, kind, &[]);
        assert_eq!(guest.report.mount(DATA).source, "/dev/sda1", "from={from}");
    }
}

#[test]
fn boots_from_an_iso_file_on_a_disk() {
    let kit = Kit::tiny(Kernel::V6_1);
    let disk = Medium::empty().copy_of("images/live.iso", kit.iso().path()).stick(Format::Ext4);
    let mut machine = kit.direct().append("from=/images/live.iso").virtio("disk", &disk).start();
    let mut guest = machine.guest();
    assert_eq!(guest.report.mount(DATA).kind, "iso9660");
    let files: Vec<_> = guest.report.loops.iter().map(|device| device.backing_file.clone()).collect();
    assert!(files.iter().any(|file| file.ends_with("/images/live.iso")), "{files:?}");
    assert_eq!(guest.list("/run/initramfs/memory/bundles"), kit.bundles());
}

#[test]
fn rootcopy_is_copied_over_the_bundles() {
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium().file("livekit/rootcopy/etc/os-release", "NAME=Copied\n");
    let stick = medium.file("livekit/rootcopy/root/deep/note", "hello").stick(Format::Fat32);
    let mut machine = kit.direct().usb("stick", &stick).start();
    let mut guest = machine.guest();
    assert_eq!(guest.read("/etc/os-release"), "NAME=Copied\n");
    assert_eq!(guest.read("/root/deep/note"), "hello");
    is_live(&guest.report, &kit, "vfat", &[]);
}

#[test]
fn parameters_are_whole_words_with_quotes() {
    let kit = Kit::tiny(Kernel::V6_1);
    let bundle = kit.medium().bundle("livekit/optional/40 a book.sb", &[("opt/book", "book")]);
    let stick = bundle.stick(Format::Ext4);
    // None of these words is ours, though each has one of ours in it.
    let append = "load=\"40 a book\" nottoram xbreak=union title=\"toram debug\"";
    let mut machine = kit.direct().append(append).usb("stick", &stick).start();
    let mut guest = machine.guest();
    assert_eq!(guest.read("/opt/book"), "book");
    is_live(&guest.report, &kit, "ext4", &["40 a book.sb"]);
}

#[test]
fn init_may_be_another_program() {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick(Format::Fat32);
    let mut machine = kit.direct().append("init=/bin/sh").usb("stick", &stick).start();
    machine.serial_shows("init: starting /bin/sh");
    machine.types("echo started-$((6*7)); exec /sbin/init\n");
    machine.serial_shows("started-42");
    is_live(&machine.guest().report, &kit, "vfat", &[]);
}
