//! Which folders of which layers make a place, on real folders.

use super::*;
use crate::sys::xattr;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};

struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Layers of `path` (a folder), `path!` (opaque), `path-` (removed), `path=` (a file). Whiteouts and opaque marks need
/// root, as the code does.
fn tree(test: &str, layers: &[&[&str]]) -> (Tree, Vec<PathBuf>) {
    let home = std::env::temp_dir().join(format!("livekit-cover-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&home);
    let folders = layers.iter().enumerate().map(|(number, paths)| {
        let layer = home.join(number.to_string());
        fs::create_dir_all(&layer).unwrap();
        for path in *paths {
            let at = layer.join(path.trim_end_matches(['!', '-', '=']));
            match path.chars().last() {
                Some('-') => {
                    mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
                }
                Some('=') => fs::write(&at, "").unwrap(),
                Some('!') => {
                    fs::create_dir_all(&at).unwrap();
                    lsetxattr(&at, OPAQUE, b"y", XattrFlags::empty()).unwrap();
                }
                _ => fs::create_dir_all(&at).unwrap(),
            }
        }
        layer
    });
    let folders = folders.collect();
    (Tree(home), folders)
}

#[test]
fn layers_as_far_down_as_they_are_seen() {
    let (_home, layers) = tree(
        "layers",
        &[
            &["usr", "etc!", "opt-", "srv=", "var/lib!", "x"],
            &["usr", "etc", "opt", "srv", "var/lib/foo", "var/log"],
            &["usr", "var-"],
            &["usr", "etc", "var/log"],
        ],
    );
    for (place, expected) in [
        ("usr", &[0, 1, 2, 3][..]),
        ("etc", &[0]),
        ("opt", &[]),
        ("srv", &[]),
        ("x", &[0]),
        ("y", &[]),
        // Hidden by an opaque folder above it, and by a removed one two layers down.
        ("var/lib/foo", &[]),
        ("var/log", &[1]),
        ("var/lib", &[0]),
    ] {
        let found = layers_at(&layers, Path::new(place)).unwrap();
        let expected: Vec<PathBuf> = expected.iter().map(|&n: &usize| layers[n].join(place)).collect();
        assert_eq!(found, expected, "{place}");
    }
}

#[test]
fn covered_from_the_boot_on() {
    let (home, mut layers) = tree(
        "boot",
        &[
            &["usr", "opt!", "srv-", "lib=", "gone", "mine", "file"],
            &["usr", "etc", "opt", "srv", "lib", "var", "root", "home", "proc", "tmp", "mnt", "boot"],
            &["usr", "gone-", "mine!", "file=", "new"],
        ],
    );
    let upper = layers.pop().unwrap();
    let places = at_boot(&layers, &upper).unwrap();
    assert_eq!(places, ["etc", "opt", "usr"].map(PathBuf::from));
    drop(home);
}

#[test]
fn the_changes_folder_looks_like_what_is_seen() {
    let (_home, layers) = tree("upper", &[&["opt"], &[]]);
    let seen = layers[0].join("opt");
    chown(&seen, Some(7), Some(8)).unwrap();
    fs::set_permissions(&seen, fs::Permissions::from_mode(0o2750)).unwrap();
    lsetxattr(&seen, "trusted.note", b"kept", XattrFlags::empty()).unwrap();
    lsetxattr(&seen, OPAQUE, b"y", XattrFlags::empty()).unwrap();
    let made = make_upper(&layers[1], Path::new("opt"), &seen).unwrap();
    let about = fs::metadata(&made).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (7, 8, 0o2750));
    assert_eq!(about.modified().unwrap(), fs::metadata(&seen).unwrap().modified().unwrap());
    assert_eq!(xattr::get(&made, "trusted.note").as_deref(), Some(&b"kept"[..]));
    // The bundle's own mark must not hide what lies below once it is the user's folder.
    assert_eq!(kind(&made).unwrap(), Kind::Folder);
}

#[test]
fn names_lead_back_to_covers() {
    for (place, generation) in [("usr", 0), ("var/lib/foo", 12), ("a:b", 3)] {
        let cover = Cover { place: place.into(), generation };
        assert_eq!(Cover::parse(&cover.source()), Some(cover));
    }
    for source in ["lk:@", "lk:changes", "lk:usr:x", "lk::3", "overlay", "lk:usr"] {
        assert_eq!(Cover::parse(source), None, "{source}");
    }
}
