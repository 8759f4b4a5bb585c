//! `livekit bundle pack`: what goes in comes out, by unsquashfs.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::place::{Place, text};

#[test]
fn a_directory_becomes_a_bundle() {
    let place = Place::new();
    let (code, stdout, stderr) = place.livekit(&["bundle", "pack", "tree", "05-x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "05-x.sb\n"), "{stderr}");
    let summary = stderr.lines().last().unwrap();
    assert!(summary.starts_with("Packing 05-x.sb: 9 files, 390.6 KiB in, "), "{stderr}");
    assert!(summary.contains(" out, ratio 0.") && summary.contains(", 1 duplicate ("), "{stderr}");
    assert_eq!(place.facts_unpacked("05-x.sb"), place.facts("tree"));
    assert_eq!(place.livekit(&["bundle", "verify", "05-x.sb", "-q"]), (0, "05-x.sb: OK\n".into(), "".into()));
    assert!(place.run("unsquashfs", &["-s", "05-x.sb"]).contains("Compression zstd"));
    assert_eq!(place.names(""), ["05-x.sb", "tree"]);
}

#[test]
fn settings_are_in_the_bundle() {
    let place = Place::new();
    let settings = ["--compressor", "xz", "--block-size", "1M", "--processors", "1", "--owned-by-root", "-q"];
    let arguments = [&["bundle", "pack", "tree", "x.sb"], &settings[..]].concat();
    let output = place.command(&arguments).env("SOURCE_DATE_EPOCH", "1000000000").output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let stat = place.run("unsquashfs", &["-UTC", "-s", "x.sb"]);
    for line in ["Compression xz", "Block size 1048576", "Sun Sep  9 01:46:40 2001"] {
        assert!(stat.contains(line), "{line} is not in\n{stat}");
    }
    let list = place.run("unsquashfs", &["-UTC", "-lln", "x.sb"]);
    assert!(
        list.lines().filter(|line| line.contains("squashfs-root")).all(|line| line.contains(" 0/0 ")),
        "{list}"
    );
    assert!(list.contains("2001-09-09 01:46") && !list.contains(" 20_"), "{list}");
    let mut again = place.command(&arguments[..4]);
    again.args(&settings[..4]).args(["--owned-by-root", "-f"]).env("SOURCE_DATE_EPOCH", "1000000000");
    let first = fs::read(place.path("x.sb")).unwrap();
    assert!(again.output().unwrap().status.success());
    assert!(first == fs::read(place.path("x.sb")).unwrap(), "the same input gave other bytes");
}

#[test]
fn a_bundle_that_is_there_stays() {
    let place = Place::new();
    place.write("x.sb", b"precious");
    fs::create_dir(place.path("d.sb")).unwrap();
    for (output, code, says) in [
        ("x.sb", 1, "error: x.sb is there already\nhint: --force replaces it"),
        ("d.sb", 1, "error: d.sb is a directory\nhint: `livekit sb dir2sb`"),
        (
            "other",
            2,
            "error: `other` cannot be a bundle's name: it does not end in .sb\nhint: the bundle to write is",
        ),
        ("no/x.sb", 1, "error: cannot find the directory no: No such file"),
    ] {
        let (found, stdout, stderr) = place.livekit(&["bundle", "pack", "tree", output]);
        assert_eq!((found, stdout.as_str()), (code, ""), "{output}");
        assert!(stderr.starts_with(says), "{stderr}");
    }
    assert_eq!(fs::read(place.path("x.sb")).unwrap(), b"precious");
    assert_eq!(place.livekit(&["bundle", "pack", "tree", "x.sb", "--force"]).0, 0);
    assert_eq!(place.facts_unpacked("x.sb"), place.facts("tree"));
}

#[test]
fn wrong_words_are_wrong_usage() {
    let place = Place::new();
    for (arguments, says) in [
        (&["tree"][..], "required arguments were not provided"),
        (&["--compressor", "lzo", "tree", "x.sb"], "unknown compressor `lzo`"),
        (&["--block-size", "3K", "tree", "x.sb"], "`3K` is no block size"),
        (&["--exclude", "a[", "tree", "x.sb"], "a["),
        (&["--exclude-from", "none", "tree", "x.sb"], "cannot read the patterns none"),
        (&["--order", "none", "tree", "x.sb"], "cannot read the order none"),
        (&["--processors", "0", "tree", "x.sb"], "0 is not in 1.."),
        (&["--bundle-per-layer", "tree", "tree", "x.sb"], "--bundle-per-layer takes one image"),
    ] {
        let (code, stdout, stderr) = place.livekit(&[&["bundle", "pack"], arguments].concat());
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = place.livekit(&["bundle", "pack", "none", "x.sb"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: cannot find the source none: No such file"), "{stderr}");
    assert_eq!(place.names(""), ["tree"]);
}

#[test]
fn what_is_excluded_is_not_there() {
    let place = Place::new();
    place.write("patterns", b"# devices\n/dev\n*.sb\n");
    place.write("order", b"/srv/two\nusr/bin/tool\n");
    let arguments =
        ["bundle", "pack", "--exclude", "/usr/bin/*", "--exclude", "!second", "--exclude-from", "patterns"];
    let (code, _, stderr) = place.livekit(&[&arguments[..], &["--order", "order", "tree", "x.sb"]].concat());
    assert_eq!(code, 0, "{stderr}");
    let (_, list, _) = place.livekit(&["bundle", "list", "x.sb"]);
    let expected =
        "etc\netc/.wh.motd\netc/os-release\nsrv\nsrv/gone\nsrv/one\nsrv/two\nusr\nusr/bin\nusr/bin/second\n";
    assert_eq!(list, expected);
}

#[test]
fn several_sources_lie_over_each_other() {
    let place = Place::new();
    place.write("over/etc/os-release", b"ID=over\n");
    place.run("tar", &["czf", "over.tar.gz", "-C", "over", "etc"]);
    assert_eq!(place.livekit(&["bundle", "pack", "tree", "base.sb"]).0, 0);
    place.write("last/usr/new", b"new\n");
    let mut child = place
        .command(&["bundle", "pack", "base.sb", "-", "last", "x.sb"])
        .stdin(Stdio::from(fs::File::open(place.path("over.tar.gz")).unwrap()))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
    let cat = |path: &str| place.livekit(&["bundle", "cat", "x.sb", path]).1;
    assert_eq!((cat("etc/os-release").as_str(), cat("usr/new").as_str()), ("ID=over\n", "new\n"));
    assert_eq!(cat("usr/bin/tool"), "tool\n");
    assert_eq!(place.names(""), ["base.sb", "last", "over", "over.tar.gz", "tree", "x.sb"]);
}

/// What `docker save` writes of two layers, of which the second takes a file away.
fn image(place: &Place) {
    place.write("1/etc/a", b"1\n");
    place.write("1/etc/b", b"1\n");
    place.write("2/etc/.wh.b", b"");
    place.write("2/etc/c", b"2\n");
    let mut ids = Vec::new();
    for layer in ["1", "2"] {
        place.run("tar", &["cf", &format!("image/{layer}.tar"), "-C", layer, "etc"]);
        let sum = place.run("sha256sum", &[&format!("image/{layer}.tar")]);
        ids.push(format!("\"sha256:{}\"", sum.split(' ').next().unwrap()));
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    place.write("image/config.json", config.as_bytes());
    place.write("image/manifest.json", br#"[{"Config":"config.json","Layers":["1.tar","2.tar"]}]"#);
    place.run("tar", &["cf", "image.tar", "-C", "image", "manifest.json", "config.json", "1.tar", "2.tar"]);
}

#[test]
fn images_of_containers_become_one_bundle_or_several() {
    let place = Place::new();
    fs::create_dir(place.path("image")).unwrap();
    image(&place);
    let (code, _, stderr) = place.livekit(&["bundle", "pack", "image.tar", "10-app.sb"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(place.livekit(&["bundle", "list", "10-app.sb"]).1, "etc\netc/a\netc/c\n");
    let (code, stdout, stderr) =
        place.livekit(&["bundle", "pack", "--bundle-per-layer", "image.tar", "10-app.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "10-app-1.sb\n10-app-2.sb\n"), "{stderr}");
    let long = place.livekit(&["bundle", "list", "-l", "10-app-2.sb"]).1;
    let kinds: Vec<(&str, &str)> =
        long.lines().map(|line| (&line[..1], line.rsplit(' ').next().unwrap())).collect();
    assert_eq!(kinds, [("d", "etc"), ("c", "etc/b"), ("-", "etc/c")]);
    let input = Stdio::from(fs::File::open(place.path("image.tar")).unwrap());
    let output = place.command(&["bundle", "pack", "-", "y.sb"]).stdin(input).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("\nhint: write it to a file"), "{}", text(&output.stderr));
}

#[test]
fn a_bundle_is_not_in_itself() {
    let place = Place::new();
    place.write("tree/old.sb", b"old");
    for file in ["tree/x.sb", "tree/old.sb"] {
        let (code, _, stderr) = place.livekit(&["bundle", "pack", "--force", "tree", file]);
        assert_eq!(code, 0, "{stderr}");
        let says = format!("warning: {file} is in tree, and is left out of itself");
        assert!(stderr.contains(&says), "{stderr}");
        let list = place.livekit(&["bundle", "list", file]).1;
        assert!(!list.contains(Path::new(file).file_name().unwrap().to_str().unwrap()), "{list}");
        assert!(!list.contains("partial"), "{list}");
    }
}

#[test]
fn what_is_the_same_is_taken_from_the_old_bundle() {
    let place = Place::new();
    let pack = |words: &[&str]| {
        let (code, _, stderr) = place.livekit(&[&["bundle", "pack"], words].concat());
        assert_eq!(code, 0, "{stderr}");
        stderr
    };
    assert!(!pack(&["tree", "x.sb"]).contains("reused"));
    place.write("tree/etc/os-release", b"ID=newer\n");
    let said = pack(&["--force", "--reuse", "x.sb", "tree", "x.sb"]);
    assert!(said.lines().last().unwrap().contains(" KiB reused ("), "{said}");
    assert_eq!(place.facts_unpacked("x.sb"), place.facts("tree"));
    let said = pack(&["--compressor", "xz", "--reuse", "x.sb", "tree", "y.sb"]);
    assert!(said.contains("warning: ") && !said.contains("reused ("), "{said}");
    let (code, _, stderr) = place.livekit(&["bundle", "pack", "--reuse", "none.sb", "tree", "z.sb"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: ") && stderr.contains("none.sb"), "{stderr}");
}
