//! Archives made by the system's tar, by Python's and by hand.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use tar::{EntryType, Header};

use super::*;
use crate::source::directory;
use crate::source::view::{brief, run, view};
use crate::{Kind, Wanted};

fn options(directory: &Path) -> ArchiveOptions {
    ArchiveOptions { temporary: directory.to_owned(), any_order: false }
}

/// A directory with everything that archives have.
fn populate(root: &Path) {
    assert!(
        rustix::process::geteuid().is_root(),
        "devices and owners take root: run this test as root (make unit does)"
    );
    let at = |name: &str| root.join(name);
    let long = format!("{}/{}", "d".repeat(120), "e".repeat(200));
    fs::create_dir_all(at(&long)).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("empty file"), "").unwrap();
    fs::write(at("block"), [7; 512]).unwrap();
    fs::write(at(&format!("{long}/file")), "deep").unwrap();
    fs::hard_link(at(&format!("{long}/file")), at("link to it")).unwrap();
    symlink("../".repeat(60), at("far")).unwrap();
    symlink("empty", at("near \u{e4}\n")).unwrap();
    fs::write(at("large"), (0..3_000_000_u32).map(|n| (n / 7).to_le_bytes()[0]).collect::<Vec<_>>()).unwrap();
    fs::set_permissions(at("large"), PermissionsExt::from_mode(0o2755)).unwrap();
    fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o1777)).unwrap();
    chown(at("block"), Some(3_000_000_000), Some(2_097_152)).unwrap();
    mknodat(CWD, at("disk"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(259, 70_000))
        .unwrap();
    mknodat(CWD, at("gone"), FileType::CharacterDevice, Mode::from_raw_mode(0), 0).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let file = File::create(at("holes")).unwrap();
    for n in 0..40 {
        file.write_all_at(&[n + 1; 4096], u64::from(n) * 131_072 + 65_536).unwrap();
    }
    file.set_len(50 * 131_072).unwrap();
    let file = File::create(at("all hole")).unwrap();
    file.set_len(1 << 20).unwrap();
    file.set_modified(UNIX_EPOCH - Duration::from_millis(1_500)).unwrap();
    File::open(at("block")).unwrap().set_modified(UNIX_EPOCH + Duration::new(1 << 33, 999_999_999)).unwrap();
}

fn attributes(root: &Path) {
    let capability = b"\x01\0\0\x02\n\x20\n\n=\0\0\0\0\0\0\0\0\0\0\0";
    for (file, name, value) in [
        ("large", "security.capability", &capability[..]),
        ("large", "user.long", &[b'\n'; 3000]),
        ("empty", "trusted.overlay.opaque", b"y"),
        ("link to it", "user.a=%3D b", b""),
    ] {
        lsetxattr(root.join(file), name, value, XattrFlags::empty()).unwrap();
    }
}

#[test]
fn archives_are_what_they_were_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    populate(&root);
    let mut plain = view(&mut directory(&root, &mut |_, _| Wanted::Keep).unwrap());
    attributes(&root);
    let mut whole = view(&mut directory(&root, &mut |_, _| Wanted::Keep).unwrap());
    for seen in [&mut plain, &mut whole] {
        assert_eq!(seen[Path::new("all hole")].mtime, -2);
        assert_eq!(seen[Path::new("block")].mtime, 1 << 33);
    }
    for (arguments, expected) in [
        (&["--format=gnu", "-f", "a.tar"][..], &plain),
        (&["--format=gnu", "--sparse", "-f", "a.tar"], &plain),
        (&["--format=oldgnu", "--sparse", "-zf", "a.tar"], &plain),
        (&["--format=pax", "--xattrs", "--xattrs-include=*", "-f", "a.tar"], &whole),
        (&["--format=pax", "--xattrs", "--xattrs-include=*", "-zf", "a.tar.gz"], &whole),
        (&["--format=pax", "--xattrs", "--xattrs-include=*", "-Jf", "a.tar.xz"], &whole),
        (&["--format=pax", "--xattrs", "--xattrs-include=*", "--zstd", "-f", "a.tar.zst"], &whole),
        (&["--format=pax", "--sparse", "--sparse-version=0.0", "-f", "a.tar"], &plain),
        (&["--format=pax", "--sparse", "--sparse-version=0.1", "-f", "a.tar"], &plain),
        (&["--format=pax", "--sparse", "--sparse-version=1.0", "--zstd", "-f", "a.tar"], &plain),
    ] {
        let mut all = vec!["-c", "-C", "tree", "--hole-detection=seek"];
        all.extend_from_slice(arguments);
        all.push(".");
        run("tar", &all, dir.path());
        let path = dir.path().join(arguments[arguments.len() - 1]);
        let mut source = archive(&path, &options(dir.path())).unwrap();
        let packed = arguments.iter().any(|a| a.contains('z') && !a.contains("oldest") || *a == "-Jf");
        assert_eq!(source.contents.stored_order(), packed, "{arguments:?}");
        let got = view(&mut source);
        for (name, seen) in expected {
            assert!(
                got.get(name) == Some(seen),
                "{arguments:?} {}: {:?}",
                name.display(),
                got.get(name).map(|s| (
                    &s.what,
                    s.mode,
                    s.owner,
                    s.mtime,
                    &s.xattrs,
                    &s.same_as,
                    s.bytes.len()
                ))
            );
        }
        assert_eq!(got.len(), expected.len());
        assert!(source.warnings.is_empty(), "{:?}", source.warnings);
        fs::remove_file(path).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a file is left");
}

#[test]
fn holes_of_archives_are_known() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    let file = File::create(dir.path().join("tree/f")).unwrap();
    file.set_len(6 << 30).unwrap();
    file.write_all_at(b"x", 3 << 30).unwrap();
    drop(file);
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        run("tar", &["-c", "-C", "tree", "--format=pax", "-S", &version, "-f", "a.tar", "f"], dir.path());
        let mut source = archive(&dir.path().join("a.tar"), &options(dir.path())).unwrap();
        let Kind::File { size, content } = source.tree.node(source.tree.find(Path::new("f")).unwrap()).kind
        else {
            panic!("no file")
        };
        assert_eq!(size, 6 << 30);
        let mut reader = source.contents.open(content).unwrap();
        assert_eq!(reader.hole().unwrap(), 3 << 30);
        reader.skip(3 << 30).unwrap();
        let mut data = [0; 4096];
        reader.read_exact(&mut data).unwrap();
        assert_eq!((data[0], &data[1..]), (b'x', &[0; 4095][..]));
        assert_eq!(reader.hole().unwrap(), (3 << 30) - 4096);
    }
}

#[test]
fn archives_of_python() {
    let script = r"
import tarfile, io, sys
def add(t, name, data=b'', **more):
    i = tarfile.TarInfo(name); i.size = len(data); i.mode = 0o640; i.mtime = 1000.75
    for key, value in more.items(): setattr(i, key, value)
    t.addfile(i, io.BytesIO(data))
for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
    t = tarfile.open('%d.tar' % form, 'w', format=form)
    add(t, 'long/' + 'n' * 300, b'long')
    add(t, '/absolute', b'made relative')
    add(t, 'twice', b'first')
    add(t, 'twice', b'second')
    add(t, 'old', type=tarfile.LNKTYPE, linkname='./twice')
    add(t, 'twice', b'third')
    add(t, 'd/x', b'x')
    add(t, 'd', type=tarfile.DIRTYPE, uid=2**31 + 5, gid=1)
    add(t, 'usr/lib', type=tarfile.DIRTYPE)
    add(t, 'lib', type=tarfile.SYMTYPE, linkname='/usr/../usr/./lib')
    add(t, 'lib/through', b'over a link')
    add(t, 'again', type=tarfile.LNKTYPE, linkname='lib/through')
    add(t, 's', type=tarfile.SYMTYPE, linkname='l' * 200)
    add(t, 'cont', b'contiguous', type=tarfile.CONTTYPE)
    add(t, 'strange', b'x' * 700, type=b'Q')
    add(t, 'last', b'end')
    t.close()
";
    let dir = tempfile::tempdir().unwrap();
    run("python3", &["-c", script], dir.path());
    let expected = [
        "absolute: made relative".to_owned(),
        "again: over a link".to_owned(),
        "cont: contiguous".to_owned(),
        "d/".to_owned(),
        "d/x: x".to_owned(),
        "last: end".to_owned(),
        "lib: Symlink(\"/usr/../usr/./lib\")".to_owned(),
        "long/".to_owned(),
        format!("long/{}: long", "n".repeat(300)),
        "old: second".to_owned(),
        format!("s: Symlink({:?})", "l".repeat(200)),
        "twice: third".to_owned(),
        "usr/".to_owned(),
        "usr/lib/".to_owned(),
        "usr/lib/through: over a link".to_owned(),
    ];
    for form in ["1.tar", "2.tar"] {
        let mut source = archive(&dir.path().join(form), &options(dir.path())).unwrap();
        assert_eq!(brief(&mut source), expected, "{form}");
        let seen = view(&mut source);
        assert_eq!(seen[Path::new("d")].owner, (2_147_483_653, 1));
        assert_eq!((seen[Path::new("long")].mode, seen[Path::new("long")].mtime), (0o755, 1000));
        assert_eq!(seen[Path::new("usr/lib/through")].same_as, Path::new("again"));
        assert_eq!(source.warnings, ["1 entries of the unknown type 'Q' are left out"]);
    }
}

#[test]
fn headers_of_libarchive_and_star() {
    let script = r"
import tarfile, io
t = tarfile.open('a.tar', 'w', format=tarfile.PAX_FORMAT, pax_headers={'SCHILY.xattr.user.all': 'g', 'uid': '77'})
def add(name, **pax):
    i = tarfile.TarInfo(name); i.pax_headers = {k.replace('__', '.'): v for k, v in pax.items()}
    t.addfile(i)
add('a', LIBARCHIVE__xattr__user__l='AP8K', SCHILY__acl__access='user::rw-,user:x:r--:5,group::r--,mask::r--,other::---')
add('b', SCHILY__acl__access='user::rw-,group::r--,other::---', mtime='-3.25')
";
    let dir = tempfile::tempdir().unwrap();
    run("python3", &["-c", script], dir.path());
    let mut source = archive(&dir.path().join("a.tar"), &options(dir.path())).unwrap();
    let seen = view(&mut source);
    let xattrs: Vec<_> =
        seen[Path::new("a")].xattrs.iter().map(|x| (x.name.to_str().unwrap(), x.value.as_slice())).collect();
    assert_eq!(xattrs, [("user.all", &b"g"[..]), ("user.l", b"\0\xff\n")]);
    assert_eq!((seen[Path::new("b")].mtime, seen[Path::new("b")].owner), (-4, (77, 0)));
    let expected = [
        "access control lists of 1 files are not in the bundle: squashfs cannot store them",
        "the archive has no end mark: it may be cut off",
    ];
    // Python was not told to close it: its end mark is missing.
    assert_eq!(source.warnings, expected);
}

/// An archive by hand: type, name, link, content.
pub(in crate::source) fn tar(entries: &[(u8, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, link, content) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn failure(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    fs::write(&path, bytes).unwrap();
    let error = match archive(&path, &options(dir.path())) {
        Ok(mut source) => return format!("{:?}", brief(&mut source)),
        Err(error) => error.to_string(),
    };
    error.replace(&path.display().to_string(), "it")
}

#[test]
fn what_is_refused() {
    let record = |record: &str| {
        let length = (1..).find(|n: &usize| n.to_string().len() + record.len() + 2 == *n).unwrap();
        let text = format!("{length} {record}\n");
        tar(&[(b'x', "p", "", text.as_bytes()), (b'0', "f", "", b"")])
    };
    for (bytes, expected) in [
        (vec![], "[]"),
        (vec![1; 100], "cannot read it at byte 0 of what it unpacks to: it is cut off"),
        (vec![b'7'; 1024], "at byte 0 of what it unpacks to: it is no tar archive"),
        (
            tar(&[(b'0', "../x", "", b"")]),
            "at byte 0 of what it unpacks to: ../x: the name leads out of the archive",
        ),
        (
            tar(&[(b'0', "a", "", b""), (b'0', "b/../../x", "", b"")]),
            "at byte 512 of what it unpacks to: b/../../x: the",
        ),
        (tar(&[(b'1', "a", "b", b"")]), "a: a hard link to b, which is not there"),
        (tar(&[(b'1', "a", "../b", b"")]), "a: the name leads out of the archive"),
        (tar(&[(b'5', "b", "", b""), (b'1', "a", "b", b"")]), "a: a directory cannot have a second name"),
        (tar(&[(b'0', "b", "", b""), (b'0', "b/c", "", b"")]), "b/c: b is not a directory"),
        (tar(&[(b'2', "b", "b", b""), (b'0', "b/c", "", b"")]), "b/c: too many links on the way to it"),
        (
            tar(&[(b'2', "b", "../../c", b""), (b'0', "b/f", "", b"in")]),
            r#"["b: Symlink(\"../../c\")", "c/", "c/f: in"]"#,
        ),
        (tar(&[(b'1', "a", "a", b"")]), "[]"),
        (
            tar(&[(b'x', "p", "", b"9 a=b\n")]),
            "at byte 512 of what it unpacks to: an extended header that is none",
        ),
        (tar(&[(b'x', "p", "", b"6 a=b\n")]), "its end follows a header that announces a file"),
        (record("GNU.sparse.map=0,1"), "its map of a sparse file is out of order or beyond the file"),
        (record("GNU.sparse.map=0"), "odd number"),
        (record("GNU.sparse.map=0,x"), "its map of a sparse file is no map"),
        (record("size=99999999999999999999"), "size is not a number"),
        (record("size=9223372036854775807"), "a file of an absurd size"),
        (record("size=1000000"), "at byte 1536 of what it unpacks to: it is cut off"),
        (record("uid=4294967296"), "the uid 4294967296 is too large"),
    ] {
        let got = failure(&bytes);
        assert!(got.contains(expected), "{expected}: {got}");
    }
}

#[test]
fn archives_that_are_cut_off_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    for n in 0..8_u8 {
        let bytes: Vec<u8> = (0..4000_u32).map(|m| (m * m / 3).to_le_bytes()[0] ^ n).collect();
        fs::write(dir.path().join(format!("tree/{n}")), bytes).unwrap();
    }
    for (flag, packed) in [("--no-xattrs", false), ("-z", true), ("-J", true), ("--zstd", true)] {
        run("tar", &["-c", "--format=pax", flag, "-f", "a.tar", "tree"], dir.path());
        let bytes = fs::read(dir.path().join("a.tar")).unwrap();
        // The end mark and what fills up a record may be missing.
        let end = if packed { bytes.len() } else { bytes.len() - 10_240 };
        for length in (7..end).step_by(331) {
            let got = failure(&bytes[..length]);
            let boundary = !packed && got.starts_with('[');
            assert!(boundary && length % 512 == 0 || got.contains("at byte"), "{flag} {length}: {got}");
        }
        if packed {
            for at in (12..bytes.len()).step_by(97) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                // A header's name or time may be other without a trace; nothing else may pass, or crash.
                let got = failure(&damaged);
                assert!(got.contains("at byte") || at < 20 || flag != "-J", "{flag} {at}: {got}");
            }
        }
    }
}

/// Whatever the headers say, reading ends with an answer.
#[test]
fn headers_that_are_damaged() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    let file = File::create(dir.path().join("tree/holes")).unwrap();
    for n in 0..30 {
        file.write_all_at(b"x", n << 16).unwrap();
    }
    fs::write(dir.path().join("tree").join("n".repeat(150)), "text").unwrap();
    fs::hard_link(dir.path().join("tree/holes"), dir.path().join("tree/link")).unwrap();
    symlink("s".repeat(150), dir.path().join("tree/symlink")).unwrap();
    let path = dir.path().join("a.tar");
    let (mut whole, mut refused) = (0, 0);
    for form in ["gnu", "pax"] {
        let form = format!("--format={form}");
        run("tar", &["-c", "-S", "--hole-detection=seek", &form, "-f", "a.tar", "tree"], dir.path());
        let bytes = fs::read(&path).unwrap();
        let blocks = bytes.as_chunks::<512>().0;
        // Those of the data are all x and zeros.
        let told: Vec<_> =
            (0..blocks.len()).filter(|&n| blocks[n].iter().filter(|&&b| b != 0).count() > 2).collect();
        for (block, at) in told.iter().flat_map(|&block| (0..512).step_by(3).map(move |at| (block, at))) {
            let mut damaged = bytes.clone();
            let byte = &mut damaged[block * 512 + at];
            *byte = [b'7', 0xff, 0, b'1', byte.wrapping_add(1)][(block + at) % 5];
            // Half of the headers are made to look right.
            if at % 2 == 0 {
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(&damaged[block * 512..][..512]);
                header.set_cksum();
                damaged[block * 512..][..512].copy_from_slice(header.as_bytes());
            }
            fs::write(&path, &damaged).unwrap();
            let Ok(mut source) = archive(&path, &options(dir.path())) else {
                refused += 1;
                continue;
            };
            whole += 1;
            for (_, id) in source.tree.walk() {
                let Kind::File { content, .. } = source.tree.node(id).kind else { continue };
                let mut reader = source.contents.open(content).unwrap();
                // A file cut off in the middle is one that the headers say so of.
                let read = std::io::copy(&mut (&mut *reader).take(3 << 20), &mut std::io::sink());
                assert!(read.is_ok(), "{form} block {block} byte {at}: {read:?}");
                assert!(reader.hole().is_ok());
            }
        }
    }
    assert!(whole > 300 && refused > 300, "{whole} {refused}");
}

#[test]
fn what_an_overlay_notes_is_left_out_of_archives_too() {
    let script = r"
import tarfile
def make(name, **pax):
    t = tarfile.open(name, 'w', format=tarfile.PAX_FORMAT)
    i = tarfile.TarInfo('d'); i.type = tarfile.DIRTYPE
    i.pax_headers = {'SCHILY.xattr.trusted.overlay.' + k: v for k, v in pax.items()}
    t.addfile(i); t.close()
make('a.tar', opaque='y', origin='x', impure='y')
make('b.tar', redirect='/d')
";
    let dir = tempfile::tempdir().unwrap();
    run("python3", &["-c", script], dir.path());
    let mut source = archive(&dir.path().join("a.tar"), &options(dir.path())).unwrap();
    let seen = view(&mut source);
    let names: Vec<_> =
        seen[Path::new("d")].xattrs.iter().map(|xattr| xattr.name.to_str().unwrap()).collect();
    assert_eq!(names, ["trusted.overlay.opaque"]);
    let error = archive(&dir.path().join("b.tar"), &options(dir.path())).unwrap_err().to_string();
    assert!(error.contains("d/: it is the upper of an overlay"), "{error}");
}

#[test]
fn packed_archives_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    for n in 0..20 {
        fs::write(dir.path().join(format!("tree/{n:02}")), format!("{n}").repeat(5000)).unwrap();
    }
    run("tar", &["-czf", "a.tar.gz", "tree"], dir.path());
    let path = dir.path().join("a.tar.gz");
    for any_order in [true, false] {
        let options = ArchiveOptions { any_order, ..options(dir.path()) };
        let mut source = archive(&path, &options).unwrap();
        assert_eq!(source.contents.stored_order(), !any_order);
        let files: Vec<_> =
            source.tree.walk().filter(|(_, id)| !source.tree.node(*id).is_directory()).collect();
        for (path, id) in files.iter().rev() {
            let Kind::File { content, .. } = source.tree.node(*id).kind else { panic!("no file") };
            let mut text = String::new();
            // Whoever stops halfway does not disturb the next.
            source.contents.open(content).unwrap().read_exact(&mut [0; 100]).unwrap();
            source.contents.open(content).unwrap().read_to_string(&mut text).unwrap();
            let n: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(text, format!("{n}").repeat(5000));
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a file is left");
}

#[test]
fn an_archive_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tree/etc")).unwrap();
    fs::create_dir_all(dir.path().join("tree/usr")).unwrap();
    fs::write(dir.path().join("tree/usr/f"), "text").unwrap();
    let pipe = dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for flag in ["-z", "-J", "--zstd", "--no-xattrs"] {
        run("tar", &["-c", flag, "-f", "a", "tree"], dir.path());
        let bytes = fs::read(dir.path().join("a")).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || File::options().write(true).open(pipe).unwrap().write_all(&bytes).unwrap()
        });
        let mut source = archive(&pipe, &options(dir.path())).unwrap();
        writer.join().unwrap();
        assert!(!source.contents.stored_order());
        assert_eq!(brief(&mut source), ["etc/", "usr/", "usr/f: text"], "{flag}");
    }
}

#[test]
fn an_archive_that_changes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    fs::write(&path, tar(&[(b'0', "a", "", b"text"), (b'0', "b", "", b"more")])).unwrap();
    let mut source = archive(&path, &options(dir.path())).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let Kind::File { content, .. } = source.tree.node(source.tree.find(Path::new("a")).unwrap()).kind else {
        panic!("no file")
    };
    let mut reader = source.contents.open(content).unwrap();
    reader.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(reader.finish().unwrap(), crate::FileState::Changed);
    drop(reader);
    File::options().write(true).open(&path).unwrap().set_len(600).unwrap();
    let mut reader = source.contents.open(crate::ContentId(1)).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("a.tar at byte 1536: it is cut off"), "{error}");
}
