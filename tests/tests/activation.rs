//! Bundles come and go while the system runs: in a nest, with this machine's kernel. tests/debian_activation.rs has the
//! same in machines, with systemd and older kernels.

use tests::nest::Nested;
use tests::{Guest, Medium, Nest};

const OPTIONAL: &str = "/run/initramfs/memory/data/livekit/optional";

/// Adds bundles to optional/, each of these files.
fn with(bundles: &[(&str, &[(&str, &str)])]) -> Nest {
    Nest::new().medium(|medium| {
        bundles
            .iter()
            .fold(medium, |medium, (name, files)| medium.bundle(&format!("livekit/optional/{name}"), files))
    })
}

/// What the command says; it must succeed.
#[track_caller]
fn livekit(guest: &mut Guest, words: &str) -> String {
    let ran = guest.try_run(&words_of(words));
    assert_eq!(ran.status, Some(0), "livekit {words}: {ran:#?}");
    ran.stdout + &ran.stderr
}

/// What the command says when it refuses.
#[track_caller]
fn refused(guest: &mut Guest, words: &str) -> String {
    let ran = guest.try_run(&words_of(words));
    assert_eq!(ran.status, Some(1), "livekit {words} did not refuse: {ran:#?}");
    ran.stderr
}

fn words_of(words: &str) -> Vec<&str> {
    ["/usr/bin/livekit"].into_iter().chain(words.split(' ')).collect()
}

#[track_caller]
fn sh(guest: &mut Guest, script: &str) -> String {
    guest.run(&["/bin/sh", "-c", script])
}

fn activate(guest: &mut Guest, name: &str) -> String {
    livekit(guest, &format!("activate {OPTIONAL}/{name}"))
}

/// All that may leak: mounts, loop devices of bundles, workshops, as one text to compare.
fn traces(guest: &mut Guest) -> String {
    let report = guest.report_now();
    let mut mounts: Vec<String> = report
        .mounts
        .iter()
        .map(|m| {
            // Every new cover has another number.
            let source = m.source.rsplit_once(':').map_or(m.source.as_str(), |(place, _)| place);
            format!("{} {} {source} {}", m.target, m.kind, m.options.join(","))
        })
        .collect();
    mounts.sort();
    let loops = report.loops.iter().filter(|l| l.backing_file.starts_with("/run/initramfs/")).count();
    let work = sh(guest, "ls /run/initramfs/memory/changes/work | sed 's/[.].*//' | sort");
    format!("{}\nloops {loops}\nwork {work}", mounts.join("\n"))
}

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
fn no_path_is_missing_at_any_moment() {
    for private in [false, true] {
        let nest = with(&[("20-x.sb", &[("usr/share/x", "x"), ("etc/x", "x"), ("opt/x", "x")])]);
        let mut nest = if private { nest.private() } else { nest }.start();
        let guest = &mut nest.guest;
        sh(guest, "echo base > /etc/base; echo base > /opt/base");
        let hammer = "/usr/bin/init hammer /tmp/end /usr/bin/busybox /usr/bin/livekit /etc/base /opt/base /usr/bin /etc";
        // One as it is, one in a mount namespace that follows, each in its own.
        let slave = format!("unshare -m --propagation slave {hammer}");
        sh(guest, &format!("{hammer} >/tmp/plain </dev/null 2>&1 & {slave} >/tmp/slave </dev/null 2>&1 &"));
        for _ in 0..100 {
            activate(guest, "20-x.sb");
            livekit(guest, "deactivate 20-x.sb");
        }
        sh(guest, ": > /tmp/end; sleep 0.5");
        for log in ["/tmp/plain", "/tmp/slave"] {
            let said = guest.read(log);
            let looks: u64 = said.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            assert!(said.contains("trouble: {}") && looks > 1000, "{log}: {said}");
        }
    }
}

#[test]
fn nothing_is_left_over_after_a_thousand_changes() {
    let names = ["10-a.sb", "20-b.sb", "30-c.sb", "40-d.sb", "50-e.sb"];
    let files: [&[(&str, &str)]; 5] = [
        &[("usr/share/all", "a"), ("etc/a", "a"), ("var/lib/app/a", "a")],
        &[("usr/share/all", "b"), ("opt/b", "b"), ("fresh/b", "b")],
        &[("usr/share/all", "c"), ("var/lib/app/c", "c"), ("var/lib/base/c", "c")],
        &[("usr/share/all", "d"), ("fresh/deep/d", "d"), ("etc/all", "d")],
        &[("usr/share/all", "e"), ("etc/all", "e"), ("var/lib/app/a", "e")],
    ];
    let bundles: Vec<_> = names.into_iter().zip(files).collect();
    let mut nest = with(&bundles).start();
    let guest = &mut nest.guest;
    activate(guest, names[0]);
    livekit(guest, &format!("deactivate {}", names[0]));
    let before = traces(guest);
    let memory = |guest: &mut Guest| guest.read("/proc/meminfo");
    let slab = |text: &str| -> i64 {
        let line = text.lines().find_map(|l| l.strip_prefix("SUnreclaim:")).expect("a line of meminfo");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let slab_before = slab(&memory(guest));
    let mut active: Vec<&str> = Vec::new();
    // A linear congruential generator (Knuth's constants): the same order in every run.
    let mut random = 1u64;
    for _ in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = names[usize::try_from(random >> 33).unwrap() % names.len()];
        if let Some(at) = active.iter().position(|a| *a == name) {
            livekit(guest, &format!("deactivate {name}"));
            active.remove(at);
        } else {
            activate(guest, name);
            active.push(name);
        }
        match active.last() {
            Some(top) => assert_eq!(guest.read("/usr/share/all"), top[3..4]),
            None => assert!(!guest.exists("/usr/share/all")),
        }
    }
    for name in active {
        livekit(guest, &format!("deactivate {name}"));
    }
    assert_eq!(traces(guest), before);
    // Other tests run on this kernel meanwhile: 1000 leaked superblocks would be far more.
    let grown = slab(&memory(guest)) - slab_before;
    assert!(grown < 64 << 10, "the kernel keeps {grown} KiB more");
}

#[test]
fn a_bundle_in_use_is_kept_and_its_users_are_named() {
    let tool = |medium: Medium| {
        let folder = Medium::empty().copy_of("usr/lib/tool/bin/hold", &tests::roots::static_busybox());
        let folder = folder.file("usr/share/tool/data", "data").file("usr/share/tool/dir/x", "x");
        medium.bundle_of("livekit/optional/20-tool.sb", &folder.path(""))
    };
    let mut nest = Nest::new().medium(tool).start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    activate(guest, "20-tool.sb");
    sh(
        guest,
        "chmod +x /usr/lib/tool/bin/hold 2>/dev/null; (exec 3</usr/share/tool/data; exec sleep 1000) </dev/null >/dev/null 2>&1 & \
         (cd /usr/share/tool/dir; exec sleep 1001) </dev/null >/dev/null 2>&1 & sleep 0.3",
    );
    let began = std::time::Instant::now();
    let said = refused(guest, "deactivate 20-tool.sb");
    assert!(began.elapsed().as_secs() < 2, "it took {:?}", began.elapsed());
    assert!(
        said.contains("has /usr/share/tool/data open") && said.contains("is in /usr/share/tool/dir"),
        "{said}"
    );
    assert!(said.contains("sleep (") && said.contains("--lazy"), "{said}");
    assert_eq!(guest.read("/usr/share/tool/data"), "data");
    let said = livekit(guest, "deactivate 20-tool.sb --lazy");
    assert!(said.contains("is freed when these end: sleep ("), "{said}");
    assert!(!guest.exists("/usr/share/tool/data"));
    let loops = |guest: &mut Guest| {
        guest.report_now().loops.iter().filter(|l| l.backing_file.contains("20-tool.sb")).count()
    };
    assert_eq!(loops(guest), 1);
    sh(
        guest,
        "for p in $(ps -o pid,args | grep 'sleep 100[01]' | grep -v grep | sed 's/^ *//; s/ .*//'); do kill -9 $p; done; sleep 0.5",
    );
    assert_eq!(loops(guest), 0, "the loop device is not freed");
    assert_eq!(traces(guest), before);
}

#[test]
fn bundles_of_the_boot_can_be_hidden_but_not_the_inits() {
    let extra: &[(&str, &str)] = &[("usr/share/extra", "x"), ("extra/x", "x")];
    let mut nest = Nest::new().medium(|m| m.bundle("livekit/modules/20-extra.sb", extra)).start();
    let guest = &mut nest.guest;
    let said = livekit(guest, "deactivate 20-extra.sb");
    assert!(said.contains("released at the next one"), "{said}");
    assert!(!guest.exists("/usr/share/extra") && !guest.exists("/extra/x"));
    assert!(livekit(guest, "list").contains("hidden"));
    livekit(guest, "activate 20-extra.sb");
    assert_eq!(guest.read("/usr/share/extra"), "x");
    assert_eq!(guest.read("/extra/x"), "x");
    let said = refused(guest, "deactivate 90-livekit.sb");
    assert!(said.contains("holds the running init, /usr/bin/init"), "{said}");
}

#[test]
fn other_mount_namespaces_see_the_same_and_keep_their_ways() {
    let x: &[(&str, &str)] = &[("usr/share/x", "x"), ("etc/x", "x"), ("new/x", "x"), ("var/lib/app/x", "x")];
    let mut nest = with(&[("20-x.sb", x)]).start();
    let guest = &mut nest.guest;
    sh(guest, "mkdir -p /usr/share/sub /srv/chroot /run/w /mnt; echo sub > /usr/share/sub/f");
    // As systemd shuts services off: following, read only; following nothing; a part bound elsewhere; a chroot.
    let watchers = [
        (
            "slave",
            "unshare -m --propagation slave",
            "mount -o remount,bind,ro /usr && mount -o remount,bind,ro /",
        ),
        ("private", "unshare -m --propagation private", "mount -o remount,bind,ro,nosuid /usr"),
        ("bound", "unshare -m --propagation private", "mount -o bind /usr/share /mnt"),
        ("mounted", "unshare -m --propagation private", "mount -t tmpfs own /usr/share/sub"),
        (
            "paths",
            "unshare -m --propagation slave",
            "mount -o bind /usr/share /usr/share && mount -o remount,bind,ro /usr/share && mount -t tmpfs own /opt",
        ),
    ];
    for (name, how, what) in watchers {
        let script = format!(
            "{what} || exit 1; : > /run/w/{name}.ready; while ! [ -e /run/w/end ]; do \
             if [ -e /run/w/look ] && ! [ -e /run/w/{name} ]; then {{ cat /usr/share/x /etc/x /mnt/x; \
             touch /usr/share/w && echo writable; touch /new/w && echo new; touch /var/lib/app/w && echo new; grep -c ' /usr ' /proc/mounts; ls /usr/share/sub; }} \
             > /run/w/{name}.partial 2>&1; mv /run/w/{name}.partial /run/w/{name}; fi; sleep 0.1; done"
        );
        guest.write(&format!("/run/w/{name}.sh"), &script);
        sh(guest, &format!("{how} /bin/sh /run/w/{name}.sh </dev/null >/run/w/{name}.log 2>&1 &"));
    }
    sh(guest, "mount -o bind /usr /srv/chroot");
    sh(
        guest,
        "for n in slave private bound mounted paths; do i=0; while ! [ -e /run/w/$n.ready ]; do sleep 0.1; i=$((i+1)); [ $i -lt 50 ] || { cat /run/w/*.log >&2; exit 1; }; done; done",
    );
    let looks = |guest: &mut Guest| {
        sh(
            guest,
            "rm -f /run/w/slave /run/w/private /run/w/bound /run/w/mounted /run/w/paths; : > /run/w/look",
        );
        let all = watchers.map(|(name, ..)| {
            sh(guest, &format!("while ! [ -e /run/w/{name} ]; do sleep 0.1; done; cat /run/w/{name}"))
        });
        sh(guest, "rm /run/w/look");
        all
    };
    for round in 0..3 {
        let said = activate(guest, "20-x.sb");
        assert!(!said.contains("warning"), "{said}");
        let [slave, private, bound, mounted, paths] = looks(guest);
        let all = [&slave, &private, &bound, &mounted, &paths];
        for ((name, ..), seen) in watchers.iter().zip(all) {
            assert!(seen.starts_with("xx"), "round {round}, {name}: {seen}");
            assert!(seen.contains("\n1\n"), "round {round}: {name} has several mounts of /usr: {seen}");
        }
        assert!(bound.starts_with("xxx"), "the bound folder is the old one: {bound}");
        assert!(slave.contains("Read-only") && private.contains("Read-only"), "{slave} {private}");
        assert!(!slave.contains("new\n"), "new covers can be written where the rest cannot: {slave}");
        assert!(mounted.contains("writable") && bound.contains("writable"));
        assert!(!paths.contains("writable") && paths.contains("new\nnew\n"), "{paths}");
        assert!(!mounted.contains("\nf\n"), "the namespace's own mount is gone: {mounted}");
        assert_eq!(guest.read("/srv/chroot/share/x"), "x");
        let own = guest.report_now();
        assert!(own.mounts.iter().all(|m| m.target != "/usr/share/sub"), "a mount leaked out: {own:#?}");
        livekit(guest, "deactivate 20-x.sb");
        sh(guest, "rm -f /new/w /var/lib/app/w");
        for seen in looks(guest) {
            assert!(seen.contains("can't open '/usr/share/x'"), "round {round}: {seen}");
        }
        assert!(!guest.exists("/srv/chroot/share/x"));
    }
    sh(guest, ": > /run/w/end");
}

#[test]
fn a_users_mount_moves_along() {
    let mut nest =
        with(&[("20-x.sb", &[("usr/share/x", "x"), ("opt/x/dir/f", "f")]), ("30-y.sb", &[("etc/y", "y")])])
            .start();
    let guest = &mut nest.guest;
    sh(
        guest,
        "mkdir /usr/mine; mount -t tmpfs mine /usr/mine; echo kept > /usr/mine/f; mkdir /usr/mine/deep; mount -t tmpfs deep /usr/mine/deep",
    );
    let before = traces(guest);
    activate(guest, "20-x.sb");
    assert_eq!(guest.read("/usr/mine/f"), "kept\n");
    // In a folder that only the bundle has, a mount keeps it.
    sh(guest, "mount -t tmpfs held /opt/x/dir");
    let said = refused(guest, "deactivate 20-x.sb");
    assert!(said.contains("what is mounted on /opt/x/dir") && said.contains("unmount it"), "{said}");
    assert_eq!(guest.read("/usr/share/x"), "x");
    sh(guest, "umount /opt/x/dir");
    livekit(guest, "deactivate 20-x.sb");
    assert_eq!(guest.read("/usr/mine/f"), "kept\n");
    assert_eq!(traces(guest), before);
    // Over a cover, nothing can be switched.
    sh(guest, "mount -t tmpfs over /etc");
    let said = refused(guest, &format!("activate {OPTIONAL}/30-y.sb"));
    assert!(
        said.contains("over (tmpfs) is mounted over it") && said.contains("unmount that first"),
        "{said}"
    );
    sh(guest, "umount /etc");
    activate(guest, "30-y.sb");
    assert_eq!(guest.read("/etc/y"), "y");
}

#[test]
fn bad_input_changes_nothing() {
    let mut nest = with(&[("20-x.sb", &[("usr/share/x", "x")]), ("30-lib.sb", &[("lib/x", "x")])])
        .medium(|m| {
            m.file("livekit/optional/40-text.sb", "text")
                .torn_copy("livekit/00-core.sb", "livekit/optional/50-torn.sb")
        })
        .start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    for (words, parts) in [
        ("activate /nothing.sb", &["there is no such file", "http(s)://"][..]),
        ("activate /usr/bin", &["it is a directory", "bundle pack"]),
        ("activate /usr/bin/busybox", &["ends in .sb"]),
        (&format!("activate {OPTIONAL}/40-text.sb"), &["40-text.sb", "squashfs"]),
        (&format!("activate {OPTIONAL}/50-torn.sb"), &["50-torn.sb"]),
        (&format!("activate {OPTIONAL}/30-lib.sb"), &["a link to usr/lib"]),
        (&format!("activate {OPTIONAL}/20-x.sb {OPTIONAL}/30-lib.sb"), &["a link to usr/lib"]),
        (&format!("activate {OPTIONAL}/20-x.sb {OPTIONAL}/20-x.sb"), &["20-x.sb is named twice"]),
        ("activate 00-core.sb", &["00-core.sb is active already", "it came with the boot"]),
        ("activate /run/initramfs/memory/data/livekit/00-core.sb", &["is active already"]),
        ("deactivate 20-x.sb", &["20-x.sb is not active", "00-core.sb"]),
    ] {
        let said = refused(guest, words);
        for part in parts {
            assert!(said.contains(part), "{words}: no {part:?} in {said}");
        }
        assert!(said.lines().any(|line| line.starts_with("error: ")), "{said}");
        assert_eq!(traces(guest), before, "{words}");
    }
    assert!(!guest.exists("/usr/share/x"));
    // Not root: what only looks works, what changes things says so.
    let as_nobody = |guest: &mut Guest, words: &str| {
        guest.try_run(&["/bin/sh", "-c", &format!("unshare -U livekit {words}")])
    };
    let said = as_nobody(guest, &format!("activate {OPTIONAL}/20-x.sb"));
    assert!(said.status == Some(1) && said.stderr.contains("only root can change"), "{said:#?}");
    let said = as_nobody(guest, "list");
    assert!(said.status == Some(0) && said.stdout.contains("00-core.sb"), "{said:#?}");
    activate(guest, "20-x.sb");
    assert!(refused(guest, &format!("activate {OPTIONAL}/20-x.sb")).contains("is active already"));
}

#[test]
fn without_room_for_the_changes_nothing_changes() {
    let mut nest = with(&[("20-x.sb", &[("usr/share/x", "x"), ("var/lib/base/x", "x"), ("etc/x", "x")])])
        .room_for_changes(512)
        .start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    guest.try_run(&["/bin/sh", "-c", "dd if=/dev/zero of=/usr/full bs=1k 2>/dev/null"]);
    let said = refused(guest, &format!("activate {OPTIONAL}/20-x.sb"));
    assert!(said.contains("No space left on device"), "{said}");
    sh(guest, "rm /usr/full");
    assert!(!guest.exists("/usr/share/x") && !guest.exists("/var/lib/base/x"));
    assert_eq!(traces(guest), before);
    activate(guest, "20-x.sb");
    assert_eq!(guest.read("/usr/share/x"), "x");
}

#[test]
fn killed_at_any_moment_the_system_works_and_the_next_command_goes_on() {
    let mut nest: Nested = with(&[
        (
            "20-x.sb",
            &[
                ("usr/share/x", "x"),
                ("etc/x", "x"),
                ("opt/x", "x"),
                ("new/x", "x"),
                ("var/lib/app/x", "x"),
                ("var/lib/base/x", "x"),
            ],
        ),
        ("30-y.sb", &[("usr/share/y", "y")]),
    ])
    .start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    sh(guest, "echo base > /etc/base; mkdir /usr/share");
    for delay in 0..60 {
        for words in [format!("activate {OPTIONAL}/20-x.sb"), "deactivate 20-x.sb".to_owned()] {
            // In steps of half a millisecond, past the end of the whole command.
            let script = format!(
                "livekit {words} >/dev/null 2>&1 & p=$!; /usr/bin/init nap {}; kill -9 $p 2>/dev/null; wait $p 2>/dev/null; \
                 cat /etc/base /usr/bin/busybox >/dev/null && ls /opt /usr/share >/dev/null",
                delay * 500
            );
            sh(guest, &script);
        }
        // Any command that changes things repairs first.
        livekit(guest, &format!("activate {OPTIONAL}/30-y.sb"));
        let list = livekit(guest, "list");
        let there = list.contains("20-x.sb");
        for path in ["/usr/share/x", "/etc/x", "/opt/x", "/new/x", "/var/lib/app/x", "/var/lib/base/x"] {
            assert_eq!(guest.exists(path), there, "{path} after {delay} steps: {list}");
        }
        livekit(guest, "deactivate 30-y.sb");
        if there {
            livekit(guest, "deactivate 20-x.sb");
        }
        assert_eq!(traces(guest), before, "after {delay} steps");
    }
}

/// The loop device's file, of the bundle of that name.
fn file_of(guest: &mut Guest, name: &str) -> String {
    let report = guest.report_now();
    let device = report.loops.iter().find(|l| l.backing_file.ends_with(name));
    device.unwrap_or_else(|| panic!("no loop device has {name}: {:#?}", report.loops)).backing_file.clone()
}

#[test]
fn bundles_are_copied_where_they_may_go_away_and_kept_where_it_is_asked_for() {
    let mut nest =
        with(&[("20-x.sb", &[("usr/share/x", "x")]), ("30-y.sb", &[("usr/share/y", "y")])]).start();
    let guest = &mut nest.guest;
    let memory = "/run/initramfs/memory";
    // In the union itself: copied to memory, and the copy goes with the bundle.
    sh(guest, &format!("mkdir /home/me; cp {OPTIONAL}/20-x.sb /home/me/"));
    let said = livekit(guest, "activate /home/me/20-x");
    assert!(said.contains("it lies in the union itself"), "{said}");
    assert_eq!(file_of(guest, "20-x.sb"), format!("{memory}/activated/20-x.sb"));
    livekit(guest, "deactivate x");
    assert_eq!(guest.list(&format!("{memory}/activated")), Vec::<String>::new());
    // Kept: the medium is writable for as long as that takes.
    livekit(guest, "activate --keep /home/me/20-x.sb");
    let kept = format!("{memory}/data/livekit/modules/20-x.sb");
    assert_eq!(file_of(guest, "20-x.sb"), kept);
    assert!(guest.report_now().mount(&format!("{memory}/data")).options.contains(&"ro".into()));
    livekit(guest, "deactivate x");
    assert!(guest.exists(&kept));
    // One that is optional becomes part of every boot.
    livekit(guest, "activate --persist y");
    assert_eq!(file_of(guest, "30-y.sb"), format!("{memory}/data/livekit/modules/30-y.sb"));
    assert!(!guest.exists(&format!("{OPTIONAL}/30-y.sb")));
    assert_eq!(guest.read("/usr/share/y"), "y");
    // Another bundle of a name that is there is not written over.
    sh(guest, "cp /run/initramfs/memory/data/livekit/00-core.sb /home/me/20-x.sb");
    let said = refused(guest, "activate --keep /home/me/20-x.sb");
    assert!(said.contains("another bundle of that name is there"), "{said}");
    // What is in modules/ and not active is what refresh brings.
    let said = livekit(guest, "refresh");
    assert!(said.contains("Activated 20-x.sb") && !said.contains("30-y"), "{said}");
    guest.make_writable(&format!("{memory}/data"));
    sh(guest, &format!("rm {memory}/data/livekit/modules/30-y.sb"));
    let said = livekit(guest, "refresh");
    assert!(said.contains("Deactivated 30-y.sb"), "{said}");
    assert!(livekit(guest, "refresh").contains("Nothing on the medium has changed"));
}

#[test]
fn a_bundle_brings_what_it_requires_and_its_scripts_are_run() {
    let scripts: &[(&str, &str)] = &[
        ("run/requires", "# tools\ny, 40-z.sb\n"),
        ("run/activate.sh", "echo came $LIVEKIT_BUNDLE $(cat /usr/share/y) >> /home/log\n"),
        ("run/deactivate.sh", "echo goes $(cat /usr/share/x) >> /home/log\n"),
        ("usr/share/x", "x"),
    ];
    let mut nest = with(&[
        ("20-x.sb", scripts),
        ("30-y.sb", &[("usr/share/y", "y"), ("run/requires", "x")]),
        ("40-z.sb", &[("usr/share/z", "z"), ("usr/share/x", "z")]),
        ("50-w.sb", &[("run/requires", "nothing")]),
    ])
    .start();
    let guest = &mut nest.guest;
    let said = livekit(guest, "activate 20-x");
    assert!(said.contains("20-x.sb requires 30-y.sb") && said.contains("20-x.sb requires 40-z.sb"), "{said}");
    assert_eq!(guest.read("/usr/share/x"), "x", "what is required lies below");
    assert_eq!(guest.read("/home/log"), "came 20-x.sb y\n");
    let said = refused(guest, "deactivate 40-z.sb");
    assert!(said.contains("20-x.sb requires 40-z.sb"), "{said}");
    livekit(guest, "deactivate x y z");
    assert_eq!(guest.read("/home/log"), "came 20-x.sb y\ngoes x\n");
    let before = traces(guest);
    let said = refused(guest, "activate w");
    assert!(said.contains("50-w.sb requires nothing, which is neither active nor on the medium"), "{said}");
    assert_eq!(traces(guest), before);
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

#[test]
fn dpkg_shows_the_packages_of_whatever_is_active() {
    let paragraph = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n\n")
    };
    let (a, b, c) = (paragraph("a", "1"), paragraph("b", "1"), paragraph("c", "1"));
    let [x, y] = [a.clone() + &c, b.clone() + &c];
    let base = paragraph("base", "1");
    let fragment = "usr/share/livekit/dpkg/status";
    let mut nest = with(&[
        (
            "20-x.sb",
            &[(fragment, &x), ("var/lib/dpkg/info/a.list", "/a"), ("var/lib/dpkg/info/c.list", "/c")],
        ),
        (
            "30-y.sb",
            &[(fragment, &y), ("var/lib/dpkg/info/b.list", "/b"), ("var/lib/dpkg/info/c.list", "/c")],
        ),
    ])
    .medium(|medium| {
        medium.bundle(
            "livekit/modules/10-dpkg.sb",
            &[("var/lib/dpkg/status", &base), ("var/lib/dpkg/info/base.list", "/base")],
        )
    })
    .start();
    let guest = &mut nest.guest;
    let has = |guest: &mut Guest, expected: &[&str]| {
        let status = guest.read("/var/lib/dpkg/status");
        let mut found: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{status}");
        // dpkg asks for the list of files of every package.
        let lists: Vec<String> = expected.iter().map(|name| format!("{name}.list")).collect();
        assert_eq!(guest.list("/var/lib/dpkg/info"), lists);
    };
    has(guest, &["base"]);
    activate(guest, "20-x.sb");
    has(guest, &["a", "base", "c"]);
    activate(guest, "30-y.sb");
    has(guest, &["a", "b", "base", "c"]);
    livekit(guest, "deactivate 20-x.sb");
    has(guest, &["b", "base", "c"]);
    activate(guest, "20-x.sb");
    livekit(guest, "deactivate y");
    has(guest, &["a", "base", "c"]);
    livekit(guest, "deactivate x");
    has(guest, &["base"]);
    assert_eq!(guest.read("/var/lib/dpkg/status"), base);
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

/// Serves one file over HTTP to whoever asks, and gives its address.
fn server(content: Vec<u8>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let port = listener.local_addr().expect("a bound socket").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut byte = [0; 1];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                request.push(byte[0]);
            }
            let found = request.starts_with(b"GET /60-net.sb ");
            let body: &[u8] = if found { &content } else { b"" };
            let status = if found { "200 OK" } else { "404 Not Found" };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn bundles_come_from_the_network() {
    let medium = Medium::empty().bundle("60-net.sb", &[("usr/share/net", "net")]);
    let content = std::fs::read(medium.path("60-net.sb")).expect("the bundle just made");
    let address = server(content.clone());
    let mut damaged = content;
    damaged.truncate(150);
    let bad = server(damaged);
    let mut nest = Nest::new().start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    let memory = "/run/initramfs/memory/activated";
    for (words, part) in [
        (format!("activate {address}/61-other.sb"), "404"),
        (format!("activate {bad}/60-net.sb"), "60-net.sb"),
        (format!("activate --sha256 {} {address}/60-net.sb", "0".repeat(64)), "SHA-256"),
        // The second one does not exist: the first one does not stay either.
        (format!("activate {address}/60-net.sb /nothing.sb"), "no such file"),
    ] {
        let said = refused(guest, &words);
        assert!(said.contains(part), "{words}: {said}");
        assert_eq!(traces(guest), before, "{words}");
        assert_eq!(guest.list(memory), Vec::<String>::new(), "{words}");
    }
    livekit(guest, &format!("activate {address}/60-net.sb"));
    assert_eq!(guest.read("/usr/share/net"), "net");
    assert_eq!(file_of(guest, "60-net.sb"), format!("{memory}/60-net.sb"));
    livekit(guest, "deactivate net");
    assert_eq!(guest.list(memory), Vec::<String>::new());
    // Kept: it comes to the medium itself.
    livekit(guest, &format!("activate --keep {address}/60-net.sb"));
    assert_eq!(file_of(guest, "60-net.sb"), "/run/initramfs/memory/data/livekit/modules/60-net.sb");
}

/// Packages that came in a session, with another bundle's beside them: the save has the user's alone.
#[test]
fn a_saved_session_brings_its_packages_and_no_others() {
    let paragraph = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n\n")
    };
    let base = ["a", "b", "c"].map(|name| paragraph(name, "1")).concat();
    let theirs = paragraph("v", "1");
    let nest = || {
        with(&[(
            "20-v.sb",
            &[("usr/share/livekit/dpkg/status", &theirs), ("var/lib/dpkg/info/v.list", "/usr/share/v\n")],
        )])
        .medium(|medium| {
            let list =
                |name: &'static str| (format!("var/lib/dpkg/info/{name}.list"), format!("/usr/{name}\n"));
            let lists = ["a", "b", "c"].map(list);
            let mut files: Vec<(&str, &str)> = lists.iter().map(|(path, text)| (&**path, &**text)).collect();
            files.push(("var/lib/dpkg/status", &base));
            medium.bundle("livekit/modules/10-dpkg.sb", &files)
        })
    };
    // What dpkg itself, on this machine, says of the guest's database.
    let listed = |guest: &mut Guest| {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let put =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a new file");
        for name in ["info", "updates"] {
            std::fs::create_dir(folder.path().join(name)).expect("a new folder");
        }
        put("status", &guest.read("/var/lib/dpkg/status"));
        for name in guest.list("/var/lib/dpkg/info") {
            put(&format!("info/{name}"), &guest.read(&format!("/var/lib/dpkg/info/{name}")));
        }
        let mut query = tests::programs::command("dpkg-query");
        query.arg(format!("--admindir={}", folder.path().display())).args([
            "-W",
            "-f",
            "${Package}=${Version} ",
        ]);
        tests::programs::output(&mut query).trim().to_owned()
    };
    let changes = tempfile::TempDir::new().expect("a temporary folder");
    let mut nested = nest().changes_in(changes.path()).start();
    let guest = &mut nested.guest;
    activate(guest, "20-v.sb");
    assert_eq!(listed(guest), "a=1 b=1 c=1 v=1");
    // n comes, b is upgraded, c is purged; as dpkg writes it.
    let session =
        [("a", "1"), ("b", "2"), ("n", "1"), ("v", "1")].map(|(name, version)| paragraph(name, version));
    guest.write("/var/lib/dpkg/status", &session.concat());
    guest.write("/var/lib/dpkg/info/n.list", "/usr/n\n");
    guest.write("/usr/n", "n");
    sh(guest, "rm /var/lib/dpkg/info/c.list");
    assert_eq!(listed(guest), "a=1 b=2 n=1 v=1");
    livekit(guest, "savechanges /home/80-mine.sb");
    let saved = tempfile::TempDir::new().expect("a temporary folder");
    let file = saved.path().join("80-mine.sb");
    std::fs::copy(changes.path().join("upper/home/80-mine.sb"), &file).expect("the save");
    drop(nested);

    let mut nested = nest().medium(|medium| medium.copy_of("livekit/optional/80-mine.sb", &file)).start();
    let guest = &mut nested.guest;
    assert_eq!(listed(guest), "a=1 b=1 c=1");
    activate(guest, "80-mine.sb");
    assert_eq!(listed(guest), "a=1 b=2 n=1");
    assert_eq!(guest.read("/usr/n"), "n");
    activate(guest, "20-v.sb");
    assert_eq!(listed(guest), "a=1 b=2 n=1 v=1");
    livekit(guest, "deactivate mine");
    assert_eq!(listed(guest), "a=1 b=1 c=1 v=1");
    livekit(guest, "deactivate v");
    assert_eq!(listed(guest), "a=1 b=1 c=1");
}

/// What is meant to be, as it is written down; nothing on a system as it was booted.
fn state(guest: &mut Guest) -> String {
    sh(guest, "cat /run/livekit/state.json 2>/dev/null || :")
}

#[test]
fn without_a_free_loop_device_nothing_changes() {
    let mut nest =
        with(&[("20-x.sb", &[("usr/share/x", "x")]), ("30-y.sb", &[("usr/share/y", "y")])]).start();
    let guest = &mut nest.guest;
    activate(guest, "30-y.sb");
    let before = (traces(guest), state(guest));
    // In this namespace alone, the kernel has none to give.
    sh(guest, "echo > /tmp/none; mount -o bind /tmp/none /dev/loop-control");
    let said = refused(guest, &format!("activate {OPTIONAL}/20-x.sb"));
    let expected = format!("cannot attach {OPTIONAL}/20-x.sb: there is no free loop device");
    assert!(said.contains(&expected) && said.contains("hint: `losetup -D`"), "{said}");
    assert!(said.contains("max_loop="), "{said}");
    sh(guest, "umount /dev/loop-control; rm /tmp/none");
    assert_eq!((traces(guest), state(guest)), before);
    assert!(!guest.exists("/usr/share/x"));
    activate(guest, "20-x.sb");
    assert_eq!(guest.read("/usr/share/x"), "x");
}

/// Linux has never had the LZMA of squashfs-tools.
#[test]
fn a_bundle_of_a_compressor_that_the_kernel_lacks_changes_nothing() {
    let of = |compressor: &str, name: &str| {
        let folder = Medium::empty().file(&format!("usr/share/{compressor}"), compressor);
        let bundle = tempfile::TempDir::new().expect("a temporary folder");
        let path = bundle.path().join(name);
        let mut pack = tests::programs::command("mksquashfs");
        pack.arg(folder.path("")).arg(&path).args(["-quiet", "-no-progress", "-comp", compressor]);
        tests::programs::output(&mut pack);
        (bundle, path)
    };
    let ((_lzma, lzma), (_gzip, gzip)) = (of("lzma", "20-lzma.sb"), of("gzip", "30-gzip.sb"));
    let mut nest = with(&[("40-x.sb", &[("usr/share/x", "x")])])
        .medium(|medium| {
            let medium = medium.copy_of("livekit/optional/20-lzma.sb", &lzma);
            medium.copy_of("livekit/optional/30-gzip.sb", &gzip)
        })
        .start();
    let guest = &mut nest.guest;
    activate(guest, "40-x.sb");
    let before = (traces(guest), state(guest));
    // Alone; kept, which must copy nothing to the medium; after one that can be read.
    sh(guest, &format!("mkdir /home/me; cp {OPTIONAL}/20-lzma.sb /home/me/"));
    for words in [
        format!("activate {OPTIONAL}/20-lzma.sb"),
        "activate --keep /home/me/20-lzma.sb".to_owned(),
        format!("activate {OPTIONAL}/30-gzip.sb {OPTIONAL}/20-lzma.sb"),
    ] {
        let said = refused(guest, &words);
        assert!(
            said.contains("20-lzma.sb: it is compressed with lzma, which this kernel cannot read"),
            "{words}: {said}"
        );
        assert!(said.contains("hint: unpack it with unsquashfs"), "{said}");
        assert_eq!(traces(guest), before.0, "{words}");
        assert!(!guest.exists("/run/initramfs/memory/activated/20-lzma.sb"), "{words}");
        assert!(!guest.exists("/run/initramfs/memory/data/livekit/modules/20-lzma.sb"), "{words}");
    }
    assert_eq!(state(guest), before.1);
    // Asked for the first time, the kernel has this one.
    activate(guest, "30-gzip.sb");
    assert_eq!(guest.read("/usr/share/gzip"), "gzip");
}
