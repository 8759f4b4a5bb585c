//! A whole bundle is whole, and of a damaged one all damage is found.

use std::fs;
use std::path::Path;

use bundles::{Bundle, Kind, StoredBlock, Verified, verify};

use crate::nasty;

fn examine(bundle: &Bundle) -> Verified {
    verify(bundle, Some(2), &mut |_| {})
}

fn content<'a>(bundle: &'a Bundle, path: &str) -> impl Iterator<Item = StoredBlock> + use<'a> {
    let tree = bundle.tree().unwrap();
    let Kind::File { content, .. } = tree.node(tree.find(Path::new(path)).unwrap()).kind else { panic!() };
    bundle.file(content).unwrap().blocks()
}

#[test]
fn what_mksquashfs_makes_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    for arguments in [
        &["-comp", "zstd"][..],
        &["-comp", "xz", "-b", "4096"],
        &["-comp", "lz4", "-b", "1M", "-always-use-fragments"],
        &["-comp", "gzip", "-no-fragments", "-noI", "-noX", "-no-exports"],
        &["-comp", "gzip", "-no-duplicates", "-no-xattrs"],
    ] {
        let bundle = Bundle::open(&nasty::mksquashfs(&source, &dir.path().join("x.sb"), arguments)).unwrap();
        let mut last = None;
        let verified = verify(&bundle, None, &mut |now| last = Some(now));
        assert_eq!(verified.findings, [], "{arguments:?}");
        assert!(verified.files > 400 && verified.blocks > 1 && verified.metadata_blocks > 5, "{verified:?}");
        let last = last.unwrap();
        assert_eq!(last.bytes, last.total_bytes);
    }
}

#[test]
fn all_damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "xz"]);
    let bundle = Bundle::open(&path).unwrap();
    let mut fragments = (0..bundle.superblock().fragments).map(|index| bundle.fragment(index).unwrap());
    let places = [
        content(&bundle, "text").nth(1).unwrap().start,
        content(&bundle, "text").nth(3).unwrap().start,
        fragments.find(StoredBlock::is_compressed).unwrap().start,
    ];
    let mut bytes = fs::read(&path).unwrap();
    for place in places {
        bytes[usize::try_from(place).unwrap() + 20] ^= 1;
    }
    fs::write(&path, bytes).unwrap();

    let verified = examine(&Bundle::open(&path).unwrap());
    let found: Vec<_> = verified.findings.iter().map(|finding| finding.offset.unwrap()).collect();
    let mut expected = places;
    expected.sort_unstable();
    assert_eq!(found, expected, "{verified:?}");
    // Whichever of the two files with the same blocks was looked at.
    let names: Vec<_> = verified.findings.iter().filter_map(|finding| finding.path.as_deref()).collect();
    assert_eq!(names.len(), 2);
    for name in names {
        assert!(name.ends_with("text") || name.ends_with("hard") || name.ends_with("zz hard"), "{name:?}");
    }
}

/// With metadata as they are, so that a byte is a field.
#[test]
fn fields_that_lie_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("directory")).unwrap();
    fs::write(source.join("aaa"), "alone").unwrap();
    fs::write(source.join("bbb"), nasty::noise(5000, 1)).unwrap();
    let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "gzip", "-noI", "-b", "4096"]);
    let whole = fs::read(&path).unwrap();
    let superblock = *Bundle::open(&path).unwrap().superblock();
    let at = |place: u64| usize::try_from(place).unwrap();
    let find = |needle: &[u8]| {
        let from = at(superblock.tables.inodes);
        from + whole[from..].windows(needle.len()).position(|window| window == needle).unwrap()
    };
    let number = |place: usize| u32::from_le_bytes(whole[place..place + 4].try_into().unwrap());
    // The short inode of a directory: type, mode 755 and what else all have in 16 bytes, start, links.
    let directory = find(&[1, 0, 0xed, 1]);
    let table: &[(&str, usize, u32, &str)] = &[
        ("links", directory + 20, 9, "it has 2 links, and says 9"),
        ("parent", directory + 28, 9, "it is in directory"),
        ("names in order", find(b"aaa"), u32::from_le_bytes(*b"zaa\0"), "not in order"),
        ("number of inodes", 4, 90, "inodes have names, where there should be 90"),
        (
            "place in the export table",
            {
                let list = at(superblock.tables.export);
                at(u64::from_le_bytes(whole[list..list + 8].try_into().unwrap())) + 2
            },
            0x1234,
            "export table has another place",
        ),
    ];
    for &(field, place, value, expected) in table {
        let mut bytes = whole.clone();
        // A name has three bytes, and what follows stays.
        let value = if field == "names in order" { value | number(place) & 0xff00_0000 } else { value };
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let findings = Bundle::open(&path).map(|bundle| examine(&bundle).findings).unwrap();
        assert!(findings.iter().any(|finding| finding.what.contains(expected)), "{field}: {findings:?}");
        let length = whole.len() as u64;
        assert!(findings.iter().all(|finding| finding.offset.is_some_and(|offset| offset < length)));
    }
}
