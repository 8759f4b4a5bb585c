//! Directories with everything in them, and with what happens while they are read.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use super::*;
use crate::{Device, Kind, Node, NodeId};

fn keep(_: &Path, _: &Metadata) -> Wanted {
    Wanted::Keep
}

fn must_be_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "devices and trusted attributes take root: run this test as root (make unit does)"
    );
}

fn id(source: &Source, path: &str) -> NodeId {
    source.tree.find(Path::new(path)).unwrap_or_else(|| panic!("{path} is missing"))
}

fn node<'a>(source: &'a Source, path: &str) -> &'a Node {
    source.tree.node(id(source, path))
}

fn content(source: &Source, path: &str) -> ContentId {
    let Kind::File { content, .. } = node(source, path).kind else { panic!("{path} is no file") };
    content
}

fn names(source: &Source) -> Vec<String> {
    source.tree.walk().map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
}

fn read_all(source: &mut Source, path: &str) -> (Vec<u8>, FileState) {
    let content = content(source, path);
    let mut reader = source.contents.open(content).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let state = reader.finish().unwrap();
    (bytes, state)
}

#[test]
fn every_type_and_every_property() {
    must_be_root();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("d/e")).unwrap();
    fs::write(at("d/file"), "text").unwrap();
    fs::hard_link(at("d/file"), at("again")).unwrap();
    fs::set_permissions(at("again"), PermissionsExt::from_mode(0o4751)).unwrap();
    std::os::unix::fs::chown(at("again"), Some(70_000), Some(5)).unwrap();
    // Changing the owner takes the bit away.
    fs::set_permissions(at("again"), PermissionsExt::from_mode(0o4751)).unwrap();
    symlink("no/such \u{e4}", at("link")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("char", FileType::CharacterDevice, makedev(4, 64)),
        ("gone", FileType::CharacterDevice, 0),
        ("block", FileType::BlockDevice, makedev(259, 300)),
    ] {
        mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    let set = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(at(path), name, value, XattrFlags::empty()).unwrap_or_else(|e| panic!("{name}: {e}"));
    };
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let list = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x05\0\x05\0\0\0\x04\0\x05\0\xff\xff\xff\xff\
                 \x10\0\x05\0\xff\xff\xff\xff\x20\0\x01\0\xff\xff\xff\xff";
    set("d/file", "user.long", &[b'x'; 3000]);
    set("d/file", "security.capability", capability);
    set("d/file", "trusted.t", b"");
    set("d/file", "system.posix_acl_access", list);
    set("link", "trusted.on_link", b"l");
    set("d", "trusted.overlay.opaque", b"y");
    set("d", "trusted.overlay.origin", b"\0\xfb");
    set("d", "trusted.overlay.impure", b"y");
    File::open(at("d/e")).unwrap().set_modified(UNIX_EPOCH + Duration::new(1_234, 5)).unwrap();

    let mut source = directory(dir.path(), &mut keep).unwrap();
    assert_eq!(
        names(&source),
        ["again", "block", "char", "d", "d/e", "d/file", "fifo", "gone", "link", "socket"]
    );
    for (path, expected) in [
        ("block", Kind::BlockDevice(Device { major: 259, minor: 300 })),
        ("char", Kind::CharDevice(Device { major: 4, minor: 64 })),
        ("gone", Kind::CharDevice(Device::WHITEOUT)),
        ("fifo", Kind::Fifo),
        ("socket", Kind::Socket),
        ("link", Kind::Symlink("no/such \u{e4}".into())),
    ] {
        assert_eq!(node(&source, path).kind, expected, "{path}");
    }
    assert_eq!(id(&source, "again"), id(&source, "d/file"));
    let file = node(&source, "again");
    assert_eq!((file.mode, file.uid, file.gid), (0o4751, 70_000, 5));
    let attributes = |path: &str| -> Vec<(String, Vec<u8>)> {
        let xattrs = &node(&source, path).xattrs;
        xattrs.iter().map(|x| (x.name.to_str().unwrap().to_owned(), x.value.clone())).collect()
    };
    let acl = attributes("again").into_iter().find(|(name, _)| name == "system.posix_acl_access");
    assert!(acl.is_some_and(|(_, value)| value.len() == list.len()));
    let others: Vec<_> = attributes("again").into_iter().filter(|(n, _)| !n.starts_with("system.")).collect();
    let others: Vec<_> = others.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    assert_eq!(
        others,
        [("security.capability", &capability[..]), ("trusted.t", b""), ("user.long", &[b'x'; 3000])]
    );
    assert_eq!(attributes("link"), [("trusted.on_link".to_owned(), b"l".to_vec())]);
    // What the upper of an overlay notes for itself stays out.
    assert_eq!(attributes("d"), [("trusted.overlay.opaque".to_owned(), b"y".to_vec())]);
    assert_eq!(node(&source, "d/e").mtime, 1_234);
    assert_eq!(read_all(&mut source, "again"), (b"text".to_vec(), FileState::Unchanged));
    assert!(source.warnings.is_empty());
}

#[test]
fn an_upper_that_needs_its_lowers_is_refused() {
    must_be_root();
    for name in ["trusted.overlay.redirect", "trusted.overlay.metacopy"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        fs::create_dir(&path).unwrap();
        lsetxattr(&path, name, b"/old", XattrFlags::empty()).unwrap();
        let error = directory(dir.path(), &mut keep).unwrap_err().to_string();
        let expected = format!("cannot pack {}: it is the upper of an overlay", path.display());
        assert!(error.starts_with(&expected) && error.contains(name), "{error}");
        assert!(directory(dir.path(), &mut |_, _| Wanted::Skip).is_ok());
    }
}

#[test]
fn keep_skip_and_pass() {
    let dir = tempfile::tempdir().unwrap();
    for file in
        ["usr/bin/a", "usr/lib/firmware/x/y.fw", "usr/lib/libc", "srv/empty/deep/z", "var/log/l", "top"]
    {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"four").unwrap();
    }
    let mut asked = Vec::new();
    let source = directory(dir.path(), &mut |path, metadata| {
        asked.push(path.to_str().unwrap().to_owned());
        match path.to_str().unwrap() {
            p if p.starts_with("usr/lib/firmware") || p == "var" => Wanted::Keep,
            "var/log" => Wanted::Skip,
            _ if metadata.is_dir() => Wanted::Pass,
            _ => Wanted::Skip,
        }
    });
    let mut source = source.unwrap();
    let expected =
        ["usr", "usr/lib", "usr/lib/firmware", "usr/lib/firmware/x", "usr/lib/firmware/x/y.fw", "var"];
    assert_eq!(names(&source), expected);
    assert!(asked.contains(&"srv/empty/deep/z".to_owned()) && !asked.contains(&"var/log/l".to_owned()));
    assert_eq!(&asked[..3], ["srv", "srv/empty", "srv/empty/deep"]);
    assert_eq!(read_all(&mut source, "usr/lib/firmware/x/y.fw").0, b"four");
}

#[test]
fn a_link_whose_other_name_is_not_wanted_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), b"x").unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    let mut not_a = |path: &Path, _: &Metadata| {
        if path == Path::new("a") { Wanted::Skip } else { Wanted::Keep }
    };
    let mut source = directory(dir.path(), &mut not_a).unwrap();
    assert_eq!(read_all(&mut source, "b").0, b"x");
}

#[test]
fn a_missing_directory_is_named() {
    let error = directory(Path::new("/nonexistent"), &mut keep).unwrap_err();
    assert!(error.to_string().starts_with("cannot list /nonexistent: No such file"), "{error}");
    let error = directory(Path::new("/dev/null"), &mut keep).unwrap_err();
    assert!(error.to_string().starts_with("cannot list /dev/null: Not a directory"), "{error}");
}

/// What a reader gives, with its holes passed over: data as they are, zeros for holes.
fn stretches(reader: &mut dyn FileReader) -> Vec<(bool, u64)> {
    let mut stretches: Vec<(bool, u64)> = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let hole = reader.hole().unwrap();
        if hole > 0 {
            reader.skip(hole).unwrap();
            stretches.push((true, hole));
            continue;
        }
        match reader.read(&mut buffer).unwrap() as u64 {
            0 => return stretches,
            n => match stretches.last_mut() {
                Some((false, length)) => *length += n,
                _ => stretches.push((false, n)),
            },
        }
    }
}

#[test]
fn holes_are_not_read() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    file.write_all_at(&vec![2; 1 << 20], 5 << 30).unwrap();
    file.set_len(6 << 30).unwrap();
    drop(file);
    let mut source = directory(dir.path(), &mut keep).unwrap();
    let content = content(&source, "sparse");
    let mut reader = source.contents.open(content).unwrap();
    let expected = [(false, 4096), (true, (5 << 30) - 4096), (false, MIB), (true, (1 << 30) - MIB)];
    assert_eq!(stretches(&mut *reader), expected);
    assert_eq!(reader.finish().unwrap(), FileState::Unchanged);
    drop(reader);
    // Whoever does not ask for holes reads zeros.
    let mut reader = source.contents.open(content).unwrap();
    let mut buffer = vec![9; 8192];
    reader.read_exact(&mut buffer).unwrap();
    assert!(buffer[..4096].iter().all(|&b| b == 1) && buffer[4096..].iter().all(|&b| b == 0));
}

#[test]
fn what_happens_between_walk_and_reading() {
    type Change = fn(&Path);
    let rewrite: Change = |path| {
        let before = path.metadata().unwrap();
        let mut file = File::options().write(true).open(path).unwrap();
        file.write_all(b"EIGHT").unwrap();
        // Same size, same mtime: only the change time tells.
        file.set_modified(before.modified().unwrap()).unwrap();
        assert_eq!(before.mtime_nsec(), path.metadata().unwrap().mtime_nsec());
    };
    let table: &[(&str, Change, &str)] = &[
        ("nothing", |_| (), "eight by Unchanged"),
        ("rewritten", rewrite, "EIGHT by Changed"),
        ("grown", |path| append(path, b"+++"), "eight by+++ Changed"),
        ("shrunk", |path| File::options().write(true).open(path).unwrap().set_len(2).unwrap(), "ei Changed"),
        ("gone", |path| fs::remove_file(path).unwrap(), "vanished"),
        ("a link", |path| replace(path, |path| symlink("/etc/passwd", path).unwrap()), "vanished"),
        ("a pipe", |path| replace(path, pipe), "vanished"),
        ("a folder", |path| replace(path, |path| fs::create_dir(path).unwrap()), "vanished"),
        (
            "below a link",
            |path| {
                let folder = path.parent().unwrap();
                fs::rename(folder, folder.with_file_name("moved")).unwrap();
                symlink("moved", folder).unwrap();
            },
            "vanished",
        ),
    ];
    for (name, change, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder/file");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, b"eight by").unwrap();
        let mut source = directory(dir.path(), &mut keep).unwrap();
        // Long enough for the clock that files are stamped by.
        std::thread::sleep(Duration::from_millis(20));
        change(&path);
        let content = content(&source, "folder/file");
        let got = match source.contents.open(content) {
            Ok(mut reader) => {
                let mut text = String::new();
                reader.read_to_string(&mut text).unwrap();
                format!("{text} {:?}", reader.finish().unwrap())
            }
            Err(e) if e.is_vanished() => {
                assert!(e.to_string().contains("folder/file"), "{e}");
                "vanished".to_owned()
            }
            Err(e) => e.to_string(),
        };
        assert_eq!(got, *expected, "{name}");
    }
}

#[test]
fn a_file_that_changes_halfway() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![1; 100_000]).unwrap();
    let mut source = directory(dir.path(), &mut keep).unwrap();
    let content = content(&source, "file");
    let mut reader = source.contents.open(content).unwrap();
    let mut half = vec![0; 50_000];
    reader.read_exact(&mut half).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    append(&path, b"more");
    assert_eq!((reader.read_to_end(&mut half).unwrap(), half.len()), (50_000, 100_000));
    assert_eq!(reader.finish().unwrap(), FileState::Changed);
}

#[test]
fn what_vanishes_during_the_walk_is_not_in_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["a", "b"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("x"), b"").unwrap();
    }
    let mut wanted = |path: &Path, _: &Metadata| {
        match path.to_str().unwrap() {
            "a" => fs::remove_dir_all(dir.path().join("b")).unwrap(),
            "a/x" => fs::remove_file(dir.path().join("a/x")).unwrap(),
            _ => (),
        }
        Wanted::Keep
    };
    // The file is open already when it is asked for: it is found missing when it is read.
    let mut source = directory(dir.path(), &mut wanted).unwrap();
    assert_eq!(names(&source), ["a", "a/x"]);
    let content = content(&source, "a/x");
    assert!(source.contents.open(content).err().unwrap().is_vanished());
}

#[test]
fn names_are_bytes_in_the_order_of_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 5] = [b" ", b"A", b"a", b"\xc3\xa4", b"\xff\xfe"];
    for name in names {
        File::create(dir.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let mut asked = Vec::new();
    let source = directory(dir.path(), &mut |path, _| {
        asked.push(path.to_owned());
        Wanted::Keep
    });
    assert_eq!(asked, names.map(|name| PathBuf::from(OsStr::from_bytes(name))));
    assert_eq!(source.unwrap().tree.walk().map(|(path, _)| path).collect::<Vec<_>>(), asked);
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options().append(true).open(path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(bytes).unwrap();
}

fn replace(path: &Path, by: fn(&Path)) {
    fs::remove_file(path).unwrap();
    by(path);
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}
