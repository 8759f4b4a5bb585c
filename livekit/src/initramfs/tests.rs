use super::*;
use std::process::Command;

/// A kernel of four modules, with the programs.
fn inputs(dir: &Path) -> (KernelTree, Parts) {
    let modules_dir = dir.join("modules");
    for (path, info) in [
        ("kernel/drivers/block/loop.ko", "license=GPL\0"),
        ("kernel/fs/squashfs/squashfs.ko", "license=GPL\0"),
        ("kernel/fs/overlayfs/overlay.ko", "license=GPL\0"),
        ("kernel/drivers/ata/ahci.ko", "firmware=disk/ahci.bin\0firmware=absent.bin\0"),
    ] {
        let path = modules_dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, module_file::tests::module(info.as_bytes())).unwrap();
    }
    let dep = "kernel/drivers/block/loop.ko:\nkernel/fs/squashfs/squashfs.ko:\nkernel/fs/overlayfs/overlay.ko:\n\
               kernel/drivers/ata/ahci.ko:\nkernel/net/unused.ko:\n";
    fs::write(modules_dir.join("modules.dep"), dep).unwrap();
    fs::write(modules_dir.join("modules.alias"), "alias fs-squashfs squashfs\nalias net-pf-9 unused\n")
        .unwrap();
    fs::create_dir_all(dir.join("firmware/disk")).unwrap();
    fs::write(dir.join("firmware/disk/ahci.bin"), b"firmware").unwrap();
    for program in ["init", "cleanup"] {
        fs::write(dir.join(program), program.repeat(1000)).unwrap();
    }
    let parts = Parts {
        init: dir.join("init"),
        cleanup: dir.join("cleanup"),
        busybox: None,
        tools: BTreeMap::new(),
        firmware_dir: Some(dir.join("firmware")),
        name: "livekit".into(),
    };
    (KernelTree { version: "6.1.0-test".into(), modules_dir }, parts)
}

fn sh(script: &str, argument: &Path) -> String {
    let output =
        Command::new("sh").args(["-ec", script, "sh"]).arg(argument).env("TZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn strangers_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (kernel, parts) = inputs(dir.path());
    let output = dir.path().join("initramfs.img");
    let summary = build(&kernel, &parts, &ModuleSet::Most, 1_700_000_000, &output).unwrap();
    assert_eq!(summary.bytes, fs::metadata(&output).unwrap().len());
    assert_eq!(summary.firmware, ["disk/ahci.bin"]);
    assert_eq!(
        summary.modules.iter().map(|(d, n)| (d.as_str(), n.0)).collect::<Vec<_>>(),
        [("drivers/ata", 1), ("drivers/block", 1), ("fs", 2)]
    );
    sh("zstd -qt \"$1\"", &output);
    let listing = sh("zstd -dcq \"$1\" | cpio -itv --quiet --numeric-uid-gid", &output);
    let files: Vec<String> =
        listing.lines().map(|l| l.split_whitespace().last().unwrap().to_owned()).collect();
    let expected = "bin dev etc lib m memory oldroot proc run sys etc/livekit lib/firmware lib/modules lib/firmware/disk \
        lib/modules/6.1.0-test lib/modules/6.1.0-test/kernel lib/modules/6.1.0-test/kernel/drivers \
        lib/modules/6.1.0-test/kernel/fs lib/modules/6.1.0-test/kernel/drivers/ata \
        lib/modules/6.1.0-test/kernel/drivers/block lib/modules/6.1.0-test/kernel/fs/overlayfs \
        lib/modules/6.1.0-test/kernel/fs/squashfs init shutdown dev/console dev/null etc/livekit/name \
        lib/firmware/disk/ahci.bin lib/modules/6.1.0-test/modules.alias lib/modules/6.1.0-test/modules.builtin \
        lib/modules/6.1.0-test/modules.dep lib/modules/6.1.0-test/modules.softdep \
        lib/modules/6.1.0-test/kernel/drivers/ata/ahci.ko.zst lib/modules/6.1.0-test/kernel/drivers/block/loop.ko.zst \
        lib/modules/6.1.0-test/kernel/fs/overlayfs/overlay.ko.zst lib/modules/6.1.0-test/kernel/fs/squashfs/squashfs.ko.zst";
    assert_eq!(files, expected.split_whitespace().collect::<Vec<_>>());
    assert!(listing.lines().all(|l| l.contains(" 0 ") && l.contains("Nov 14  2023")), "{listing}");
    let unpack = "mkdir -p \"$1.d\"; cd \"$1.d\"; zstd -dcq \"$1\" | cpio -idu --quiet 2>/dev/null || true; \
        cat etc/livekit/name; M=lib/modules/6.1.0-test; cat $M/modules.dep $M/modules.alias; \
        zstd -dcq $M/kernel/drivers/ata/ahci.ko.zst | cmp - ../modules/kernel/drivers/ata/ahci.ko; cmp init ../init";
    let dep: String =
        ["drivers/block/loop", "fs/squashfs/squashfs", "fs/overlayfs/overlay", "drivers/ata/ahci"]
            .map(|m| format!("kernel/{m}.ko.zst:\n"))
            .concat();
    assert_eq!(sh(unpack, &output), format!("livekit\n{dep}alias fs-squashfs squashfs\n"));
}

#[test]
fn the_same_bytes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (kernel, parts) = inputs(dir.path());
    let [one, two] = ["one", "two"].map(|name| {
        let output = dir.path().join(name);
        build(&kernel, &parts, &ModuleSet::All.clone(), 5, &output).map(|_| fs::read(&output).unwrap())
    });
    // `all` names a module that has no file: nothing is left behind.
    assert!(one.unwrap_err().message().contains("unused.ko") && two.is_err());
    let list: ModuleSet = "ahci".parse().unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let output = dir.path().join(name);
        build(&kernel, &parts, &list, 5, &output).unwrap();
        fs::read(&output).unwrap()
    });
    assert!(one == two);
}

#[test]
fn failures_leave_nothing_and_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (kernel, parts) = inputs(dir.path());
    let output = dir.path().join("out/initramfs.img");
    let fails = |kernel: &KernelTree, parts: &Parts, set: &str| {
        let Ok(set) = set.parse::<ModuleSet>();
        let error = build(kernel, parts, &set, 0, &output).unwrap_err();
        assert!(fs::read_dir(dir.path().join("out")).is_ok_and(|mut d| d.next().is_none()), "{error}");
        error.to_string()
    };
    fs::create_dir(dir.path().join("out")).unwrap();
    let other = KernelTree { modules_dir: dir.path().to_owned(), ..kernel.clone() };
    assert!(fails(&other, &parts, "most").contains("depmod"));
    assert!(fails(&kernel, &parts, "nosuch").contains("no module nosuch"));
    let without = Parts { init: dir.path().join("nowhere"), ..parts.clone() };
    assert!(fails(&kernel, &without, "most").contains("nowhere: No such file"));
    fs::write(kernel.modules_dir.join("kernel/drivers/ata/ahci.ko"), b"torn").unwrap();
    assert!(fails(&kernel, &parts, "most").contains("ahci.ko: not a kernel module"));
}
