//! Which file system a device holds, told by its first bytes.

/// How many bytes from a device's start [`identify`] looks at: up to the superblock of btrfs at 64 KiB.
pub const LOOK_AT: usize = (64 << 10) + 4096;

/// What a superblock says of its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The type's name, as mount(2) knows it where the kernel can mount it.
    pub fs_type: &'static str,
    /// The label, where the superblock has it. FAT keeps a second one in the root directory, which may differ;
    /// exFAT and NTFS keep theirs elsewhere.
    pub label: Option<String>,
    /// The UUID or serial number as blkid prints it.
    pub uuid: Option<String>,
}

/// One kind of file system: its name, a magic number and where that is, and how its name tags are read.
struct Kind {
    fs_type: &'static str,
    magic: &'static [(usize, &'static [u8])],
    label: Tag,
    uuid: Tag,
}

/// How a label or UUID is stored.
enum Tag {
    None,
    /// Text of so many bytes, padded with NUL or spaces.
    Text(usize, usize),
    /// 16 bytes, most significant first.
    Uuid(usize),
    /// FAT's and exFAT's 32 bit serial number.
    Serial32(usize),
    /// NTFS's 64 bit serial number.
    Serial64(usize),
    /// ISO 9660's volume date: 16 digits (ECMA-119 8.4.26.1).
    IsoDate(usize),
}

/// Order matters: FAT and NTFS boot sectors are only looked at after what overwrites them, and an image that is
/// an ISO 9660 and has a partition table is an ISO 9660.
const KINDS: [Kind; 16] = [
    // linux/iso_fs.h, ECMA-119 8.4: primary volume descriptor at sector 16.
    Kind {
        fs_type: "iso9660",
        magic: &[(0x8000, b"\x01CD001")],
        label: Tag::Text(0x8028, 32),
        uuid: Tag::IsoDate(0x833e),
    },
    // ECMA-167: volume structure descriptor.
    Kind { fs_type: "udf", magic: &[(0x8001, b"BEA01")], label: Tag::None, uuid: Tag::None },
    // fs/ext4/ext4.h `struct ext4_super_block` at 1024.
    Kind {
        fs_type: "ext4",
        magic: &[(0x438, b"\x53\xef")],
        label: Tag::Text(0x478, 16),
        uuid: Tag::Uuid(0x468),
    },
    // fs/xfs/libxfs/xfs_format.h `struct xfs_dsb`.
    Kind { fs_type: "xfs", magic: &[(0, b"XFSB")], label: Tag::Text(108, 12), uuid: Tag::Uuid(32) },
    // fs/btrfs/accessors.h `struct btrfs_super_block` at 64 KiB.
    Kind {
        fs_type: "btrfs",
        magic: &[(0x10040, b"_BHRfS_M")],
        label: Tag::Text(0x1012b, 256),
        uuid: Tag::Uuid(0x10020),
    },
    // linux/f2fs_fs.h `struct f2fs_super_block` at 1024; its label is UTF-16.
    Kind {
        fs_type: "f2fs",
        magic: &[(0x400, b"\x10\x20\xf5\xf2")],
        label: Tag::None,
        uuid: Tag::Uuid(0x46c),
    },
    // fs/erofs/erofs_fs.h `struct erofs_super_block` at 1024.
    Kind {
        fs_type: "erofs",
        magic: &[(0x400, b"\xe2\xe1\xf5\xe0")],
        label: Tag::Text(0x440, 16),
        uuid: Tag::Uuid(0x430),
    },
    // fs/squashfs/squashfs_fs.h.
    Kind { fs_type: "squashfs", magic: &[(0, b"hsqs")], label: Tag::None, uuid: Tag::None },
    // LUKS on-disk format, versions 1 and 2.
    Kind {
        fs_type: "LUKS1",
        magic: &[(0, b"LUKS\xba\xbe\0\x01")],
        label: Tag::None,
        uuid: Tag::Text(168, 40),
    },
    Kind {
        fs_type: "LUKS",
        magic: &[(0, b"LUKS\xba\xbe\0\x02")],
        label: Tag::Text(24, 48),
        uuid: Tag::Text(168, 40),
    },
    // include/linux/swap.h: the magic ends the first page.
    Kind {
        fs_type: "swap",
        magic: &[(4086, b"SWAPSPACE2")],
        label: Tag::Text(1052, 16),
        uuid: Tag::Uuid(1036),
    },
    // LVM2 label in the second sector.
    Kind { fs_type: "LVM2", magic: &[(0x200, b"LABELONE")], label: Tag::None, uuid: Tag::None },
    // fs/exfat/exfat_raw.h `struct boot_sector`.
    Kind {
        fs_type: "exfat",
        magic: &[(3, b"EXFAT   "), (510, b"\x55\xaa")],
        label: Tag::None,
        uuid: Tag::Serial32(100),
    },
    // fs/ntfs3/ntfs.h `struct NTFS_BOOT`.
    Kind {
        fs_type: "ntfs3",
        magic: &[(3, b"NTFS    "), (510, b"\x55\xaa")],
        label: Tag::None,
        uuid: Tag::Serial64(72),
    },
    // linux/msdos_fs.h `struct fat_boot_sector`, FAT32 and then FAT12 or FAT16.
    Kind {
        fs_type: "vfat",
        magic: &[(82, b"FAT32   "), (510, b"\x55\xaa")],
        label: Tag::Text(71, 11),
        uuid: Tag::Serial32(67),
    },
    Kind {
        fs_type: "vfat",
        magic: &[(54, b"FAT1"), (510, b"\x55\xaa")],
        label: Tag::Text(43, 11),
        uuid: Tag::Serial32(39),
    },
];

/// Says what `start`, the first bytes of a device, holds. `None`: nothing that is known.
pub fn identify(start: &[u8]) -> Option<Superblock> {
    let kind = KINDS
        .iter()
        .find(|kind| kind.magic.iter().all(|&(at, magic)| start.get(at..at + magic.len()) == Some(magic)))?;
    Some(Superblock { fs_type: kind.fs_type, label: kind.label.read(start), uuid: kind.uuid.read(start) })
}

impl Tag {
    fn read(&self, start: &[u8]) -> Option<String> {
        let text = match *self {
            Self::None => return None,
            Self::Text(at, length) => {
                let bytes = start.get(at..at + length)?;
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(length);
                let text = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
                // What mkfs.fat writes when there is none.
                if text == "NO NAME" { String::new() } else { text }
            }
            Self::Uuid(at) => {
                let bytes = start.get(at..at + 16)?;
                let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                let parts = [&digits[..4], &digits[4..6], &digits[6..8], &digits[8..10], &digits[10..]];
                parts.map(<[String]>::concat).join("-")
            }
            Self::Serial32(at) => {
                let b = start.get(at..at + 4)?;
                format!("{:02X}{:02X}-{:02X}{:02X}", b[3], b[2], b[1], b[0])
            }
            Self::Serial64(at) => start.get(at..at + 8)?.iter().rev().map(|b| format!("{b:02X}")).collect(),
            Self::IsoDate(at) => {
                let digits = std::str::from_utf8(start.get(at..at + 16)?).ok()?;
                // Not set: the creation date is 17 bytes before.
                let digits = if digits.starts_with("0000") {
                    std::str::from_utf8(start.get(at - 17..at - 1)?).ok()?
                } else {
                    digits
                };
                let part = |a: usize, b: usize| digits.get(a..b);
                let parts = [
                    part(0, 4)?,
                    part(4, 6)?,
                    part(6, 8)?,
                    part(8, 10)?,
                    part(10, 12)?,
                    part(12, 14)?,
                    part(14, 16)?,
                ];
                parts.join("-")
            }
        };
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut start = vec![0u8; LOOK_AT];
        for (at, bytes) in parts {
            start[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        start
    }

    #[test]
    fn file_systems_by_their_first_bytes() {
        let uuid: &[u8] = &[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];
        let uuid_text = Some("12345678-9abc-def0-0102-030405060708");
        let end: (usize, &[u8]) = (510, b"\x55\xaa");
        let table = [
            (
                with(&[(0x438, b"\x53\xef"), (0x468, uuid), (0x478, b"STICK\0")]),
                "ext4",
                Some("STICK"),
                uuid_text,
            ),
            (with(&[(0, b"XFSB"), (32, uuid)]), "xfs", None, uuid_text),
            (
                with(&[(0x10040, b"_BHRfS_M"), (0x10020, uuid), (0x1012b, b"b")]),
                "btrfs",
                Some("b"),
                uuid_text,
            ),
            (
                with(&[(82, b"FAT32   "), end, (71, b"LIVE       "), (67, &[0xcd, 0xab, 0x34, 0x12])]),
                "vfat",
                Some("LIVE"),
                Some("1234-ABCD"),
            ),
            (
                with(&[(54, b"FAT12   "), end, (43, b"NO NAME    "), (39, &[1, 2, 3, 4])]),
                "vfat",
                None,
                Some("0403-0201"),
            ),
            (
                with(&[(3, b"NTFS    "), end, (72, &[1, 2, 3, 4, 5, 6, 7, 8])]),
                "ntfs3",
                None,
                Some("0807060504030201"),
            ),
            (with(&[(3, b"EXFAT   "), end, (100, &[1, 2, 3, 4])]), "exfat", None, Some("0403-0201")),
            (with(&[(0, b"hsqs")]), "squashfs", None, None),
            (with(&[(4086, b"SWAPSPACE2")]), "swap", None, Some("00000000-0000-0000-0000-000000000000")),
        ];
        for (start, fs_type, label, uuid) in table {
            let found = identify(&start).unwrap();
            assert_eq!(
                (found.fs_type, found.label.as_deref(), found.uuid.as_deref()),
                (fs_type, label, uuid)
            );
        }
    }

    #[test]
    fn an_iso_with_a_partition_table_is_an_iso() {
        let start = with(&[
            (510, b"\x55\xaa"),
            (0x8000, b"\x01CD001"),
            (0x8028, b"LIVEKIT                         "),
            (0x833e, b"2026112109150000"),
        ]);
        let found = identify(&start).unwrap();
        assert_eq!((found.fs_type, found.label.as_deref()), ("iso9660", Some("LIVEKIT")));
        assert_eq!(found.uuid.as_deref(), Some("2026-11-21-09-15-00-00"));
    }

    #[test]
    fn anything_else_is_nothing() {
        assert_eq!(identify(&[]), None);
        assert_eq!(identify(&[0; 512]), None);
        assert_eq!(identify(&with(&[(510, b"\x55\xaa")])), None);
        assert_eq!(identify(&[0xff; LOOK_AT]), None);
    }

    /// The kinds whose mkfs is a program of every Debian.
    #[test]
    fn agrees_with_mkfs_ext4() {
        let file = std::env::temp_dir().join(format!("livekit-superblock-{}", std::process::id()));
        std::fs::write(&file, vec![0; 4 << 20]).unwrap();
        let made = std::process::Command::new("/sbin/mke2fs")
            .args(["-q", "-t", "ext4", "-L", "a label", "-U", "0f0e0d0c-0b0a-4908-8706-050403020100"])
            .arg(&file)
            .status()
            .expect("mke2fs (package e2fsprogs) is needed for this test");
        assert!(made.success());
        let found = identify(&std::fs::read(&file).unwrap()).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(found.fs_type, "ext4");
        assert_eq!(found.label.as_deref(), Some("a label"));
        assert_eq!(found.uuid.as_deref(), Some("0f0e0d0c-0b0a-4908-8706-050403020100"));
    }
}
