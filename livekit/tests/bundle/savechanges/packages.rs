//! Packages of a session: the save has a fragment of the user's own, and no whole database.

use super::{base, session};
use crate::place::Place;

const STATUS: &str = "usr/share/livekit/dpkg/status";

fn package(name: &str, version: &str) -> String {
    format!("Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: {version}\n")
}

/// A database, of packages as `a=1 b=2`.
fn status(words: &str) -> String {
    let paragraph = |word: &str| {
        let (name, version) = word.split_once('=').unwrap();
        package(name, version) + "\n"
    };
    words.split(' ').map(paragraph).collect()
}

/// A session in which apt was used, over a base with dpkg, while the bundle 20-v.sb was active.
fn with_session() -> Place {
    let place = base();
    place.write("base/var/lib/dpkg/status", status("a=1 b=1 c=1").as_bytes());
    place.write("base/var/lib/dpkg/diversions", b"/x\n/x.real\na\n");
    place.write("base/var/lib/dpkg/info/b.list", b"/b1\n");
    session(&place, &["base"], Some("changes/upper"), |place| {
        let put = |name: &str, text: &str| {
            place.write(&format!("union/var/lib/dpkg/{name}"), text.as_bytes());
        };
        put("status", &status("a=1 b=2 n=1 v=1 w=2"));
        put("status-old", &status("a=1"));
        put("available", "x");
        put("diversions", "/x\n/x.real\na\n/n\n/n.real\nn\n");
        put("triggers/File", "/usr/share/n n\n");
        put("triggers/Unincorp", "");
        put("info/b.list", "/b2\n");
        put("info/n.list", "/n\n");
    });
    // v as it was merged; w was upgraded by the user; u was removed.
    let record: String = ["v=1", "w=1", "u=1"]
        .map(|word| {
            let (name, version) = word.split_once('=').unwrap();
            let lines: String = package(name, version).lines().map(|line| format!(" {line}\n")).collect();
            format!("status merged 20-v.sb\n{lines}")
        })
        .concat();
    place.write("changes/livekit/dpkg", format!("livekit-dpkg 1\n{record}").as_bytes());
    place
}

const OWN: &str = "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2\nLivekit-Replaces: 1\n\n\
    Package: n\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
    Package: w\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n\n\
    Status: purge ok not-installed\nPackage: c\nArchitecture: all\nLivekit-Replaces: 1\n\n\
    Status: purge ok not-installed\nPackage: u\nArchitecture: all\nLivekit-Replaces: 1\n";

fn files(place: &Place, bundle: &str) -> Vec<String> {
    let list = place.run("unsquashfs", &["-lls", "-d", "", bundle]);
    let is_dpkg = |name: &&str| name.starts_with("/var/lib/dpkg") || name.starts_with("/usr/share/livekit");
    let files = list.lines().filter(|line| line.starts_with('-'));
    files.filter_map(|line| line.rsplit(' ').next()).filter(is_dpkg).map(str::to_owned).collect()
}

fn fragment(place: &Place, bundle: &str, path: &str) -> String {
    place.run("unsquashfs", &["-cat", bundle, path])
}

#[test]
fn a_save_has_the_users_packages_and_no_others() {
    let place = with_session();
    let save = |arguments: &[&str]| {
        let all = [&["savechanges", "--changes", "changes/upper"][..], arguments].concat();
        place.livekit(&all)
    };
    let (code, _, stderr) = save(&["x.sb"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("it is not known what they lie over") && stderr.contains("--base"), "{stderr}");
    // The base as a folder, and as a bundle that is not mounted.
    assert_eq!(place.livekit(&["bundle", "pack", "-q", "base", "base.sb"]).0, 0);
    for (base, name) in [("base", "1.sb"), ("base.sb", "2.sb")] {
        let (code, _, stderr) = save(&[name, "--base", base]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("dpkg's whole databases"), "{stderr}");
        assert_eq!(
            files(&place, name),
            [
                "/usr/share/livekit/dpkg/diversions",
                "/usr/share/livekit/dpkg/status",
                "/usr/share/livekit/dpkg/triggers/File",
                "/var/lib/dpkg/info/b.list",
                "/var/lib/dpkg/info/n.list",
            ]
        );
        assert_eq!(fragment(&place, name, STATUS), OWN);
        assert_eq!(fragment(&place, name, "usr/share/livekit/dpkg/diversions"), "/n\n/n.real\nn\n");
        assert_eq!(fragment(&place, name, "usr/share/livekit/dpkg/triggers/File"), "/usr/share/n n\n");
    }
    let same = |one: &str, other: &str| {
        std::fs::read(place.path(one)).unwrap() == std::fs::read(place.path(other)).unwrap()
    };
    assert!(same("1.sb", "2.sb") || place.livekit(&["bundle", "diff", "1.sb", "2.sb"]).0 == 0);
    // As the user wants it: whole, or not at all.
    let (code, _, stderr) = save(&["whole.sb", "--include", "/var/lib/dpkg/*"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fragment(&place, "whole.sb", "var/lib/dpkg/status"), status("a=1 b=2 n=1 v=1 w=2"));
    let (code, _, stderr) = save(&["none.sb", "--exclude", "/var/lib/dpkg"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(files(&place, "none.sb").is_empty());
}

#[test]
fn of_a_database_in_snapshots_too_the_last_one_counts() {
    let place = with_session();
    std::fs::create_dir(place.path("changes/past")).unwrap();
    std::fs::rename(place.path("changes/upper"), place.path("changes/past/1")).unwrap();
    place.write("changes/upper/etc/x", b"x");
    let save = |name: &str| {
        let (code, _, stderr) =
            place.livekit(&["savechanges", "-q", "--changes", "changes/upper", "--base", "base", name]);
        assert_eq!(code, 0, "{stderr}");
        fragment(&place, name, STATUS)
    };
    assert_eq!(save("1.sb"), OWN);
    place.write("changes/upper/var/lib/dpkg/status", status("a=1 b=1 c=1 v=1 w=1 u=1 o=1").as_bytes());
    assert_eq!(save("2.sb"), package("o", "1"));
}

#[test]
fn fragments_of_earlier_saves_are_merged() {
    let place = with_session();
    let upper = ["savechanges", "-q", "--base", "base", "--changes"];
    let save = |arguments: &[&str]| {
        let (code, _, stderr) = place.livekit(&[&upper[..], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
    };
    save(&["changes/upper", "1.sb"]);
    // The next session has n upgraded and o new, and w, which 1.sb has, removed.
    place.write("next/upper/var/lib/dpkg/status", status("a=1 b=2 n=2 o=1").as_bytes());
    let merged = |name: &str, version: &str, replaced: &str| {
        let lines = |mark: &str, text: &str| -> String {
            text.lines().map(|line| format!("{mark}{line}\n")).collect()
        };
        let replaced = if replaced.is_empty() { String::new() } else { lines("-", &package(name, replaced)) };
        format!("status merged 1.sb\n{}{replaced}", lines(" ", &package(name, version)))
    };
    let away = "status merged 1.sb\n Status: purge ok not-installed\n Package: c\n Architecture: all\n";
    let gone: String = package("c", "1").lines().map(|line| format!("-{line}\n")).collect();
    let record = [
        "livekit-dpkg 1\n",
        &merged("b", "2", "1"),
        &merged("n", "1", ""),
        &merged("w", "2", ""),
        away,
        &gone,
    ]
    .concat();
    place.write("next/livekit/dpkg", record.as_bytes());
    save(&["next/upper", "2.sb", "--merge", "1.sb"]);
    let found = fragment(&place, "2.sb", STATUS);
    let words: Vec<String> = found
        .split("\n\n")
        .map(|paragraph| {
            let value = |name: &str| {
                paragraph.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim).to_owned()
            };
            format!("{}={}/{}", value("Package:"), value("Version:"), value("Livekit-Replaces:"))
        })
        .collect();
    assert_eq!(words, ["b=2/1", "c=/1", "u=/1", "n=2/", "o=1/", "w=/2"], "{found}");
    // An earlier save with a whole database, as they once were.
    save(&["changes/upper", "old.sb", "--include", "/var/lib/dpkg/status"]);
    place.write("next/livekit/dpkg", record.replace("1.sb", "old.sb").as_bytes());
    save(&["next/upper", "3.sb", "--merge", "old.sb"]);
    assert!(!files(&place, "3.sb").contains(&"/var/lib/dpkg/status".to_owned()));
    let found = fragment(&place, "3.sb", STATUS);
    assert!(found.contains("Package: b\n") && found.contains("Package: o\n"), "{found}");
    assert!(!found.contains("Package: a\n"), "{found}");
}
