//! Who uses the system meanwhile: processes, other mount namespaces, mounts.

use tests::{Guest, Medium, Nest};

use crate::{OPTIONAL, activate, livekit, refused, sh, traces, with};

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
