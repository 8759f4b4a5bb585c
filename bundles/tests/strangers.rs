//! Bundles judged by others: what the kernel mounts, unsquashfs unpacks and backhand reads is what was packed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use bundles::{Compressor, PackOptions, Packed, Wanted, pack, source};

use compare::{Expected, differences};
use mounted::{Mounted, run};

mod compare;
mod mounted;
mod nasty;

/// The one place that knows how a bundle is made.
fn packed(root: &Path, output: &Path, compressor: Compressor, block_size: u32) -> Packed {
    let options = PackOptions { compressor, block_size, ..PackOptions::default() };
    let source = source::directory(root, &mut |_, _| Wanted::Keep).unwrap();
    pack(source, output, &options, &mut |_| {}).unwrap()
}

fn needs_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "devices and mounts take root: run this test as root (make unit does)"
    );
}

/// All of what is said is too much to read.
#[track_caller]
fn nothing_of(differences: &[String], judge: &str) {
    let shown = &differences[..differences.len().min(40)];
    assert!(differences.is_empty(), "{judge}: {} differences\n{}", differences.len(), shown.join("\n"));
}

fn judge(source: &Path, bundle: &Path, block_size: u32) {
    let mounted = Mounted::new(bundle);
    let expected = Expected { holes: Some(block_size), directories: true };
    nothing_of(&differences(source, &mounted.path(), &expected), &format!("mount, blocks of {block_size}"));
    drop(mounted);

    let unpacked = bundle.with_extension("unpacked");
    let words = ["-no-progress", "-quiet", "-d"].map(OsStr::new);
    run("unsquashfs", &[&words[..], &[unpacked.as_os_str(), bundle.as_os_str()]].concat());
    nothing_of(
        &differences(source, &unpacked, &Expected::default()),
        &format!("unsquashfs, blocks of {block_size}"),
    );
    fs::remove_dir_all(unpacked).unwrap();
}

/// What is not the same for backhand, in names, kinds and contents.
fn by_backhand(source: &Path, bundle: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let image = BufReader::new(File::open(bundle).unwrap());
    let image = backhand::FilesystemReader::from_reader(image).unwrap_or_else(|e| panic!("backhand: {e:?}"));
    let mut left = below(source);
    for node in image.files() {
        let relative = node.fullpath.strip_prefix("/").unwrap();
        let Some(kind) = left.remove(relative) else {
            found.push(format!("{relative:?} is not in the source"));
            continue;
        };
        let path = source.join(relative);
        let (shown, same) = match &node.inner {
            backhand::InnerNode::File(file) => {
                let reader = image.file(file).reader();
                ("file", kind != "file" || same_contents(reader, File::open(&path).unwrap()))
            }
            backhand::InnerNode::Symlink(link) => {
                ("link", kind != "link" || fs::read_link(&path).unwrap() == link.link)
            }
            backhand::InnerNode::Dir(_) => ("directory", true),
            backhand::InnerNode::CharacterDevice(_) => ("character device", true),
            backhand::InnerNode::BlockDevice(_) => ("block device", true),
            backhand::InnerNode::NamedPipe => ("fifo", true),
            backhand::InnerNode::Socket => ("socket", true),
        };
        if shown != kind {
            found.push(format!("{relative:?} is a {shown}, not a {kind}"));
        }
        if !same {
            found.push(format!("{relative:?} has other contents"));
        }
    }
    found.extend(left.keys().map(|path| format!("{path:?} is missing")));
    found
}

/// Kinds of everything in a directory, and of the directory, by relative path.
fn below(top: &Path) -> BTreeMap<PathBuf, &'static str> {
    let mut found = BTreeMap::from([(PathBuf::new(), "directory")]);
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(top.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            let kind = match entry.file_type().unwrap() {
                kind if kind.is_dir() => "directory",
                kind if kind.is_file() => "file",
                kind if kind.is_symlink() => "link",
                kind if kind.is_char_device() => "character device",
                kind if kind.is_block_device() => "block device",
                kind if kind.is_fifo() => "fifo",
                _ => "socket",
            };
            if kind == "directory" {
                todo.push(path.clone());
            }
            found.insert(path, kind);
        }
    }
    found
}

fn same_contents(mut one: impl Read, mut two: impl Read) -> bool {
    let [mut left, mut right] = [(); 2].map(|()| vec![0; 1 << 20]);
    loop {
        let length = fill(&mut one, &mut left);
        if fill(&mut two, &mut right) != length || left[..length] != right[..length] {
            return false;
        }
        if length == 0 {
            return true;
        }
    }
}

/// Reads until the buffer is full or the file at its end.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]).unwrap() {
            0 => break,
            length => filled += length,
        }
    }
    filled
}

fn every_block_size(compressor: Compressor) {
    needs_root();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::build(&source);
    for block_size in nasty::BLOCK_SIZES {
        let bundle = dir.path().join(format!("{block_size}.sb"));
        packed(&source, &bundle, compressor, block_size);
        // It unpacks a block of ends of files anew for each file: minutes with larger ones.
        if block_size == 4096 {
            nothing_of(&by_backhand(&source, &bundle), "backhand");
        }
        judge(&source, &bundle, block_size);
    }
}

#[test]
fn zstd() {
    every_block_size(Compressor::Zstd { level: 3 });
}

#[test]
fn xz() {
    every_block_size(Compressor::Xz);
}

#[test]
fn gzip() {
    every_block_size(Compressor::Gzip);
}

#[test]
fn lz4() {
    every_block_size(Compressor::Lz4);
}

#[test]
fn files_over_4_gib_and_long_links() {
    needs_root();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    nasty::build_large(&source);
    for block_size in nasty::BLOCK_SIZES {
        let bundle = dir.path().join(format!("{block_size}.sb"));
        packed(&source, &bundle, Compressor::Zstd { level: 3 }, block_size);
        judge(&source, &bundle, block_size);
    }
}
