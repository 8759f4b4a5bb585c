//! `livekit run --trace-boot`: the list of files that a boot reads, the first one first.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use tests::programs::{self, command, output};
use tests::{Kernel, Kit, vm};

/// Longer than the machine needs, in seconds.
const PATIENCE: &str = "300";

/// Runs the command on the kit's image, with its temporary files in `folder`, and the order file.
fn trace(kit: &Kit, folder: &Path, append: &str) -> Output {
    let _slot = vm::free_slot();
    let mut livekit = command("timeout");
    livekit
        .arg(PATIENCE)
        .arg(&programs::livekit().livekit)
        .args(["run", "--accel", "tcg", "--append", append]);
    livekit.arg("--trace-boot").arg(folder.join("boot.order")).arg(kit.iso().path());
    livekit.env("TMPDIR", folder).stdin(std::process::Stdio::null());
    livekit.output().expect("coreutils are there")
}

/// Paths in the kit's bundles, relative to the root.
fn files(kit: &Kit) -> BTreeSet<String> {
    let medium = kit.medium();
    let mut files = BTreeSet::new();
    for bundle in kit.bundles() {
        let bundle = medium.path(&format!("livekit/{bundle}"));
        let list = output(command("unsquashfs").args(["-d", "", "-lls"]).arg(bundle));
        // `-rwxr-xr-x root/root  123 2026-01-01 00:00 /usr/bin/init`
        let regular = list.lines().filter(|line| line.starts_with('-'));
        files.extend(regular.filter_map(|line| Some(line.split_once(" /")?.1.to_owned())));
    }
    files
}

fn in_folder(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("our own folder").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_boot_is_told_by_what_it_reads() {
    let kit = Kit::tiny(Kernel::V6_1);
    let folder = tempfile::TempDir::with_prefix("livekit-trace-").expect("a temporary folder");
    let ran = trace(&kit, folder.path(), "panic=-1 -- poweroff");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}: {said}", ran.status);
    assert_eq!(in_folder(folder.path()), ["boot.order"], "{said}");

    let order = fs::read_to_string(folder.path().join("boot.order")).expect("a text file");
    let lines: Vec<&str> = order.lines().collect();
    let files = files(&kit);
    let strange: Vec<_> = lines.iter().filter(|line| !files.contains(**line)).collect();
    assert!(strange.is_empty(), "in no bundle: {strange:?}");
    let once: BTreeSet<_> = lines.iter().collect();
    assert_eq!(once.len(), lines.len(), "files are there twice: {order}");
    let place = |end: &str| {
        let place = lines.iter().position(|line| line.ends_with(end));
        place.unwrap_or_else(|| panic!("{end} was read, and is not in the list:\n{order}"))
    };
    // The init program starts modprobe, which is busybox and reads its list before the module.
    let expected = ["usr/bin/init", "usr/bin/busybox", "/modules.dep", "/virtio_console.ko"];
    let places = expected.map(place);
    assert!(places.is_sorted(), "{places:?}:\n{order}");
    assert!(lines.len() < files.len() / 2, "{} files were read, of {}", lines.len(), files.len());
}

#[test]
fn a_system_is_switched_off_when_it_is_up() {
    let kit = Kit::debian(Kernel::V6_12);
    let folder = tempfile::TempDir::with_prefix("livekit-trace-").expect("a temporary folder");
    let ran = trace(&kit, folder.path(), "");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {said}", ran.status);
    assert!(said.contains("The system is up; in 10 s it is switched off."), "{said}");
    let order = fs::read_to_string(folder.path().join("boot.order")).expect("a text file");
    // The init program, what asks for the login, and what the shutdown needs after that.
    let place = |path: &str| order.lines().position(|line| line == path);
    let expected = ["usr/lib/systemd/systemd", "usr/sbin/agetty", "usr/lib/systemd/systemd-shutdown"];
    let places = expected.map(place);
    assert!(places[0].is_some() && places.is_sorted(), "{places:?}:\n{order}");
}

#[test]
fn a_system_that_breaks_down_leaves_no_list() {
    let kit = Kit::tiny(Kernel::V6_1);
    let folder = tempfile::TempDir::with_prefix("livekit-trace-").expect("a temporary folder");
    // Process 1 ends, which is a panic.
    let ran = trace(&kit, folder.path(), "panic=-1 init=/bin/ls");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("error: the system went off without telling what it had read"), "{said}");
    assert_eq!(in_folder(folder.path()), [""; 0], "{said}");
}
