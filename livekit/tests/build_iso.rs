//! Images built from a tiny synthetic root, judged by xorriso, unsquashfs and the file system.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const VERSION: &str = "6.1.0-1-test";

/// A folder with a root, what an initramfs needs, and a place for images.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(bench.path("out")).unwrap();
        for program in ["init", "cleanup"] {
            bench.write(&format!("lib/{program}"), &elf_program());
            fs::set_permissions(bench.path("lib").join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let modules = format!("root/usr/lib/modules/{VERSION}");
        for (name, text) in [
            ("modules.dep", "kernel/fs/isofs/isofs.ko:\n"),
            ("modules.alias", ""),
            ("modules.softdep", ""),
            (
                "modules.builtin",
                "kernel/drivers/block/loop.ko\nkernel/fs/squashfs/squashfs.ko\nkernel/fs/overlayfs/overlay.ko\n",
            ),
        ] {
            bench.write(&format!("{modules}/{name}"), text.as_bytes());
        }
        bench.write(&format!("{modules}/kernel/fs/isofs/isofs.ko"), &elf_program());
        bench.write(&format!("root/boot/vmlinuz-{VERSION}"), &bz_image());
        bench.write(&format!("root/boot/initrd.img-{VERSION}"), b"not wanted");
        bench.write("root/etc/os-release", b"PRETTY_NAME=\"Test System\"\n");
        bench.write("root/etc/machine-id", b"0123\n");
        bench.write("root/tmp/leftover", b"not wanted");
        bench.write("root/srv/music.iso", b"not wanted");
        bench.write("root/usr/bin/one", b"same\n");
        fs::hard_link(bench.path("root/usr/bin/one"), bench.path("root/usr/bin/two")).unwrap();
        symlink("one", bench.path("root/usr/bin/link")).unwrap();
        symlink("usr/lib", bench.path("root/lib")).unwrap();
        bench.write("root/usr/lib/firmware/a.bin", b"firmware\n");
        bench.write("root/home/it's [a] name", b"odd\n");
        rustix::fs::setxattr(
            bench.path("root/usr/bin/one"),
            "user.note",
            b"kept",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Something that takes a while to pack and does not get smaller.
    fn add_bulk(&self, mebibytes: usize) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(mebibytes << 17)
        .flatten()
        .collect();
        self.write("root/srv/bulk", &bytes);
    }

    fn command(&self, output: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livekit"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LIVEKIT_")) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).env("LIVEKIT_LIB", self.path("lib")).env_remove("TMPDIR");
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env("SOURCE_DATE_EPOCH", "1700000000").args([
            "build-iso",
            "--root",
            "root",
            "--busybox",
            "none",
        ]);
        command.args([
            "--exclude",
            "*.iso",
            "--append",
            "console=ttyS0",
            "--compressor",
            "zstd:1",
            "--output",
            output,
        ]);
        command
    }

    fn build(&self, output: &str) -> Output {
        let result = self.command(output).output().unwrap();
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        result
    }

    /// Names in the folder of images.
    fn made(&self) -> Vec<String> {
        names(&self.path("out"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The start of a bzImage, as far as anyone here looks at it.
fn bz_image() -> Vec<u8> {
    let mut image = vec![0; 0x4000];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x180_u16.to_le_bytes());
    image[0x380..0x380 + VERSION.len()].copy_from_slice(VERSION.as_bytes());
    image
}

/// The header of a static program for x86-64: one program header, which is not an interpreter's.
fn elf_program() -> Vec<u8> {
    let mut elf = vec![0; 64 + 56];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18] = 62;
    elf[32] = 64;
    elf[54] = 56;
    elf[56] = 1;
    elf[64] = 1;
    elf
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let result = Command::new(program).args(arguments).current_dir(folder).output();
    let result = result.unwrap_or_else(|error| panic!("{program}: {error}; these tests need it"));
    assert!(result.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&result.stderr));
    String::from_utf8_lossy(&result.stdout).into_owned()
}

#[test]
fn the_image_has_everything() {
    let bench = Bench::new();
    let result = bench.build("out/a.iso");
    assert_eq!(String::from_utf8_lossy(&result.stdout), "out/a.iso\n");
    let status = String::from_utf8_lossy(&result.stderr).into_owned();
    for line in ["Kernel 6.1.0-1-test (", "00-core.sb", "01-firmware.sb", "90-livekit.sb", "initramfs.img"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    assert_eq!(bench.made(), ["a.iso"]);

    let out = bench.path("out");
    run("xorriso", &["-osirrox", "on", "-indev", "a.iso", "-extract", "/", "iso"], &out);
    let kit = out.join("iso/livekit");
    let marker = names(&kit).into_iter().find(|name| name.ends_with(".id")).unwrap();
    let id = marker.strip_suffix(".id").unwrap().to_owned();
    assert_eq!(
        names(&kit),
        [
            "00-core.sb",
            "01-firmware.sb",
            "90-livekit.sb",
            &marker,
            "boot",
            "changes",
            "modules",
            "optional",
            "rootcopy"
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
    assert_eq!(fs::read_to_string(kit.join(&marker)).unwrap(), format!("{id}\n"));
    assert_eq!(fs::read(kit.join("boot/vmlinuz")).unwrap(), bz_image());
    let entries = fs::read_to_string(out.join("iso/boot/grub/entries.cfg")).unwrap();
    assert!(entries.contains(&format!("livekit.id={id}")) && entries.contains("console=ttyS0"), "{entries}");
    assert!(entries.contains("Test System"), "{entries}");
    let report = run("xorriso", &["-indev", "a.iso", "-report_el_torito", "plain"], &out);
    assert!(report.contains("BIOS") && report.contains("UEFI"), "{report}");

    for (bundle, to) in [("00-core.sb", "core"), ("01-firmware.sb", "firmware"), ("90-livekit.sb", "kit")] {
        let path = kit.join(bundle);
        run("unsquashfs", &["-no-progress", "-d", to, path.to_str().unwrap()], &out);
    }
    check_core(&out.join("core"));
    assert_eq!(fs::read(out.join("firmware/usr/lib/firmware/a.bin")).unwrap(), b"firmware\n");
    assert_eq!(names(&out.join("firmware/usr")), ["lib"]);
    assert_eq!(names(&out.join("kit")), ["usr"]);
    let livekit = fs::read(out.join("kit/usr/bin/livekit")).unwrap();
    assert!(livekit == fs::read(env!("CARGO_BIN_EXE_livekit")).unwrap(), "another program");
    assert_eq!(names(&out.join("kit/usr/lib/livekit")), ["cleanup", "init"]);

    let shown = bench_run_dry(&bench, "out/a.iso");
    assert!(
        shown.contains(&format!("-append 'livekit.id={id} console=ttyS0 console=ttyS0,115200 debug'")),
        "{shown}"
    );
}

fn check_core(core: &Path) {
    let (one, two) =
        (core.join("usr/bin/one").metadata().unwrap(), core.join("usr/bin/two").metadata().unwrap());
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2));
    assert_eq!(fs::read_link(core.join("usr/bin/link")).unwrap(), Path::new("one"));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(core.join("usr/bin/two"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"kept");
    assert_eq!(fs::read(core.join("home/it's [a] name")).unwrap(), b"odd\n");
    for (folder, holds) in [
        ("", &["boot", "etc", "home", "lib", "srv", "tmp", "usr"][..]),
        ("tmp", &[]),
        ("srv", &[]),
        ("boot", &["vmlinuz-6.1.0-1-test"]),
        ("usr/lib", &["firmware", "modules"]),
        ("usr/lib/firmware", &[]),
        ("etc", &["machine-id", "os-release"]),
    ] {
        assert_eq!(names(&core.join(folder)), holds, "{folder}");
    }
}

fn bench_run_dry(bench: &Bench, image: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit"));
    command
        .args(["run", image, "--append", "debug", "--dry-run", "--accel", "tcg"])
        .current_dir(bench.folder.path());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn rules_of_the_configuration_make_bundles() {
    let bench = Bench::new();
    bench.write(
        "livekit.toml",
        b"[[bundle]]\nname = '05-tools'\npaths = ['/usr/bin/two', '/usr/bin/link', '/home']\n\
          [[bundle]]\nname = '06-none'\npaths = ['/opt/**']\n",
    );
    fs::set_permissions(bench.path("root/usr/bin"), fs::Permissions::from_mode(0o711)).unwrap();
    bench.build("out/a.iso");
    let out = bench.path("out");
    run("xorriso", &["-osirrox", "on", "-indev", "a.iso", "-extract", "/livekit", "kit"], &out);
    let bundles: Vec<String> =
        names(&out.join("kit")).into_iter().filter(|name| name.ends_with(".sb")).collect();
    assert_eq!(bundles, ["00-core.sb", "05-tools.sb", "90-livekit.sb"]);
    for (bundle, to) in [("00-core.sb", "core"), ("05-tools.sb", "tools")] {
        let path = out.join("kit").join(bundle);
        run("unsquashfs", &["-no-progress", "-d", to, path.to_str().unwrap()], &out);
    }
    for (folder, holds) in [
        ("core", &["boot", "etc", "lib", "srv", "tmp", "usr"][..]),
        ("core/usr/bin", &["one"]),
        ("core/usr/lib/firmware", &["a.bin"]),
        ("tools", &["home", "usr"]),
        ("tools/usr", &["bin"]),
        ("tools/usr/bin", &["link", "two"]),
        ("tools/home", &["it's [a] name"]),
    ] {
        assert_eq!(names(&out.join(folder)), holds, "{folder}");
    }
    // The names of one file are in two bundles: each has a file of its own.
    for file in ["core/usr/bin/one", "tools/usr/bin/two"] {
        assert_eq!(fs::read(out.join(file)).unwrap(), b"same\n");
        assert_eq!(out.join(file).metadata().unwrap().nlink(), 1);
    }
    assert_eq!(out.join("tools/usr/bin").metadata().unwrap().mode(), 0o40_711);
}

/// Builds `out/a.iso` with more flags; what it said on standard error.
fn build_again(bench: &Bench, flags: &[&str]) -> String {
    let result = bench.command("out/a.iso").args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    assert!(result.status.success(), "{said}");
    said
}

#[test]
fn the_next_build_takes_what_has_not_changed() {
    let bench = Bench::new();
    bench.add_bulk(8);
    let from_last = "of it as in a.iso";
    assert!(!build_again(&bench, &[]).contains(from_last));
    assert_eq!(names(&bench.path("cache/livekit")).len(), 1);
    bench.write("root/usr/bin/new", b"new\n");
    bench.write("root/home/it's [a] name", b"another\n");
    // It is written over the image it takes from.
    let said = build_again(&bench, &["--reuse"]);
    assert!(said.contains(&format!("8.0 MiB {from_last}")), "{said}");
    let out = bench.path("out");
    run(
        "xorriso",
        &["-osirrox", "on", "-indev", "a.iso", "-extract", "/livekit/00-core.sb", "core.sb"],
        &out,
    );
    run("unsquashfs", &["-no-progress", "-d", "core", "core.sb"], &out);
    for file in ["srv/bulk", "usr/bin/new", "usr/bin/one", "home/it's [a] name"] {
        assert!(
            fs::read(out.join("core").join(file)).unwrap()
                == fs::read(bench.path("root").join(file)).unwrap()
        );
    }
    for (flags, taken) in [(&["--no-reuse"][..], false), (&[], false), (&["--no-reuse", "--reuse"], true)] {
        assert_eq!(build_again(&bench, flags).contains(from_last), taken, "{flags:?}");
    }
    // With other blocks nothing fits, and a record may be of a file that is something else by now.
    assert!(!build_again(&bench, &["--reuse", "--block-size", "64K"]).contains(from_last));
    fs::write(bench.path("out/a.iso"), vec![7; 20 << 20]).unwrap();
    let said = build_again(&bench, &["--reuse"]);
    assert!(said.contains("00-core.sb is packed anew: ") && !said.contains(from_last), "{said}");
    fs::remove_file(bench.path("out/a.iso")).unwrap();
    assert!(build_again(&bench, &["--reuse"]).contains("a.iso is gone: all is packed anew."));
}

#[test]
fn what_is_read_first_comes_first() {
    let bench = Bench::new();
    bench.add_bulk(1);
    let bulk = fs::read(bench.path("root/srv/bulk")).unwrap();
    let files = ["usr/bin/a", "usr/lib/b", "usr/lib/c"];
    for (number, file) in (1..).zip(files) {
        bench.write(&format!("root/{file}"), &bulk[number..300_000 + number]);
    }
    bench.write("boot.order", b"# first\n/lib/c\n/none\nusr/bin/a\n");
    bench.write("livekit.toml", b"order = 'boot.order'\n");
    let said = build_again(&bench, &[]);
    assert!(said.contains("2 files of 3 in the order are in the root"), "{said}");
    let out = bench.path("out");
    run(
        "xorriso",
        &["-osirrox", "on", "-indev", "a.iso", "-extract", "/livekit/00-core.sb", "core.sb"],
        &out,
    );
    let image = fs::read(out.join("core.sb")).unwrap();
    // Random bytes are stored as they are.
    let place = |number: usize| {
        image
            .windows(64)
            .position(|window| window == &bulk[number..64 + number])
            .expect("it is in the bundle")
    };
    let places = [3, 1, 2].map(place);
    assert!(places.is_sorted() && places[0] < 4096, "{places:?}");
    let result = bench.command("out/b.iso").args(["--order", "none.order"]).output().unwrap();
    assert_eq!(result.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&result.stderr).contains("error: cannot read the order none.order: No such")
    );
}

#[test]
fn the_same_input_gives_the_same_image() {
    let bench = Bench::new();
    bench.build("out/a.iso");
    bench.build("out/b.iso");
    assert!(
        fs::read(bench.path("out/a.iso")).unwrap() == fs::read(bench.path("out/b.iso")).unwrap(),
        "they differ"
    );
}

/// The name of the marker file of an image.
fn marker(bench: &Bench, image: &str) -> String {
    let list = run("xorriso", &["-indev", image, "-find", "/", "-name", "*.id"], bench.folder.path());
    let name = list.lines().find_map(|line| line.trim_matches('\'').rsplit_once('/'));
    name.unwrap_or_else(|| panic!("no marker in {list}")).1.to_owned()
}

#[test]
fn the_id_follows_all_that_is_in_the_image() {
    let bench = Bench::new();
    let mut seen = Vec::new();
    let mut build = |what: &str, flags: &[&str]| {
        let result = bench.command("out/x.iso").args(flags).output().unwrap();
        assert!(result.status.success(), "{what}: {}", String::from_utf8_lossy(&result.stderr));
        let id = marker(&bench, "out/x.iso");
        assert!(!id.starts_with("00000000"), "{what}: {id}");
        let same = seen.iter().find(|(_, other)| *other == id);
        assert_eq!(same, None, "{what} is not in the id");
        seen.push((what.to_owned(), id));
    };
    build("nothing", &[]);
    for flags in [
        &["--title", "Another"][..],
        &["--append", "quiet"],
        &["--timeout", "7"],
        &["--text-menu"],
        &["--name", "rescue"],
        &["--compressor", "gzip"],
        &["--modules", "loop"],
        &["--firmware", "uefi"],
        &["--firmware", "bios"],
    ] {
        build(&flags.join(" "), flags);
    }
    // The initramfs alone: a program that is in no bundle.
    bench.write("busybox", &elf_program());
    build("busybox", &["--busybox", "busybox"]);
    bench.write("root/etc/new", b"x");
    build("the root", &[]);
    let kernel = bench.path("other-kernel");
    let mut image = bz_image();
    image[0x3000] = 1;
    fs::write(&kernel, image).unwrap();
    build("the kernel", &["--kernel", "other-kernel"]);
}

#[test]
fn boot_files_for_one_firmware_suffice_for_it() {
    let bench = Bench::new();
    for (firmware, has, has_not) in [
        ("bios", &["boot/grub/eltorito.img"][..], &["EFI"][..]),
        ("uefi", &["EFI/BOOT/BOOTX64.EFI"], &["boot/grub/eltorito.img"]),
    ] {
        let image = format!("{firmware}.iso");
        let mut command = bench.command(&format!("out/{image}"));
        let result = command.args(["--firmware", firmware]).output().unwrap();
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        let out = bench.path("out");
        run("xorriso", &["-osirrox", "on", "-indev", &image, "-extract", "/", firmware], &out);
        for (paths, expected) in [(has, true), (has_not, false)] {
            for path in paths {
                assert_eq!(out.join(firmware).join(path).exists(), expected, "{firmware}: {path}");
            }
        }
    }
    // A host without one of them, as a mount over its place makes it.
    let mut build = bench.command("out/a.iso");
    build.args(["--firmware", "both"]);
    let result = in_namespace(&bench, "mount -t tmpfs none /usr/lib/shim", &build);
    let err = String::from_utf8_lossy(&result.stderr);
    assert_eq!(result.status.code(), Some(1), "{err}");
    assert!(
        err.contains("looking for the boot loader: boot files not found: /usr/lib/shim/shimx64.efi.signed, ")
            && err.contains(
                "\nhint: apt-get install shim-signed shim-helpers-amd64-signed; \
                 or make an image for BIOS alone with --firmware bios\n"
            ),
        "{err}"
    );
    let mut build = bench.command("out/a.iso");
    build.args(["--firmware", "bios"]);
    let result = in_namespace(&bench, "mount -t tmpfs none /usr/lib/shim", &build);
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

/// Runs a command after `preparation`, where mounts are its own.
fn in_namespace(bench: &Bench, preparation: &str, build: &Command) -> Output {
    let script = format!("{preparation} && \"$@\"; code=$?; echo left: $(ls -A out) >&2; exit $code");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(build.get_program()).args(build.get_args()).current_dir(bench.folder.path());
    for (name, value) in build.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

/// Builds on a disk of so many KiB.
fn build_on_a_disk(bench: &Bench, kibibytes: u64) -> Output {
    let mount = format!("mount -t tmpfs -o size={kibibytes}k none out");
    in_namespace(bench, &mount, &bench.command("out/a.iso"))
}

#[test]
fn no_kernel_is_told_before_anything_is_made() {
    let bench = Bench::new();
    fs::remove_file(bench.path(&format!("root/boot/vmlinuz-{VERSION}"))).unwrap();
    let result = bench.command("out/a.iso").output().unwrap();
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    assert_eq!(result.status.code(), Some(1));
    assert!(
        said.contains("no kernel in ") && said.contains("looked for boot/vmlinuz-*, boot/vmlinuz, "),
        "{said}"
    );
    assert!(said.contains("\nhint: install a kernel in the root (Debian: linux-image-amd64"), "{said}");
    assert!(bench.made().is_empty());
}

/// Starts a build and waits until it is in the middle of packing.
fn start_and_wait_for_packing(bench: &Bench) -> Child {
    let mut command = bench.command("out/a.iso");
    // Slow on purpose.
    command.args(["--compressor", "zstd:22"]).stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let work = bench.made().into_iter().find(|name| name.starts_with(".livekit-"));
        let packing = work.is_some_and(|work| {
            names(&bench.path("out").join(work)).iter().any(|name| name.starts_with("00-core"))
        });
        if packing {
            return child;
        }
        assert!(child.try_wait().unwrap().is_none(), "the build ended too early");
        assert!(Instant::now() < limit, "the build does not begin to pack");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let bench = Bench::new();
    bench.add_bulk(64);
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        let mut child = start_and_wait_for_packing(&bench);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(bench.made().is_empty(), "left: {:?}", bench.made());
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_says_what_to_do() {
    let bench = Bench::new();
    bench.add_bulk(60);
    for (mebibytes, says) in [
        // Refused beforehand.
        (16, "free, the build needs at least"),
        // Full while the bundle is made.
        (50, "No space left on device"),
        // Full while the kit's own files are laid out.
        (64, "No space left on device"),
    ] {
        let result = build_on_a_disk(&bench, mebibytes << 10);
        let err = String::from_utf8_lossy(&result.stderr);
        assert_eq!(result.status.code(), Some(1), "{mebibytes}: {err}");
        assert!(
            err.contains(says) && err.contains("\nhint: free some space, or choose another place"),
            "{mebibytes}: {err}"
        );
        assert_eq!(err.lines().last(), Some("left:"), "{mebibytes}: {err}");
    }
}

#[test]
fn the_image_needs_little_more_room_than_it_takes() {
    let bench = Bench::new();
    bench.add_bulk(120);
    bench.build("out/a.iso");
    let image = fs::read(bench.path("out/a.iso")).unwrap();
    // The kit's tree has the command as it is: with debug information many times what becomes of it in the image.
    let command = fs::metadata(env!("CARGO_BIN_EXE_livekit")).unwrap().len();
    let needed = (image.len() as u64 * 13 / 10 + command) / 1024;
    let result = build_on_a_disk(&bench, needed);
    let err = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{needed} KiB: {err}");
    assert_eq!(err.lines().last(), Some("left: a.iso"), "{err}");
    // The root is the user's own, and the same build once more gives the same.
    bench.build("out/b.iso");
    assert!(fs::read(bench.path("out/b.iso")).unwrap() == image, "the input was touched");
}
