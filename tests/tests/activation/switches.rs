//! Switching, often, at once, and interrupted.

use tests::Guest;
use tests::nest::Nested;

use crate::{OPTIONAL, activate, livekit, sh, traces, with};

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
