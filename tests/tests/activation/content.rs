//! What is seen of bundles, and of what the user did.

use tests::{Guest, Nest};

use crate::{OPTIONAL, activate, livekit, sh, traces, with};

#[test]
fn files_come_to_every_place_and_go() {
    let files: &[(&str, &str)] = &[
        ("usr/bin/tool", "#!/bin/sh\necho tool\n"),
        ("etc/tool.conf", "conf"),
        ("opt/tool/data", "opt"),
        ("tools/new", "top"),
        ("var/lib/tool/state", "state"),
        ("var/lib/base/seed", "seed"),
        ("home/ann/note", "home"),
        ("boot/ignored", "boot"),
    ];
    let mut nest = with(&[("20-tool.sb", files)]).start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    let paths: Vec<String> = files[..7].iter().map(|(path, _)| format!("/{path}")).collect();
    for _ in 0..2 {
        let said = activate(guest, "20-tool.sb");
        assert!(said.contains("/boot of a bundle does not count"), "{said}");
        for (path, content) in &files[..7] {
            assert_eq!(guest.read(&format!("/{path}")), *content, "{path}");
        }
        assert!(!guest.exists("/boot/ignored"));
        livekit(guest, "deactivate 20-tool.sb");
        for path in &paths {
            assert!(!guest.exists(path), "{path} is still there");
        }
        assert!(!guest.exists("/tools") && !guest.exists("/var/lib/tool") && !guest.exists("/home/ann"));
        assert_eq!(traces(guest), before);
    }
    let upper = sh(guest, "find /run/initramfs/memory/changes/upper ! -type d");
    assert_eq!(upper, "", "something of the bundle is left in the changes");
}

#[test]
fn the_last_one_covers_the_others_whatever_their_numbers() {
    let mut nest = with(&[
        ("50-a.sb", &[("usr/share/x", "a"), ("etc/only-a", "a")]),
        ("20-b.sb", &[("usr/share/x", "b")]),
    ])
    .start();
    let guest = &mut nest.guest;
    activate(guest, "50-a.sb");
    activate(guest, "20-b.sb");
    assert_eq!(guest.read("/usr/share/x"), "b");
    livekit(guest, "deactivate 50-a.sb");
    assert_eq!(guest.read("/usr/share/x"), "b");
    assert!(!guest.exists("/etc/only-a"));
    livekit(guest, "deactivate 20-b.sb");
    assert!(!guest.exists("/usr/share/x"));
    // Two at once: the last one named lies on top.
    livekit(guest, &format!("activate {OPTIONAL}/20-b {OPTIONAL}/50-a.sb"));
    assert_eq!(guest.read("/usr/share/x"), "a");
    let list: serde_json::Value =
        serde_json::from_str(&livekit(guest, "list --json")).expect("the list is JSON");
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["00-core.sb", "90-livekit.sb", "20-b.sb", "50-a.sb"]);
    assert_eq!(list[2]["origin"], "activated");
    assert_eq!(list[3]["compressor"], "zstd");
    let status = livekit(guest, "status");
    assert!(status.contains("2 of the boot, 2 activated"), "{status}");
}

#[test]
fn what_the_user_did_stays_as_it_was_left() {
    let bundle: &[(&str, &str)] = &[
        ("usr/share/changed", "bundle"),
        ("usr/share/removed", "bundle"),
        ("usr/share/dir/inside", "bundle"),
        ("var/lib/app/removed", "bundle"),
        ("var/lib/app/kept", "bundle"),
        ("var/lib/base/copy", "bundle"),
        ("var/lib/base/mine", "bundle"),
    ];
    let mut nest = with(&[("20-x.sb", bundle), ("30-y.sb", &[("usr/share/other", "y")])]).start();
    let guest = &mut nest.guest;
    activate(guest, "20-x.sb");
    sh(
        guest,
        "set -e; cd /; echo mine > usr/share/changed; rm usr/share/removed; echo new > usr/share/dir/new; \
         rm var/lib/app/removed; echo mine > var/lib/app/mine; echo mine > var/lib/base/mine; mkdir opt/own",
    );
    let orders: [&[&str]; 4] = [
        &["deactivate 20-x.sb", "+20-x.sb"],
        &["+30-y.sb", "deactivate 20-x.sb", "+20-x.sb", "deactivate 30-y.sb"],
        &["deactivate 20-x.sb", "+30-y.sb", "+20-x.sb"],
        &["deactivate 30-y.sb"],
    ];
    for order in orders {
        for step in order {
            match step.strip_prefix('+') {
                Some(name) => activate(guest, name),
                None => livekit(guest, step),
            };
            // Whatever bundles are active, the user's files are there and what was removed is not.
            assert_eq!(guest.read("/usr/share/changed"), "mine\n", "{step}");
            assert_eq!(guest.read("/usr/share/dir/new"), "new\n", "{step}");
            assert_eq!(guest.read("/var/lib/app/mine"), "mine\n", "{step}");
            assert_eq!(guest.read("/var/lib/base/mine"), "mine\n", "{step}");
            assert!(guest.exists("/opt/own"));
            for gone in ["/usr/share/removed", "/var/lib/app/removed"] {
                assert!(!guest.exists(gone), "{gone} came back after {step}");
            }
        }
        assert_eq!(guest.read("/usr/share/dir/inside"), "bundle");
        assert_eq!(guest.read("/var/lib/app/kept"), "bundle");
        assert_eq!(guest.read("/var/lib/base/copy"), "bundle");
    }
    livekit(guest, "deactivate 20-x.sb");
    assert!(!guest.exists("/var/lib/app/kept") && !guest.exists("/var/lib/base/copy"));
}

/// What was tried before this was built (docs/decisions/0013): content, presence and absence that the kernel has
/// cached, with descriptors and directories held open across the switches.
#[test]
fn nothing_is_seen_as_it_was() {
    let mut nest = with(&[("20-x.sb", &[("usr/share/late", "bundle"), ("usr/share/d/x", "x")])]).start();
    let guest = &mut nest.guest;
    sh(guest, "mkdir -p /usr/share/d; for f in old gone app; do echo $f > /usr/share/d/$f; done");
    // A directory held open, a file open for appending, names cached as present and as absent.
    let holder = "exec 3</usr/share/d 4>>/usr/share/d/app; ls /usr/share/d >/dev/null; cat /usr/share/late /usr/share/d/new; \
        while ! [ -e /tmp/write ]; do sleep 0.1; done; echo held >&4; while ! [ -e /tmp/end ]; do sleep 0.1; done";
    sh(guest, &format!("({holder}) </dev/null >/dev/null 2>&1 &"));
    sh(guest, "sleep 0.3; cat /usr/share/d/old /usr/share/d/gone; ! cat /usr/share/late 2>/dev/null");
    activate(guest, "20-x.sb");
    assert_eq!(guest.read("/usr/share/late"), "bundle");
    sh(
        guest,
        "echo new > /usr/share/d/old; rm /usr/share/d/gone; echo new > /usr/share/d/new; : > /tmp/write",
    );
    sh(guest, "while ! grep -q held /usr/share/d/app; do sleep 0.1; done");
    let seen = |guest: &mut Guest| {
        assert_eq!(guest.read("/usr/share/d/old"), "new\n");
        assert_eq!(guest.read("/usr/share/d/new"), "new\n");
        assert_eq!(guest.read("/usr/share/d/app"), "app\nheld\n");
        assert!(!guest.exists("/usr/share/d/gone"));
    };
    seen(guest);
    livekit(guest, "deactivate 20-x.sb");
    seen(guest);
    assert!(!guest.exists("/usr/share/late") && !guest.exists("/usr/share/d/x"));
    sh(guest, "echo more >> /usr/share/d/app; mv /usr/share/d/new /usr/share/d/moved");
    activate(guest, "20-x.sb");
    assert_eq!(guest.list("/usr/share/d"), ["app", "moved", "old", "x"]);
    // A directory that is removed and made anew is the user's, and hides the bundle's.
    sh(guest, "rm -r /usr/share/d; mkdir /usr/share/d");
    for step in [None, Some("deactivate 20-x.sb"), Some("activate")] {
        match step {
            Some("activate") => activate(guest, "20-x.sb"),
            Some(words) => livekit(guest, words),
            None => String::new(),
        };
        assert_eq!(guest.list("/usr/share/d"), Vec::<String>::new(), "{step:?}");
    }
    sh(guest, ": > /tmp/end");
}

#[test]
fn bundles_made_for_aufs_hide_what_they_hid() {
    let mut nest = with(&[
        ("20-x.sb", &[("usr/share/gone", "x"), ("usr/share/d/old", "x"), ("usr/share/kept", "x")]),
        (
            "30-aufs.sb",
            &[("usr/share/.wh.gone", ""), ("usr/share/d/.wh..wh..opq", ""), ("usr/share/d/new", "y")],
        ),
    ])
    .start();
    let guest = &mut nest.guest;
    activate(guest, "20-x.sb");
    let said = activate(guest, "30-aufs.sb");
    assert!(said.contains("1 removed files, 1 opaque directories"), "{said}");
    assert!(!guest.exists("/usr/share/gone") && guest.exists("/usr/share/kept"));
    assert_eq!(guest.list("/usr/share/d"), ["new"]);
    livekit(guest, "deactivate aufs");
    assert_eq!(guest.list("/usr/share/d"), ["old"]);
    assert!(guest.exists("/usr/share/gone"));
}

/// The changes of one run, and in the next one other bundles at the boot.
#[test]
fn kept_changes_hold_with_another_set_of_bundles() {
    let changes = tempfile::TempDir::new().expect("a temporary folder");
    let x: &[(&str, &str)] =
        &[("usr/share/d/x", "x"), ("var/lib/app/x", "x"), ("var/lib/base/copy", "x"), ("fresh/x", "x")];
    let mut nest = with(&[("20-x.sb", x)]).changes_in(changes.path()).start();
    let guest = &mut nest.guest;
    activate(guest, "20-x.sb");
    sh(
        guest,
        "echo mine > /usr/share/d/mine; echo mine > /var/lib/app/mine; rm /usr/share/d/x; mkdir /etc/own; echo mine > /fresh/mine",
    );
    assert_eq!(guest.read("/var/lib/base/copy"), "x");
    drop(nest);
    // Without the bundle: the user's files alone.
    let mut nest = with(&[("20-x.sb", x)]).changes_in(changes.path()).start();
    let guest = &mut nest.guest;
    for path in ["/usr/share/d/mine", "/var/lib/app/mine", "/fresh/mine"] {
        assert_eq!(guest.read(path), "mine\n");
    }
    assert_eq!(guest.list("/usr/share/d"), ["mine"]);
    // What was copied belongs to a bundle that is not there: the next command takes it away.
    livekit(guest, "refresh");
    assert!(!guest.exists("/var/lib/base/copy"));
    drop(nest);
    // As one of the boot's: whiteouts hide, everything else is seen.
    let mut nest =
        Nest::new().medium(|m| m.bundle("livekit/modules/20-x.sb", x)).changes_in(changes.path()).start();
    let guest = &mut nest.guest;
    assert_eq!(guest.list("/usr/share/d"), ["mine"]);
    assert_eq!(guest.list("/var/lib/app"), ["mine", "x"]);
    assert_eq!(guest.list("/fresh"), ["mine", "x"]);
}
