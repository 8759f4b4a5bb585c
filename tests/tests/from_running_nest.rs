//! What is in an image of what is active, made in a nest and judged by xorriso, unsquashfs and cpio. tests/from_running.rs
//! boots one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::guest::Ran;
use tests::programs::{self, command, output};
use tests::{Guest, Medium, Nest};

const DATA: &str = "/run/initramfs/memory/data";
const OPTIONAL: &str = "/run/initramfs/memory/data/livekit/optional";

/// A live system whose medium has a boot loader for UEFI.
struct Bench {
    nest: tests::nest::Nested,
    changes: TempDir,
}

impl Bench {
    fn new(medium: impl FnOnce(Medium) -> Medium) -> Self {
        let changes = TempDir::new().expect("a temporary folder");
        let mut nest = Nest::new()
            .medium(|m| {
                let names = ["BOOTX64.EFI", "grubx64.efi", "mmx64.efi"];
                let m = names.iter().fold(m, |m, name| m.file(&format!("livekit/EFI/BOOT/{name}"), "MZ"));
                medium(m)
            })
            .changes_in(changes.path())
            .start();
        nest.guest.make_writable(DATA);
        nest.guest.run(&["/bin/mv", &format!("{DATA}/livekit/EFI"), &format!("{DATA}/EFI")]);
        Self { nest, changes }
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.nest.guest
    }

    /// Builds `/home/mine.iso`.
    fn build(&mut self, flags: &[&str]) -> Ran {
        let line = ["/usr/bin/livekit", "build-iso", "--from-running", "--output", "/home/mine.iso"];
        self.guest().try_run(&[line.as_slice(), flags].concat())
    }

    /// Builds it, and unpacks it here.
    fn built(&mut self, flags: &[&str]) -> (Image, String) {
        let ran = self.build(flags);
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert_eq!(ran.stdout, "/home/mine.iso\n");
        assert_eq!(self.guest().list("/home"), ["mine.iso"], "something is left behind");
        (Image::unpack(&self.changes.path().join("upper/home/mine.iso")), ran.stderr)
    }
}

/// The files of an image.
struct Image {
    folder: TempDir,
    report: String,
}

impl Image {
    fn unpack(iso: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut extract = command("xorriso");
        extract
            .args(["-osirrox", "on", "-indev"])
            .arg(iso)
            .args(["-extract", "/"])
            .arg(folder.path().join("iso"));
        output(&mut extract);
        let report = output(command("xorriso").arg("-indev").arg(iso).args(["-report_el_torito", "plain"]));
        Self { folder, report }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("iso/livekit").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// A file of a bundle.
    fn cat(&self, bundle: &str, path: &str) -> String {
        output(command("unsquashfs").arg("-cat").arg(self.path(bundle)).arg(path))
    }

    /// The names in a bundle.
    fn names(&self, bundle: &str) -> Vec<String> {
        let listed = output(command("unsquashfs").args(["-lc", "-d", ""]).arg(self.path(bundle)));
        listed.lines().map(str::to_owned).collect()
    }
}

fn with_kernel(medium: Medium) -> Medium {
    medium.file("livekit/boot/vmlinuz", "the kernel").file("livekit/boot/initramfs.img", "the initramfs")
}

#[test]
fn what_is_active_is_in_it_in_its_order() {
    let mut bench = Bench::new(|medium| {
        with_kernel(medium)
            .bundle("livekit/modules/30-gone.sb", &[("usr/share/gone", "gone")])
            .bundle("livekit/modules/40-stays.sb", &[("usr/share/stays", "stays")])
            .bundle("livekit/optional/10-low.sb", &[("usr/share/who", "low")])
            .bundle("livekit/optional/95-high.sb", &[("usr/share/who", "high")])
            .bundle("livekit/optional/left.sb", &[("usr/share/left", "left")])
            .file("livekit/rootcopy/usr/bin/tool", "#!/bin/sh\n")
            .file("livekit/changes/1/upper/old", "another session")
    });
    let guest = bench.guest();
    for words in [["activate", "high"], ["activate", "low"], ["deactivate", "gone"]] {
        guest.run(&["/usr/bin/livekit", words[0], words[1], "--no-triggers"]);
    }
    let rootcopy = format!("{DATA}/livekit/rootcopy");
    guest.run(&[
        "/bin/sh",
        "-c",
        &format!("cd {rootcopy}; chmod 755 usr/bin/tool; ln -s / all; mkdir -m 700 own"),
    ]);
    guest.write("/etc/changed", "by the user");
    guest.run(&[
        "/bin/sh",
        "-c",
        "mkdir /root/iso; echo kept > /root/iso/mine.iso; echo secret > /etc/shadow",
    ]);
    assert_eq!(guest.read("/usr/share/who"), "low");

    let (image, said) = bench.built(&["--changes"]);
    assert!(said.contains("10-low.sb becomes modules/96-low.sb"), "{said}");
    assert!(said.contains("UEFI alone") && said.contains("grub-pc-bin"), "{said}");
    assert!(!said.contains("95-high.sb becomes"), "{said}");
    assert_eq!(image.list("modules"), ["40-stays.sb", "95-high.sb", "96-low.sb", "97-changes.sb"]);
    assert_eq!(image.list("optional"), ["left.sb"]);
    assert_eq!(image.list("changes"), Vec::<String>::new());
    assert_eq!(
        [image.read("boot/vmlinuz"), image.read("boot/initramfs.img")],
        ["the kernel", "the initramfs"]
    );
    assert_eq!(image.cat("modules/96-low.sb", "usr/share/who"), "low");
    assert_eq!(fs::read_link(image.path("rootcopy/all")).expect("a link"), Path::new("/"));
    for (name, mode) in [("usr/bin/tool", 0o755), ("own", 0o700)] {
        let about = image.path("rootcopy").join(name).metadata().expect(name);
        assert_eq!(about.permissions().mode() & 0o7777, mode, "{name}");
    }
    let changes = "modules/97-changes.sb";
    assert_eq!(image.cat(changes, "etc/changed"), "by the user");
    assert_eq!(image.cat(changes, "root/iso/mine.iso"), "kept\n");
    let names = image.names(changes);
    for own in ["/home/mine.iso", "/home/.livekit", "/etc/shadow"] {
        assert!(!names.iter().any(|name| name.starts_with(own)), "{own} is in {names:#?}");
    }
    // The marker and the menu are of one build, and the firmware finds its own part.
    let ids: Vec<String> = image.list("").into_iter().filter(|name| name.ends_with(".id")).collect();
    let [id] = ids.as_slice() else { panic!("one marker expected: {ids:?}") };
    let id = id.trim_end_matches(".id");
    let entries = image.read("../boot/grub/entries.cfg");
    assert!(id.len() == 16 && entries.contains(&format!("livekit.id={id}")), "{id}: {entries}");
    assert!(image.report.contains("UEFI") && !image.report.contains("BIOS"), "{}", image.report);

    let (image, _) = bench.built(&["--changes", "--with-secrets"]);
    assert_eq!(image.cat(changes, "etc/shadow"), "secret\n");
    let (image, _) = bench.built(&[]);
    assert_eq!(image.list("modules"), ["40-stays.sb", "95-high.sb", "96-low.sb"]);
}

#[test]
fn a_bundle_without_its_file_is_read_from_its_device() {
    let mut bench = Bench::new(|medium| {
        let medium = with_kernel(medium).bundle("livekit/optional/20-x.sb", &[("usr/share/x", "x")]);
        medium
            .bundle("livekit/optional/20-y.sb", &[("usr/share/y", "y")])
            .bundle("livekit/optional/20-z.sb", &[("usr/share/z", "z")])
    });
    let guest = bench.guest();
    for name in ["x", "y", "z"] {
        guest.run(&["/usr/bin/livekit", "activate", name, "--no-triggers"]);
    }
    // One is removed, another replaced.
    guest.run(&[
        "/bin/sh",
        "-c",
        &format!("cd {OPTIONAL}; cp 20-x.sb /root/; rm 20-x.sb 20-y.sb; cp 20-z.sb 20-y.sb"),
    ]);
    let (image, said) = bench.built(&[]);
    for name in ["20-x", "20-y"] {
        assert!(said.contains(&format!("the file of {name}.sb is gone")), "{said}");
    }
    assert!(!said.contains("the file of 20-z.sb"), "{said}");
    assert_eq!(image.list("modules"), ["91-x.sb", "92-y.sb", "93-z.sb"]);
    assert_eq!(image.cat("modules/91-x.sb", "usr/share/x"), "x");
    assert_eq!(image.cat("modules/92-y.sb", "usr/share/y"), "y");
    // What is in the place of the active one is optional, as it was.
    assert_eq!(image.cat("optional/20-y.sb", "usr/share/z"), "z");
    let original = bench.changes.path().join("upper/root/20-x.sb");
    output(command("cmp").arg(original).arg(image.path("modules/91-x.sb")));
}

#[test]
fn without_a_kernel_on_the_medium_one_is_made_of_the_running_root() {
    let mut bench = Bench::new(|medium| medium);
    let said = bench.build(&[]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(said.stderr.contains("there is no kernel on the medium"), "{said:#?}");
    assert_eq!(bench.guest().list("/home"), Vec::<String>::new(), "something is left behind");
    drop(bench);

    let root = Medium::empty();
    let modules = "usr/lib/modules/6.1.0-1-test";
    let built_in =
        "kernel/drivers/block/loop.ko\nkernel/fs/squashfs/squashfs.ko\nkernel/fs/overlayfs/overlay.ko\n";
    let root = ["modules.alias", "modules.softdep"]
        .iter()
        .fold(root, |root, name| root.file(&format!("{modules}/{name}"), ""))
        .file(&format!("{modules}/modules.dep"), "kernel/fs/isofs/isofs.ko:\n")
        .file(&format!("{modules}/modules.builtin"), built_in)
        .copy_of("usr/lib/livekit/init", &programs::livekit().init)
        .copy_of("usr/lib/livekit/cleanup", &programs::livekit().cleanup)
        .file("boot/vmlinuz-6.1.0-1-test", "");
    let root = root.copy_of(&format!("{modules}/kernel/fs/isofs/isofs.ko"), &programs::livekit().init);
    fs::write(root.path("boot/vmlinuz-6.1.0-1-test"), kernel_image("6.1.0-1-test")).expect("a kernel image");
    let mut bench = Bench::new(|medium| medium.bundle_of("livekit/modules/10-kernel.sb", &root.path("")));
    let (image, said) = bench.built(&["--text-menu"]);
    assert!(said.contains("The medium has no kernel"), "{said}");
    assert_eq!(fs::read(image.path("boot/vmlinuz")).expect("a kernel"), kernel_image("6.1.0-1-test"));
    let script = "zstd -dcq \"$1\" | cpio -it --quiet";
    let listed = output(command("sh").args(["-c", script, "sh"]).arg(image.path("boot/initramfs.img")));
    for name in ["init", "shutdown", "etc/livekit/name"] {
        assert!(listed.lines().any(|line| line == name), "{name} is not in {listed}");
    }
}

/// The start of a bzImage, as far as its version is looked for.
fn kernel_image(version: &str) -> Vec<u8> {
    let mut image = vec![0; 0x4000];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x180_u16.to_le_bytes());
    image[0x380..0x380 + version.len()].copy_from_slice(version.as_bytes());
    image
}

#[test]
fn another_name_and_another_source_are_refused() {
    let mut bench = Bench::new(with_kernel);
    for flags in [&["--name", "other"][..], &["--root", "/"], &["--debian", "bookworm"], &["--order", "x"]] {
        let said = bench.build(flags);
        assert_eq!(said.status, Some(2), "{flags:?}: {said:#?}");
    }
    let said = bench.build(&["--firmware", "bios"]);
    assert_eq!(said.status, Some(1), "{said:#?}");
    assert!(said.stderr.contains("grub-pc-bin"), "{said:#?}");
    bench.guest().write("/root/livekit.toml", "name = \"other\"\n");
    let said = bench.build(&["--config", "/root/livekit.toml"]);
    assert_eq!(said.status, Some(2), "{said:#?}");
    assert!(said.stderr.contains("looks for livekit"), "{said:#?}");
    bench.built(&["--name", "livekit"]);
}
