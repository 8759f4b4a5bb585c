//! The comparison sees every single thing that may be wrong with a bundle.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, XattrFlags, lremovexattr, lsetxattr, makedev, mknodat};

use compare::{Expected, differences};

mod compare;

/// A tree with one of each.
fn build(top: &Path) {
    fs::create_dir_all(top.join("dir/empty")).unwrap();
    fs::write(top.join("dir/file"), b"contents").unwrap();
    fs::hard_link(top.join("dir/file"), top.join("dir/link")).unwrap();
    fs::write(top.join("dir/other"), b"contents").unwrap();
    fs::write(top.join("zero"), b"").unwrap();
    symlink("dir/file", top.join("symlink")).unwrap();
    sparse(&top.join("sparse"), false);
    for (name, kind, device) in [
        ("null", rustix::fs::FileType::CharacterDevice, makedev(1, 3)),
        ("block", rustix::fs::FileType::BlockDevice, makedev(7, 300)),
        ("fifo", rustix::fs::FileType::Fifo, 0),
        ("socket", rustix::fs::FileType::Socket, 0),
    ] {
        node(&top.join(name), kind, device);
    }
    for (path, name, value) in [
        ("dir/file", "user.note", "a"),
        ("dir", "trusted.overlay.opaque", "y"),
        ("symlink", "trusted.note", "b"),
        ("zero", "security.note", ""),
    ] {
        lsetxattr(top.join(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    still(top);
}

/// Data, a hole of 128 KiB and more, data.
fn sparse(path: &Path, written: bool) {
    let mut file = File::create(path).unwrap();
    file.write_all(&[b'x'; 4096]).unwrap();
    if written {
        file.write_all(&[0; 300 << 10]).unwrap();
    }
    file.seek(SeekFrom::Start(304 << 10)).unwrap();
    file.write_all(&[b'x'; 5000]).unwrap();
}

fn node(path: &Path, kind: rustix::fs::FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

/// The same times everywhere.
fn still(top: &Path) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for entry in fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            still(&path);
        }
        touch(&path, now);
    }
    touch(top, now);
}

fn touch(path: &Path, time: SystemTime) {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let time = rustix::fs::Timespec { tv_sec: i64::try_from(seconds).unwrap(), tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A path of its own for the entry, made anew.
fn again(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    make(path);
}

type Change = fn(&Path);

/// What is done to the copy, and what is said of it.
const CHANGES: &[(Change, &[&str])] = &[
    (|_| (), &[]),
    (|t| fs::remove_file(t.join("null")).unwrap(), &["\"null\" is missing"]),
    (|t| fs::remove_dir(t.join("dir/empty")).unwrap(), &["\"dir/empty\" is missing"]),
    (|t| fs::write(t.join("more"), b"").unwrap(), &["\"more\" is not in the source"]),
    (
        |t| fs::rename(t.join("zero"), t.join("Zero")).unwrap(),
        &["\"Zero\" is not in the source", "\"zero\" is missing"],
    ),
    (
        |t| fs::write(t.join("dir/other"), b"contentS").unwrap(),
        &["\"dir/other\" has other contents from byte 7"],
    ),
    (|t| fs::write(t.join("dir/other"), b"content").unwrap(), &["\"dir/other\" has 7 bytes, not 8"]),
    (
        |t| fs::set_permissions(t.join("dir/other"), fs::Permissions::from_mode(0o4644)).unwrap(),
        &["\"dir/other\" has the mode 104644, not 100644"],
    ),
    (
        |t| fs::set_permissions(t, fs::Permissions::from_mode(0o1755)).unwrap(),
        &["\"\" has the mode 41755, not 40755"],
    ),
    (|t| chown(t.join("fifo"), Some(7), None).unwrap(), &["\"fifo\" has the owner 7, not 0"]),
    (|t| chown(t.join("socket"), None, Some(70_000)).unwrap(), &["\"socket\" has the group 70000, not 0"]),
    (
        |t| {
            again(&t.join("symlink"), |p| {
                symlink("dir/fil", p).unwrap();
                lsetxattr(p, "trusted.note", b"b", XattrFlags::empty()).unwrap();
            });
        },
        &["\"symlink\" points to \"dir/fil\", not \"dir/file\""],
    ),
    (
        |t| again(&t.join("fifo"), |p| node(p, rustix::fs::FileType::Socket, 0)),
        &["\"fifo\" is a socket, not a fifo"],
    ),
    (
        |t| again(&t.join("null"), |p| node(p, rustix::fs::FileType::CharacterDevice, makedev(1, 4))),
        &["\"null\" has the device number 104, not 103"],
    ),
    (
        |t| again(&t.join("block"), |p| node(p, rustix::fs::FileType::BlockDevice, makedev(7, 44))),
        &["\"block\" has the device number 72c, not 10072c"],
    ),
    (
        |t| {
            again(&t.join("dir/link"), |p| {
                fs::write(p, b"contents").unwrap();
                lsetxattr(p, "user.note", b"a", XattrFlags::empty()).unwrap();
            });
        },
        &[
            "\"dir/file\" is one of 1 names of \"dir/file\", not of 2 of \"dir/file\"",
            "\"dir/link\" is one of 1 names of \"dir/link\", not of 2 of \"dir/file\"",
        ],
    ),
    (
        // Every name has as many links as before, but of another file.
        |t| {
            fs::rename(t.join("dir/other"), t.join("x")).unwrap();
            again(&t.join("dir/link"), |p| fs::rename(t.join("x"), p).unwrap());
            fs::hard_link(t.join("dir/file"), t.join("dir/other")).unwrap();
            lsetxattr(t.join("dir/link"), "user.note", b"a", XattrFlags::empty()).unwrap();
            lremovexattr(t.join("dir/file"), "user.note").unwrap();
        },
        &[
            "\"dir/file\" lacks \"user.note\"",
            "\"dir/link\" is one of 1 names of \"dir/link\", not of 2 of \"dir/file\"",
            "\"dir/other\" is one of 2 names of \"dir/file\", not of 1 of \"dir/other\"",
        ],
    ),
    (
        |t| fs::hard_link(t.join("zero"), t.with_extension("outside")).unwrap(),
        &["\"zero\" has 2 links, but 1 names"],
    ),
    (
        |t| lremovexattr(t.join("dir"), "trusted.overlay.opaque").unwrap(),
        &["\"dir\" lacks \"trusted.overlay.opaque\""],
    ),
    (
        |t| lsetxattr(t.join("null"), "trusted.x", b"", XattrFlags::empty()).unwrap(),
        &["\"null\" has \"trusted.x\" in addition"],
    ),
    (
        |t| lsetxattr(t.join("zero"), "security.note", b"\0", XattrFlags::empty()).unwrap(),
        &["\"zero\" has another value of \"security.note\""],
    ),
    (
        |t| lsetxattr(t.join("symlink"), "trusted.note", b"c", XattrFlags::empty()).unwrap(),
        &["\"symlink\" has another value of \"trusted.note\""],
    ),
    (
        |t| again(&t.join("sparse"), |p| sparse(p, true)),
        // 5000 bytes at its end and 48 KiB before make a block of 128 KiB, and 4 KiB at its beginning another.
        &["\"sparse\" has 624 blocks, not 362 to 362"],
    ),
    // Data that programs would take for a hole.
    (|_| (), &["\"sparse\" has 24 blocks, not 362 to 362"]),
    (
        |t| again(&t.join("sparse"), |p| File::create(p).unwrap().set_len((304 << 10) + 5000).unwrap()),
        &["\"sparse\" has other contents from byte 0"],
    ),
];

#[test]
fn each_thing_that_differs_is_seen_and_nothing_else() {
    assert!(
        rustix::process::geteuid().is_root(),
        "making devices takes root: run this test as root (make unit does)"
    );
    for (number, (change, said)) in CHANGES.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let [source, copy] = ["source", "copy"].map(|name| dir.path().join(name));
        for top in [&source, &copy] {
            fs::create_dir(top).unwrap();
            build(top);
        }
        change(&copy);
        still(&copy);
        // The trees' own file system is no squashfs: only the file that is about blocks has as many as one would show.
        let blocks = said.iter().any(|what| what.ends_with("362 to 362"));
        let expected = Expected { holes: blocks.then_some(128 << 10), ..Expected::default() };
        let mut found = differences(&source, &copy, &expected);
        found.retain(|what| !blocks || what.contains("sparse"));
        assert_eq!(found, *said, "change {number}");
    }
}

#[test]
fn times_are_those_a_squashfs_has() {
    let dir = tempfile::tempdir().unwrap();
    let [source, copy] = ["source", "copy"].map(|name| dir.path().join(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&copy).unwrap();
    let set = |path: &Path, seconds| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
    };
    for (ours, theirs, same) in [
        (1_000_000_000, 1_000_000_000, true),
        (1_000_000_000, 1_000_000_001, false),
        (-1, 0, true),
        (-1, -1, false),
        ((1 << 32) + 5, (1 << 32) - 1, true),
        ((1 << 32) + 5, 5, false),
        (1 << 31, 1 << 31, true),
    ] {
        set(&source, ours);
        set(&copy, theirs);
        let found = differences(&source, &copy, &Expected::default());
        assert_eq!(found.is_empty(), same, "{ours} {theirs} {found:?}");
    }
}

#[test]
fn directories_of_a_file_system_that_counts_links() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a/b/c", "a/d", "e"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let expected = Expected { directories: true, ..Expected::default() };
    let found = differences(dir.path(), dir.path(), &expected);
    assert!(found.is_empty(), "{found:?}");
}
