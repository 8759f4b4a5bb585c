//! `livekit bundle diff` and `convert`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Place, text};

#[test]
fn differences_are_named() {
    let place = Place::new();
    let pack = |output: &str| {
        let (code, _, stderr) = place.livekit(&["bundle", "pack", "-q", "tree", output]);
        assert_eq!(code, 0, "{stderr}");
    };
    pack("a.sb");
    let (code, stdout, stderr) = place.livekit(&["bundle", "diff", "a.sb", "a.sb"]);
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    assert!(stderr.contains("0 added, 0 removed, 0 changed"), "{stderr}");

    let motd = place.path("tree/etc/.wh.motd");
    let mtime = fs::metadata(place.path("tree/etc")).unwrap().modified().unwrap();
    fs::remove_file(motd).unwrap();
    place.write("tree/etc/new", b"new\n");
    fs::File::open(place.path("tree/etc")).unwrap().set_modified(mtime).unwrap();
    fs::set_permissions(place.path("tree/srv"), fs::Permissions::from_mode(0o700)).unwrap();
    let two = place.path("tree/srv/two");
    let mtime = fs::metadata(&two).unwrap().modified().unwrap();
    let mut bytes = fs::read(&two).unwrap();
    bytes[199_999] ^= 1;
    fs::write(&two, bytes).unwrap();
    fs::File::options().write(true).open(&two).unwrap().set_modified(mtime).unwrap();
    pack("b.sb");
    let (code, stdout, _) = place.livekit(&["bundle", "diff", "a.sb", "b.sb"]);
    assert_eq!(
        (code, stdout.as_str()),
        (1, "D etc/.wh.motd\nA etc/new\nM srv (mode)\nM srv/two (content)\n")
    );
    let (code, stdout, _) = place.livekit(&["bundle", "diff", "--json", "a.sb", "b.sb"]);
    let last: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let expected = serde_json::json!({"path": "srv/two", "change": "changed", "what": ["content"]});
    assert_eq!((code, last), (1, expected));
    let (code, stdout, stderr) = place.livekit(&["bundle", "diff", "a.sb", "none.sb"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("error: ") && stderr.contains("none.sb"), "{stderr}");
}

#[test]
fn whiteouts_of_aufs_become_those_of_overlayfs() {
    let place = Place::new();
    place.write("tree/opt/.wh..wh..opq", b"");
    place.write("tree/.wh..wh.aufs", b"");
    place.run("mksquashfs", &["tree", "old.sb", "-noappend", "-quiet", "-no-progress", "-comp", "xz"]);
    let before = fs::read(place.path("old.sb")).unwrap();
    let (code, stdout, stderr) = place.livekit(&["bundle", "convert", "old.sb", "new.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "new.sb\n"), "{stderr}");
    let says =
        "Translated of old.sb: 1 whiteouts and 1 opaque directories; 1 names of aufs' own are left out.";
    assert!(stderr.contains(says), "{stderr}");
    assert!(fs::read(place.path("old.sb")).unwrap() == before);
    let list = place.run("unsquashfs", &["-lls", "-d", "", "new.sb"]);
    assert!(
        list.lines().any(|line| line.starts_with("crw") || line.starts_with("c-")) && !list.contains(".wh."),
        "{list}"
    );
    let info = text(&place.command(&["bundle", "info", "--json", "new.sb"]).output().unwrap().stdout);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    // One of each was there before, as overlayfs has them.
    assert_eq!(info["whiteouts"], serde_json::json!({"overlay": 2, "overlay_opaque": 2, "aufs": 0}));
    assert_eq!(info["compressor"], "zstd:15");
    let (code, _, stderr) = place.livekit(&["bundle", "convert", "new.sb", "newer.sb"]);
    assert_eq!(code, 0);
    assert!(stderr.contains("new.sb has nothing of aufs: it is only compressed anew."), "{stderr}");
}
