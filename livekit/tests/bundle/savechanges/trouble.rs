//! What goes wrong while changes are saved, and that earlier saves stay.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{base, session, work};
use crate::place::{Place, noise, text};

#[test]
fn an_earlier_save_is_never_replaced() {
    let place = base();
    session(&place, &["base"], Some("upper"), work);
    place.write("mine.sb", b"an earlier save");
    symlink("nowhere", place.path("link.sb")).unwrap();
    for name in ["mine.sb", "mine", "link"] {
        let (code, stdout, stderr) = place.livekit(&["savechanges", "--changes", "upper", name]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(".sb is there already"), "{stderr}");
        assert!(stderr.contains("\nhint: an earlier save is never replaced"), "{stderr}");
    }
    assert_eq!(fs::read(place.path("mine.sb")).unwrap(), b"an earlier save");
    // Without a name, it has date and time; in a folder as well.
    fs::create_dir(place.path("folder")).unwrap();
    for arguments in
        [&["savechanges", "--changes", "upper"][..], &["savechanges", "--changes", "upper", "folder/"]]
    {
        let (code, stdout, stderr) = place.livekit(arguments);
        assert_eq!(code, 0, "{stderr}");
        let name = stdout.trim().trim_start_matches("folder/");
        let digits = name.strip_prefix("changes-").and_then(|name| name.strip_suffix(".sb")).unwrap();
        assert!(digits.len() == 15 && digits.replace('-', "").bytes().all(|b| b.is_ascii_digit()), "{name}");
        assert!(place.path(stdout.trim()).exists());
    }
}

#[test]
fn what_cannot_be_saved_is_told() {
    let place = base();
    fs::create_dir_all(place.path("both/upper")).unwrap();
    fs::create_dir_all(place.path("both/work")).unwrap();
    fs::create_dir_all(place.path("empty/tmp")).unwrap();
    place.write("a.sb/file", b"");
    for (arguments, code, says, hint) in [
        (&["--changes", "none"][..], 1, "there are no changes: none is not there", "this is no live system"),
        (&["--changes", "base/file"], 1, "base/file is no directory", "the upper folder"),
        (&["--changes", "both"], 1, "both has the changes and", "name the folder `upper`"),
        (&["--changes", "empty"], 1, "there is nothing to save in empty", "--dry-run says"),
        (&["--changes", "base", "none/x"], 1, "cannot find the directory none", ""),
        (&["--changes", "base", "--exclude", "a["], 2, "cannot understand the pattern `a[`", "patterns have"),
        (&["--changes", "base", "x", "--merge", "base/file"], 1, "base/file", ""),
        (&["--changes", "base", "x", "--merge", "aufs.sb"], 1, "aufs.sb has whiteouts of aufs", "convert"),
        (&["--changes", "base", "--compressor", "zip"], 2, "zip", ""),
    ] {
        if arguments.contains(&"aufs.sb") {
            assert_eq!(place.livekit(&["bundle", "pack", "-q", "tree", "aufs.sb"]).0, 0);
        }
        let before = place.names("");
        let (found, stdout, stderr) = place.livekit(&[&["savechanges"], arguments].concat());
        assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.contains(hint), "{arguments:?}: {stderr}");
        assert_eq!(place.names(""), before, "{arguments:?}");
    }
}

#[test]
fn others_than_root_are_told_to_be() {
    let place = base();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(place.path("closed")).unwrap();
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let program = place.path("livekit");
    fs::copy(env!("CARGO_BIN_EXE_livekit"), &program).unwrap();
    for upper in ["base", "closed/upper"] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["savechanges", "--changes", upper, "x.sb"])
            .current_dir(place.path(""))
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(upper) && stderr.contains("hint: run the command with sudo"), "{stderr}");
    }
}

#[test]
fn a_full_disk_leaves_no_save() {
    let place = Place::new();
    place.write("tree/bulk", &noise(4 << 20));
    fs::create_dir(place.path("disk")).unwrap();
    let disk = place.path("disk");
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), Some(c"size=1m")).unwrap();
    let (code, stdout, stderr) = place.livekit(&["savechanges", "--changes", "tree", "disk/x"]);
    let left = place.names("disk");
    unmount(&disk, UnmountFlags::empty()).unwrap();
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("No space left on device") && left.is_empty(), "{left:?} {stderr}");
}

#[test]
fn a_save_that_comes_meanwhile_stays_and_changed_files_are_named() {
    let slow: Vec<u8> = noise(6 << 20).iter().map(|byte| b'a' + byte % 16).collect();
    for taken in [false, true] {
        let place = Place::new();
        place.write("tree/a-bulk", &slow);
        place.write("tree/z-changes", b"before\n");
        let arguments =
            ["savechanges", "--changes", "tree", "x.sb", "--compressor", "zstd:22", "--processors", "1"];
        let mut command = place.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !fs::metadata(place.path("x.sb.partial")).is_ok_and(|file| file.len() > 10_000) {
            assert!(begun.elapsed() < Duration::from_secs(30), "packing does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        if taken {
            place.write("x.sb", b"of somebody else");
        } else {
            let file = fs::File::options().append(true).open(place.path("tree/z-changes"));
            file.unwrap().write_all(b"after\n").unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        if taken {
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert_eq!(fs::read(place.path("x.sb")).unwrap(), b"of somebody else");
            assert_eq!(place.names(""), ["tree", "x.sb"]);
        } else {
            assert_eq!(output.status.code(), Some(3), "{stderr}");
            assert!(stderr.contains("z-changes changed while it was read"), "{stderr}");
        }
    }
}
