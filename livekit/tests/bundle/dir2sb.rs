//! `livekit sb dir2sb`, as users of Slax know it.

use std::fs;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::place::Place;

#[test]
fn a_directory_and_the_file_of_its_name_take_turns() {
    let place = Place::new();
    place.run("mv", &["tree", "05-x.sb"]);
    let before = place.facts("05-x.sb");
    let (code, stdout, stderr) = place.livekit(&["sb", "dir2sb", "05-x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "05-x.sb\n"), "{stderr}");
    assert!(place.path("05-x.sb").is_file());
    assert_eq!(place.names(""), ["05-x.sb"]);
    assert_eq!(place.livekit(&["sb", "sb2dir", "05-x.sb"]).0, 0);
    let after: Vec<String> =
        place.facts("05-x.sb").into_iter().filter(|line| !line.contains(".livekit-sb2dir")).collect();
    assert_eq!(after, before);
    assert_eq!(place.livekit(&["sb", "dir2sb", "05-x.sb"]).0, 0);
    assert_eq!(place.facts_unpacked("05-x.sb"), before);
}

#[test]
fn other_directories_are_kept_as_such() {
    let place = Place::new();
    let (code, stdout, stderr) = place.livekit(&["sb", "dir2sb", "tree", "x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "x.sb\n"), "{stderr}");
    let list = place.livekit(&["bundle", "list", "x.sb"]).1;
    assert!(list.starts_with("tree\ntree/dev\n"), "{list}");
    place.run("mv", &["tree", "squashfs-root"]);
    assert_eq!(place.livekit(&["sb", "dir2sb", "squashfs-root", "y.sb"]).0, 0);
    assert!(place.livekit(&["bundle", "list", "y.sb"]).1.starts_with("dev\n"));
    for (arguments, code, says) in [
        (&["squashfs-root"][..], 2, "the name of squashfs-root does not end in .sb\nhint: name the bundle"),
        (&["squashfs-root", "x.sb"], 1, "error: x.sb is there already\nhint: remove it"),
        (&["none", "z.sb"], 1, "error: cannot find the directory none: No such file"),
    ] {
        let (found, _, stderr) = place.livekit(&[&["sb", "dir2sb"], arguments].concat());
        assert_eq!(found, code, "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
    assert_eq!(place.names(""), ["squashfs-root", "x.sb", "y.sb"]);
}

#[test]
fn a_directory_with_mounts_is_not_replaced() {
    let place = Place::new();
    place.run("mv", &["tree", "x.sb"]);
    let inside = place.path("x.sb/srv");
    mount("tmpfs", &inside, "tmpfs", MountFlags::empty(), None).unwrap();
    let (code, _, stderr) = place.livekit(&["sb", "dir2sb", "x.sb"]);
    unmount(&inside, UnmountFlags::empty()).unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("/x.sb/srv is mounted in"), "{stderr}");
    assert!(fs::metadata(place.path("x.sb")).unwrap().is_dir());
    assert_eq!(place.names(""), ["x.sb"]);
}
