//! `livekit bundle extract`, `livekit sb sb2dir` and `rmsbdir`, of a bundle that mksquashfs made.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::place::{Place, text};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

#[test]
fn what_comes_out_is_what_went_in() {
    let place = Place::with_bundle();
    let (code, stdout, stderr) = place.livekit(&["bundle", "extract", "x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "x\n"), "{stderr}");
    let line = stderr.lines().last().unwrap();
    assert!(line.starts_with("Unpacking x.sb to x: 5 files, 390.6 KiB ("), "{stderr}");
    place.run("unsquashfs", &["-quiet", "-no-progress", "-d", "theirs", "x.sb"]);
    assert_eq!(place.facts("theirs"), place.facts("x"));
    assert_eq!(place.names(""), ["theirs", "tree", "x", "x.sb"]);
}

#[test]
fn a_part_goes_into_a_directory_that_is_there() {
    let place = Place::with_bundle();
    place.write("to/etc/os-release", b"older\n");
    place.write("to/etc/own", b"stays\n");
    let arguments = ["bundle", "extract", "x.sb", "-d", "to", "etc/os*", "usr/bin", "usr/bin/tool"];
    let (code, _, stderr) = place.livekit(&arguments);
    assert_eq!(code, 1);
    assert!(stderr.contains("error: to is not empty\nhint: --force"), "{stderr}");
    let (code, stdout, stderr) = place.livekit(&[&arguments[..], &["--force", "--quiet"]].concat());
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "to\n", ""));
    assert_eq!(fs::read_to_string(place.path("to/etc/os-release")).unwrap(), "ID=test\n");
    assert_eq!(fs::read_to_string(place.path("to/etc/own")).unwrap(), "stays\n");
    assert_eq!(place.names("to/usr/bin"), ["link", "second", "tool"]);
    assert!(!place.path("to/srv").exists());
}

#[test]
fn what_goes_wrong_leaves_nothing() {
    let place = Place::with_bundle();
    let mut bytes = fs::read(place.path("x.sb")).unwrap();
    let middle = bytes.len() / 3;
    // Data, which are not compressed, keep their place; the last bytes are the tables.
    bytes.truncate(bytes.len() - 4096);
    place.write("cut.sb", &bytes);
    bytes.truncate(middle);
    place.write("half.sb", &bytes);
    place.write("a-file", b"");
    for (arguments, says) in [
        (&["x.sb", "none"][..], "none"),
        (&["cut.sb"], "cut.sb"),
        (&["half.sb"], "half.sb"),
        (&["x.sb", "-d", "a-file"], "a-file is not a directory"),
        (&["x.sb", "-d", "no/where"], "cannot find the directory no"),
    ] {
        let (code, stdout, stderr) = place.livekit(&[&["bundle", "extract"], arguments].concat());
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}: {stderr}");
        assert!(stderr.lines().any(|line| line.starts_with("error: ") && line.contains(says)), "{stderr}");
    }
    assert_eq!(place.names(""), ["a-file", "cut.sb", "half.sb", "tree", "x.sb"]);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let place = Place::with_bundle();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), Some(c"size=128k")).unwrap();
    let result = place.livekit(&["bundle", "extract", "x.sb", "-d", "disk/x"]);
    let left = place.names("disk");
    unmount(&disk, UnmountFlags::empty()).unwrap();
    let (code, _, stderr) = result;
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("No space left on device") && stderr.contains("\nhint: free some space"),
        "{stderr}"
    );
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_root_files_are_the_users() {
    let place = Place::with_bundle();
    fs::set_permissions(place.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let program = place.path("livekit");
    fs::copy(env!("CARGO_BIN_EXE_livekit"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["bundle", "extract", "x.sb"])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("warning: x.sb: "), "{stderr}");
    let tool = fs::metadata(place.path("x/usr/bin/tool")).unwrap();
    assert_eq!((tool.uid(), tool.mode() & 0o7777), (65534, 0o755));
    assert!(!place.path("x/dev/null").exists());
}

#[test]
fn sb2dir_turns_the_file_into_a_directory() {
    let place = Place::with_bundle();
    place.run("cp", &["x.sb", "05-x.sb"]);
    let (code, stdout, stderr) = place.livekit(&["sb", "sb2dir", "05-x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "05-x.sb\n"), "{stderr}");
    assert_eq!(place.names(""), ["05-x.sb", "tree", "x.sb"]);
    place.run("unsquashfs", &["-quiet", "-no-progress", "-d", "theirs", "x.sb"]);
    let marker = place.path("05-x.sb/.livekit-sb2dir");
    assert!(fs::metadata(&marker).unwrap().is_file());
    let made = place.facts("05-x.sb");
    let made: Vec<String> = made.into_iter().filter(|line| !line.contains(".livekit-sb2dir")).collect();
    assert_eq!(made, place.facts("theirs"));
    let (code, stdout, stderr) = place.livekit(&["sb", "rmsbdir", "05-x.sb/"]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert_eq!(place.names(""), ["theirs", "tree", "x.sb"]);
}

#[test]
fn sb2dir_beside_the_file() {
    let place = Place::with_bundle();
    fs::create_dir(place.path("empty")).unwrap();
    for directory in ["empty", "new"] {
        let (code, stdout, stderr) = place.livekit(&["sb", "sb2dir", "x.sb", directory]);
        assert_eq!((code, stdout.trim()), (0, directory), "{stderr}");
        assert!(place.path(directory).join("usr/bin/tool").exists());
    }
    let (code, _, stderr) = place.livekit(&["sb", "sb2dir", "x.sb", "tree"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("error: tree is not empty\nhint: choose another"), "{stderr}");
    assert!(!place.path("tree/.livekit-sb2dir").exists());
    place.run("cp", &["x.sb", "plain"]);
    let (code, _, stderr) = place.livekit(&["sb", "sb2dir", "plain"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(place.path("plain").is_file());
}

#[test]
fn rmsbdir_removes_nothing_else() {
    let place = Place::with_bundle();
    assert_eq!(place.livekit(&["sb", "sb2dir", "x.sb", "made"]).0, 0);
    symlink("made", place.path("link")).unwrap();
    let inside = place.path("made/srv");
    mount("tmpfs", &inside, "tmpfs", MountFlags::empty(), None).unwrap();
    let mounted = place.livekit(&["sb", "rmsbdir", "made"]);
    unmount(&inside, UnmountFlags::empty()).unwrap();
    // A bind mount is of the same device as what it is in.
    let (source, target) = (place.path("tree"), place.path("made/usr"));
    rustix::mount::mount_bind(&source, &target).unwrap();
    let bound = place.livekit(&["sb", "rmsbdir", "made"]);
    unmount(&target, UnmountFlags::empty()).unwrap();
    for ((code, _, stderr), says) in [
        (mounted, "/made/srv is mounted in"),
        (bound, "/made/usr is mounted in"),
        (place.livekit(&["sb", "rmsbdir", "link"]), "link is a symbolic link"),
        (place.livekit(&["sb", "rmsbdir", "link/"]), "link is a symbolic link"),
        (place.livekit(&["sb", "rmsbdir", "tree"]), "tree was not made by sb2dir"),
        (place.livekit(&["sb", "rmsbdir", "x.sb"]), "x.sb is not a directory"),
        (place.livekit(&["sb", "rmsbdir", "none"]), "No such file"),
    ] {
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
    }
    for name in ["made/usr/bin/tool", "tree/usr/bin/tool", "x.sb"] {
        assert!(place.path(Path::new(name)).exists(), "{name}");
    }
    assert_eq!(place.livekit(&["sb", "rmsbdir", "made"]).0, 0);
    assert!(!place.path("made").exists());
}
