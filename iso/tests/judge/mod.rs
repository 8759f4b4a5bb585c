//! Other people's programs, which judge the images.
#![allow(dead_code)] // each test file uses some of it

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use iso::grub::{BootFiles, Firmware};
use iso::menu::Menu;
use iso::{Boot, Error, ImageOptions, Source, Tree, Written};

pub const EPOCH: u64 = 1_700_000_000;
pub const ID: &str = "0123456789abcdef";

pub fn options() -> ImageOptions {
    ImageOptions { volume_id: "LIVEKIT".to_owned(), epoch: EPOCH }
}

pub fn menu() -> Menu {
    Menu { title: "Test system".to_owned(), id: ID.to_owned(), ..Menu::default() }
}

/// Makes `tree` bootable with the files installed on this machine.
pub fn install(tree: &mut Tree, menu: &Menu) -> Boot {
    let files = BootFiles::find(&[Path::new("/")], Firmware::Both).unwrap();
    iso::grub::install(tree, &files, menu, EPOCH).unwrap()
}

/// A tree with one of everything: deep directories, long and foreign names, many files and many directories in one, empty ones.
pub fn demanding_tree() -> Tree {
    let mut tree = Tree::new();
    let mut add = |path: &str, bytes: &[u8]| tree.add_file(path, Source::Bytes(bytes.to_vec())).unwrap();
    add("/livekit/boot/vmlinuz", &[0x5a; 300_000]);
    add("/livekit/boot/initramfs.img", b"initramfs");
    add("/livekit/rootcopy/empty", b"");
    add("/livekit/rootcopy/one/two/three/four/five/six/seven/eight/nine/ten/deep", b"deep");
    add(&format!("/livekit/rootcopy/{}", "long-".repeat(50)), b"a name of 250 bytes");
    add("/livekit/rootcopy/Grüße aus Köln.txt", b"Gr\xc3\xbc\xc3\x9fe");
    for number in 0..400 {
        add(
            &format!("/livekit/modules/{number:03}-bundle-with-some-name.sb"),
            format!("{number}").as_bytes(),
        );
    }
    tree.add_directory("/livekit/changes").unwrap();
    for number in 0..300 {
        tree.add_directory(&format!("/livekit/rootcopy/many/{number}")).unwrap();
    }
    tree
}

/// An image of the demanding tree, in a directory of its own.
pub struct Image {
    pub directory: tempfile::TempDir,
    pub path: PathBuf,
    /// What is on it, the boot loader included.
    pub tree: Tree,
}

impl Image {
    /// With what `boot` leaves of the boot loader.
    pub fn with(boot: impl FnOnce(Boot) -> Boot) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.iso");
        let mut tree = demanding_tree();
        let all = install(&mut tree, &menu());
        write(&tree, &boot(all), &path).unwrap();
        Self { directory, path, tree }
    }

    /// One that boots everywhere.
    pub fn bootable() -> Self {
        Self::with(|boot| boot)
    }
}

pub fn write(tree: &Tree, boot: &Boot, output: &Path) -> Result<Written, Error> {
    iso::write(tree, boot, &options(), output, &mut |_, _| {})
}

/// What a program says on both streams. Fails the test if the program fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}:\n{text}");
    text
}

/// The bytes of a part of a file.
pub fn cut(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).unwrap();
    bytes
}

/// First and number of 512-byte sectors of a GPT partition, as sgdisk sees it.
pub fn partition(image: &Path, number: u32) -> (u64, u64) {
    let text = run("sgdisk", &["-i", &number.to_string(), image.to_str().unwrap()]);
    let field = |name: &str| -> u64 {
        let rest = text.split(name).nth(1).unwrap_or_else(|| panic!("no {name:?} in\n{text}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    (field("First sector: "), field("Partition size: "))
}
