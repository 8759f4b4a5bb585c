//! Activation, quickly: in namespaces of this machine.

use tests::Nest;

#[test]
fn starts() {
    let mut nest = Nest::new()
        .medium(|m| {
            m.bundle(
                "livekit/optional/20-tool.sb",
                &[
                    ("usr/bin/tool", "tool"),
                    ("etc/tool", "x"),
                    ("new/a", "b"),
                    ("var/lib/tool/x", "y"),
                    ("var/lib/base/f", "z"),
                ],
            )
        })
        .start();
    let guest = &mut nest.guest;
    let ran =
        guest.try_run(&["livekit", "activate", "/run/initramfs/memory/data/livekit/optional/20-tool.sb"]);
    eprintln!("{} {}", ran.stdout, ran.stderr);
    let show = "cat /usr/bin/tool /etc/tool /new/a /var/lib/tool/x /var/lib/base/f; cat /proc/mounts | grep lk:; ls -R /run/initramfs/memory/changes";
    let ran = guest.try_run(&["/bin/sh", "-c", show]);
    eprintln!("{} {}", ran.stdout, ran.stderr);
    let ran = guest.try_run(&["livekit", "deactivate", "20-tool.sb"]);
    eprintln!("{} {}", ran.stdout, ran.stderr);
    let ran = guest.try_run(&["/bin/sh", "-c", show]);
    eprintln!("{} {}", ran.stdout, ran.stderr);
    eprintln!("{:?}", guest.report_now().loops);
}
