//! An image of what runs: built in the live system, booted in another machine.

use tests::{Disk, Ending, Firmware, Format, Kernel, Kit, Vm};

const DATA: &str = "/run/initramfs/memory/data";

#[test]
fn an_image_of_what_is_active_boots_and_has_the_changes() {
    let kit = Kit::tiny(Kernel::V6_1);
    let medium = kit.medium().bundle("livekit/optional/20-tool.sb", &[("usr/share/tool", "tool")]);
    let medium = medium.bundle("livekit/modules/30-gone.sb", &[("usr/share/gone", "gone")]);
    // Room for the image: what is removed before it is made.
    let medium = medium.file("livekit/rootcopy/etc/copied", "copied\n").file("room", &" ".repeat(64 << 20));
    let stick = medium.stick(Format::Ext4);
    let mut machine = kit.direct().memory(1024).patience(300).usb("stick", &stick).start();
    let mut guest = machine.guest();
    guest.run(&["/usr/bin/livekit", "activate", "tool", "--no-triggers"]);
    guest.run(&["/usr/bin/livekit", "deactivate", "gone", "--no-triggers"]);
    guest.write("/etc/changed", "by the user\n");
    guest.make_writable(DATA);
    guest.run(&["/bin/busybox", "rm", &format!("{DATA}/room")]);
    let image = format!("{DATA}/mine.iso");
    // The live system has no GRUB of its own: UEFI's is the medium's.
    let said = guest.try_run(&[
        "/usr/bin/livekit",
        "build-iso",
        "--from-running",
        "--changes",
        "--output",
        image.as_str(),
        "--text-menu",
        "--timeout",
        "0",
        "--append",
        "console=ttyS0 panic=-1",
    ]);
    assert_eq!(said.status, Some(0), "{said:#?}");
    assert!(said.stderr.contains("modules/91-tool.sb") && said.stderr.contains("UEFI alone"), "{said:#?}");
    guest.end(Ending::Poweroff);
    machine.powers_off();
    stick.is_clean();

    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let iso = folder.path().join("mine.iso");
    stick.copy_out("/mine.iso", &iso);
    let mut machine = Vm::firmware(Firmware::Uefi).cd(&Disk::image(&iso)).start();
    let mut guest = machine.guest();
    assert_eq!(guest.read("/usr/share/tool"), "tool");
    assert_eq!(guest.read("/etc/changed"), "by the user\n");
    assert_eq!(guest.read("/etc/copied"), "copied\n");
    assert!(!guest.exists("/usr/share/gone"), "a hidden bundle is in the image");
    assert_eq!(guest.report.mount(DATA).kind, "iso9660");
    assert!(!guest.report.cmdline.contains(&kit.id), "the new image has the id of the old one");
}
