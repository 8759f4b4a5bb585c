//! What goes wrong is said with its path, and nothing half-written remains.

mod judge;

use std::path::Path;
use std::process::Command;

use iso::{Boot, Error, ImageOptions, Source, Tree, partial_name};

fn tree_of(source: Source) -> Tree {
    let mut tree = Tree::new();
    tree.add_file("/livekit/00-core.sb", source).unwrap();
    tree
}

fn small() -> Tree {
    tree_of(Source::Bytes(vec![1; 100_000]))
}

fn assert_nothing_written(output: &Path) {
    assert!(!output.exists() && !partial_name(output).exists());
}

#[test]
fn inputs_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("live.iso");
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let name = |path: &str| directory.path().join(path).display().to_string();
    for (input, expected) in [
        (
            directory.path().join("missing"),
            format!("cannot read {}: No such file or directory (os error 2)", name("missing")),
        ),
        (file.join("below"), format!("cannot read {}: Not a directory (os error 20)", name("file/below"))),
        (directory.path().into(), format!("cannot read {}: is a directory", directory.path().display())),
        ("/dev/zero".into(), "cannot read /dev/zero: not a regular file".to_owned()),
    ] {
        let error = judge::write(&tree_of(Source::Path(input)), &Boot::default(), &output).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_nothing_written(&output);
    }
}

/// Writes an image of a file of 8 MiB, and does something to the file when a part was written.
fn disturbed(directory: &Path, disturb: impl Fn(&Path)) -> Error {
    let input = directory.join("00-core.sb");
    std::fs::write(&input, vec![1; 8 << 20]).unwrap();
    let mut tree = tree_of(Source::Bytes(vec![1; 1 << 20]));
    tree.add_file("/livekit/01-more.sb", Source::Path(input.clone())).unwrap();
    let output = directory.join("live.iso");
    let mut progress = |_: u64, _: u64| disturb(&input);
    let error = iso::write(&tree, &Boot::default(), &judge::options(), &output, &mut progress).unwrap_err();
    assert_nothing_written(&output);
    error
}

#[test]
fn inputs_that_change_while_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00-core.sb").display().to_string();
    let truncated = disturbed(directory.path(), |input| {
        std::fs::File::options().write(true).open(input).unwrap().set_len(5).unwrap();
    });
    assert_eq!(truncated.to_string(), format!("{path} changed while the image was written"));
    let removed = disturbed(directory.path(), |input| {
        let _ = std::fs::remove_file(input);
    });
    assert!(removed.to_string().starts_with(&format!("cannot read {path}: ")), "{removed}");
}

#[test]
fn outputs_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("missing/live.iso");
    let error = judge::write(&small(), &Boot::default(), &output).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write {}: No such file or directory (os error 2)", output.display())
    );
    assert_eq!(error.hint().unwrap(), "the directory must exist");
    let error = judge::write(&small(), &Boot::default(), directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("it is a directory, not a file"), "{error}");
}

/// Not a disk that is full but a limit on the size of files: the kernel refuses to write in the same way, without
/// root being needed. The limit holds for a whole process, so this test starts itself again under it.
#[test]
fn a_full_disk_leaves_nothing() {
    const VARIABLE: &str = "ISO_TEST_OUTPUT_UNDER_LIMIT";
    if let Some(output) = std::env::var_os(VARIABLE) {
        let error = judge::write(&small(), &Boot::default(), output.as_ref()).unwrap_err();
        println!("error: {error}\nhint: {}", error.hint().unwrap());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("live.iso");
    std::fs::write(&output, "an image of yesterday").unwrap();
    let limited = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_full_disk_leaves_nothing", "--nocapture"])
        .env(VARIABLE, &output)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{text}");
    let expected = format!("error: cannot write {}: File too large (os error 27)\n", output.display());
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("hint: the image needs 1 MiB; write it to a larger disk"), "{text}");
    assert!(!partial_name(&output).exists());
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "an image of yesterday");
}

#[test]
fn options_out_of_range() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("live.iso");
    let write =
        |options: &ImageOptions| iso::write(&small(), &Boot::default(), options, &output, &mut |_, _| {});
    for volume_id in ["", "a/b", "tab\t", "Köln", " x", "0123456789012345678901234567890123"] {
        let error = write(&ImageOptions { volume_id: volume_id.to_owned(), epoch: 0 }).unwrap_err();
        assert!(error.to_string().starts_with(&format!("volume id {volume_id:?}: ")), "{error}");
        assert_nothing_written(&output);
    }
    for epoch in [u64::MAX, 1 << 40] {
        assert!(write(&ImageOptions { epoch, ..judge::options() }).is_err());
    }
    for epoch in [0, 1, 4_354_819_199] {
        write(&ImageOptions { epoch, ..judge::options() }).unwrap();
    }
}

#[test]
fn progress_goes_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("live.iso");
    let mut calls = Vec::new();
    let mut progress = |done, total| calls.push((done, total));
    let written = iso::write(&small(), &Boot::default(), &judge::options(), &output, &mut progress).unwrap();
    assert!(calls.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(*calls.last().unwrap(), (written.size, written.size));
}
