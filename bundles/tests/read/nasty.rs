//! A tree with everything a squashfs can hold, and bundles of it by mksquashfs.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat, utimensat,
};

use crate::seen::paths;

/// What mksquashfs has and is read here.
pub const COMPRESSORS: [&str; 4] = ["gzip", "xz", "lz4", "zstd"];

/// Bytes that no compressor makes smaller.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(length).collect()
}

/// Makes the tree below `root`, which must not exist.
pub fn make(root: &Path) {
    fs::create_dir_all(root.join("deep/er/and/deeper/still")).unwrap();
    fs::create_dir(root.join("empty directory")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    files(root);
    specials(root);
    attributes(root);
    for (path, mode) in [("deep", 0o1777), ("deep/er", 0o2750), ("text", 0o4755), ("noise", 0o000)] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (seconds, path) in [(1, "text"), (1_700_000_001, "deep/er"), (1_600_000_000, "many"), (77, "")] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let times = FileTimes::new().set_modified(time);
        File::open(root.join(path)).unwrap().set_times(times).unwrap();
    }
    whole_seconds(root);
}

/// A squashfs has no parts of seconds.
fn whole_seconds(root: &Path) {
    for path in paths(root) {
        let path = root.join(path);
        let time = Timespec { tv_sec: path.symlink_metadata().unwrap().mtime(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn files(root: &Path) {
    let text = "All happy families are alike. ".repeat(20_000);
    fs::write(root.join("text"), &text).unwrap();
    fs::write(root.join("noise"), noise(300_000, 1)).unwrap();
    fs::write(root.join("deep/er/and/deeper/still/empty"), "").unwrap();
    for length in [1, 4095, 4096, 4097, 131_071, 131_072, 131_073] {
        fs::write(root.join(format!("deep/{length}")), noise(length, length as u64)).unwrap();
    }
    // Found twice, so stored once.
    fs::write(root.join("deep/text"), &text).unwrap();
    // More than a metadata block of names.
    for number in 0..400 {
        fs::write(root.join(format!("many/file number {number:06}")), number.to_string()).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(9_000_001).unwrap();
    sparse.write_all_at(b"island", 5_000_000).unwrap();
    File::create(root.join("hole")).unwrap().set_len(3 << 20).unwrap();
    fs::hard_link(root.join("text"), root.join("many/hard")).unwrap();
    fs::hard_link(root.join("text"), root.join("zz hard")).unwrap();
    for name in [&b"\xff\xfe not UTF-8"[..], b"new\nline", b"-dash", &[b'x'; 255]] {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    for (path, uid, gid) in [("noise", 1000, 1001), ("many", 70_000, 0), ("deep/1", 0, 4_000_000_000)] {
        chown(root.join(path), Some(uid), Some(gid)).unwrap();
    }
}

fn specials(root: &Path) {
    symlink("text", root.join("link")).unwrap();
    symlink("/etc/passwd", root.join("link outside")).unwrap();
    symlink("x".repeat(4000), root.join("long link")).unwrap();
    symlink(".", root.join("deep/loop")).unwrap();
    lchown(root.join("link"), Some(3), Some(4)).unwrap();
    let node = |name: &str, kind, mode, device| {
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(mode), device).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    node("fifo", FileType::Fifo, 0o622, 0);
    node("socket", FileType::Socket, 0o700, 0);
    node("whiteout", FileType::CharacterDevice, 0o600, 0);
    node("null", FileType::CharacterDevice, 0o666, makedev(1, 3));
    node("disk", FileType::BlockDevice, 0o660, makedev(259, 300));
    // Not of a symbolic link: mksquashfs makes two of those.
    fs::hard_link(root.join("fifo"), root.join("fifo too")).unwrap();
}

fn attributes(root: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(root.join(path), name, value, XattrFlags::empty())
            .unwrap_or_else(|e| panic!("{path} {name}: {e}"));
    };
    // cap_net_raw=ep
    set("deep/4096", "security.capability", &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    set("empty directory", "trusted.overlay.opaque", b"y");
    set("", "trusted.root", b"of the tree");
    set("null", "trusted.device", b"\0\xff");
    set("link", "trusted.link", b"itself");
    // Larger than an inode's worth, and shared: mksquashfs stores the value once.
    for path in ["text", "deep/text", "deep/1"] {
        set(path, "user.large", &noise(2000, 5));
        set(path, "user.empty", b"");
    }
    for number in 0..60 {
        set(&format!("many/file number {number:06}"), "user.number", &[number]);
    }
}

/// What mksquashfs makes of a tree.
pub fn mksquashfs(tree: &Path, bundle: &Path, arguments: &[&str]) -> PathBuf {
    let output = Command::new("mksquashfs")
        .args([tree, bundle])
        .args(["-noappend", "-no-progress", "-quiet", "-xattrs"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    bundle.to_owned()
}
