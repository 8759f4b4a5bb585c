//! `livekit session` on a folder of sessions. Needs root: sessions have whiteouts and owners.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, words: &[&str]) -> Output {
    let livekit = env!("CARGO_BIN_EXE_livekit");
    Command::new(livekit).args(["session", "--folder"]).arg(folder).args(words).output().unwrap()
}

#[track_caller]
fn done(folder: &Path, words: &[&str]) -> String {
    let ran = run(folder, words);
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
}

#[track_caller]
fn refused(folder: &Path, words: &[&str], part: &str) {
    let ran = run(folder, words);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains(part), "{words:?}: {said}");
}

/// What a used session has: a file with an owner, a name that was removed.
fn fill(session: &Path) {
    fs::create_dir_all(session.join("upper/etc")).unwrap();
    fs::create_dir_all(session.join("work/@")).unwrap();
    fs::write(session.join("upper/etc/mine"), "mine").unwrap();
    std::os::unix::fs::chown(session.join("upper/etc/mine"), Some(5), Some(6)).unwrap();
    let mknod = Command::new("mknod").arg(session.join("upper/etc/gone")).args(["c", "0", "0"]).status();
    assert!(mknod.unwrap().success());
}

#[track_caller]
fn is_filled(session: &Path) {
    let about = fs::metadata(session.join("upper/etc/mine")).unwrap();
    assert_eq!((about.uid(), about.gid(), about.len()), (5, 6, 4));
    let gone = fs::symlink_metadata(session.join("upper/etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
}

#[test]
fn sessions_are_made_named_copied_and_removed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    assert_eq!(done(folder, &["new", "first one"]), "1");
    assert_eq!(done(folder, &["new"]), "2");
    fill(&folder.join("1"));
    done(folder, &["rename", "2", "second"]);
    done(folder, &["set-default", "first one"]);
    assert_eq!(done(folder, &["copy", "first one", "third"]), "3");
    is_filled(&folder.join("3"));

    let list: serde_json::Value = serde_json::from_str(&done(folder, &["list", "--json"])).unwrap();
    let told: Vec<_> =
        list.as_array().unwrap().iter().map(|s| (&s["name"], &s["kind"], &s["default"])).collect();
    let expected = serde_json::json!([
        ["first one", "folder", true],
        ["second", "new", false],
        ["third", "folder", false]
    ]);
    assert_eq!(serde_json::json!(told), expected);
    assert!(done(folder, &["list"]).lines().nth(1).unwrap().starts_with(">    1"));

    refused(folder, &["delete", "second"], "--yes");
    done(folder, &["delete", "second", "--yes"]);
    refused(folder, &["rename", "second", "x"], "no session is named second");
    refused(folder, &["delete", "9", "--yes"], "sessions there: 1, 3");
    assert_eq!(done(folder, &["new", "third"]), "4");
    refused(folder, &["copy", "third"], "several sessions");
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "nothing else is left: {names:?}");
}

#[test]
fn what_the_next_boot_is_to_do_is_written_down() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    done(folder, &["new"]);
    let request = || fs::read_to_string(folder.join("1/request")).unwrap_or_default();
    refused(folder, &["snapshot"], "no session is in use");
    done(folder, &["snapshot", "1"]);
    assert_eq!(request(), "snapshot\n");
    refused(folder, &["back", "2", "--session", "1"], "snapshots: none");
    fs::create_dir_all(folder.join("1/past/2")).unwrap();
    done(folder, &["back", "2", "--session", "1"]);
    assert_eq!(request(), "back 2\n");
    done(folder, &["reset", "1"]);
    assert_eq!(request(), "reset\n");
}

#[test]
fn a_session_travels_in_a_file() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    done(place.path(), &["new", "mine"]);
    fill(&place.path().join("1"));
    let file = other.path().join("session.sb");
    let path = file.to_str().unwrap();
    done(place.path(), &["export", "mine", path]);
    refused(place.path(), &["export", "mine", path], "session.sb");
    fs::create_dir(other.path().join("sessions")).unwrap();
    let sessions = other.path().join("sessions");
    assert_eq!(done(&sessions, &["import", path, "from afar"]), "1");
    is_filled(&sessions.join("1"));
    assert!(!sessions.join("1/work").exists());
    assert!(done(&sessions, &["list"]).contains("from afar"));

    fs::write(&file, "no bundle").unwrap();
    refused(&sessions, &["import", path], "squashfs");
    assert_eq!(fs::read_dir(&sessions).unwrap().count(), 1, "nothing is left of it");
}
