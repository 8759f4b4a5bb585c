//! The union as a file system: what Documentation/filesystems/overlayfs.rst promises, in the root's overlay, in a cover as
//! the boot made it, in one that was switched, and in one of a folder that a bundle brought.

use tests::{Guest, Nest};

/// What each place has at the start, in two layers: the names say which one.
const LOW: &[(&str, &str)] = &[
    ("low", "low\n"),
    ("both", "low\n"),
    ("d/low", "low\n"),
    ("d/sub/deep", "deep\n"),
    ("gone/x", "x\n"),
    ("file-or-dir/x", "x\n"),
    ("link-a", "linked\n"),
];
const HIGH: &[(&str, &str)] = &[("both", "high\n"), ("d/high", "high\n"), ("high", "high\n")];

/// A thing to do in a fresh copy of the place, and what it says. `$?` of the last command is not asked: scripts print it.
const CASES: &[(&str, &str, &str)] = &[
    ("layers are merged", "cat both low high; ls d", "high\nlow\nhigh\nhigh\nlow\nsub\n"),
    ("append copies up", "echo more >> low; cat low", "low\nmore\n"),
    ("truncate", ": > both; wc -c < both", "0\n"),
    ("mode and owner", "chmod 640 low; chown 7:8 low; stat -c '%a %u:%g' low; cat low", "640 7:8\nlow\n"),
    ("times", "touch -d '2020-01-02 03:04:05' low; stat -c %Y low; cat low", "1577934245\nlow\n"),
    ("rename over a lower file", "echo new > n; mv n low; cat low; ls | grep -c '^n$'", "new\n0\n"),
    (
        "rename of a lower file",
        "mv low moved; cat moved; ls low 2>&1",
        "low\nls: low: No such file or directory\n",
    ),
    ("rename over from the lower", "mv low both; cat both; [ -e low ] || echo gone", "low\ngone\n"),
    (
        "rename of a lower directory",
        "mv d e; cat e/low e/high e/sub/deep; [ -e d ] || echo gone",
        "low\nhigh\ndeep\ngone\n",
    ),
    ("hard link of a lower file", "ln low l; stat -c %h low; echo more >> l; cat low", "2\nlow\nmore\n"),
    ("hard link over a removed name", "rm low; echo a > x; ln x low; cat low; stat -c %h x", "a\n2\n"),
    ("removed and made anew", "rm low; [ -e low ] || echo gone; echo new > low; cat low", "gone\nnew\n"),
    ("not empty", "rmdir gone 2>&1", "rmdir: 'gone': Directory not empty\n"),
    (
        "emptied and removed",
        "rm gone/x; rmdir gone; [ -e gone ] || echo gone; ls | grep -c gone",
        "gone\n0\n",
    ),
    (
        "an opaque directory",
        "rm -r d; mkdir d; ls d; echo new > d/new; ls d; ls d/sub 2>&1",
        "new\nls: d/sub: No such file or directory\n",
    ),
    ("a directory in the place of a file", "rm low; mkdir low; echo x > low/x; ls low", "x\n"),
    ("a file in the place of a directory", "rm -r file-or-dir; echo f > file-or-dir; cat file-or-dir", "f\n"),
    (
        "a link in the place of a file",
        "rm low; ln -s high low; cat low; echo more >> low; cat high",
        "high\nhigh\nmore\n",
    ),
    (
        "a directory moved over an empty one",
        "mkdir n; echo x > n/x; rm -r gone; mkdir gone; mv n/x gone/; ls gone",
        "x\n",
    ),
    (
        "copied up while it is read",
        "exec 3<low; echo more >> low; cat <&3; cat low",
        "low\nmore\nlow\nmore\n",
    ),
    (
        "copied up while it is written",
        "exec 3>>low 4<low; echo a >&3; cat <&4; echo b >> low; cat low",
        "low\na\nlow\na\nb\n",
    ),
    ("removed while it is open", "exec 3<>low; rm low; cat <&3; echo x > low; cat low", "low\nx\n"),
    (
        "the directory of a removed one",
        "cd gone; rm ../gone/x; rmdir ../gone; ls 2>&1; echo x 2>/dev/null > y || echo refused",
        "refused\n",
    ),
    (
        "a pipe and a device",
        "mkfifo p; mknod z c 1 3; echo x > z; stat -c '%F' p z",
        "fifo\ncharacter special file\n",
    ),
    (
        "a mark of removal cannot be made by hand",
        "mknod w c 0 0 2>/dev/null; [ -e w ] && echo seen; rm -f w; echo done",
        "done\n",
    ),
    (
        "an attribute of a lower file",
        "/usr/bin/init xattr low user.note hello; /usr/bin/init xattr low user.note; cat low",
        "hello\nlow\n",
    ),
    ("the overlay's own attributes are not shown", "/usr/bin/init xattr d trusted.overlay.opaque", "none\n"),
    ("deep copy up", "echo x > d/sub/new; ls d/sub; cat d/sub/deep", "deep\nnew\ndeep\n"),
    (
        "a large file",
        "dd if=/dev/zero of=big bs=64k count=16 2>/dev/null; truncate -s 3M big; stat -c %s big; rm big",
        "3145728\n",
    ),
    ("listed once", "echo x >> both; echo x >> d/low; ls both d | sort | uniq -d", ""),
];

fn bundle(place: &str, files: &[(&str, &str)]) -> Vec<(String, String)> {
    let folders = (0..CASES.len()).map(|case| format!("{place}/c{case:02}"));
    folders
        .flat_map(|folder| {
            files.iter().map(move |(path, text)| (format!("{folder}/{path}"), (*text).to_owned()))
        })
        .collect()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

/// Does every case below `place`.
fn holds(guest: &mut Guest, place: &str) {
    for (case, (name, script, expected)) in CASES.iter().enumerate() {
        let script = format!("cd /{place}/c{case:02} || exit 9\n{script}\nexit 0");
        let ran = guest.try_run(&["/bin/sh", "-c", &script]);
        assert_eq!(ran.status, Some(0), "{name} in /{place}: {ran:#?}");
        assert_eq!(ran.stdout, *expected, "{name} in /{place}: {}", ran.stderr);
    }
}

fn livekit(guest: &mut Guest, words: &str) {
    let line: Vec<&str> = ["/usr/bin/livekit"].into_iter().chain(words.split(' ')).collect();
    guest.run(&line);
}

#[test]
fn it_is_a_file_system_wherever_it_is() {
    // Two bundles of the boot for the root's overlay and a cover; two more for a cover that is switched and a new one.
    let boot = ["var/place", "usr/place"];
    let late = ["opt/place", "fresh/place"];
    let files =
        |places: &[&str], files| places.iter().flat_map(|place| bundle(place, files)).collect::<Vec<_>>();
    let mut nest = Nest::new()
        .medium(|medium| {
            let medium = medium.bundle("livekit/modules/10-low.sb", &borrowed(&files(&boot, LOW)));
            let medium = medium.bundle("livekit/modules/20-high.sb", &borrowed(&files(&boot, HIGH)));
            let medium = medium.bundle("livekit/optional/30-low.sb", &borrowed(&files(&late, LOW)));
            medium.bundle("livekit/optional/40-high.sb", &borrowed(&files(&late, HIGH)))
        })
        .start();
    let guest = &mut nest.guest;
    livekit(guest, "activate 30-low");
    livekit(guest, "activate 40-high");
    for place in boot.iter().chain(&late) {
        holds(guest, place);
    }
    // Nothing of all that went into a bundle, and the changes tell the whole of it: what is seen stays so after a switch.
    let seen = |guest: &mut Guest| {
        let list = "cd /opt/place; find . -type f | sort | while read f; do echo $f; cat $f; done; find . ! -type f | sort";
        guest.run(&["/bin/sh", "-c", list])
    };
    let before = seen(guest);
    livekit(guest, "deactivate 40-high --lazy");
    livekit(guest, "activate 40-high");
    assert_eq!(seen(guest), before);
}
