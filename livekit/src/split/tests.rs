//! Rules applied to small roots, some with a package database.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Config;

/// A root with merged /usr: `desk` and `desk-data` are a desktop, `base` is the system; `vim` was removed, `lost` has
/// no list.
fn debian() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("usr/lib")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("/../../etc", root.join("usr/conf")).unwrap();
    for folder in ["var/lib/desk/spool", "usr/share/themes", "usr/share/shared", "srv"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in [
        "usr/bin/desk",
        "usr/bin/sh",
        "usr/bin/edit.desk",
        "usr/bin/edit",
        "usr/lib/desk/plugin.so",
        "usr/lib/libc.so",
        "usr/lib/firmware/a.bin",
        "usr/share/doc/desk/copyright",
        "usr/share/icons/hicolor/desk.png",
        "usr/share/icons/hicolor/base.png",
        "etc/desk.conf",
        "var/lib/desk/made-later",
    ] {
        write(root, file, "1234");
    }
    symlink("desk", root.join("usr/share/doc/desk-data")).unwrap();
    let info = "var/lib/dpkg/info";
    for (list, paths) in [
        (
            "desk:amd64",
            "/.\n/usr\n/usr/bin\n/usr/bin/desk\n/usr/bin/edit\n/lib\n/lib/desk\n/lib/desk/plugin.so\n/usr/share\n\
             /usr/share/doc\n/usr/share/doc/desk\n/usr/share/doc/desk/copyright\n/usr/conf\n/usr/conf/desk.conf\n\
             /usr/share/shared\n/usr/share/gone\n/../../../../etc/passwd\n/var/lib/desk\n/var/lib/desk/spool\n",
        ),
        (
            "desk-data",
            "/.\n/usr\n/usr/share\n/usr/share/icons\n/usr/share/icons/hicolor\n/usr/share/icons/hicolor/desk.png\n\
             /usr/share/themes\n/usr/share/doc\n/usr/share/doc/desk-data\n/lib\n",
        ),
        (
            "base",
            "/.\n/usr\n/usr/bin\n/usr/bin/sh\n/lib\n/lib/libc.so\n/usr/share\n/usr/share/shared\n\
             /usr/share/icons\n/usr/share/icons/hicolor\n/usr/share/icons/hicolor/base.png\n",
        ),
        ("vim", "/usr/bin/edit\n"),
    ] {
        write(root, &format!("{info}/{list}.list"), paths);
    }
    let package =
        |(name, status): (&str, &str)| format!("Package: {name}\nStatus: {status}\nArchitecture: amd64\n\n");
    let installed = "install ok installed";
    let status: String = [
        ("desk", installed),
        ("desk-data", installed),
        ("base", installed),
        ("lost", installed),
        ("vim", "deinstall ok not-installed"),
    ]
    .map(package)
    .concat();
    write(root, "var/lib/dpkg/status", &status);
    write(root, "var/lib/dpkg/diversions", "/usr/bin/edit\n/usr/bin/edit.desk\nbase\n");
    dir
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The split of `root` by the tables of a configuration, and its warnings.
fn split(root: &Path, tables: &str) -> (Split, Vec<String>) {
    let mut warnings = Vec::new();
    let rules = Config::parse(tables).unwrap().split;
    (Split::new(&rules, root, &mut warnings).unwrap(), warnings)
}

/// All paths of `root` that are not the core's, with the digit their bundle's name has second.
fn taken(root: &Path, split: &Split) -> BTreeMap<String, char> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            let is_dir = entry.file_type().unwrap().is_dir();
            let (part, _) = split.of(&path, is_dir);
            if part != Part::CORE {
                let digit = split.bundle(part).chars().nth(1).unwrap();
                found.insert(path.to_str().unwrap().to_owned(), digit);
            }
            if is_dir {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn who_takes_what() {
    let dir = debian();
    let table: &[(&str, &str)] = &[
        ("", "usr/lib/firmware/a.bin 1"),
        ("bundle = []", ""),
        (
            // The link /lib stays with the core; what another package pushed aside is where it went.
            "[[bundle]]\nname = '05-desk'\npackages = ['desk']",
            "etc 5, etc/desk.conf 5, usr/bin/desk 5, usr/bin/edit.desk 5, usr/lib/desk 5, usr/lib/desk/plugin.so 5, \
             usr/share/doc/desk 5, usr/share/doc/desk/copyright 5, var/lib/desk 5, var/lib/desk/spool 5",
        ),
        (
            // It has /lib alone in its list, as base-files does: others need the link, too.
            "[[bundle]]\nname = '05-desk'\npackages = ['desk-*']",
            "usr/share/doc/desk-data 5, usr/share/icons/hicolor/desk.png 5, usr/share/themes 5",
        ),
        (
            // The first rule has it, whatever the second says; `!` leaves it to the next.
            "[[bundle]]\nname = '03-a'\npackages = ['desk:amd64']\npaths = ['!/usr/share/doc', '!/usr/bin']\n\
             [[bundle]]\nname = '04-b'\npackages = ['desk*']\npaths = ['/var', '!/var/lib/dpkg', '*.png']",
            "etc 3, etc/desk.conf 3, usr/bin/desk 4, usr/bin/edit.desk 4, usr/lib/desk 3, usr/lib/desk/plugin.so 3, \
             usr/share/doc 4, usr/share/doc/desk 4, usr/share/doc/desk-data 4, usr/share/doc/desk/copyright 4, \
             usr/share/icons/hicolor/base.png 4, usr/share/icons/hicolor/desk.png 4, usr/share/themes 4, var 4, \
             var/lib 4, var/lib/desk 3, var/lib/desk/made-later 4, var/lib/desk/spool 3",
        ),
        (
            "[[bundle]]\nname = '06-icons'\npaths = ['usr/share/icons/*/desk.*', '/usr/lib/desk/', '/etc/desk.conf/']",
            "usr/lib/desk 6, usr/lib/desk/plugin.so 6, usr/share/icons/hicolor/desk.png 6",
        ),
    ];
    for (tables, expected) in table {
        let (split, _) = split(dir.path(), tables);
        let found: Vec<String> =
            taken(dir.path(), &split).into_iter().map(|(path, part)| format!("{path} {part}")).collect();
        assert_eq!(found.join(", "), *expected, "{tables}");
    }
}

#[test]
fn what_is_named_in_vain_is_told() {
    let dir = debian();
    for (tables, expected) in [
        ("", &[][..]),
        (
            "[[bundle]]\nname = '05-x'\npackages = ['desk', 'vim', 'lo*']",
            &[
                "05-x.sb: no package of the root is called `vim` (line 3)",
                "lost:amd64: dpkg has no list of its files",
            ],
        ),
        (
            "[[bundle]]\nname = '05-x'\npaths = ['/lib/desk/**', '/lib', 'lib/**', '/usr/lib/**', '!/lib/x', 'ü/x']",
            &[
                "05-x.sb: `/lib/desk/**` (line 3) leads through /lib, which is a link: name the place it leads to",
                "05-x.sb: `lib/**` (line 3) leads through /lib, which is a link: name the place it leads to",
            ],
        ),
    ] {
        assert_eq!(split(dir.path(), tables).1, expected, "{tables}");
    }
}

#[test]
fn packages_need_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Config::parse("\n[[bundle]]\nname = '05-x'\npackages = ['vim']").unwrap().split;
    let error = Split::new(&rules, dir.path(), &mut Vec::new()).unwrap_err();
    let root = dir.path().display();
    assert_eq!(
        error.message(),
        format!("05-x.sb (line 2) takes Debian packages, and {root} has no var/lib/dpkg/status")
    );
    assert_eq!(error.hint_text(), Some("a root without dpkg can be split by `paths` alone"));
}

#[test]
fn every_file_is_in_one_bundle_and_the_way_to_it_too() {
    let dir = debian();
    let (split, _) = split(
        dir.path(),
        "[[bundle]]\nname = '03-a'\npackages = ['desk']\npaths = ['*.png']\n\
         [[bundle]]\nname = '05-b'\npaths = ['/usr/share/**', '!/usr/share/doc']",
    );
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    for part in split.parts() {
        for (path, metadata) in chosen(dir.path(), &split, part) {
            let path = path.to_str().unwrap().to_owned();
            if metadata.is_dir() {
                folders.entry(path).or_default().push_str(&split.bundle(part)[1..2]);
            } else {
                *files.entry(path).or_default() += 1;
            }
        }
    }
    assert!(files.values().all(|&count| count == 1), "{files:?}");
    assert_eq!(files.len(), 21, "{files:?}");
    for (path, bundles) in [
        ("usr", "035"),
        ("usr/bin", "03"),
        ("usr/lib/desk", "3"),
        ("usr/share/doc", "03"),
        ("usr/share/doc/desk", "3"),
        ("usr/share/icons/hicolor", "35"),
        ("usr/share/themes", "5"),
        ("usr/share/shared", "5"),
        ("var/lib/desk", "03"),
        ("var/lib/desk/spool", "3"),
        ("srv", "0"),
        ("usr/lib/firmware", "0"),
    ] {
        assert_eq!(folders.get(path).map(String::as_str), Some(bundles), "{path}");
    }
}

/// What a bundle of `part` has, as the packing chooses it.
fn chosen(root: &Path, split: &Split, part: Part) -> Vec<(PathBuf, Metadata)> {
    fn walk(root: &Path, folder: &Path, split: &Split, part: Part, found: &mut Vec<(PathBuf, Metadata)>) {
        let selection = Selection::of_everything(root);
        for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            let metadata = entry.metadata().unwrap();
            let wanted = split.wants(part, &path, &metadata, &selection);
            if wanted == Wanted::Skip {
                continue;
            }
            let before = found.len();
            if metadata.is_dir() {
                walk(root, &path, split, part, found);
            }
            if wanted == Wanted::Keep || found.len() > before {
                found.push((path, metadata));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, Path::new(""), split, part, &mut found);
    found
}

#[test]
fn where_patterns_begin() {
    for (pattern, top) in [
        ("/usr/share/icons/**", "usr/share/icons"),
        ("usr/share/icons", "usr/share/icons"),
        ("/usr/lib*/x", "usr"),
        ("/usr/{a,b}/x", "usr"),
        ("/usr/a\\[b/x", "usr"),
        ("/usr", "usr"),
        ("usr/", ""),
        ("*.mo", ""),
        ("**/locale/**", ""),
        ("!/usr/share", "usr/share"),
        ("!*.mo", ""),
    ] {
        let pattern = Pattern { text: pattern.to_owned(), line: None };
        assert_eq!(pattern.beginning(), Path::new(top), "{}", pattern.text);
    }
}
