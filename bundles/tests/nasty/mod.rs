//! A tree with everything a squashfs can have that a writer may get wrong.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat, utimensat,
};

/// Block sizes whose borders have files of their own.
pub const BLOCK_SIZES: [u32; 3] = [4 << 10, 128 << 10, 1 << 20];
/// Names in the largest directory: its index has several entries.
const MANY: usize = 5000;

/// Makes the tree at `top`, which is not there yet. Another name of one of its files is made beside it.
pub fn build(top: &Path) {
    fs::create_dir(top).unwrap();
    names(top);
    contents(&top.join("contents"));
    sparse(&top.join("sparse"));
    special(&top.join("special"));
    links(&top.join("links"));
    attributes(&top.join("attributes"));
    overlay(&top.join("overlay"));
    owners(&top.join("owners"));
    times(&top.join("times"));
    fs::set_permissions(top, Permissions::from_mode(0o1751)).unwrap();
    chown(top, Some(12), Some(34)).unwrap();
    attribute(top, "trusted.top", b"of the tree");
    touch(top, 1_234_567_890, 0);
}

/// Bytes that no compressor makes smaller, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that become smaller, the same for the same seed.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut line = seed;
    while bytes.len() < length {
        bytes.extend_from_slice(format!("line {line} of {seed}\n").as_bytes());
        line = line.wrapping_add(seed | 1);
    }
    bytes.truncate(length);
    bytes
}

fn folder(path: &Path) -> &Path {
    fs::create_dir_all(path).unwrap();
    path
}

fn names(top: &Path) {
    let odd = folder(&top.join("names")).to_owned();
    let long = [b'n'; 255];
    let euro = "\u{20ac}".repeat(85);
    let names: [&[u8]; 15] = [
        b"new\nline",
        b"\n",
        b" ",
        b"-rf",
        b"back\\slash",
        b"*?[!a]",
        b"...",
        b"\x01\x7f",
        b"bad\xff\xfeutf8",
        b"\xc0",
        b"\xc3\xa9t\xc3\xa9",
        b"x",
        b".wh.plain",
        &long,
        euro.as_bytes(),
    ];
    for name in names {
        fs::write(odd.join(OsStr::from_bytes(name)), name).unwrap();
        fs::create_dir(odd.join(OsStr::from_bytes(&[b"d", &name[..name.len().min(254)]].concat()))).unwrap();
    }
    let many = folder(&top.join("many")).to_owned();
    for number in 0..MANY {
        let file = many.join(format!("file {number}"));
        fs::write(file, number.to_le_bytes()).unwrap();
    }
    // Some 300 names of 255 bytes: longer than a metadata block.
    let long = folder(&top.join("long")).to_owned();
    for number in 0..300 {
        fs::create_dir(long.join(format!("{number:0255}"))).unwrap();
    }
    // Exactly as many as one directory header can have, and one more.
    for count in [256, 257] {
        let full = folder(&top.join(format!("full {count}"))).to_owned();
        for number in 0..count {
            File::create(full.join(number.to_string())).unwrap();
        }
    }
    let mut deep = top.join("deep");
    for level in 0..180 {
        deep.push(format!("level {level:03}"));
    }
    fs::write(folder(&deep).join("bottom"), b"found").unwrap();
}

fn contents(top: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder(top).join(name), bytes).unwrap();
    write("empty", b"");
    write("one", b"1");
    for block in BLOCK_SIZES.map(|size| size as usize) {
        for (name, length) in [("less", block - 1), ("block", block), ("more", block + 1)] {
            write(&format!("text {block} {name}"), &text(1, length));
            write(&format!("noise {block} {name}"), &noise(2, length));
            write(&format!("zeros {block} {name}"), &vec![0; length]);
        }
    }
    // Blocks that pay, do not pay, and are nothing, by turns.
    let mut mixed = Vec::new();
    for seed in 0..4 {
        mixed.extend(text(seed, 1 << 20));
        mixed.extend(noise(seed, 1 << 20));
        mixed.resize(mixed.len() + (1 << 20), 0);
    }
    write("mixed", &mixed);
    mixed.extend(b"and an end");
    write("mixed with an end", &mixed);
    // Twice, at their whole length, and nearly.
    let file = [noise(5, 1 << 20), text(5, 1 << 20), noise(6, 777)].concat();
    write("twice 1", &file);
    write("twice 2", &file);
    write("shorter", &file[..file.len() - 1]);
    write("a block of it", &file[..1 << 20]);
    write("other end", &[&file[..2 << 20], &noise(7, 777)].concat());
    write("other beginning", &[&noise(8, 128 << 10), &file[128 << 10..]].concat());
    for number in 0..200 {
        write(&format!("end {number}"), &text(number % 50, 100 + usize::try_from(number % 50).unwrap() * 37));
    }
}

fn sparse(top: &Path) {
    folder(top);
    let end = noise(9, 5000);
    let make = |name: &str, size, data: &[_]| with_holes(&top.join(name), size, data);
    make("nothing", 10 << 20, &[]);
    make("nothing and a bit", (10 << 20) + 1, &[]);
    make("less than a block", 3000, &[]);
    make("start", 5 << 20, &[(0, &end)]);
    make("middle", (5 << 20) + 77, &[(3 << 20, &end)]);
    make("end", (5 << 20) + 5000, &[(5 << 20, &end)]);
    make("only the last byte", (2 << 20) + 1, &[(2 << 20, b"x")]);
}

/// Makes a tree with what backhand does not read, or not in this time.
pub fn build_large(top: &Path) {
    fs::create_dir(top).unwrap();
    // Sizes and places of data that do not fit into 32 bits.
    let end = noise(9, 5000);
    let size = (4 << 30) + (3 << 20) + 77;
    with_holes(&top.join("huge"), size, &[(0, b"start"), ((4 << 30) - 2, b"over"), (size - 5000, &end)]);
    fs::write(top.join("small"), b"after it").unwrap();
    for length in [256, 4095] {
        symlink("l".repeat(length), top.join(format!("link {length}"))).unwrap();
    }
    // Four bytes each: their table is longer than a metadata block.
    for user in 200_000..202_100 {
        let path = top.join(user.to_string());
        File::create(&path).unwrap();
        chown(&path, Some(user), Some(user)).unwrap();
    }
}

fn with_holes(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in data {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

fn node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device)
        .unwrap_or_else(|e| panic!("cannot make {path:?}: {e}"));
}

/// Everything that is no file, no directory and no link, with and without attributes: squashfs has other inodes for these.
fn special(top: &Path) {
    folder(top);
    for extended in [false, true] {
        let nodes = [
            ("char", FileType::CharacterDevice, makedev(1, 3)),
            ("char, high minor", FileType::CharacterDevice, makedev(5, 1_048_575)),
            ("char, high major", FileType::CharacterDevice, makedev(4095, 256)),
            ("block", FileType::BlockDevice, makedev(8, 1)),
            ("block, high", FileType::BlockDevice, makedev(259, 300)),
            ("fifo", FileType::Fifo, 0),
            ("socket", FileType::Socket, 0),
        ];
        for (name, kind, device) in nodes {
            let path = top.join(format!("{name}{}", if extended { " with attributes" } else { "" }));
            node(&path, kind, device);
            if extended {
                attribute(&path, "trusted.special", name.as_bytes());
            }
        }
    }
    for mode in [0, 0o1777, 0o2755, 0o4755, 0o6711, 0o7777] {
        let path = top.join(format!("mode {mode:o}"));
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let path = folder(&top.join(format!("folder {mode:o}"))).to_owned();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    for (name, target) in [
        ("dangling", "nowhere/at all".into()),
        ("absolute", "/".into()),
        ("up", "../../..".into()),
        ("itself", "itself".into()),
        ("long", vec![b'l'; 255]),
        ("odd", b"new\nline \xff".to_vec()),
    ] as [(&str, Vec<u8>); 6]
    {
        symlink(OsStr::from_bytes(&target), top.join(name)).unwrap();
    }
}

fn links(top: &Path) {
    folder(&top.join("a/b"));
    folder(&top.join("z"));
    fs::write(top.join("a/file"), noise(10, 300_000)).unwrap();
    for name in ["a/again", "a/b/deeper", "z/later", "file"] {
        fs::hard_link(top.join("a/file"), top.join(name)).unwrap();
    }
    // The same contents, but another file.
    fs::write(top.join("a/copy"), noise(10, 300_000)).unwrap();
    fs::hard_link(top.join("a/copy"), top.join("z/copy")).unwrap();
    fs::write(top.join("small"), b"small").unwrap();
    fs::hard_link(top.join("small"), top.join("z/small")).unwrap();
    attribute(&top.join("small"), "user.linked", b"yes");
    symlink("small", top.join("symlink")).unwrap();
    fs::hard_link(top.join("symlink"), top.join("z/symlink")).unwrap();
    for (name, kind, device) in [
        ("char", FileType::CharacterDevice, makedev(1, 5)),
        ("block", FileType::BlockDevice, makedev(7, 0)),
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        node(&top.join(name), kind, device);
        fs::hard_link(top.join(name), top.join("z").join(name)).unwrap();
    }
    fs::write(top.join("name outside"), b"one name in the tree, two on the disk").unwrap();
    let outside = top.parent().unwrap().with_extension("outside");
    fs::hard_link(top.join("name outside"), outside).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("cannot set {name} of {path:?}: {e}"));
}

fn attributes(top: &Path) {
    folder(top);
    let file = |name: &str, attributes: &[(&str, &[u8])]| {
        let path = top.join(name);
        fs::write(&path, name).unwrap();
        for (name, value) in attributes {
            attribute(&path, name, value);
        }
    };
    // struct vfs_ns_cap_data of linux/capability.h, revision 2: cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file("capability", &[("security.capability", &capability)]);
    file("one of each", &[("user.a", b"1"), ("trusted.a", b"2"), ("security.a", b"3")]);
    file("empty value", &[("user.empty", b"")]);
    file("binary", &[("user.binary", &[0, 255, 0, 10])]);
    let large = noise(11, 3 << 10);
    // The same large value in several sets is stored once, each set with a word of its own.
    for number in 0..6 {
        file(&format!("large {number}"), &[("user.large", &large), ("user.number", &[number])]);
    }
    file("large alone", &[("trusted.large", &noise(12, 3 << 10))]);
    file("large under another name", &[("security.large", &large)]);
    for number in 0..100 {
        file(&format!("shared {number}"), &[("user.set", b"the same"), ("security.x", b"y")]);
    }
    // As many sets as do not fit into a metadata block of their table.
    for number in 0..700_u32 {
        file(&format!("own {number}"), &[("user.own", &number.to_le_bytes())]);
    }
    let long = format!("user.{}", "n".repeat(250));
    file("long name", &[(&long, b"of an attribute")]);
    let path = folder(&top.join("folder")).to_owned();
    attribute(&path, "user.folder", b"yes");
    symlink("target", top.join("symlink")).unwrap();
    attribute(&top.join("symlink"), "trusted.link", b"yes");
}

/// What the upper directory of an overlay has for what is gone.
fn overlay(top: &Path) {
    folder(&top.join("replaced"));
    node(&top.join("gone"), FileType::CharacterDevice, makedev(0, 0));
    fs::write(top.join("replaced/new"), b"").unwrap();
    attribute(&top.join("replaced"), "trusted.overlay.opaque", b"y");
    for name in ["also gone", "gone as well"] {
        fs::hard_link(top.join("gone"), top.join(name)).unwrap();
    }
}

fn owners(top: &Path) {
    folder(top);
    for (number, (user, group)) in
        [(1000, 1000), (65_535, 65_536), (70_000, 80_000), (4_294_967_294, 1), (0, 4_294_967_294)]
            .into_iter()
            .enumerate()
    {
        let path = top.join(number.to_string());
        fs::write(&path, b"").unwrap();
        chown(&path, Some(user), Some(group)).unwrap();
        let link = top.join(format!("link {number}"));
        symlink("nowhere", &link).unwrap();
        lchown(&link, Some(user), Some(group)).unwrap();
    }
}

fn touch(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn times(top: &Path) {
    folder(top);
    let table = [
        (0, 0),
        (1_000_000_000, 999_999_999),
        (-1, 500_000_000),
        (-2_000_000_000, 0),
        ((1 << 31) - 1, 0),
        (1 << 31, 1),
        ((1 << 32) - 1, 0),
        ((1 << 32) + 5, 0),
    ];
    for (seconds, nanoseconds) in table {
        let name = |kind: &str| -> PathBuf { top.join(format!("{kind} {seconds}")) };
        fs::write(name("file"), b"").unwrap();
        folder(&name("folder"));
        symlink("nowhere", name("link")).unwrap();
        for path in [name("file"), name("folder"), name("link")] {
            touch(&path, seconds, nanoseconds);
        }
    }
}
