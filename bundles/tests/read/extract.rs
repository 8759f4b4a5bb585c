//! What is unpacked is what was packed, and nothing is touched beside it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::{Bundle, Error, ExtractOptions, Extracted, Kind, extract};

use crate::{nasty, seen};

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        nasty::make(&dir.path().join("source"));
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bundle(&self, arguments: &[&str]) -> Bundle {
        Bundle::open(&nasty::mksquashfs(&self.path("source"), &self.path("x.sb"), arguments)).unwrap()
    }

    fn target(&self) -> PathBuf {
        let _ = fs::remove_dir_all(self.path("target"));
        self.path("target")
    }
}

fn unpack(bundle: &Bundle, target: &Path, options: &ExtractOptions) -> Result<Extracted, Error> {
    extract(bundle, target, options, &mut |_| {})
}

fn all() -> ExtractOptions {
    ExtractOptions { owners: true, ..ExtractOptions::default() }
}

#[test]
fn everything_comes_back() {
    assert!(
        rustix::process::geteuid().is_root(),
        "owners and devices are root's to make: run this test as root"
    );
    let scene = Scene::new();
    for arguments in [
        &["-comp", "zstd"][..],
        &["-comp", "xz", "-b", "4096"],
        &["-comp", "lz4", "-b", "1M", "-always-use-fragments"],
        &["-comp", "gzip", "-no-fragments", "-noI"],
    ] {
        let target = scene.target();
        let extracted = unpack(&scene.bundle(arguments), &target, &all()).unwrap();
        assert_eq!(extracted.warnings, [""; 0]);
        seen::assert_same(&scene.path("source"), &target);
    }
}

#[test]
fn holes_stay_holes() {
    let scene = Scene::new();
    let target = scene.target();
    unpack(&scene.bundle(&["-comp", "zstd"]), &target, &all()).unwrap();
    for (name, most) in [("hole", 0), ("sparse", 128 << 10)] {
        let metadata = fs::metadata(target.join(name)).unwrap();
        assert!(metadata.blocks() * 512 <= most, "{name} takes {} blocks", metadata.blocks());
        assert_eq!(metadata.len(), fs::metadata(scene.path("source").join(name)).unwrap().len());
    }
}

#[test]
fn progress_ends_at_the_total() {
    let scene = Scene::new();
    let bundle = scene.bundle(&["-comp", "zstd"]);
    let mut last = None;
    let options = ExtractOptions { processors: Some(3), ..all() };
    let extracted = extract(&bundle, &scene.target(), &options, &mut |now| last = Some(now)).unwrap();
    let last = last.unwrap();
    assert_eq!((last.files, last.bytes), (last.total_files, last.total_bytes));
    assert_eq!((last.files, last.bytes), (extracted.files, extracted.bytes));
}

#[test]
fn only_what_is_asked_for() {
    let scene = Scene::new();
    let bundle = scene.bundle(&["-comp", "zstd"]);
    for (only, expected) in [
        (&["deep/loop"][..], &["", "deep", "deep/loop"][..]),
        (&["/text", "null"], &["", "null", "text"]),
        (
            &["deep/er/"],
            &[
                "",
                "deep",
                "deep/er",
                "deep/er/and",
                "deep/er/and/deeper",
                "deep/er/and/deeper/still",
                "deep/er/and/deeper/still/empty",
            ],
        ),
        (&["deep/409?"], &["", "deep", "deep/4095", "deep/4096", "deep/4097"]),
        // The first name of the file is not taken, the second and third are.
        (&["many/hard", "zz hard"], &["", "many", "many/hard", "zz hard"]),
    ] {
        let target = scene.target();
        let only = only.iter().map(PathBuf::from).collect();
        unpack(&bundle, &target, &ExtractOptions { only, ..all() }).unwrap();
        let mut found = seen::paths(&target);
        found.sort();
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }
    let two = fs::metadata(scene.path("target/many/hard")).unwrap();
    assert_eq!((two.nlink(), two.ino()), (2, fs::metadata(scene.path("target/zz hard")).unwrap().ino()));

    let target = scene.target();
    let options = ExtractOptions { only: vec!["text".into(), "nowhere/*".into()], ..all() };
    let error = unpack(&bundle, &target, &options).unwrap_err().to_string();
    assert!(error.contains("nothing in") && error.contains("nowhere/*"), "{error}");
    assert!(!target.exists());
}

#[test]
fn a_target_with_files_is_left_alone() {
    let scene = Scene::new();
    let bundle = scene.bundle(&["-comp", "zstd"]);
    let target = scene.target();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    let error = unpack(&bundle, &target, &all()).unwrap_err().to_string();
    assert!(error.contains("target: Directory not empty"), "{error}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);

    fs::write(target.join("text"), "of somebody else").unwrap();
    fs::create_dir(target.join("deep")).unwrap();
    unpack(&bundle, &target, &ExtractOptions { force: true, ..all() }).unwrap();
    assert_eq!(fs::read(target.join("mine")).unwrap(), b"mine");
    fs::remove_file(target.join("mine")).unwrap();
    let time = fs::metadata(scene.path("source")).unwrap().modified().unwrap();
    File::open(&target).unwrap().set_modified(time).unwrap();
    seen::assert_same(&scene.path("source"), &target);
}

#[test]
fn links_in_the_target_are_not_followed() {
    let scene = Scene::new();
    let bundle = scene.bundle(&["-comp", "zstd"]);
    let force = ExtractOptions { force: true, ..all() };
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(scene.path("victim"), "untouched").unwrap();
    let target = scene.target();
    fs::create_dir(&target).unwrap();
    for name in ["text", "null", "link", "zz hard"] {
        symlink(scene.path("victim"), target.join(name)).unwrap();
    }
    unpack(&bundle, &target, &force).unwrap();
    seen::assert_same(&scene.path("source"), &target);
    assert_eq!(fs::read(scene.path("victim")).unwrap(), b"untouched");
    assert_eq!(fs::metadata(scene.path("victim")).unwrap().mode() & 0o7777, 0o644);

    let target = scene.target();
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("deep")).unwrap();
    let error = unpack(&bundle, &target, &force).unwrap_err().to_string();
    assert!(error.contains("target/deep: "), "{error}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(target.exists(), "it was not made by this");
}

#[test]
fn a_full_disk_leaves_nothing() {
    let scene = Scene::new();
    fs::write(scene.path("source/large"), nasty::noise(6 << 20, 9)).unwrap();
    let bundle = scene.bundle(&["-comp", "lz4"]);
    let disk = scene.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).arg(&disk).status().unwrap();
        assert!(status.success(), "{program}");
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=4m", "none"]);
    let result = unpack(&bundle, &disk.join("target"), &all());
    let left = fs::read_dir(&disk).unwrap().count();
    mount("umount", &[]);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("disk/target/") && error.contains("No space left on device"), "{error}");
    assert_eq!(left, 0);
}

fn place_of_text(bundle: &Bundle) -> u64 {
    let tree = bundle.tree().unwrap();
    let Kind::File { content, .. } = tree.node(tree.find(Path::new("text")).unwrap()).kind else { panic!() };
    bundle.file(content).unwrap().blocks().next().unwrap().start
}

#[test]
fn damage_leaves_nothing() {
    let scene = Scene::new();
    let path = scene.path("x.sb");
    scene.bundle(&["-comp", "zstd"]);
    let mut bytes = fs::read(&path).unwrap();
    let text = place_of_text(&Bundle::open(&path).unwrap());
    bytes[usize::try_from(text).unwrap()..][..100].fill(0xaa);
    fs::write(&path, bytes).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let Err(Error::Malformed { path: named, offset, .. }) = unpack(&bundle, &scene.target(), &all()) else {
        panic!("damage went unseen");
    };
    assert_eq!(named, path);
    assert_eq!(offset, text);
    assert!(!scene.path("target").exists());
}

/// Run by the test below as a user who may do little.
#[test]
fn any_user_unpacks_with_warnings() {
    if let Some(dir) = std::env::var_os("BUNDLES_TEST_AS_NOBODY") {
        return as_nobody(Path::new(&dir));
    }
    let scene = Scene::new();
    scene.bundle(&["-comp", "zstd"]);
    fs::set_permissions(scene.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = scene.path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["any_user_unpacks_with_warnings", "--nocapture"])
        .env("BUNDLES_TEST_AS_NOBODY", scene.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn as_nobody(dir: &Path) {
    let bundle = Bundle::open(&dir.join("x.sb")).unwrap();
    let options = ExtractOptions::default();
    let extracted = unpack(&bundle, &dir.join("nobody"), &options).unwrap();
    let [devices, xattrs, set_ids] = extracted.warnings.as_slice() else { panic!("{extracted:?}") };
    assert!(devices.starts_with("2 devices"), "{devices}");
    assert!(xattrs.contains("extended attributes were not restored"), "{xattrs}");
    assert!(set_ids.starts_with("1 files lost set-user-id"), "{set_ids}");
    let text = fs::metadata(dir.join("nobody/text")).unwrap();
    assert_eq!((text.mode() & 0o7777, text.uid(), text.mtime()), (0o755, 65534, 1));
    File::open(dir.join("nobody/noise")).expect_err("its mode forbids it");
    let error = unpack(&bundle, &dir.join("owners"), &all()).unwrap_err().to_string();
    assert!(error.contains("Operation not permitted"), "{error}");
    assert!(!dir.join("owners").exists());
}
