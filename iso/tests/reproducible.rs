//! The same input gives the same bytes.

mod judge;

use std::path::Path;

use iso::{ImageOptions, Source, Tree};

fn image(files: &[(&str, Source)], directories: &[&str], options: &ImageOptions, output: &Path) -> Vec<u8> {
    let mut tree = Tree::new();
    for (path, source) in files {
        tree.add_file(path, source.clone()).unwrap();
    }
    for path in directories {
        tree.add_directory(path).unwrap();
    }
    let boot = judge::install(&mut tree, &judge::menu());
    iso::write(&tree, &boot, options, output, &mut |_, _| {}).unwrap();
    std::fs::read(output).unwrap()
}

#[test]
fn neither_time_nor_order_nor_place_show() {
    let directory = tempfile::tempdir().unwrap();
    let (first_file, second_file) = (directory.path().join("first"), directory.path().join("second"));
    std::fs::write(&first_file, [3; 5000]).unwrap();
    std::fs::write(&second_file, [3; 5000]).unwrap();
    std::fs::File::open(&second_file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut files = vec![
        ("/livekit/00-core.sb", Source::Path(first_file)),
        ("/livekit/boot/vmlinuz", Source::Bytes(vec![1; 70_000])),
        ("/livekit/boot/initramfs.img", Source::Bytes(vec![2; 70_000])),
        ("/README", Source::Bytes(b"read me".to_vec())),
    ];
    let first =
        image(&files, &["/livekit/changes", "/a"], &judge::options(), &directory.path().join("1.iso"));
    files.reverse();
    files[3].1 = Source::Path(second_file);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let other = directory.path().join("elsewhere.iso");
    let second = image(&files, &["/a", "/livekit/changes"], &judge::options(), &other);
    assert!(first == second, "two builds differ");

    // Two builds of one kit at different times must not be taken for one another.
    let later = ImageOptions { epoch: judge::EPOCH + 1, ..judge::options() };
    let third = image(&files, &["/a", "/livekit/changes"], &later, &other);
    assert!(first[512..1024] != third[512..1024], "both have the same disk GUID");
}
