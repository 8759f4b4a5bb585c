//! Scratch files are given up while the image grows: the disk needs little more than the image.

mod judge;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use iso::{Boot, Source, Tree, partial_name};
use judge::run;

const MIB: u64 = 1 << 20;
const BUNDLE: &str = "/livekit/00-core.sb";

/// Bytes that differ from block to block, none of them zero.
fn content(mebibytes: u64) -> Vec<u8> {
    (0..mebibytes << 8).flat_map(|block| [(block % 251).to_le_bytes()[0] + 1; 4096]).collect()
}

/// A tree with one bundle, given up, and a kernel that is not.
fn tree(bundle: &Path, kernel: &Path) -> Tree {
    let mut tree = Tree::new();
    tree.add_file(BUNDLE, Source::Scratch(bundle.to_owned())).unwrap();
    tree.add_file("/livekit/boot/vmlinuz", Source::Path(kernel.to_owned())).unwrap();
    tree
}

struct Files {
    bundle: PathBuf,
    kernel: PathBuf,
    output: PathBuf,
}

impl Files {
    fn new(directory: &Path, mebibytes: u64) -> Self {
        let files = Self {
            bundle: directory.join("00-core.sb"),
            kernel: directory.join("vmlinuz"),
            output: directory.join("live.iso"),
        };
        std::fs::write(&files.bundle, content(mebibytes)).unwrap();
        std::fs::write(&files.kernel, content(1)).unwrap();
        files
    }

    fn tree(&self) -> Tree {
        tree(&self.bundle, &self.kernel)
    }

    /// Judges the image: it has all of the bundle, which is gone, and of the kernel, which is not.
    fn check(&self, mebibytes: u64) {
        assert!(!self.bundle.exists());
        assert!(std::fs::read(&self.kernel).unwrap() == content(1), "the kernel was touched");
        let folder = tempfile::tempdir().unwrap();
        let drive = format!("stdio:{}", self.output.display());
        for (path, expected) in [(BUNDLE, content(mebibytes)), ("/livekit/boot/vmlinuz", content(1))] {
            let copy = folder.path().join("copy");
            let _ = std::fs::remove_file(&copy);
            run("xorriso", &["-osirrox", "on", "-indev", &drive, "-extract", path, copy.to_str().unwrap()]);
            assert!(std::fs::read(&copy).unwrap() == expected, "{path} differs");
        }
    }
}

/// Bytes of disk that files take.
fn used(paths: &[&Path]) -> u64 {
    paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[test]
fn a_scratch_file_makes_room_as_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    assert!(iso::frees_parts(directory.path()), "these tests need a file system that frees parts of files");
    let files = Files::new(directory.path(), 72);
    let partial = partial_name(&files.output);
    let mut peak = 0;
    let mut progress =
        |_, _| peak = peak.max(used(&[files.bundle.as_path(), files.kernel.as_path(), partial.as_path()]));
    iso::write(&files.tree(), &Boot::default(), &judge::options(), &files.output, &mut progress).unwrap();
    files.check(72);
    assert!(peak < 72 * MIB + iso::SCRATCH_STEP + 4 * MIB, "{} MiB were used at once", peak / MIB);
}

/// Runs a test of this file once more, in a directory on a file system of its own. Returns whether this is that run.
fn on_a_mount(test: &str, options: &str) -> Option<PathBuf> {
    const VARIABLE: &str = "ISO_TEST_MOUNT";
    if let Some(directory) = std::env::var_os(VARIABLE) {
        return Some(directory.into());
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!("mount {options} none \"${VARIABLE}\" && exec \"$0\" \"$@\"");
    let program = std::env::current_exe().unwrap();
    let result = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, directory.path())
        .output()
        .unwrap();
    let said = [result.stdout, result.stderr].concat();
    assert!(result.status.success(), "{options}: {}", String::from_utf8_lossy(&said));
    None
}

#[test]
fn a_disk_of_little_more_than_the_image_suffices() {
    // 1.3 times the bundle.
    let Some(directory) = on_a_mount("a_disk_of_little_more_than_the_image_suffices", "-t tmpfs -o size=94m")
    else {
        return;
    };
    let files = Files::new(&directory, 72);
    let mut least = u64::MAX;
    let mut progress = |_, _| {
        let stat = rustix::fs::statvfs(&directory).unwrap();
        least = least.min(stat.f_bavail * stat.f_frsize);
    };
    iso::write(&files.tree(), &Boot::default(), &judge::options(), &files.output, &mut progress).unwrap();
    files.check(72);
    println!("least free: {} of 94 MiB", least / MIB);
    // What is not given up needs its room.
    let kept = directory.join("kept");
    std::fs::rename(&files.output, &kept).unwrap();
    let mut tree = Tree::new();
    tree.add_file(BUNDLE, Source::Path(kept.clone())).unwrap();
    let error = judge::write(&tree, &Boot::default(), &files.output).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(kept.exists());
}

#[test]
fn where_parts_cannot_be_freed_the_file_goes_when_it_is_copied() {
    let Some(directory) =
        on_a_mount("where_parts_cannot_be_freed_the_file_goes_when_it_is_copied", "-t ramfs")
    else {
        return;
    };
    assert!(!iso::frees_parts(&directory));
    let files = Files::new(&directory, 40);
    let more = directory.join("01-more.sb");
    std::fs::write(&more, content(20)).unwrap();
    let mut tree = files.tree();
    tree.add_file("/livekit/01-more.sb", Source::Scratch(more.clone())).unwrap();
    // The first is gone while the second is copied.
    let mut seen = Vec::new();
    let mut progress = |_, _| seen.push((files.bundle.exists(), more.exists()));
    iso::write(&tree, &Boot::default(), &judge::options(), &files.output, &mut progress).unwrap();
    seen.dedup();
    assert_eq!(seen, [(true, true), (false, true), (false, false)]);
    files.check(40);
}

#[test]
fn what_has_another_name_stays_under_it() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path(), 40);
    let other = directory.path().join("other");
    std::fs::hard_link(&files.bundle, &other).unwrap();
    judge::write(&files.tree(), &Boot::default(), &files.output).unwrap();
    files.check(40);
    assert!(std::fs::read(other).unwrap() == content(40));
}

#[test]
fn a_failed_image_leaves_nothing_half_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path(), 40);
    let late = directory.path().join("late");
    std::fs::write(&late, content(2)).unwrap();
    let unread = directory.path().join("unread");
    std::fs::write(&unread, "x").unwrap();
    let mut tree = files.tree();
    tree.add_file("/livekit/01-late.sb", Source::Path(late.clone())).unwrap();
    tree.add_file("/livekit/02-unread.sb", Source::Scratch(unread.clone())).unwrap();
    let mut progress = |done, _| {
        if done > 36 * MIB {
            std::fs::write(&late, "changed").unwrap();
        }
    };
    let error =
        iso::write(&tree, &Boot::default(), &judge::options(), &files.output, &mut progress).unwrap_err();
    assert!(error.to_string().contains("late changed"), "{error}");
    assert!(!files.bundle.exists() && !files.output.exists() && !partial_name(&files.output).exists());
    assert_eq!(std::fs::read_to_string(unread).unwrap(), "x");
    assert!(std::fs::read(&files.kernel).unwrap() == content(1));
}

#[test]
fn what_is_needed_twice_is_not_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path(), 1);
    let again = |source: fn(PathBuf) -> Source, file: &Path| {
        let mut tree = files.tree();
        tree.add_file("/again", source(file.to_owned())).unwrap();
        judge::write(&tree, &Boot::default(), &files.output).map(|_| ()).map_err(|error| error.to_string())
    };
    let refused =
        Err(format!("cannot lay out {BUNDLE}: {} is given up for another file", files.bundle.display()));
    assert_eq!(again(Source::Path, &files.bundle), refused);
    assert_eq!(again(Source::Scratch, &files.bundle), refused);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&files.bundle, &link).unwrap();
    assert_eq!(again(Source::Path, &link), refused);
    assert_eq!(
        again(Source::Scratch, &link),
        Err(format!("cannot read {}: not a regular file", link.display()))
    );
    assert!(std::fs::read(&files.bundle).unwrap() == content(1));
    assert_eq!(again(Source::Path, &files.kernel), Ok(()));
}

#[test]
fn an_empty_scratch_file_goes_too() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::new(directory.path(), 0);
    judge::write(&files.tree(), &Boot::default(), &files.output).unwrap();
    files.check(0);
}
