//! What goes wrong while a bundle is made: interrupts, full disks, files that change, vanish or cannot be read.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, noise, text};

/// What takes long to compress: noise would be given up quickly.
fn slow() -> Vec<u8> {
    noise(6 << 20).iter().map(|byte| b'a' + byte % 16).collect()
}

/// A place whose tree takes seconds to pack on one processor, and the packing, which is under way.
fn packing() -> (Place, Child) {
    let place = Place::new();
    place.write("tree/a-bulk", &slow());
    place.write("tree/z-changes", b"before\n");
    place.write("tree/z-vanishes", b"before\n");
    let arguments = ["bundle", "pack", "--compressor", "zstd:22", "--processors", "1", "tree", "x.sb"];
    let mut command = place.command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    // Names are known when the bundle is begun, and contents are not read yet.
    while !fs::metadata(place.path("x.sb.partial")).is_ok_and(|file| file.len() > 10_000) {
        assert!(begun.elapsed() < Duration::from_secs(30), "packing does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    (place, child)
}

#[test]
fn a_signal_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (place, child) = packing();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), ""), "{stderr}");
        assert!(stderr.ends_with("error: interrupted; nothing half-done is left behind\n"), "{stderr}");
        assert_eq!(place.names(""), ["tree"]);
    }
}

/// Nothing is left, or all of it, where the signal came after the end.
#[test]
fn a_signal_while_unpacking_leaves_nothing() {
    let place = Place::new();
    place.write("tree/bulk", &noise(64 << 20));
    let arguments = ["bundle", "pack", "-q", "--compressor", "lz4", "tree", "x.sb"];
    assert_eq!(place.livekit(&arguments).0, 0);
    let interrupted = (0..20).any(|_| {
        let child = place.command(&["bundle", "extract", "x.sb"]).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while place.names("").len() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(30), "unpacking does not begin");
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        let names = place.names("");
        if names == ["tree", "x", "x.sb"] {
            let [made, whole] = ["x/bulk", "tree/bulk"].map(|file| fs::read(place.path(file)).unwrap());
            assert!(made == whole, "it is not whole");
            fs::remove_dir_all(place.path("x")).unwrap();
            return false;
        }
        assert_eq!(output.status.code(), Some(143), "{}", text(&output.stderr));
        assert_eq!(names, ["tree", "x.sb"]);
        true
    });
    assert!(interrupted, "it always was too late");
}

#[test]
fn files_that_change_and_vanish_are_named() {
    let (place, child) = packing();
    fs::File::options()
        .append(true)
        .open(place.path("tree/z-changes"))
        .unwrap()
        .write_all(b"after\n")
        .unwrap();
    fs::remove_file(place.path("tree/z-vanishes")).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), "x.sb\n"), "{stderr}");
    for line in [
        "warning: x.sb: z-changes changed while it was read: what is in the bundle may be a mixture",
        "warning: x.sb: z-vanishes vanished: it is not in the bundle",
    ] {
        assert!(stderr.lines().any(|found| found == line), "{line} is not in\n{stderr}");
    }
    let list = place.run("unsquashfs", &["-l", "-d", "", "x.sb"]);
    assert!(list.contains("/z-changes\n") && !list.contains("z-vanishes"), "{list}");
    assert_eq!(place.livekit(&["bundle", "verify", "-q", "x.sb"]).0, 0);
}

#[test]
fn ten_warnings_are_enough() {
    let place = Place::new();
    place.write("tree/a-bulk", &slow());
    for number in 0..25 {
        place.write(&format!("tree/z/{number:02}"), b"there\n");
    }
    let arguments = ["bundle", "pack", "-q", "--compressor", "zstd:22", "--processors", "1", "tree", "x.sb"];
    let child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !fs::metadata(place.path("x.sb.partial")).is_ok_and(|file| file.len() > 10_000) {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_dir_all(place.path("tree/z")).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_eq!(stderr.lines().count(), 11, "{stderr}");
    assert!(stderr.ends_with("warning: x.sb: 15 more of this kind\n"), "{stderr}");
}

#[test]
fn a_full_disk_leaves_nothing() {
    let place = Place::new();
    place.write("tree/bulk", &noise(4 << 20));
    fs::create_dir(place.path("disk")).unwrap();
    let disk = place.path("disk");
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), Some(c"size=1m")).unwrap();
    let (code, stdout, stderr) = place.livekit(&["bundle", "pack", "tree", "disk/x.sb"]);
    let left = place.names("disk");
    unmount(&disk, UnmountFlags::empty()).unwrap();
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("\nhint: free some space, or write elsewhere"), "{stderr}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let place = Place::new();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(place.path("tree/srv/two"), fs::Permissions::from_mode(0o600)).unwrap();
    let program = place.path("livekit");
    fs::copy(env!("CARGO_BIN_EXE_livekit"), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["bundle", "pack", "tree", "x.sb"])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("tree/srv/two: Permission denied"), "{stderr}");
    assert!(stderr.contains("\nhint: run the command with sudo, or leave it out with --exclude"), "{stderr}");
    assert_eq!(place.names(""), ["livekit", "tree"]);
}

#[test]
fn a_path_that_cannot_be_told_is_an_error() {
    let place = Place::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["bundle", "pack", "tree", "x.sb"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("error: cannot write to standard output: No space left on device"), "{stderr}");
    // The bundle is whole all the same.
    assert_eq!(place.livekit(&["bundle", "verify", "-q", "x.sb"]).0, 0);
}

#[test]
fn quiet_means_quiet() {
    let place = Place::new();
    for arguments in [
        &["bundle", "pack", "-q", "tree", "x.sb"][..],
        &["bundle", "extract", "-q", "x.sb"],
        &["bundle", "convert", "--quiet", "x.sb", "y.sb"],
        &["sb", "-q", "sb2dir", "x.sb", "made"],
        &["sb", "rmsbdir", "-q", "made"],
    ] {
        let (code, _, stderr) = place.livekit(arguments);
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
    }
}
