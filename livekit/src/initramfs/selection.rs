//! Which kernel modules go into the initramfs.

use std::collections::BTreeSet;
use std::str::FromStr;

use live::error::{Error, Result};
use live::kernel_modules::ModuleIndex;

/// The modules an initramfs is made with. Whatever they depend on comes along.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ModuleSet {
    /// What a medium may be on, on any machine: storage, its buses, filesystems, keyboards for the rescue shell.
    #[default]
    Most,
    /// Every module the kernel has.
    All,
    /// These, and what no live system can do without. A name with a slash is a directory: `drivers/ata`.
    List(Vec<String>),
}

impl FromStr for ModuleSet {
    type Err = std::convert::Infallible;

    /// `most`, `all`, or names separated by commas.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "most" => Self::Most,
            "all" => Self::All,
            list => Self::List(
                list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect(),
            ),
        })
    }
}

/// A live system is made of these.
const ALWAYS: &[&str] = &["loop", "squashfs", "overlay"];

/// Directories below `kernel/` taken whole; a name at the end may be the beginning of one.
const MOST_DIRECTORIES: &[&str] = &[
    "drivers/ata/",
    "drivers/scsi/",
    "drivers/message/fusion/",
    "drivers/nvme/host/",
    "drivers/mmc/",
    "drivers/ufs/",
    "drivers/virtio/virtio_pci",
    "drivers/virtio/virtio_mmio",
    "drivers/pci/controller/",
    // USB storage behind every kind of host controller.
    "drivers/usb/storage/",
    "drivers/usb/host/xhci",
    "drivers/usb/host/ehci",
    "drivers/usb/host/ohci",
    "drivers/usb/host/uhci",
    "drivers/usb/chipidea/",
    "drivers/usb/dwc2/",
    "drivers/usb/dwc3/",
    "drivers/usb/musb/",
    "drivers/usb/roles/",
    "drivers/usb/typec/tcpm/",
    // What turns controllers on: power, clocks, pins, card detection.
    "drivers/phy/",
    "drivers/clk/",
    "drivers/regulator/",
    "drivers/pinctrl/",
    "drivers/mfd/intel-lpss",
    "drivers/mfd/intel_soc_pmic",
    "drivers/mfd/axp20x",
    "drivers/misc/cardreader/",
    // Keyboards of laptops and tablets.
    "drivers/hid/i2c-hid/",
    "drivers/hid/surface-hid/",
];

/// Modules taken by name, wherever the kernel keeps them.
const MOST_NAMES: &[&str] = &[
    // Block devices of virtual machines, and FireWire disks.
    "virtio_blk",
    "xen_blkfront",
    "hv_vmbus",
    "mtip32xx",
    "firewire_ohci",
    "firewire_sbp2",
    // The controller behind tifm_sd, which nothing but its modalias asks for.
    "tifm_7xx1",
    // Filesystems.
    "isofs",
    "udf",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859_1",
    "nls_utf8",
    "exfat",
    "ext4",
    "ntfs3",
    "btrfs",
    "xfs",
    "f2fs",
    "erofs",
    // ext4, btrfs, f2fs and xfs ask for their checksums by name.
    "crc32c_generic",
    "crc32c_intel",
    "crc32_pclmul",
    "crc32_generic",
    "libcrc32c",
    // Device mapper, and the ciphers LUKS uses.
    "dm_mod",
    "dm_crypt",
    "aesni_intel",
    "aes_generic",
    "xts",
    "cbc",
    "ecb",
    "essiv",
    "sha256_generic",
    "sha512_generic",
    // Swap to compressed memory; older kernels take the compression from elsewhere.
    "zram",
    "lzo_rle",
    // Keyboards; virtual machines have their own.
    "usbhid",
    "hid_generic",
    "hid_apple",
    "hid_hyperv",
    "hyperv_keyboard",
    "atkbd",
    "i8042",
    "applespi",
    "virtio_input",
    "i2c_designware_platform",
    "i2c_designware_pci",
    "spi_pxa2xx_platform",
    "spi_pxa2xx_pci",
];

/// In the directories taken whole, but of no use to find a medium. A module that depends on one gets it all the same.
const LEFT_OUT: &[&str] = &[
    // Make this machine a target for others, or are for testing.
    "tcm_qla2xxx",
    "scsi_debug",
    "mmc_test",
    "ufshcd_dwc",
    "usb_storage_test",
    // Reach disks through a network that this initramfs does not set up: NVMe over fabrics, iSCSI, FCoE on network cards.
    "nvme_tcp",
    "nvme_rdma",
    "nvme_fc",
    "nvme_fabrics",
    "iscsi_tcp",
    "iscsi_boot_sysfs",
    "bnx2i",
    "bnx2fc",
    "cxgb3i",
    "cxgb4i",
    "libcxgbi",
    "qedi",
    "qedf",
    "be2iscsi",
    "csiostor",
    "fcoe",
    "libiscsi_tcp",
    // Not storage: serial ports and radios on SDIO.
    "sdio_uart",
];

/// The names of the modules of `set` and of all they depend on, soft dependencies included.
///
/// # Errors
/// A name or directory of a list that the kernel does not have.
pub(super) fn select(index: &ModuleIndex, set: &ModuleSet) -> Result<BTreeSet<String>> {
    let mut wanted: Vec<String> = ALWAYS.iter().map(|&n| n.to_owned()).collect();
    match set {
        ModuleSet::All => wanted.extend(index.names().map(str::to_owned)),
        ModuleSet::Most => {
            wanted.extend(MOST_NAMES.iter().map(|&n| n.to_owned()));
            let taken = MOST_DIRECTORIES.iter().flat_map(|d| below(index, d));
            wanted.extend(taken.filter(|n| !LEFT_OUT.contains(&n.as_str())));
        }
        ModuleSet::List(names) => {
            for name in names {
                wanted.extend(named(index, name)?);
            }
        }
    }
    Ok(with_dependencies(index, wanted))
}

/// What one word of a list stands for.
fn named(index: &ModuleIndex, word: &str) -> Result<Vec<String>> {
    let found = if word.contains('/') {
        below(index, &format!("{}/", word.trim_end_matches('/'))).collect()
    } else {
        index.by_alias(word)
    };
    if found.is_empty() && !index.is_builtin(word) {
        return Err(Error::new(format!("the kernel has no module {word}"))
            .hint("`--modules` takes most, all, or names as in /lib/modules, separated by commas"));
    }
    Ok(found)
}

/// The modules whose path below `kernel/` begins so.
fn below<'a>(index: &'a ModuleIndex, beginning: &str) -> impl Iterator<Item = String> + use<'a> {
    let beginning = format!("kernel/{beginning}");
    let matching = move |name: &&str| {
        index.path(name).is_some_and(|p| p.to_str().is_some_and(|p| p.starts_with(&beginning)))
    };
    index.names().filter(matching).map(str::to_owned)
}

fn with_dependencies(index: &ModuleIndex, mut wanted: Vec<String>) -> BTreeSet<String> {
    let mut selected = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if index.contains(&name) && !selected.contains(&name) {
            wanted.extend(index.asked_for_by(&name));
            selected.insert(name);
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> ModuleIndex {
        let dep = "\
kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libata.ko
kernel/drivers/ata/libata.ko:
kernel/drivers/block/loop.ko.xz:
kernel/drivers/gpu/drm/drm.ko:
kernel/drivers/scsi/scsi_debug.ko: kernel/drivers/scsi/scsi_mod.ko
kernel/drivers/scsi/scsi_mod.ko:
kernel/drivers/usb/host/xhci-pci.ko: kernel/drivers/usb/host/xhci-hcd.ko
kernel/drivers/usb/host/xhci-hcd.ko:
kernel/drivers/usb/host/sl811-hcd.ko:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/squashfs/squashfs.ko:
kernel/crypto/crc32c_generic.ko:
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/net/mine/mine.ko:
";
        let alias =
            "alias crypto-crc32c crc32c_generic\nalias crypto-crc32c crc32c_intel\nalias fs-ext4 ext4\n";
        ModuleIndex::parse(
            dep,
            alias,
            "softdep mine pre: crypto-crc32c\n",
            "kernel/fs/overlayfs/overlay.ko\n",
        )
    }

    #[test]
    fn sets_and_what_they_depend_on() {
        let table: &[(&str, &[&str])] = &[
            ("overlay", &["loop", "squashfs"]),
            ("", &["loop", "squashfs"]),
            ("ahci", &["ahci", "libata", "loop", "squashfs"]),
            ("drivers/ata/, fs-ext4", &["ahci", "ext4", "jbd2", "libata", "loop", "squashfs"]),
            ("drivers/ata", &["ahci", "libata", "loop", "squashfs"]),
            ("xhci-pci", &["loop", "squashfs", "xhci_hcd", "xhci_pci"]),
            ("mine", &["crc32c_generic", "crc32c_intel", "loop", "mine", "squashfs"]),
            (
                "most",
                &[
                    "ahci",
                    "crc32c_generic",
                    "crc32c_intel",
                    "ext4",
                    "jbd2",
                    "libata",
                    "loop",
                    "scsi_mod",
                    "squashfs",
                    "xhci_hcd",
                    "xhci_pci",
                ],
            ),
        ];
        for (text, expected) in table {
            let Ok(set) = text.parse::<ModuleSet>();
            let selected = select(&index(), &set).unwrap();
            assert_eq!(selected.iter().collect::<Vec<_>>(), *expected, "{text}");
        }
        assert_eq!(select(&index(), &ModuleSet::All).unwrap().len(), index().names().count());
    }

    #[test]
    fn unknown_names_are_refused() {
        for word in ["nosuch", "drivers/nosuch"] {
            let error = select(&index(), &ModuleSet::List(vec![word.to_owned()])).unwrap_err();
            assert_eq!(error.message(), format!("the kernel has no module {word}"));
            assert!(error.hint_text().unwrap().contains("--modules"));
        }
    }
}
