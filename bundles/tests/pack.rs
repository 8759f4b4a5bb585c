//! Bundles as an independent reader sees them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bundles::{
    Compression, Compressor, Error, PackOptions, Packed, Progress, Superblock, Wanted, pack, source,
};

/// A source with its bundle and what unsquashfs made of it.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir }
    }

    fn source(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join("source").join(name)
    }

    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.source(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("00-test.sb")
    }

    fn pack(&self, wanted: &mut dyn FnMut(&Path) -> Wanted, options: &PackOptions) -> Result<Packed, Error> {
        self.pack_watched(wanted, options, &mut |_| {})
    }

    fn pack_watched(
        &self,
        wanted: &mut dyn FnMut(&Path) -> Wanted,
        options: &PackOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Packed, Error> {
        let source = source::directory(&self.source(""), &mut |path, _| wanted(path))?;
        pack(source, &self.bundle(), options, progress)
    }

    fn pack_all(&self) -> Packed {
        self.pack(&mut |_| Wanted::Keep, &PackOptions::default()).unwrap()
    }

    /// Unpacks the bundle with a program of others.
    fn unpacked(&self) -> PathBuf {
        let path = self.dir.path().join("unpacked");
        let _ = fs::remove_dir_all(&path);
        run(
            "unsquashfs",
            &["-no-progress".as_ref(), "-d".as_ref(), path.as_os_str(), self.bundle().as_os_str()],
        );
        path
    }
}

fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every path below a directory.
fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(root).unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

/// A test that could not look is no test that passed.
fn needs_root(what: &str) {
    assert!(
        rustix::process::geteuid().is_root(),
        "{what} takes root: run this test as root (make unit does)"
    );
}

/// Names that mean something to shells and to lists of patterns.
const AWKWARD: &[&[u8]] = &[
    b"with space",
    b" leading",
    b"trailing ",
    b"new\nline",
    b"\n",
    b"new\tline",
    b"back\\slash",
    b"\\",
    b"-dash",
    b"--",
    b"#hash",
    b"\\#hash",
    b"!bang",
    b"!(bang)",
    b"... dots",
    b"star*",
    b"quest?",
    b"[set]",
    b"[!set]",
    b"@(a|b)",
    b"+(a)",
    b"brace{a,b}",
    b".hidden",
    b"'quote'",
    b"\"double\"",
    b"$HOME",
    b"\xc3\xa9t\xc3\xa9",
    b"bad\xff\xfeutf8",
    b"tilde~",
    b"semi;colon",
    b"percent%s",
    b"\r",
    b"\x01\x7f",
];

#[test]
fn awkward_names_are_kept() {
    let scene = Scene::new();
    for name in AWKWARD {
        scene.write(OsStr::from_bytes(name), name);
    }
    assert_eq!(scene.pack_all().files, AWKWARD.len() as u64);
    assert_eq!(paths(&scene.unpacked()), paths(&scene.source("")));
}

#[test]
fn awkward_names_are_left_out_and_nothing_else_is() {
    for below in ["", "dir ectory/"] {
        let scene = Scene::new();
        let path = |name: &[u8]| PathBuf::from(below).join(OsStr::from_bytes(name));
        for name in AWKWARD {
            scene.write(path(name), name);
        }
        // What a pattern that is not literal would take along.
        let bystanders: [&[u8]; 12] = [
            b"newXline",
            b"starX",
            b"star",
            b"questX",
            b"s",
            b"e",
            b"x",
            b"a",
            b"aa",
            b"bang",
            b"hash",
            b"leading",
        ];
        for name in bystanders {
            scene.write(path(name), name);
        }
        let awkward: BTreeSet<PathBuf> = AWKWARD.iter().map(|n| path(n)).collect();
        let wanted = &mut |p: &Path| if awkward.contains(p) { Wanted::Skip } else { Wanted::Keep };
        let packed = scene.pack(wanted, &PackOptions::default()).unwrap();
        assert_eq!((packed.files, packed.warnings.len()), (12, 0), "{:?}", packed.warnings);
        let expected: BTreeSet<_> = paths(&scene.source("")).difference(&awkward).cloned().collect();
        assert_eq!(paths(&scene.unpacked()), expected);
    }
}

#[test]
fn each_awkward_name_alone() {
    // With one name left out at a time, its pattern must not reach any of the others.
    let scene = Scene::new();
    for name in AWKWARD {
        scene.write(OsStr::from_bytes(name), name);
    }
    let all = paths(&scene.source(""));
    for name in AWKWARD {
        let name = Path::new(OsStr::from_bytes(name));
        let wanted = &mut |p: &Path| if p == name { Wanted::Skip } else { Wanted::Keep };
        scene.pack(wanted, &PackOptions { processors: Some(1), ..PackOptions::default() }).unwrap();
        let missing: Vec<_> = all.difference(&paths(&scene.unpacked())).cloned().collect();
        assert_eq!(missing, [name]);
    }
}

#[test]
fn hard_links_stay_links_and_are_left_out_one_by_one() {
    let scene = Scene::new();
    let first = scene.write("a/first", b"shared");
    for name in ["a/second", "third", "left out"] {
        fs::hard_link(&first, scene.source(name)).unwrap();
    }
    let wanted = &mut |p: &Path| if p == Path::new("left out") { Wanted::Skip } else { Wanted::Keep };
    scene.pack(wanted, &PackOptions::default()).unwrap();
    let unpacked = scene.unpacked();
    let inodes: BTreeSet<u64> = ["a/first", "a/second", "third"]
        .iter()
        .map(|n| fs::metadata(unpacked.join(n)).unwrap().ino())
        .collect();
    assert_eq!(inodes.len(), 1);
    assert!(!unpacked.join("left out").exists());
}

#[test]
fn modes_links_times_and_empty_directories() {
    let scene = Scene::new();
    let file = scene.write("file", b"x");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(&file).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    fs::create_dir(scene.source("empty")).unwrap();
    symlink("nowhere/at all", scene.source("link")).unwrap();
    assert_eq!(scene.pack_all().files, 2);
    let unpacked = scene.unpacked();
    let metadata = fs::metadata(unpacked.join("file")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o4751, 1_000_000_000));
    assert!(unpacked.join("empty").is_dir());
    assert_eq!(fs::read_link(unpacked.join("link")).unwrap(), Path::new("nowhere/at all"));
}

#[test]
fn devices_and_owners() {
    needs_root("making devices and owners");
    let scene = Scene::new();
    let file = scene.write("owned", b"x");
    std::os::unix::fs::chown(&file, Some(1234), Some(70_000)).unwrap();
    let fifo = scene.source("fifo");
    run("mkfifo", &[fifo.as_os_str()]);
    run("mknod", &[scene.source("null").as_os_str(), "c".as_ref(), "1".as_ref(), "3".as_ref()]);
    assert_eq!(scene.pack_all().files, 3);
    let listing = run("unsquashfs", &["-lln".as_ref(), scene.bundle().as_os_str()]);
    let line = |name: &str| -> Vec<&str> {
        let line =
            listing.lines().find(|l| l.ends_with(name)).unwrap_or_else(|| panic!("{name} in {listing}"));
        line.split_whitespace().collect()
    };
    assert_eq!(line("/owned")[..3], ["-rw-r--r--", "1234/70000", "1"]);
    assert_eq!(line("/fifo")[0], "prw-r--r--");
    assert_eq!(line("/null")[0], "crw-r--r--");
    assert_eq!(line("/null")[2..4], ["1,", "3"]);
}

#[test]
fn extended_attributes_stay_and_lost_lists_are_counted() {
    needs_root("setting security attributes");
    let scene = Scene::new();
    let ping = scene.write("ping", b"x");
    for (name, value) in [
        ("user.note", "hello"),
        ("security.capability", "0sAQAAAgAgAAAAAAAAAAAAAAAAAAA="),
        ("trusted.t", "v"),
    ] {
        let words = ["-n", name, "-v", value].map(OsStr::new);
        run("setfattr", &[&words[..], &[ping.as_os_str()]].concat());
    }
    let journal = scene.source("journal");
    fs::create_dir(&journal).unwrap();
    run("setfacl", &["-m".as_ref(), "g:4:rx,d:g:4:rx".as_ref(), journal.as_os_str()]);
    let packed = scene.pack_all();
    assert_eq!(
        packed.warnings,
        ["the access control lists of 1 file are not in the bundle: squashfs cannot store them"]
    );
    let unpacked = scene.unpacked();
    let found =
        run("getfattr", &["-d".as_ref(), "-m".as_ref(), "-".as_ref(), unpacked.join("ping").as_os_str()]);
    for expected in
        ["user.note=\"hello\"", "security.capability=0sAQAAAgAgAAAAAAAAAAAAAAAAAAA=", "trusted.t=\"v\""]
    {
        assert!(found.contains(expected), "{expected} in {found}");
    }
}

#[test]
fn the_same_bytes_with_an_epoch() {
    let scene = Scene::new();
    for i in 0..200_u32 {
        scene.write(format!("d{}/f{i}", i % 7), &i.to_le_bytes().repeat(i as usize * 50));
    }
    let options = PackOptions { epoch: Some(1_500_000_000), ..PackOptions::default() };
    let once = |processors| {
        scene.pack(&mut |_| Wanted::Keep, &PackOptions { processors, ..options.clone() }).unwrap();
        fs::read(scene.bundle()).unwrap()
    };
    let first = once(None);
    // Files made anew have other times, all later than the epoch.
    scene.write("d1/f1", &1_u32.to_le_bytes().repeat(50));
    assert!(first == once(Some(1)), "differs");
    assert_eq!(Superblock::parse(&first).unwrap().made, 1_500_000_000);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(scene.source("d2/f2")).unwrap().set_modified(old).unwrap();
    once(None);
    let unpacked = scene.unpacked();
    assert_eq!(fs::metadata(unpacked.join("d2/f2")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::metadata(unpacked.join("d1/f1")).unwrap().mtime(), 1_500_000_000);
}

#[test]
fn compressors_and_block_sizes() {
    let scene = Scene::new();
    scene.write("data", &vec![b'x'; 3 << 20]);
    for (compressor, block_size) in [
        (Compressor::default(), 128 << 10),
        (Compressor::Zstd { level: 3 }, 1 << 20),
        (Compressor::Xz, 1 << 20),
        (Compressor::Gzip, 4096),
        (Compressor::Lz4, 64 << 10),
    ] {
        let options = PackOptions { compressor, block_size, ..PackOptions::default() };
        let mut last = None;
        let packed = scene.pack_watched(&mut |_| Wanted::Keep, &options, &mut |p| last = Some(p)).unwrap();
        let superblock = Superblock::read(&scene.bundle()).unwrap();
        assert_eq!((superblock.compression, superblock.block_size), (compressor.compression(), block_size));
        assert_eq!(packed.bytes, fs::metadata(scene.bundle()).unwrap().len());
        assert!(last.is_none_or(|p| p.total_bytes == 3 << 20 && p.bytes <= p.total_bytes), "{last:?}");
        assert_eq!(fs::read(scene.unpacked().join("data")).unwrap().len(), 3 << 20);
    }
    assert_eq!(Compressor::default().compression(), Compression::Zstd);
}

#[test]
fn torn_bundles_are_seen() {
    let scene = Scene::new();
    scene.write("data", &(0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let packed = scene.pack_all();
    let file = File::options().write(true).open(scene.bundle()).unwrap();
    file.set_len(packed.bytes / 2).unwrap();
    let error = Superblock::read(&scene.bundle()).unwrap_err();
    assert_eq!(error.to_string(), "not a squashfs: torn: the file is shorter than the image");
}

#[test]
fn failures_leave_nothing() {
    let scene = Scene::new();
    scene.write("data", b"x");
    let output = scene.dir.path().join("no/such/directory.sb");
    let source = || source::directory(&scene.source(""), &mut |_, _| Wanted::Keep).unwrap();
    let error = pack(source(), &output, &PackOptions::default(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("directory.sb.partial: No such file or directory"), "{error}");
    let wrong = PackOptions { block_size: 1000, ..PackOptions::default() };
    assert!(matches!(scene.pack(&mut |_| Wanted::Keep, &wrong), Err(Error::Options(_))));
    let left: Vec<_> = fs::read_dir(scene.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["source"]);
    // An older bundle survives a failure, and is replaced by a success.
    fs::write(scene.bundle(), b"old").unwrap();
    assert!(scene.pack(&mut |_| Wanted::Keep, &wrong).is_err());
    assert_eq!(fs::read(scene.bundle()).unwrap(), b"old");
    scene.pack_all();
    assert_eq!(fs::read(scene.unpacked().join("data")).unwrap(), b"x");
}

#[test]
fn what_appears_in_an_emptied_directory_stays_out() {
    let scene = Scene::new();
    scene.write("proc/1", b"");
    scene.write("zoo", b"");
    let mut wanted = |path: &Path| {
        if path == Path::new("zoo") {
            // After /proc was looked at, before it is packed.
            scene.write("proc/2/status", b"");
            scene.write("proc/.hidden", b"");
        }
        if path.parent() == Some(Path::new("proc")) { Wanted::Skip } else { Wanted::Keep }
    };
    scene.pack(&mut wanted, &PackOptions::default()).unwrap();
    let found: Vec<_> = paths(&scene.unpacked()).into_iter().collect();
    assert_eq!(found, ["proc", "zoo"].map(PathBuf::from));
}

#[test]
fn hidden_files_of_an_emptied_directory_stay_out() {
    let scene = Scene::new();
    for name in ["tmp/.X11-unix/X0", "tmp/.lock", "tmp/plain", "kept"] {
        scene.write(name, b"x");
    }
    let tmp = scene.source("tmp");
    let wanted =
        &mut |p: &Path| if p.parent() == Some(Path::new("tmp")) { Wanted::Skip } else { Wanted::Keep };
    scene.pack(wanted, &PackOptions::default()).unwrap();
    assert!(tmp.join(".lock").exists());
    assert_eq!(paths(&scene.unpacked()), ["kept", "tmp"].map(PathBuf::from).into());
}

#[test]
fn a_tree_laid_out_by_anyone_belongs_to_root() {
    let scene = Scene::new();
    scene.write("file", b"");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(scene.source("file"), Some(1234), Some(1234)).unwrap();
    }
    let options = PackOptions { owned_by_root: true, ..PackOptions::default() };
    scene.pack(&mut |_| Wanted::Keep, &options).unwrap();
    let list = run("unsquashfs", &["-lln".as_ref(), scene.bundle().as_os_str()]);
    let owners: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(owners, ["0/0", "0/0"], "{list}");
}
