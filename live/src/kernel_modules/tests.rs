use super::*;

const DEP: &str = "\
kernel/lib/crc16.ko:
kernel/lib/libcrc32c.ko.xz:
kernel/crypto/crc32c_generic.ko:
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/fs/mbcache.ko:
kernel/fs/jbd2/jbd2.ko:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko kernel/lib/crc16.ko
kernel/drivers/md/dm-mod.ko:
kernel/drivers/md/dm-crypt.ko: kernel/drivers/md/dm-mod.ko
kernel/drivers/usb/common/usb-common.ko:
kernel/drivers/usb/core/usbcore.ko: kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/xhci-hcd.ko: kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/xhci-pci.ko: kernel/drivers/usb/host/xhci-hcd.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/ehci-hcd.ko: kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/host/uhci-hcd.ko: kernel/drivers/usb/core/usbcore.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/scsi/scsi_common.ko:
kernel/drivers/scsi/scsi_mod.ko: kernel/drivers/scsi/scsi_common.ko
kernel/drivers/scsi/sr_mod.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/usb/storage/usb-storage.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/scsi/scsi_common.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/usb/storage/uas.ko: kernel/drivers/usb/storage/usb-storage.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/usb/core/usbcore.ko kernel/drivers/scsi/scsi_common.ko kernel/drivers/usb/common/usb-common.ko
kernel/drivers/ata/libata.ko: kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/ata_piix.ko: kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
kernel/drivers/ata/ata_generic.ko: kernel/drivers/ata/libata.ko kernel/drivers/scsi/scsi_mod.ko kernel/drivers/scsi/scsi_common.ko
";

const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias crypto-crc32c-intel crc32c_intel
alias crypto-crc32c crc32c_intel
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias crypto-crc32c crc32c_generic
alias fs-ext4 ext4
alias fs-ext3 ext4
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias pci:v00001912d00000014sv*sd*bc*sc*i* xhci_pci
alias pci:v*d*sv*sd*bc0Csc03i00* uhci_hcd
alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage
alias usb:v13FDp3940d0[0-2]*dc*dsc*dp*ic*isc*ip*in* uas
alias usb:v13FDp3940d0[0-2]*dc*dsc*dp*ic*isc*ip*in* usb_storage
alias scsi:t-0x05* sr_mod
alias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix
alias pci:v*d*sv*sd*bc01sc01i* ata_generic
alias dmi*:[bs]vnAcme Corp*:pn* acme
alias devname:mapper/control dm_mod
nonsense
";

const SOFTDEP: &str = "\
# Soft dependencies extracted from modules themselves.
softdep ext4 pre: crypto-crc32c
softdep jbd2 pre: crypto-crc32c
softdep cifs gcm
softdep uhci_hcd pre: ehci_hcd post: dm-crypt
softdep dm_crypt pre: uhci-hcd nosuch
softdep mbcache gcm
";

fn index() -> ModuleIndex {
    ModuleIndex::parse(
        DEP,
        ALIAS,
        SOFTDEP,
        "kernel/fs/fuse/fuse.ko\nkernel/drivers/pci/hotplug/acpiphp-ibm.ko\n",
    )
}

#[test]
fn aliases_find_modules() {
    let table: &[(&str, &[&str])] = &[
        ("fs-ext4", &["ext4"]),
        ("fs_ext3", &["ext4"]),
        ("fs-ext", &[]),
        ("fs-ext44", &[]),
        ("crypto-crc32c", &["crc32c_intel", "crc32c_generic"]),
        ("crc32c-intel", &["crc32c_intel"]),
        ("crc32c_intel", &["crc32c_intel"]),
        ("dm-mod", &["dm_mod"]),
        ("devname:mapper/control", &["dm_mod"]),
        ("scsi:t-0x05", &["sr_mod"]),
        ("scsi:t-0x00", &[]),
        ("pci:v00001912d00000014sv00000000sd00000000bc0Csc03i30", &["xhci_pci"]),
        ("pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30", &["xhci_pci"]),
        ("pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80", &["ata_piix", "ata_generic"]),
        ("usb:v13FDp3940d0114dc00dsc00dp00ic08isc06ip50in00", &["usb_storage", "uas"]),
        ("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00", &["usb_storage"]),
        ("cpu:type:x86,ven0000fam0006mod003A:feature:,0091,0094,", &["crc32c_intel"]),
        ("dmi:bvnAcme Corporation:pnX", &["acme"]),
        ("", &[]),
    ];
    let index = index();
    for (alias, expected) in table {
        assert_eq!(index.by_alias(alias), *expected, "{alias}");
    }
}

#[test]
fn load_orders() {
    let table: &[(&str, &[&str])] = &[
        ("crc16", &["crc16"]),
        ("ext4", &["crc32c-intel", "crc32c_generic", "crc16", "mbcache", "jbd2", "ext4"]),
        ("uas", &["usb-common", "scsi_common", "usbcore", "scsi_mod", "usb-storage", "uas"]),
        ("xhci_pci", &["usb-common", "usbcore", "xhci-hcd", "xhci-pci"]),
        // Soft dependencies in a circle, one of them unknown.
        ("dm-crypt", &["usb-common", "usbcore", "ehci-hcd", "uhci-hcd", "dm-mod", "dm-crypt"]),
        ("uhci_hcd", &["usb-common", "usbcore", "ehci-hcd", "uhci-hcd", "dm-mod", "dm-crypt"]),
        ("fuse", &[]),
        ("nosuch", &[]),
    ];
    let index = index();
    for (name, expected) in table {
        let order = index.load_order(name);
        let files: Vec<_> = order.iter().map(|p| p.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(files, *expected, "{name}");
    }
    assert_eq!(index.load_order("libcrc32c"), [Path::new("kernel/lib/libcrc32c.ko.xz")]);
}

#[test]
fn knows_what_there_is() {
    let index = index();
    assert!(index.is_builtin("fuse") && index.is_builtin("acpiphp-ibm") && index.is_builtin("acpiphp_ibm"));
    assert!(!index.is_builtin("ext4") && !index.contains("fuse"));
    assert!(index.contains("dm-mod") && index.contains("dm_mod") && index.contains("libcrc32c"));
    assert_eq!(index.names().count(), DEP.lines().count());
    assert_eq!(index.path("dm_mod"), Some(Path::new("kernel/drivers/md/dm-mod.ko")));
    assert_eq!(index.asked_for_by("ext4"), ["jbd2", "mbcache", "crc16", "crc32c_intel", "crc32c_generic"]);
}

#[test]
fn a_directory_needs_only_its_dependencies() {
    let dir = std::env::temp_dir().join(format!("module-index-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    assert_eq!(ModuleIndex::read(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
    fs::write(dir.join("modules.dep"), DEP).unwrap();
    let bare = ModuleIndex::read(&dir).unwrap();
    assert_eq!(bare.load_order("ext4").len(), 4);
    fs::write(dir.join("modules.alias"), ALIAS).unwrap();
    assert_eq!(ModuleIndex::read(&dir).unwrap().by_alias("fs-ext4"), ["ext4"]);
    fs::remove_dir_all(&dir).unwrap();
}
