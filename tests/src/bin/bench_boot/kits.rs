//! The contestants: the same Debian root, made into a medium by livekit and by Debian's live-boot. Kept in the tests' cache
//! under the content they are made from.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::cache::{self, Key};
use tests::programs::{self, command, output};
use tests::{Format, Kernel, Medium, roots};

/// Where the marker is in the root.
const MARKER: &str = "usr/local/sbin/bench-marker";
/// Starts the marker when the services of a console system are there.
const UNIT: &str = "[Unit]\nDescription=Marker of the boot benchmark\nAfter=multi-user.target\n\n\
    [Service]\nExecStart=/usr/local/sbin/bench-marker login\n";
/// Kernel parameters of every boot.
const APPEND: &str =
    "console=ttyS0 loglevel=7 panic=-1 init=/usr/local/sbin/bench-marker systemd.show_status=no";
const EPOCH: &str = "1767225600";
/// What live-boot's squashfs is made with: the settings that livekit has by default.
const SQUASHFS: &str = "-comp zstd -Xcompression-level 15 -b 128K -noappend -quiet -no-progress";
/// The packages that are in live-boot's initramfs, besides those the root has.
const LIVE_BOOT: &str =
    "systemd-sysv,dbus,udev,kmod,kexec-tools,initramfs-tools,live-boot,live-boot-initramfs-tools,zstd";

/// The root that everybody boots.
#[derive(Debug)]
pub struct Root {
    pub path: PathBuf,
    /// Version of its kernel
    pub release: String,
}

impl Root {
    /// Debian 12 with kernel 6.1, a fixed machine-id and nothing that starts at a time of its own.
    pub fn make() -> Self {
        let tar = roots::debian(Kernel::V6_1);
        let marker = marker();
        let key = Key::default().word("bench-root 2").word(&tar.to_string_lossy()).file(&marker);
        let path = cache::entry("bench-root", &key, |root| {
            fs::create_dir(root).unwrap_or_else(|error| panic!("cannot create {}: {error}", root.display()));
            output(command("tar").arg("-xpf").arg(&tar).arg("--numeric-owner").arg("-C").arg(root));
            settle(root, &marker);
        });
        let release = Kernel::V6_1.unpacked().release;
        Self { path, release }
    }

    pub fn kernel(&self) -> PathBuf {
        self.path.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The list of all modules of its kernel.
    pub fn modules_dep(&self) -> PathBuf {
        self.path.join("usr/lib/modules").join(&self.release).join("modules.dep")
    }
}

fn settle(root: &Path, marker: &Path) {
    let write = |path: &str, content: &str| {
        fs::write(root.join(path), content).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    };
    write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write("etc/hostname", "guest\n");
    write("etc/fstab", "");
    // live-boot does not make the mount points itself.
    for folder in ["dev", "proc", "sys", "run", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder in the root");
    }
    // Newer than /usr: no work of a first boot.
    write("etc/.updated", "");
    write("var/.updated", "");
    for folder in ["etc/systemd/system/timers.target.wants", "usr/lib/systemd/system/timers.target.wants"] {
        let _ = fs::remove_dir_all(root.join(folder));
    }
    fs::copy(marker, root.join(MARKER)).expect("room for the marker");
    fs::set_permissions(root.join(MARKER), fs::Permissions::from_mode(0o755)).expect("our own file");
    write("etc/systemd/system/bench-marker.service", UNIT);
    let wants = root.join("etc/systemd/system/graphical.target.wants");
    fs::create_dir_all(&wants).expect("a folder in the root");
    symlink("../bench-marker.service", wants.join("bench-marker.service")).expect("a link in the root");
}

/// The marker program, built beside this one.
pub fn marker() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    let marker = own.with_file_name("bench_marker");
    assert!(marker.is_file(), "{} is missing\nhint: `make bench-boot` builds it", marker.display());
    marker
}

/// A live system on its media.
#[derive(Debug)]
pub struct Kit {
    pub name: String,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub append: String,
    /// ISO image
    pub disc: PathBuf,
    /// Image of a stick with one FAT32 partition
    pub stick: PathBuf,
    /// Bytes of the squashfs files
    pub squashfs_bytes: u64,
    /// Versions of what made it
    pub versions: String,
}

impl Kit {
    /// What `livekit build-iso` makes of the root, with bundles of this block size if not of the default one.
    pub fn ours(root: &Root, block_size: Option<&str>) -> Self {
        match block_size {
            Some(size) => {
                Self::made(root, format!("livekit, blocks of {size}"), &["--block-size", size], size)
            }
            None => Self::made(root, "livekit".into(), &[], "default"),
        }
    }

    /// The same with its files in the order of this list.
    pub fn ordered(root: &Root, order: &Path) -> Self {
        let list = fs::read_to_string(order).expect("a list of files");
        Self::made(root, "livekit, in order".into(), &["--order", &order.to_string_lossy()], &list)
    }

    /// `identity` is what the flags stand for.
    fn made(root: &Root, name: String, flags: &[&str], identity: &str) -> Self {
        let programs = programs::livekit();
        let key = Key::default().word("bench-kit 1").word(&root.path.to_string_lossy());
        let key = key.word(identity);
        let key = key.file(&programs.livekit).file(&programs.init).file(&programs.cleanup);
        let folder = cache::entry("bench-kit", &key, |folder| {
            fs::create_dir(folder)
                .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
            let iso = folder.join("live.iso");
            let mut build = Command::new(&programs.livekit);
            build.arg("build-iso").arg("--root").arg(&root.path).arg("--output").arg(&iso);
            build.args(["--text-menu", "--timeout", "0"]).env("SOURCE_DATE_EPOCH", EPOCH);
            // Without a home it keeps no record of the image.
            build.env_remove("HOME").env_remove("XDG_CACHE_HOME");
            output(build.args(flags));
            let medium = folder.join("medium");
            let extract = ["-osirrox", "on:auto_chmod_on", "-indev"];
            output(command("xorriso").args(extract).arg(&iso).args(["-extract", "/"]).arg(&medium));
            output(command("chmod").args(["-R", "u+rwX"]).arg(&medium));
            make_stick(&medium, &folder.join("stick.img"));
        });
        let live = folder.join("medium/livekit");
        let names: Vec<String> = names_in(&live);
        let id = names.iter().find_map(|name| name.strip_suffix(".id")).expect("a kit has its id");
        let bundles = names.iter().filter(|name| name.ends_with(".sb"));
        Self {
            name,
            kernel: live.join("boot/vmlinuz"),
            initrd: live.join("boot/initramfs.img"),
            append: format!("{APPEND} livekit.id={id}"),
            disc: folder.join("live.iso"),
            stick: folder.join("stick.img"),
            squashfs_bytes: bundles.map(|name| length(&live.join(name))).sum(),
            versions: output(Command::new(&programs.livekit).arg("--version")).trim().to_owned(),
        }
    }

    /// What Debian's live-boot makes of it.
    ///
    /// # Errors
    /// Its packages cannot be had.
    pub fn live_boot(root: &Root) -> Result<Self, String> {
        let key = Key::default().word("1").word(&root.release).word(LIVE_BOOT);
        let mut failure = None;
        let made = cache::entry("bench-live-boot-initramfs", &key, |folder| {
            fs::create_dir(folder)
                .unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
            failure = live_boot_initramfs(root, folder).err();
        });
        if let Some(failure) = failure {
            fs::remove_dir_all(&made).expect("the entry just made");
            return Err(failure);
        }
        let key = Key::default().word("1").word(&root.path.to_string_lossy()).word(SQUASHFS);
        let folder = cache::entry("bench-live-boot", &key, |folder| live_boot_media(root, folder));
        let versions = fs::read_to_string(made.join("versions")).unwrap_or_default();
        Ok(Self {
            name: "live-boot".into(),
            kernel: root.kernel(),
            initrd: made.join("initrd.img"),
            append: format!("{APPEND} boot=live noeject"),
            disc: folder.join("live.iso"),
            stick: folder.join("stick.img"),
            squashfs_bytes: length(&folder.join("medium/live/filesystem.squashfs")),
            versions: versions.split_whitespace().collect::<Vec<_>>().join(" "),
        })
    }
}

/// Installs live-boot into a root of its own, which has the packages of the common one, and has it make its initramfs.
fn live_boot_initramfs(root: &Root, folder: &Path) -> Result<(), String> {
    let configure = "printf 'MODULES=most\\nCOMPRESS=zstd\\n' > \"$1/etc/initramfs-tools/conf.d/bench\"";
    let make = format!("chroot \"$1\" mkinitramfs -o /boot/initrd.img {}", root.release);
    let versions = "chroot \"$1\" dpkg-query -W live-boot initramfs-tools-core > \"$1/boot/versions\"";
    let copy = |file: &str| format!("copy-out /boot/{file} {}", folder.display());
    let mut command = command("mmdebstrap");
    command.args(["--variant=minbase", "--format=null"]);
    command.arg(format!("--include={LIVE_BOOT},linux-image-{}", root.release));
    for hook in [configure, &make, versions, &copy("initrd.img"), &copy("versions")] {
        command.arg(format!("--customize-hook={hook}"));
    }
    let made = command.args(["bookworm", "/dev/null"]).stdin(Stdio::null()).output();
    match made {
        Ok(made) if made.status.success() => Ok(()),
        Ok(made) => {
            let said = String::from_utf8_lossy(&made.stderr);
            let lines: Vec<&str> = said.lines().collect();
            Err(lines[lines.len().saturating_sub(8)..].join("\n"))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn live_boot_media(root: &Root, folder: &Path) {
    let live = folder.join("medium/live");
    fs::create_dir_all(&live).expect("a folder in the cache");
    let squashfs = live.join("filesystem.squashfs");
    output(command("mksquashfs").arg(&root.path).arg(squashfs).args(SQUASHFS.split(' ')));
    let (medium, iso) = (folder.join("medium"), folder.join("live.iso"));
    let options = ["-as", "mkisofs", "-quiet", "-R", "-J", "-V", "LIVEBOOT", "-o"];
    output(command("xorriso").args(options).arg(iso).arg(&medium));
    make_stick(&medium, &folder.join("stick.img"));
}

fn make_stick(medium: &Path, image: &Path) {
    let stick = Medium::copy(medium).stick(Format::Fat32);
    output(command("cp").arg("--sparse=always").arg(stick.path()).arg(image));
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Bytes of a file.
pub fn length(path: &Path) -> u64 {
    path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).len()
}
