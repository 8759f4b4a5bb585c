//! `livekit bundle list|cat|info` of bundles that mksquashfs made.

use std::process::{Command, Stdio};

use crate::place::{Place, text};

#[test]
fn a_list_is_what_unsquashfs_lists() {
    let place = Place::with_bundle();
    let theirs = place.run("unsquashfs", &["-l", "-d", "", "x.sb"]);
    // Its first line is the root.
    let mut theirs: Vec<&str> = theirs.lines().filter_map(|line| line.strip_prefix('/')).collect();
    let (code, ours, stderr) = place.livekit(&["bundle", "list", "x.sb"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut ours: Vec<&str> = ours.lines().collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
    assert!(ours.contains(&"usr/bin/tool"));
}

#[test]
fn long_lines_and_objects_say_all_there_is() {
    let place = Place::with_bundle();
    let (code, long, _) = place.livekit(&["bundle", "list", "-l", "x.sb", "usr/bin", "dev"]);
    assert_eq!(code, 0);
    for line in [
        "drwxr-xr-x   1         0/0            0 2023-11-14 22:13 dev",
        "crw-r--r--   1         0/0          1,3 2023-11-14 22:13 dev/null",
        "lrwxrwxrwx   1         0/0            0 2023-11-14 22:13 usr/bin/link -> tool",
        "-rwsr-xr-x   2     1000/50            5 2023-11-14 22:13 usr/bin/second",
        "-rwsr-xr-x   2     1000/50            5 2023-11-14 22:13 usr/bin/tool link to usr/bin/second",
    ] {
        assert!(long.lines().any(|found| found == line), "{line} is not in\n{long}");
    }
    let (code, objects, _) = place.livekit(&["bundle", "list", "--json", "x.sb", "usr/bin/tool"]);
    assert_eq!(code, 0);
    let object: serde_json::Value = serde_json::from_str(&objects).unwrap();
    assert_eq!(object["xattrs"]["user.note"], "6b657074");
    assert_eq!((&object["size"], &object["mode"]), (&5.into(), &"4755".into()));
}

#[test]
fn cat_prints_contents() {
    let place = Place::with_bundle();
    let (code, stdout, _) = place.livekit(&["bundle", "cat", "x.sb", "/etc/os-release", "usr/bin/second"]);
    assert_eq!((code, stdout.as_str()), (0, "ID=test\ntool\n"));
    for (path, says) in [
        ("none", "error: none is not in x.sb\nhint: paths are those"),
        ("usr/bin/link", "error: usr/bin/link is a symbolic link\nhint: it leads to tool"),
        ("etc", "error: etc is a directory"),
    ] {
        let (code, stdout, stderr) = place.livekit(&["bundle", "cat", "x.sb", "etc/os-release", path]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{path}");
        assert!(stderr.contains(says), "{path}: {stderr}");
    }
}

#[test]
fn info_counts() {
    let place = Place::with_bundle();
    let (code, json, _) = place.livekit(&["bundle", "info", "--json", "x.sb"]);
    assert_eq!(code, 0);
    let info: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (pointer, value) in [
        ("/compressor", serde_json::json!("zstd:3")),
        ("/block_size", 65536.into()),
        ("/made", 1_700_000_000.into()),
        ("/counts/file", 5.into()),
        ("/counts/whiteout", 1.into()),
        ("/hard_links", 1.into()),
        ("/counts/device", 1.into()),
        ("/duplicates", serde_json::json!({"files": 1, "bytes": 200_000})),
        ("/hole_bytes", 131_072.into()),
        ("/whiteouts", serde_json::json!({"overlay": 1, "overlay_opaque": 1, "aufs": 1})),
        ("/xattrs/names", serde_json::json!(["trusted.overlay.opaque", "user.note"])),
    ] {
        assert_eq!(info.pointer(pointer), Some(&value), "{pointer} in {json}");
    }
    assert_eq!(info["bytes"].as_u64().unwrap().div_ceil(4096) * 4096, place.size("x.sb"));
    let (code, text, _) = place.livekit(&["bundle", "info", "x.sb"]);
    assert_eq!(code, 0);
    for line in ["x.sb", "  compressed  zstd:3, blocks of 64 KiB", "  made        2023-11-14 22:13 UTC"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_no_bundle_is_named() {
    let place = Place::with_bundle();
    place.write("text.sb", b"hello");
    let half = &std::fs::read(place.path("x.sb")).unwrap()[..3000];
    place.write("half.sb", half);
    for command in ["list", "info"] {
        for (name, says) in [("none.sb", "No such file"), ("text.sb", "text.sb"), ("half.sb", "half.sb")] {
            let (code, stdout, stderr) = place.livekit(&["bundle", command, name]);
            assert_eq!((code, stdout.as_str()), (1, ""), "{command} {name}");
            assert!(stderr.starts_with("error: ") && stderr.contains(says), "{command} {name}: {stderr}");
        }
    }
}

#[test]
fn a_closed_pipe_is_the_end_and_a_full_disk_is_an_error() {
    let place = Place::with_bundle();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["bundle", "list", "x.sb"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let says = "error: cannot write to standard output: No space left on device";
    assert!(text(&output.stderr).starts_with(says), "{}", text(&output.stderr));

    let shell =
        format!("'{}' bundle list x.sb | head -n 1; echo ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_livekit"));
    let output = Command::new("bash").args(["-c", &shell]).current_dir(place.path("")).output().unwrap();
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("dev\n0\n", ""));

    // More than a pipe holds, closed before it is read.
    let mut child = place
        .command(&["bundle", "cat", "x.sb", "srv/one", "srv/two"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
