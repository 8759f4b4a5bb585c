//! What an overlay's upper hides, its bundle hides as a layer: judged by the kernel, which shows the same union with the
//! bundle as a lower as it did with the upper.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::source::{self, aufs};
use bundles::{Bundle, PackOptions, Source, Wanted, pack};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lremovexattr, lsetxattr, mknodat};

use compare::{Expected, differences};
use mounted::{Mounted, run};

mod compare;
mod mounted;

/// An overlay, unmounted with the value.
struct Union(tempfile::TempDir);

impl Union {
    fn new(options: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "overlays take root: run this test as root (make unit does)"
        );
        let at = tempfile::tempdir().unwrap();
        let words = ["-t", "overlay", "overlay", "-o", options].map(OsStr::new);
        run("mount", &[&words[..], &[at.path().as_os_str()]].concat());
        Self(at)
    }

    /// Above `lower`, with what is changed in `upper`; made so that the upper needs nothing from the lower.
    fn writable(top: &Path, lower: &Path) -> Self {
        Self::new(&format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off",
            lower.display(),
            top.join("upper").display(),
            top.join("work").display()
        ))
    }

    /// Of layers that do not change, the topmost first.
    fn of(layers: &[&Path]) -> Self {
        let layers: Vec<_> = layers.iter().map(|layer| layer.to_str().unwrap()).collect();
        Self::new(&format!("ro,lowerdir={}", layers.join(":")))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Union {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).output();
        let done = unmounted.as_ref().is_ok_and(|output| output.status.success());
        assert!(done || std::thread::panicking(), "{:?} is left: {unmounted:?}", self.0.path());
    }
}

/// What is below.
fn base(top: &Path) -> PathBuf {
    let base = top.join("base");
    for file in [
        "keep",
        "deleted",
        "folder/deleted too",
        "folder/kept",
        "folder/deep/deleted",
        "gone/a",
        "gone/b/c",
        "opaque/old/x",
        "opaque/both",
        "emptied/x",
        "becomes a folder",
        "becomes a file/x",
        "moved/a/b",
        "moved file",
        "mode",
        "again",
    ] {
        let path = base.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{file} of the base")).unwrap();
    }
    fs::hard_link(base.join("folder/kept"), base.join("second name")).unwrap();
    symlink("keep", base.join("link")).unwrap();
    symlink("folder", base.join("link to a folder")).unwrap();
    for folder in ["upper", "work"] {
        fs::create_dir(top.join(folder)).unwrap();
    }
    base
}

/// What people do to a system.
fn change(union: &Path) {
    let at = |name: &str| union.join(name);
    for file in ["deleted", "folder/deleted too", "folder/deep/deleted", "link"] {
        fs::remove_file(at(file)).unwrap();
    }
    fs::remove_dir_all(at("gone")).unwrap();
    fs::remove_dir_all(at("opaque")).unwrap();
    fs::create_dir_all(at("opaque/new")).unwrap();
    fs::write(at("opaque/both"), "of the changes").unwrap();
    fs::remove_dir_all(at("emptied")).unwrap();
    fs::create_dir(at("emptied")).unwrap();
    fs::set_permissions(at("emptied"), Permissions::from_mode(0o1770)).unwrap();
    fs::remove_file(at("becomes a folder")).unwrap();
    fs::create_dir(at("becomes a folder")).unwrap();
    fs::write(at("becomes a folder/x"), "new").unwrap();
    fs::remove_dir_all(at("becomes a file")).unwrap();
    fs::write(at("becomes a file"), "new").unwrap();
    run("mv", &[at("moved"), at("moved away")].each_ref().map(|path| path.as_os_str()));
    fs::rename(at("moved file"), at("folder/moved file")).unwrap();
    fs::set_permissions(at("mode"), Permissions::from_mode(0o4710)).unwrap();
    chown(at("folder/deep"), Some(12), Some(34)).unwrap();
    fs::hard_link(at("keep"), at("keep too")).unwrap();
    fs::remove_file(at("again")).unwrap();
    fs::write(at("again"), "back").unwrap();
    fs::hard_link(at("again"), at("folder/again")).unwrap();
    fs::remove_file(at("link to a folder")).unwrap();
    fs::create_dir(at("link to a folder")).unwrap();
    lsetxattr(at("keep"), "user.note", b"kept", XattrFlags::empty()).unwrap();
}

fn everything(directory: &Path) -> Source {
    source::directory(directory, &mut |_, _| Wanted::Keep).unwrap()
}

fn packed(source: Source, output: &Path) -> Mounted {
    let packed = pack(source, output, &PackOptions::default(), &mut |_| {}).unwrap();
    assert!(packed.warnings.is_empty(), "{:?}", packed.warnings);
    Mounted::new(output)
}

#[track_caller]
fn same(union: &Path, other: &Path) {
    let differences = differences(union, other, &Expected::default());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A base, what was changed above it, and the union of both.
fn changed(top: &Path) -> (PathBuf, PathBuf, Union) {
    let base = base(top);
    let union = Union::writable(top, &base);
    change(union.path());
    (base, top.join("upper"), union)
}

#[test]
fn a_bundle_of_changes_hides_what_they_hid() {
    let dir = tempfile::tempdir().unwrap();
    let (base, upper, union) = changed(dir.path());
    // The test has what it is about.
    assert!(fs::symlink_metadata(upper.join("deleted")).unwrap().file_type().is_char_device());
    let mut value = [0; 4];
    assert_eq!(lgetxattr(upper.join("opaque"), "trusted.overlay.opaque", &mut value), Ok(1));
    let bundle = packed(everything(&upper), &dir.path().join("changes.sb"));
    same(union.path(), Union::of(&[&bundle.path(), &base]).path());
}

#[test]
fn a_bundle_of_changes_has_nothing_of_an_uppers_own() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upper, union) = changed(dir.path());
    drop(union);
    let has_origin = |path: &Path| lgetxattr(path, "trusted.overlay.origin", &mut [0; 256]).is_ok();
    assert!(has_origin(&upper.join("mode")), "the kernel notes no origins");
    let bundle = packed(everything(&upper), &dir.path().join("changes.sb"));
    let listed = run(
        "getfattr",
        &["-Rdhm", "^trusted.overlay"]
            .map(OsStr::new)
            .into_iter()
            .chain([bundle.path().as_os_str()])
            .collect::<Vec<_>>(),
    );
    let names: Vec<_> = listed.lines().filter(|line| line.starts_with("trusted.")).collect();
    assert!(
        !names.is_empty() && names.iter().all(|name| *name == "trusted.overlay.opaque=\"y\""),
        "{listed}"
    );
}

/// Makes of the changes of an overlay what aufs would have made of them.
fn as_aufs(top: &Path, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            fs::remove_file(&path).unwrap();
            let name = [b".wh.", path.file_name().unwrap().as_bytes()].concat();
            // aufs' whiteouts are names of one file.
            fs::hard_link(top.join(".wh..wh.aufs"), path.with_file_name(OsStr::from_bytes(&name))).unwrap();
        } else if metadata.is_dir() {
            as_aufs(top, &path);
            if lremovexattr(&path, "trusted.overlay.opaque").is_ok() {
                fs::hard_link(top.join(".wh..wh.aufs"), path.join(".wh..wh..opq")).unwrap();
            }
            // Changing what is in a directory changes its time.
            File::open(&path).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
        }
    }
}

#[test]
fn a_bundle_of_aufs_hides_what_it_hid() {
    let dir = tempfile::tempdir().unwrap();
    let (base, upper, union) = changed(dir.path());
    let changes = dir.path().join("changes");
    let words = ["--archive", "--no-target-directory"].map(OsStr::new);
    run("cp", &[&words[..], &[upper.as_os_str(), changes.as_os_str()]].concat());
    fs::write(changes.join(".wh..wh.aufs"), "").unwrap();
    fs::create_dir_all(changes.join(".wh..wh.plnk")).unwrap();
    fs::create_dir_all(changes.join(".wh..wh.orph")).unwrap();
    as_aufs(&changes, &changes);
    let modified = fs::metadata(&upper).unwrap().modified().unwrap();
    File::open(&changes).unwrap().set_modified(modified).unwrap();

    // As it lies on an old stick.
    let old = dir.path().join("old.sb");
    drop(packed(everything(&changes), &old));
    let mut source = source::bundle(Bundle::open(&old).unwrap()).unwrap();
    assert!(aufs::is_aufs(&source.tree));
    let done = aufs::translate(&mut source.tree);
    assert!(done.whiteouts > 5 && done.opaque > 1 && done.dropped == 3, "{done:?}");
    let bundle = packed(source, &dir.path().join("new.sb"));
    same(union.path(), Union::of(&[&bundle.path(), &base]).path());
}

#[test]
fn an_upper_that_refers_to_its_lower_is_refused() {
    for (option, change) in [
        (
            "redirect_dir=on,metacopy=off",
            (|union| fs::rename(union.join("moved"), union.join("m")).unwrap()) as fn(&Path),
        ),
        ("metacopy=on", |union| {
            fs::set_permissions(union.join("mode"), Permissions::from_mode(0o700)).unwrap();
        }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let base = base(dir.path());
        let [upper, work] = ["upper", "work"].map(|name| dir.path().join(name));
        let union = Union::new(&format!(
            "lowerdir={},upperdir={},workdir={},{option}",
            base.display(),
            upper.display(),
            work.display()
        ));
        change(union.path());
        drop(union);
        let error = source::directory(&upper, &mut |_, _| Wanted::Keep).unwrap_err().to_string();
        assert!(error.contains("it is the upper of an overlay"), "{option}: {error}");
    }
}

#[test]
fn layers_of_an_image_are_one_tree_and_a_union() {
    let dir = tempfile::tempdir().unwrap();
    let layers: [&[(&str, &str)]; 3] = [
        &[
            ("etc/a", "0"),
            ("etc/b", "0"),
            ("gone/x/y", "0"),
            ("opaque/old", "0"),
            ("file", "0"),
            ("dir/x", "0"),
        ],
        &[
            ("etc/.wh.a", ""),
            (".wh.gone", ""),
            ("opaque/.wh..wh..opq", ""),
            ("opaque/new", "1"),
            ("file/x", "1"),
            ("dir", "1"),
        ],
        &[("etc/a", "2"), ("gone/z", "2"), (".wh.dir", "")],
    ];
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for (n, files) in layers.iter().enumerate() {
        let tree = dir.path().join(format!("tree{n}"));
        for (file, text) in *files {
            let path = tree.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let layer = dir.path().join(format!("image/{n}.tar"));
        fs::create_dir_all(layer.parent().unwrap()).unwrap();
        let words = ["--create", "--mtime=@1000", "--file"].map(OsStr::new);
        let from = [layer.as_os_str(), OsStr::new("-C"), tree.as_os_str(), OsStr::new(".")];
        run("tar", &[&words[..], &from].concat());
        let digest = run("sha256sum", &[layer.as_os_str()]);
        digests.push(format!("\"sha256:{}\"", &digest[..64]));
        names.push(format!("\"{n}.tar\""));
    }
    let write = |name: &str, text: String| fs::write(dir.path().join("image").join(name), text).unwrap();
    write("config.json", format!(r#"{{"rootfs":{{"diff_ids":[{}]}}}}"#, digests.join(",")));
    write("manifest.json", format!(r#"[{{"Config":"config.json","Layers":[{}]}}]"#, names.join(",")));
    let options = source::ArchiveOptions { temporary: dir.path().to_owned(), any_order: false };
    let image = dir.path().join("image");
    let whole = packed(source::oci(&image, &options).unwrap(), &dir.path().join("whole.sb"));
    let layers = source::oci_layers(&image, &options).unwrap();
    let bundles: Vec<_> = layers
        .into_iter()
        .enumerate()
        .map(|(n, layer)| packed(layer.source, &dir.path().join(format!("{n}.sb"))))
        .collect();
    let paths: Vec<_> = bundles.iter().rev().map(Mounted::path).collect();
    let union = Union::of(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    same(&whole.path(), union.path());
    assert_eq!(fs::read_to_string(union.path().join("etc/a")).unwrap(), "2");
    assert_eq!(fs::read_dir(union.path().join("gone")).unwrap().count(), 1);
}

#[test]
fn a_whiteout_by_hand_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let changes = dir.path().join("changes");
    fs::create_dir(&changes).unwrap();
    mknodat(CWD, changes.join("keep"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let bundle = packed(everything(&changes), &dir.path().join("x.sb"));
    let union = Union::of(&[&bundle.path(), &base]);
    assert!(!union.path().join("keep").exists() && union.path().join("mode").exists());
}
