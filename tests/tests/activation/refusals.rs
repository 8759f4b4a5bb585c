//! What cannot be done changes nothing.

use tests::{Guest, Medium};

use crate::{OPTIONAL, activate, refused, sh, traces, with};

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
