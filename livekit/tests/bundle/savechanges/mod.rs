//! `livekit savechanges` of made-up sessions, judged by the kernel: a union with the save shows what the one with the
//! changes showed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{XattrFlags, setxattr};

use crate::place::{Place, noise};

mod packages;
mod trouble;

/// Like `live::overlay::OPTIONS`: an upper that needs nothing from its lower.
const OPTIONS: &str = "index=off,redirect_dir=off,metacopy=off,xino=off";

/// A base with what sessions change.
fn base() -> Place {
    let place = Place::new();
    for name in [
        "etc/hostname",
        "etc/shadow",
        "etc/gone",
        "opt/old/a",
        "opt/old/b",
        "opt/away/x",
        "opt/back/x",
        "srv/base",
        "usr/bin/tool",
        "var/log/syslog",
        "file",
    ] {
        place.write(&format!("base/{name}"), format!("{name} of the base\n").as_bytes());
    }
    fs::create_dir_all(place.path("union")).unwrap();
    place
}

/// Mounts the lowers, the topmost first, with `upper` above them; takes it down after `act`.
fn session<T>(place: &Place, lowers: &[&str], upper: Option<&str>, act: impl FnOnce(&Place) -> T) -> T {
    let mut mounted = Vec::new();
    let mut folders = Vec::new();
    for lower in lowers {
        if lower.ends_with(".sb") {
            let at = format!("mounted-{lower}");
            fs::create_dir(place.path(&at)).unwrap();
            place.run("mount", &["-t", "squashfs", "-o", "loop,ro", lower, &at]);
            folders.push(at.clone());
            mounted.push(at);
        } else {
            folders.push((*lower).to_owned());
        }
    }
    let folders: Vec<String> = folders.iter().map(|at| place.path(at).display().to_string()).collect();
    let mut options = format!("lowerdir={},{OPTIONS}", folders.join(":"));
    match upper {
        Some(upper) => {
            let work = format!("{upper}-work");
            for folder in [upper, work.as_str()] {
                fs::create_dir_all(place.path(folder)).unwrap();
            }
            let [upper, work] = [upper, work.as_str()].map(|folder| place.path(folder).display().to_string());
            options.push_str(&format!(",upperdir={upper},workdir={work}"));
        }
        None => options.push_str(",ro"),
    }
    place.run("mount", &["-t", "overlay", "-o", &options, "overlay", "union"]);
    let result = act(place);
    place.run("umount", &["union"]);
    for at in mounted {
        place.run("umount", &[&at]);
        fs::remove_dir(place.path(at)).unwrap();
    }
    result
}

/// All that a union shows, but below `without`.
fn shown(place: &Place, without: &[&str]) -> Vec<String> {
    let all = "cd union && find . -type d -exec stat -c '%n %F %a %u %g %Y' {} + && \
        find . ! -type d -exec stat -c '%n %F %a %u %g %Y %h %t:%T %N' {} + && \
        find . -exec getfattr -h -d -m '^user' -e hex {} + 2>/dev/null | paste -sd ' ' | sed 's/# file: /\\n/g' && \
        find . -type f -exec sha256sum {} + | sed -E 's/^([0-9a-f]+)  (.*)/\\2 \\1/'";
    let mut lines: Vec<String> = place.run("bash", &["-c", all]).lines().map(str::to_owned).collect();
    lines.retain(|line| {
        !without.iter().any(|path| {
            line.strip_prefix("./")
                .unwrap_or(line)
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with([' ', '/']))
        })
    });
    lines.sort();
    lines
}

const KEY: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";

/// What people and their programs do in a session.
fn work(place: &Place) {
    let at = |name: &str| place.path(format!("union/{name}"));
    place.write("union/etc/hostname", b"mine\n");
    fs::remove_file(at("etc/gone")).unwrap();
    fs::remove_dir_all(at("opt/away")).unwrap();
    fs::remove_dir_all(at("opt/old")).unwrap();
    place.write("union/opt/old/a", b"new\n");
    fs::rename(at("file"), at("opt/file")).unwrap();
    place.write("union/home/me/notes", b"text\n");
    fs::hard_link(at("home/me/notes"), at("home/me/second")).unwrap();
    symlink("notes", at("home/me/link")).unwrap();
    std::os::unix::fs::chown(at("home/me/notes"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(at("usr/bin/tool"), fs::Permissions::from_mode(0o4711)).unwrap();
    setxattr(at("usr/bin/tool"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    // Volatile.
    place.write("union/tmp/x", b"temporary\n");
    place.write("union/var/log/syslog", b"more\n");
    place.write("union/var/log/new/x", b"log\n");
    place.write("union/var/cache/apt/pkgcache.bin", &noise(100_000));
    // Secret.
    place.write("union/etc/shadow", b"root:$6$x:1::::::\n");
    place.write("union/etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
    place.write("union/home/me/.ssh/id_ed25519", KEY);
    place.write("union/home/me/.ssh/id_ed25519.pub", b"ssh-ed25519 AAAA\n");
    place.write("union/home/me/deploy", KEY);
    place.write("union/home/me/.bash_history", b"ls\n");
}

/// What the save of that has not.
const WITHOUT: &[&str] = &[
    "tmp",
    "var/log/syslog",
    "var/log/new/x",
    "var/cache/apt/pkgcache.bin",
    "etc/shadow",
    "etc/machine-id",
    "home/me/.ssh/id_ed25519",
    "home/me/deploy",
    "home/me/.bash_history",
];

const SECRETS: &[&str] = &[
    "/etc/machine-id (machine id)",
    "/etc/shadow (password hashes)",
    "/home/me/.bash_history (history)",
    "/home/me/.ssh/id_ed25519 (private key)",
    "/home/me/deploy (private key)",
];

#[test]
fn a_save_does_what_the_changes_did() {
    let place = base();
    let before = session(&place, &["base"], Some("upper"), |place| {
        work(place);
        shown(place, WITHOUT)
    });
    let (code, stdout, stderr) = place.livekit(&["savechanges", "--changes", "upper", "mine"]);
    assert_eq!((code, stdout.as_str()), (0, "mine.sb\n"), "{stderr}");
    for secret in SECRETS {
        assert!(stderr.contains(&format!("\n  {secret}\n")), "{secret} is not named:\n{stderr}");
    }
    assert!(stderr.contains("warning: 5 secrets left out"), "{stderr}");
    assert!(
        stderr.contains("Left out 4 files, 97.7 KiB: caches 97.7 KiB, logs 9 B, temporary files 10 B"),
        "{stderr}"
    );
    let (after, all) =
        session(&place, &["mine.sb", "base"], None, |place| (shown(place, WITHOUT), shown(place, &[])));
    assert_eq!(after, before);
    // Of what is left out, the base's is there, or nothing.
    let has = |name: &str| all.iter().any(|line| line.starts_with(&format!("./{name} ")));
    assert!(has("etc/shadow") && has("var/log/syslog") && has("var/log/new") && has("var/cache/apt"));
    for name in ["tmp", "etc/machine-id", "home/me/deploy", "var/log/new/x", "opt/old/b", "opt/away", "file"]
    {
        assert!(!has(name), "{name}");
    }
    // For others as well.
    let list = place.run("unsquashfs", &["-lls", "-d", "", "mine.sb"]);
    let whiteout = |name: &str| {
        list.lines().any(|line| line.starts_with("c---------") && line.ends_with(&format!(" /{name}")))
    };
    assert!(whiteout("etc/gone") && whiteout("opt/away") && whiteout("file"), "{list}");
    let names = place.run("unsquashfs", &["-l", "-d", "", "mine.sb"]);
    for name in ["etc/shadow", "tmp", "home/me/deploy"] {
        assert!(!names.lines().any(|line| line == format!("/{name}")), "{name} is in\n{names}");
    }
    place.run("unsquashfs", &["-quiet", "-no-progress", "-d", "unpacked", "mine.sb"]);
    let attributes = place.run("getfattr", &["-Rdhm", "^trusted", "unpacked"]);
    let lines: Vec<_> = attributes.lines().filter(|line| line.starts_with("trusted.")).collect();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| *line == "trusted.overlay.opaque=\"y\""),
        "{attributes}"
    );
}

#[test]
fn the_user_decides_what_else_is_saved() {
    let place = base();
    session(&place, &["base"], Some("upper"), work);
    let names = |arguments: &[&str], name: &str| {
        let all = [&["savechanges", "--changes", "upper", name][..], arguments].concat();
        let (code, _, stderr) = place.livekit(&all);
        assert_eq!(code, 0, "{stderr}");
        place.run("unsquashfs", &["-l", "-d", "", name])
    };
    let has = |list: &str, name: &str| list.lines().any(|line| line == name);
    let list = names(&["--with-secrets", "--exclude", "/home/me/deploy", "--include", "/tmp"], "1.sb");
    for (name, expected) in [
        ("/etc/shadow", true),
        ("/home/me/.ssh/id_ed25519", true),
        ("/home/me/deploy", false),
        ("/tmp/x", true),
        ("/var/cache/apt/pkgcache.bin", false),
    ] {
        assert_eq!(has(&list, name), expected, "{name}: {list}");
    }
    let take = ["/etc/**", "/etc/shadow", "/home/me/deploy", "/var/cache/apt/pkgcache.bin"];
    let list = names(&take.map(|pattern| ["--include", pattern]).concat(), "2.sb");
    for (name, expected) in [
        ("/etc/shadow", true),
        ("/etc/machine-id", false),
        ("/home/me/deploy", true),
        ("/home/me/.ssh/id_ed25519", false),
        ("/var/cache/apt/pkgcache.bin", true),
        ("/tmp/x", false),
    ] {
        assert_eq!(has(&list, name), expected, "{name}: {list}");
    }
}

#[test]
fn three_saves_become_one() {
    let place = base();
    let save = |upper: &str, name: &str, merge: &[&str]| {
        let merge = if merge.is_empty() { vec![] } else { [&["--merge"], merge].concat() };
        let all = [&["savechanges", "-q", "--changes", upper, name][..], &merge].concat();
        let (code, stdout, stderr) = place.livekit(&all);
        assert_eq!((code, stdout.trim()), (0, name), "{stderr}");
    };
    let remove = |name: &str| fs::remove_file(place.path(format!("union/{name}"))).unwrap();
    let remove_all = |name: &str| fs::remove_dir_all(place.path(format!("union/{name}"))).unwrap();
    session(&place, &["base"], Some("upper1"), |place| {
        place.write("union/etc/hostname", b"first\n");
        place.write("union/srv/first/a", b"1\n");
        place.write("union/srv/first/b", b"1\n");
        place.write("union/srv/both", b"1\n");
        // Opaque from here on.
        remove_all("opt/old");
        place.write("union/opt/old/new", b"1\n");
        remove_all("opt/back");
        remove("etc/gone");
    });
    save("upper1", "1.sb", &[]);
    session(&place, &["1.sb", "base"], Some("upper2"), |place| {
        place.write("union/etc/hostname", b"second\n");
        // In a folder that is opaque further down, and not here.
        place.write("union/opt/old/newer", b"2\n");
        // What was removed comes back, without what it had.
        place.write("union/opt/back/y", b"2\n");
        remove("srv/first/a");
        fs::rename(place.path("union/srv/both"), place.path("union/srv/moved")).unwrap();
        remove_all("opt/away");
    });
    save("upper2", "2.sb", &[]);
    let before = session(&place, &["2.sb", "1.sb", "base"], Some("upper3"), |place| {
        place.write("union/etc/gone", b"back\n");
        remove("opt/old/new");
        place.write("union/srv/moved", b"3\n");
        remove_all("srv/first");
        remove("file");
        place.write("union/file/x", b"a folder now\n");
        shown(place, &[])
    });
    save("upper3", "all.sb", &["1.sb", "2.sb"]);
    let after = session(&place, &["all.sb", "base"], None, |place| shown(place, &[]));
    assert_eq!(after, before);
    let names = after.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    for name in ["./opt/old/a ", "./opt/back/x ", "./srv/first ", "./srv/both ", "./opt/away "] {
        assert!(!names.contains(name), "{name} is back");
    }
    // What took something away in an earlier save still does.
    let list = place.run("unsquashfs", &["-lls", "-d", "", "all.sb"]);
    let whiteout = |name: &str| list.lines().any(|line| line.starts_with('c') && line.ends_with(name));
    assert!(whiteout(" /opt/away") && whiteout(" /srv/both"), "{list}");
    for old in ["1.sb", "2.sb"] {
        assert!(place.path(old).exists(), "{old}");
    }
}

#[test]
fn snapshots_below_the_changes_are_saved_with_them() {
    let place = base();
    session(&place, &["base"], Some("s/past/1"), |place| {
        work(place);
        place.write("union/srv/snapshot", b"1\n");
        place.write("union/srv/removed", b"1\n");
    });
    let before = session(&place, &["s/past/1", "base"], Some("s/upper"), |place| {
        place.write("union/etc/hostname", b"later\n");
        fs::remove_file(place.path("union/srv/removed")).unwrap();
        fs::remove_file(place.path("union/srv/base")).unwrap();
        shown(place, WITHOUT)
    });
    let (code, _, stderr) = place.livekit(&["savechanges", "--changes", "s/upper", "all.sb"]);
    assert_eq!(code, 0, "{stderr}");
    for secret in SECRETS {
        assert!(stderr.contains(&format!("\n  {secret}\n")), "{secret} is not named:\n{stderr}");
    }
    let after = session(&place, &["all.sb", "base"], None, |place| shown(place, WITHOUT));
    assert_eq!(after, before);
    assert!(after.iter().any(|line| line.starts_with("./srv/snapshot ")));
}

#[test]
fn secrets_of_earlier_saves_stay_out() {
    let place = base();
    session(&place, &["base"], Some("upper1"), work);
    session(&place, &["base"], Some("upper2"), |place| place.write("union/etc/x", b"x"));
    let (code, _, stderr) =
        place.livekit(&["savechanges", "--with-secrets", "--include", "/tmp", "--changes", "upper1", "1.sb"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = place.livekit(&["savechanges", "--changes", "upper2", "2.sb", "--merge", "1.sb"]);
    assert_eq!(code, 0, "{stderr}");
    for secret in SECRETS {
        assert!(stderr.contains(&format!("\n  {secret}\n")), "{secret} is not named:\n{stderr}");
    }
    let names = place.run("unsquashfs", &["-l", "-d", "", "2.sb"]);
    for (name, expected) in [
        ("/etc/shadow", false),
        ("/home/me/deploy", false),
        ("/tmp", false),
        ("/etc/x", true),
        ("/home/me/notes", true),
    ] {
        assert_eq!(names.lines().any(|line| line == name), expected, "{name}: {names}");
    }
}

#[test]
fn a_dry_run_tells_all_and_writes_nothing() {
    let place = base();
    session(&place, &["base"], Some("upper"), work);
    let before = place.names("");
    let (code, stdout, stderr) = place.livekit(&["savechanges", "--changes", "upper", "--dry-run", "mine"]);
    assert_eq!((code, place.names("")), (0, before.clone()), "{stderr}");
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        "mine.sb would have, not compressed:",
        "/etc 2 files 5 B",
        "/home 4 files 22 B",
        "/ 1 file 0 B",
        "caches 1 file 97.7 KiB",
        "logs 2 files 9 B",
        "/home/me/deploy (private key)",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        assert!(lines.contains(&words), "{line} is not in\n{stdout}");
    }
    let (code, stdout, stderr) =
        place.livekit(&["savechanges", "--changes", "upper", "--dry-run", "--json", "mine"]);
    assert_eq!((code, place.names("")), (0, before), "{stderr}");
    let dry: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let (code, stdout, stderr) = place.livekit(&["savechanges", "--changes", "upper", "--json", "mine"]);
    assert_eq!(code, 0, "{stderr}");
    let saved: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((dry["dry_run"].as_bool(), saved["dry_run"].as_bool()), (Some(true), Some(false)));
    assert_eq!(saved["bytes"].as_u64(), Some(place.size("mine.sb")));
    for part in ["file", "packed", "left_out", "secrets"] {
        assert_eq!(dry[part], saved[part], "{part}");
    }
    assert_eq!(dry["left_out"]["bytes"], 100_019);
    assert_eq!(dry["secrets"].as_array().unwrap().len(), 5);
    assert_eq!(dry["packed"]["opaque"], 1);
}

#[test]
fn copies_of_active_bundles_are_not_the_users() {
    let place = base();
    session(&place, &["base"], Some("changes/upper"), |place| {
        for name in ["same", "changed"] {
            place.write(&format!("union/var/lib/app/{name}"), b"of the bundle\n");
        }
    });
    let entry = |name: &str| {
        let about = fs::symlink_metadata(place.path(format!("changes/upper/{name}"))).unwrap();
        let (length, modified) =
            if about.is_dir() { (0, (0, 0)) } else { (about.len(), (about.mtime(), about.mtime_nsec())) };
        serde_json::json!({"bundle": "app.sb", "path": name, "looks": {
            "mode": about.mode(), "owner": [about.uid(), about.gid()], "length": length,
            "modified": [modified.0, modified.1]}})
    };
    let entries = ["var/lib/app", "var/lib/app/same", "var/lib/app/changed"].map(entry);
    place.write(
        "changes/livekit/copies.json",
        serde_json::json!({ "entries": entries }).to_string().as_bytes(),
    );
    place.write("changes/upper/var/lib/app/changed", b"mine\n");
    let (code, _, stderr) = place.livekit(&["savechanges", "--changes", "changes/upper", "x.sb"]);
    assert_eq!(code, 0, "{stderr}");
    let names = place.run("unsquashfs", &["-l", "-d", "", "x.sb"]);
    assert!(names.contains("/var/lib/app/changed\n") && !names.contains("/var/lib/app/same"), "{names}");
}
