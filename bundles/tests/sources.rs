//! Bundles of archives and of bundles are those of the directory that these were made of: mounted by the kernel and
//! compared with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bundles::source::{self, ArchiveOptions, filter};
use bundles::{Bundle, Compressor, PackOptions, Source, Wanted, pack};

use compare::Expected;
use mounted::{Mounted, run};

mod compare;
mod mounted;
#[expect(dead_code, reason = "the large tree is for others")]
mod nasty;

/// The tree that has everything, but sockets, which tar leaves out.
fn nasty_tree(top: &Path) -> PathBuf {
    assert!(
        rustix::process::geteuid().is_root(),
        "devices and mounts take root: run this test as root (make unit does)"
    );
    let tree = top.join("tree");
    nasty::build(&tree);
    remove_sockets(&tree);
    tree
}

fn remove_sockets(directory: &Path) {
    let modified = fs::metadata(directory).unwrap().modified().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            remove_sockets(&entry.path());
        } else if entry.file_type().unwrap().is_socket() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::File::open(directory).unwrap().set_modified(modified).unwrap();
}

fn options() -> PackOptions {
    PackOptions { compressor: Compressor::Zstd { level: 1 }, ..PackOptions::default() }
}

/// What is not the same. tar writes every name of a device or a pipe as a file of its own.
fn differences(one: &Path, two: &Path) -> Vec<String> {
    let mut found = compare::differences(one, two, &Expected::default());
    let special = ["block", "char", "fifo", "gone"];
    found.retain(|line| {
        !(line.contains(" is one of 1 names of ") && special.iter().any(|name| line.contains(name)))
    });
    found
}

#[track_caller]
fn judge(source: Source, options: &PackOptions, tree: &Path, name: &str) {
    let output = tree.with_extension(name);
    pack(source, &output, options, &mut |_| {}).unwrap();
    let mounted = Mounted::new(&output);
    let differences = differences(tree, &mounted.path());
    let shown = &differences[..differences.len().min(20)];
    assert!(differences.is_empty(), "{name}: {} differences\n{}", differences.len(), shown.join("\n"));
}

#[test]
fn archives() {
    let dir = tempfile::tempdir().unwrap();
    let tree = nasty_tree(dir.path());
    let all = ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse"];
    for (flag, any_order) in [("--no-auto-compress", false), ("-J", false), ("--zstd", true)] {
        let path = dir.path().join("archive");
        let words = [&["-c", flag], &all[..], &["--hole-detection=seek", "-f"]].concat();
        let words: Vec<_> = words.into_iter().map(OsStr::new).collect();
        run(
            "tar",
            &[&words[..], &[path.as_os_str(), OsStr::new("-C"), tree.as_os_str(), OsStr::new(".")]].concat(),
        );
        let archive = ArchiveOptions { temporary: dir.path().to_owned(), any_order };
        let source = source::archive(&path, &archive).unwrap();
        assert!(source.warnings.is_empty(), "{:?}", source.warnings);
        let first = ["times/file 0", "contents/mixed", "contents/empty"].map(PathBuf::from);
        let order = if any_order { first.to_vec() } else { Vec::new() };
        judge(source, &PackOptions { order, ..options() }, &tree, "sb");
    }
    let left = fs::read_dir(dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b".tmp"));
    assert_eq!(left.count(), 0, "a file is left");
}

#[test]
fn bundles_packed_again() {
    let dir = tempfile::tempdir().unwrap();
    let tree = nasty_tree(dir.path());
    let first = dir.path().join("first.sb");
    pack(source::directory(&tree, &mut |_, _| Wanted::Keep).unwrap(), &first, &options(), &mut |_| {})
        .unwrap();
    let source = source::bundle(Bundle::open(&first).unwrap()).unwrap();
    let options = PackOptions { compressor: Compressor::Gzip, block_size: 4096, ..options() };
    judge(source, &options, &tree, "again.sb");
}

#[test]
fn what_patterns_leave_out_of_an_archive_is_what_they_leave_out_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let tree = nasty_tree(dir.path());
    let path = dir.path().join("archive.tar");
    let words = ["-c", "--format=pax", "--xattrs", "--xattrs-include=*", "-f"].map(OsStr::new);
    run(
        "tar",
        &[&words[..], &[path.as_os_str(), OsStr::new("-C"), tree.as_os_str(), OsStr::new(".")]].concat(),
    );
    let patterns =
        filter::Patterns::new(["file*", "!/times/file*", "/many/", "[cs]*/*", "!sparse/end"]).unwrap();
    let archive = ArchiveOptions { temporary: dir.path().to_owned(), any_order: false };
    let mut source = source::archive(&path, &archive).unwrap();
    assert!(filter::exclude(&mut source.tree, &patterns) > 5);
    let [one, two] = ["archive.sb", "directory.sb"].map(|name| dir.path().join(name));
    pack(source, &one, &options(), &mut |_| {}).unwrap();
    let source = source::directory(&tree, &mut patterns.wanted()).unwrap();
    pack(source, &two, &options(), &mut |_| {}).unwrap();
    let [one, two] = [one, two].map(|bundle| Mounted::new(&bundle));
    let differences = differences(&two.path(), &one.path());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(one.path().join("times/file 0").exists() && one.path().join("sparse/end").exists());
    assert!(!one.path().join("many").exists() && !one.path().join("contents/one").exists());
}
