//! Names, attributes and contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bundles::{Bundle, Compression, Device, Kind, NodeId, Tree};
use rustix::fs::{major, minor};

use crate::nasty;
use crate::seen::{paths, xattrs};

/// Everything but links and names against what the file system says.
fn compare(bundle: &Bundle, id: NodeId, path: &Path) {
    let node = bundle.tree().unwrap().node(id);
    let metadata = path.symlink_metadata().unwrap();
    let what = path.display();
    assert_eq!(u32::from(node.mode), metadata.mode() & 0o7777, "{what}");
    assert_eq!(
        (node.uid, node.gid, node.mtime),
        (metadata.uid(), metadata.gid(), metadata.mtime()),
        "{what}"
    );
    assert_eq!(node.xattrs, xattrs(path), "{what}");
    let device = Device { major: major(metadata.rdev()), minor: minor(metadata.rdev()) };
    let kind = metadata.file_type();
    match &node.kind {
        Kind::Directory(_) => assert!(kind.is_dir(), "{what}"),
        Kind::File { size, content } => {
            assert_eq!(*size, metadata.len(), "{what}");
            let mut bytes = Vec::new();
            bundle.reader(*content).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(bytes == fs::read(path).unwrap(), "{what} has another content");
        }
        Kind::Symlink(target) => assert_eq!(fs::read_link(path).unwrap().as_os_str(), target),
        Kind::BlockDevice(found) => assert!(kind.is_block_device() && *found == device, "{what}"),
        Kind::CharDevice(found) => assert!(kind.is_char_device() && *found == device, "{what}"),
        Kind::Fifo => assert!(kind.is_fifo(), "{what}"),
        Kind::Socket => assert!(kind.is_socket(), "{what}"),
    }
}

fn compare_all(bundle: &Bundle, source: &Path) {
    let tree = bundle.tree().unwrap();
    let expected = paths(source);
    let mut found: BTreeMap<PathBuf, NodeId> = tree.walk().collect();
    found.insert(PathBuf::new(), Tree::ROOT);
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), {
        let mut sorted = expected.clone();
        sorted.sort();
        sorted
    });
    let mut by_inode = BTreeMap::new();
    for (path, &id) in &found {
        let full = source.join(path);
        compare(bundle, id, &full);
        let inode = full.symlink_metadata().unwrap().ino();
        assert_eq!(*by_inode.entry(inode).or_insert(id), id, "{} is no hard link", path.display());
        let number = bundle.inode_number(id);
        assert_eq!(bundle.by_inode_number(number).unwrap(), Some(id));
        assert_eq!(tree.find(&bundle.path_of(id).unwrap()), Some(id));
    }
    let nodes: BTreeSet<_> = found.values().collect();
    assert_eq!(nodes.len(), by_inode.len(), "files that are no hard links became some");
}

#[test]
fn all_that_mksquashfs_writes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let small = ["-b", "4096"].as_slice();
    let large = &["-b", "1M", "-always-use-fragments"];
    let plain = &["-noI", "-noD", "-noF", "-noX"];
    let bare = &["-no-fragments", "-no-exports", "-no-duplicates"];
    for compressor in nasty::COMPRESSORS {
        for arguments in [&[], small, large, plain, bare] {
            let arguments = [&["-comp", compressor], arguments].concat();
            let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &arguments);
            compare_all(&Bundle::open(&path).unwrap(), &source);
        }
    }
    let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "xz", "-Xbcj", "x86,arm"]);
    compare_all(&Bundle::open(&path).unwrap(), &source);
}

#[test]
fn a_bundle_inside_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "zstd"]);
    let bytes = fs::read(&path).unwrap();
    let image = dir.path().join("x.iso");
    let file = File::create(&image).unwrap();
    file.write_all_at(&bytes, 70_000).unwrap();
    compare_all(&Bundle::open_at(&image, 70_000).unwrap(), &source);

    file.set_len(70_000 + bytes.len() as u64 / 2).unwrap();
    let error = Bundle::open_at(&image, 70_000).err().unwrap().to_string();
    assert!(error.contains("x.iso") && error.contains("torn"), "{error}");
    assert!(Bundle::open_at(&image, u64::MAX).is_err());
}

#[test]
fn the_settings_of_a_compressor() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    let make = |arguments: &[&str]| {
        Bundle::open(&nasty::mksquashfs(&source, &dir.path().join("x.sb"), arguments)).unwrap()
    };
    let zstd = make(&["-comp", "zstd", "-Xcompression-level", "19"]);
    assert_eq!(zstd.compressor_options().unwrap().unwrap(), 19_u32.to_le_bytes());
    assert_eq!(make(&["-comp", "gzip"]).compressor_options().unwrap(), None);
    assert_eq!(zstd.superblock().compression, Compression::Zstd);

    let path = nasty::mksquashfs(&source, &dir.path().join("lzo.sb"), &["-comp", "lzo"]);
    let error = Bundle::open(&path).err().unwrap().to_string();
    assert!(error.contains("compressed with lzo"), "{error}");
}

#[test]
fn threads_share_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::make(&source);
    let path = nasty::mksquashfs(&source, &dir.path().join("x.sb"), &["-comp", "xz"]);
    let bundle = Bundle::open(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| compare_all(&bundle, &source));
        }
    });
}
