//! What differs between two bundles is said, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use bundles::{Aspect, Bundle, Change, Difference, Figures, diff};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use crate::nasty;

fn compare(old: &Bundle, new: &Bundle) -> Vec<Change> {
    diff(old, new, Some(2), &mut |_| {}).unwrap()
}

fn changed(path: &str, aspects: &[Aspect]) -> Change {
    let aspects = aspects.iter().copied().collect::<BTreeSet<_>>();
    Change { path: path.into(), difference: Difference::Changed(aspects) }
}

#[test]
fn the_same_tree_in_other_words() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let bundle = |name: &str, arguments: &[&str]| {
        Bundle::open(&nasty::mksquashfs(&source, &dir.path().join(name), arguments)).unwrap()
    };
    let first = bundle("a.sb", &["-comp", "zstd"]);
    for arguments in [
        &["-comp", "zstd"][..],
        &["-comp", "zstd", "-Xcompression-level", "1"],
        &["-comp", "lz4"],
        &["-comp", "gzip", "-no-fragments", "-noD"],
        &["-comp", "xz", "-b", "4096"],
        &["-comp", "zstd", "-b", "1M", "-always-use-fragments"],
    ] {
        assert_eq!(compare(&first, &bundle("b.sb", arguments)), [], "{arguments:?}");
    }
}

/// A change to the source, and what should be said of it.
type Case = (&'static str, fn(&Path), &'static [Aspect]);

const CASES: &[Case] = &[
    ("noise", |path| fs::write(path, nasty::noise(300_000, 2)).unwrap(), &[Aspect::Content]),
    // The kernel takes the capabilities of a program that is written to.
    ("deep/4096", |path| fs::write(path, "shorter").unwrap(), &[Aspect::Content, Aspect::Xattrs]),
    // Of the same length, and its end is in a fragment.
    (
        "deep/131073",
        |path| fs::write(path, [nasty::noise(131_072, 131_073), b"x".to_vec()].concat()).unwrap(),
        &[Aspect::Content],
    ),
    ("deep/1", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap(), &[Aspect::Mode]),
    ("deep/4095", |path| chown(path, Some(5), None).unwrap(), &[Aspect::Owner]),
    ("deep/4097", |path| lsetxattr(path, "user.new", b"", XattrFlags::empty()).unwrap(), &[Aspect::Xattrs]),
    ("link outside", |path| replace(path, |path| symlink("/etc/group", path).unwrap()), &[Aspect::Target]),
    ("disk", |path| replace(path, device), &[Aspect::Device]),
    ("socket", |path| replace(path, |path| symlink("x", path).unwrap()), &[Aspect::Type, Aspect::Mode]),
];

fn replace(path: &Path, with: impl Fn(&Path)) {
    fs::remove_file(path).unwrap();
    with(path);
}

fn device(path: &Path) {
    mknodat(CWD, path, FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(7, 7)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).unwrap();
}

#[test]
fn each_change_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let bundle = |name: &str| {
        // All at one time, so that times differ only where they are meant to.
        let arguments = ["-comp", "zstd", "-all-time", "1000"];
        Bundle::open(&nasty::mksquashfs(&source, &dir.path().join(name), &arguments)).unwrap()
    };
    let old = bundle("a.sb");
    for (path, change, _) in CASES {
        change(&source.join(path));
    }
    fs::remove_file(source.join("link")).unwrap();
    fs::remove_dir_all(source.join("deep/er/and/deeper")).unwrap();
    fs::create_dir(source.join("new")).unwrap();
    fs::write(source.join("new/file"), "").unwrap();
    replace(&source.join("zz hard"), |path| {
        fs::copy(source.join("text"), path).unwrap();
    });
    lsetxattr(source.join("zz hard"), "user.large", &nasty::noise(2000, 5), XattrFlags::empty()).unwrap();
    lsetxattr(source.join("zz hard"), "user.empty", b"", XattrFlags::empty()).unwrap();

    let one = |path: &str, difference| Change { path: path.into(), difference };
    let mut expected: Vec<_> = CASES.iter().map(|(path, _, aspects)| changed(path, aspects)).collect();
    expected.extend([
        one("link", Difference::Removed),
        one("deep/er/and/deeper", Difference::Removed),
        one("deep/er/and/deeper/still", Difference::Removed),
        one("deep/er/and/deeper/still/empty", Difference::Removed),
        one("new", Difference::Added),
        one("new/file", Difference::Added),
    ]);
    expected.extend(["many/hard", "text", "zz hard"].map(|path| changed(path, &[Aspect::Links])));
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(compare(&old, &bundle("b.sb")), expected);
}

#[test]
fn times_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let bundle = |time: &str| {
        let arguments = ["-all-time", time];
        Bundle::open(&nasty::mksquashfs(&source, &dir.path().join(time), &arguments)).unwrap()
    };
    assert_eq!(compare(&bundle("5"), &bundle("6")), [changed("", &[Aspect::Mtime])]);
}

#[test]
fn figures() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let bundle =
        Bundle::open(&nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "zstd"])).unwrap();
    let figures = Figures::of(&bundle, 2).unwrap();
    assert_eq!((figures.directories, figures.symlinks, figures.fifos, figures.sockets), (8, 4, 1, 1));
    assert_eq!((figures.devices, figures.whiteouts, figures.hard_links), (2, 1, 3));
    assert_eq!(figures.files, 400 + 7 + 5 + 4 + 1);
    // Of the sparse file all blocks but the one with the island.
    assert_eq!(figures.holes, (3 << 20) + (9_000_001 - 131_072));
    assert_eq!(figures.with_xattrs, 5 + 3 + 60);
    assert!(figures.duplicates >= 1 && figures.duplicate_bytes >= 600_000, "{figures:?}");
    assert_eq!(figures.stored + figures.metadata, bundle.superblock().bytes_used);
    assert!(figures.ratio() > 10.0, "{figures:?}");
    let largest: Vec<&PathBuf> = figures.largest.iter().map(|(path, _)| path).collect();
    assert_eq!(largest, ["deep", "many"].iter().map(Path::new).collect::<Vec<_>>());
}
