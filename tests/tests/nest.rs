//! Activation, quickly: in namespaces of this machine.

use tests::Nest;

#[test]
fn starts() {
    let mut nest = Nest::new().start();
    for mount in &nest.guest.report.mounts {
        eprintln!("{} {} {}", mount.target, mount.kind, mount.source);
    }
    nest.guest.run(&["/bin/sh", "-c", "echo hi > /usr/new; ls /"]);
    assert_eq!(nest.guest.read("/run/initramfs/memory/changes/upper/usr/new"), "hi\n");
}
