//! Images by somebody who does not mean well.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::crafted::{BLOCK_SIZE, Crafted, in_fragment, known, named, place, stored};
use super::{Bundle, ExtractOptions, Limits, diff, extract, verify};
use crate::format::BlockSize;
use crate::format::inode::{Body, File, Type};
use crate::format::tables::FragmentEntry;
use crate::format::xattr::Value;
use crate::{Error, Kind, Superblock};

fn link(target: &str) -> Body {
    Body::Symlink(target.as_bytes().to_vec())
}

fn empty(image: &mut Crafted, name: &str) -> crate::format::directory::Entry {
    image.file(name, File::default())
}

fn with_name(name: &str) -> Vec<u8> {
    let mut image = Crafted::new();
    let entry = empty(&mut image, name);
    image.finish(&[entry])
}

/// A file with these blocks after some data.
fn with_blocks(start: u64, size: u64, blocks: &[BlockSize]) -> Vec<u8> {
    let mut image = Crafted::new();
    image.data = vec![7; 100];
    let entry = image.file("file", File { start, size, blocks: blocks.to_vec(), ..File::default() });
    image.finish(&[entry])
}

fn with_fragment(file: File) -> Vec<u8> {
    let mut image = Crafted::new();
    image.data = vec![7; 100];
    image.fragments.push(FragmentEntry { start: Superblock::SIZE as u64, size: BlockSize::new(100, false) });
    let entry = image.file("file", file);
    image.finish(&[entry])
}

/// Whose fragment block is there, and has no bytes.
fn with_empty_fragment() -> Vec<u8> {
    let mut image = Crafted::new();
    image.data = vec![7; 100];
    image.fragments.push(FragmentEntry { start: Superblock::SIZE as u64, size: BlockSize::new(0, false) });
    let entry = image.file("file", in_fragment(0, 0, 5));
    image.finish(&[entry])
}

fn itself() -> Vec<u8> {
    let image = Crafted::new();
    let root = known("root", image.next(), 1);
    image.finish(&[root])
}

/// Each in the other; the second inode lies behind the first, which is 32 bytes long.
fn circle() -> Vec<u8> {
    let mut image = Crafted::new();
    let second = image.directory("second", &[known("first", place(32), 2)]);
    let first = image.directory("first", &[second]);
    image.finish(&[first])
}

fn two_names() -> Vec<u8> {
    let mut image = Crafted::new();
    let directory = image.directory("a", &[]);
    let again = named("b", &directory);
    image.finish(&[directory, again])
}

/// A link out of the target, and a directory of the same name with a file in it.
fn through_a_link() -> Vec<u8> {
    let mut image = Crafted::new();
    let file = empty(&mut image, "file");
    let out = image.put("x", link("../outside"));
    let directory = image.directory("x", &[file]);
    image.finish(&[out, directory])
}

fn wrong_type() -> Vec<u8> {
    let mut image = Crafted::new();
    let mut entry = empty(&mut image, "file");
    entry.kind = Type::Symlink;
    image.finish(&[entry])
}

fn same_number() -> Vec<u8> {
    let mut image = Crafted::new();
    let one = empty(&mut image, "a");
    let mut two = image.inode(Body::Fifo);
    two.number = one.number;
    let two = named("b", &image.add(&two));
    image.finish(&[one, two])
}

fn numbered(number: u32) -> Vec<u8> {
    let mut image = Crafted::new();
    let mut inode = image.inode(Body::Fifo);
    inode.number = number;
    let entry = named("a", &image.add(&inode));
    image.finish(&[entry])
}

fn unknown_owner() -> Vec<u8> {
    let mut image = Crafted::new();
    let mut inode = image.inode(Body::Fifo);
    inode.uid = 1;
    let entry = named("a", &image.add(&inode));
    image.finish(&[entry])
}

fn with_link(target: &str) -> Vec<u8> {
    let mut image = Crafted::new();
    let entry = image.put("link", link(target));
    image.finish(&[entry])
}

fn with_xattrs(set: u32, change: impl Fn(&mut Crafted)) -> Vec<u8> {
    let mut image = Crafted::new();
    change(&mut image);
    let mut inode = image.inode(Body::Fifo);
    inode.xattr = Some(set);
    let entry = named("a", &image.add(&inode));
    image.finish(&[entry])
}

fn file_as_root() -> Vec<u8> {
    let mut image = Crafted::new();
    let file = empty(&mut image, "x");
    // So that there are listings.
    image.listing(std::slice::from_ref(&file));
    image.with_root(&file)
}

/// Unpacks to more than a block.
fn bomb() -> Vec<u8> {
    let mut image = Crafted::new();
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut packed = vec![0; 4000];
    let length = compressor.zlib_compress(&vec![0; 1 << 20], &mut packed).unwrap();
    image.data = packed[..length].to_vec();
    let size = BlockSize::new(u32::try_from(length).unwrap(), true);
    let start = Superblock::SIZE as u64;
    let entry = image.file("file", File { start, size: 4096, blocks: vec![size], ..File::default() });
    image.finish(&[entry])
}

/// Directories in each other, 200 bytes of name each.
fn deep() -> Vec<u8> {
    let mut image = Crafted::new();
    let name = "d".repeat(200);
    let mut entry = image.directory(&name, &[]);
    for _ in 0..30 {
        entry = image.directory(&name, &[entry]);
    }
    image.finish(&[entry])
}

/// The small ones, which are also what the fuzz target begins with.
fn small() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let full = BlockSize::new(BLOCK_SIZE, false);
    let twice = |image: &mut Crafted| {
        image.xattr("user.a", &Value::Here(b"1".to_vec()));
        image.xattr("user.a", &Value::Here(b"2".to_vec()));
        image.sets[0].count = 2;
    };
    let endless = |image: &mut Crafted| {
        image.xattr("user.a", &Value::Here(b"1".to_vec()));
        image.sets[0].count = u32::MAX;
    };
    let nowhere = |image: &mut Crafted| {
        image.xattr("user.a", &Value::There(place(9000)));
    };
    vec![
        ("name-parent", with_name(".."), r#"the name "..""#),
        ("name-itself", with_name("."), r#"the name ".""#),
        ("name-slash", with_name("../../etc/passwd"), "which no file can have"),
        ("name-absolute", with_name("/etc/passwd"), "which no file can have"),
        ("name-nul", with_name("a\0b"), "which no file can have"),
        ("directory-in-itself", itself(), "the directory root is reached twice"),
        ("directory-circle", circle(), "is reached twice"),
        ("directory-two-names", two_names(), "the directory b is reached twice"),
        ("directory-deep", deep(), "is too long"),
        ("link-and-directory", through_a_link(), "the name x twice"),
        ("link-empty", with_link(""), "points nowhere"),
        ("link-nul", with_link("a\0b"), "points nowhere"),
        ("inode-wrong-type", wrong_type(), "not what its directory says"),
        ("inode-same-number", same_number(), "another inode with the number 1"),
        ("inode-number-0", numbered(0), "number 0"),
        ("inode-number-large", numbered(77), "number 77"),
        ("inode-owner", unknown_owner(), "an owner has number 1"),
        ("root-is-a-file", file_as_root(), "the root is not a directory"),
        ("file-size-huge", with_blocks(96, 1 << 62, &[full]), "an inode ends too early"),
        ("file-outside", with_blocks(1 << 40, 4096, &[full]), "lie outside"),
        ("file-outside-huge", with_blocks(u64::MAX - 1, 4096, &[full]), "lie outside"),
        (
            "file-block-short",
            with_blocks(96, 4096, &[BlockSize::new(100, false)]),
            "100 bytes instead of 4096",
        ),
        ("file-block-large", with_blocks(96, 4096, &[BlockSize::new(8000, true)]), "where 4096 are most"),
        ("file-bomb", bomb(), "damaged"),
        ("fragment-missing", with_fragment(in_fragment(9, 0, 5)), "no entry 9 in the fragment table"),
        ("fragment-outside", with_fragment(in_fragment(0, 99, 5)), "bytes 99 to 104"),
        ("fragment-far-outside", with_fragment(in_fragment(0, u32::MAX, 4095)), "which has 100"),
        ("fragment-empty", with_empty_fragment(), "bytes 0 to 5 of fragment block 0, which has 0"),
        ("xattr-none", with_xattrs(0, |_| ()), "the image has none"),
        ("xattr-missing", with_xattrs(5, twice), "no entry 5 in the xattr table"),
        ("xattr-twice", with_xattrs(0, twice), "user.a is there twice"),
        ("xattr-endless", with_xattrs(0, endless), "a set of extended attributes"),
        ("xattr-nowhere", with_xattrs(0, nowhere), "no b"),
    ]
}

/// Everything a reader would do: the first error.
fn read_all(bundle: &Bundle) -> Result<(), Error> {
    let tree = bundle.tree()?;
    for (_, id) in tree.walk() {
        if let Kind::File { content, .. } = tree.node(id).kind {
            let mut reader = bundle.reader(content)?;
            let copied = io::copy(&mut reader, &mut io::sink());
            copied.map_err(|error| reader.error(error))?;
        }
    }
    Ok(())
}

/// That it is refused for that reason by all that read it, and nothing is written.
fn refused(name: &str, bytes: &[u8], expected: &str, limits: Limits) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sb");
    fs::write(&path, bytes).unwrap();
    let bundle = Bundle::open(&path).unwrap_or_else(|error| panic!("{name}: {error}")).with_limits(limits);
    let target = dir.path().join("target");
    let results =
        [read_all(&bundle), extract(&bundle, &target, &ExtractOptions::default(), &mut |_| {}).map(drop)];
    for result in results {
        let error = result.expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert!(error.to_string().starts_with(&format!("cannot read {}: byte ", path.display())), "{error}");
        let Error::Malformed { offset, .. } = error else { panic!("{name}: {error}") };
        assert!(offset <= bytes.len() as u64, "{name}: {offset}");
    }
    assert!(!verify(&bundle, Some(2), &mut |_| {}).findings.is_empty(), "{name}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.sb"], "{name}");
}

#[test]
fn what_is_crafted_is_refused() {
    for (name, bytes, expected) in small() {
        refused(name, &bytes, expected, Limits::for_image(bytes.len() as u64));
    }
}

/// `BUNDLES_WRITE_CORPUS=1` writes them.
#[test]
fn the_corpus_has_all_of_them() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/crafted");
    for (name, bytes, _) in small() {
        let path = corpus.join(name).with_extension("sb");
        if std::env::var_os("BUNDLES_WRITE_CORPUS").is_some() {
            fs::create_dir_all(&corpus).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(found == bytes, "{} is out of date: BUNDLES_WRITE_CORPUS=1", path.display());
    }
}

/// An attribute whose value is said to lie where it lies itself: not looked up a second time.
#[test]
fn attributes_do_not_lead_in_circles() {
    let mut image = Crafted::new();
    // Behind type, length and one letter of the name is the length of the value.
    let set = image.xattr("user.a", &Value::There(place(5)));
    let mut inode = image.inode(Body::Fifo);
    inode.xattr = Some(set);
    let entry = named("a", &image.add(&inode));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sb");
    fs::write(&path, image.finish(&[entry])).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let tree = bundle.tree().unwrap();
    let node = tree.node(tree.find(Path::new("a")).unwrap());
    assert_eq!(node.xattrs[0].value, place(5).to_bits().to_le_bytes());
}

/// What the tests below go beyond, with less work than the default.
const FEW: Limits = Limits { memory: 8 << 20 };

/// Directories that all have the listing of one, with a thousand hard links.
#[test]
fn listings_that_are_shared_do_not_fill_the_memory() {
    let mut image = Crafted::new();
    let file = empty(&mut image, "x");
    let names: Vec<_> = (0..1000).map(|number| named(&format!("{number:0100}"), &file)).collect();
    let listing = image.listing(&names);
    let directories: Vec<_> =
        (0..500).map(|number| image.put(&format!("{number:04}"), Body::Directory(listing.clone()))).collect();
    refused("shared listing", &image.finish(&directories), "more files, names and attributes", FEW);
}

#[test]
fn attributes_that_are_shared_do_not_fill_the_memory() {
    let mut image = Crafted::new();
    let set = image.xattr("user.a", &Value::Here(vec![1; 65000]));
    let entries: Vec<_> = (0..400)
        .map(|number| {
            let mut inode = image.inode(Body::Fifo);
            inode.xattr = Some(set);
            named(&format!("{number:04}"), &image.add(&inode))
        })
        .collect();
    refused("shared attributes", &image.finish(&entries), "more", FEW);
}

/// A list of blocks that are all the same zeros, eight kilobytes from a handful.
#[test]
fn metadata_that_unpack_to_much_do_not_fill_the_memory() {
    let mut image = Crafted::new();
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut packed = vec![0; 9000];
    let length = compressor.zlib_compress(&[0; 8192], &mut packed).unwrap();
    let zeros = [&u16::try_from(length).unwrap().to_le_bytes(), &packed[..length]].concat();
    let root_place = image.next();
    let file = known("x", place(8192), 2);
    let root = image.listing(&[crate::format::directory::Entry { kind: Type::File, ..file }]);
    let root = image.inode(Body::Directory(root));
    let mut entry = image.add(&root);
    entry.inode = root_place;
    // Up to the second metadata block, where the file begins: its list of blocks goes on for two thousand.
    let filler = image.inode(Body::Symlink(vec![b'x'; 4000]));
    image.add(&filler);
    while image.next().block == 0 {
        image.add(&image_filler(image.next().offset));
    }
    assert_eq!(image.next(), place(8192));
    let blocks = vec![BlockSize::HOLE; 2000 * 2048];
    let size = blocks.len() as u64 * u64::from(BLOCK_SIZE);
    let mut inode = root;
    inode.number = 2;
    inode.links = 1;
    inode.body = Body::File(File { size, blocks, ..File::default() });
    image.add(&inode);
    let block = |number: usize, block: &[u8]| {
        if number > 1 && block.iter().all(|&byte| byte == 0) && block.len() == 8192 {
            zeros.clone()
        } else {
            stored(block)
        }
    };
    let bytes = image.with_inodes(&entry, &block);
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    refused("many holes", &bytes, "more metadata", FEW);
}

/// A link that ends where the metadata block does.
fn image_filler(offset: u16) -> crate::format::inode::Inode {
    let left = 8192 - usize::from(offset);
    // A short inode of a link has 24 bytes beside its target.
    let length = if left > 8000 { 4000 } else { left - 24 };
    crate::format::inode::Inode {
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: 0,
        number: 99,
        links: 1,
        xattr: None,
        body: Body::Symlink(vec![b'x'; length]),
    }
}

/// Places and counts of a superblock that are anywhere.
#[test]
fn superblocks_that_lie_are_no_surprise() {
    let mut image = Crafted::new();
    let set = image.xattr("user.a", &Value::Here(b"1".to_vec()));
    image.data = vec![7; 100];
    image.fragments.push(FragmentEntry { start: Superblock::SIZE as u64, size: BlockSize::new(100, false) });
    let mut inode = image.inode(Body::File(in_fragment(0, 0, 5)));
    inode.xattr = Some(set);
    let entry = named("file", &image.add(&inode));
    let whole = image.finish(&[entry]);
    let length = whole.len() as u64;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sb");
    let fields = [4, 16, 32, 40, 48, 56, 64, 72, 80, 88];
    let values = [
        0,
        1,
        95,
        96,
        97,
        length - 9,
        length - 8,
        length - 1,
        length,
        1 << 32,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    let mut opened = 0;
    for (field, value) in fields.into_iter().flat_map(|field| values.map(|value| (field, value))) {
        let mut bytes = whole.clone();
        let value = value.to_le_bytes();
        let width = if field < 32 { 4 } else { 8 };
        bytes[field..field + width].copy_from_slice(&value[..width]);
        fs::write(&path, &bytes).unwrap();
        match Bundle::open(&path) {
            Ok(bundle) => {
                opened += 1;
                let _ = read_all(&bundle);
                let verified = verify(&bundle, Some(1), &mut |_| {});
                assert!(bytes == whole || field == 88 || !verified.findings.is_empty(), "{field} {value:?}");
            }
            Err(Error::Malformed { offset, .. }) => assert!(offset <= length),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(opened > 10);
}

/// What is not read need not be anywhere: a hole, and the fragment of a file that fills its blocks.
#[test]
fn what_is_not_read_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sb");
    let unused = File { blocks: vec![BlockSize::HOLE], ..in_fragment(9, 7, 4096) };
    for bytes in [with_blocks(1 << 40, 4096, &[BlockSize::HOLE]), with_fragment(unused)] {
        fs::write(&path, bytes).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        read_all(&bundle).unwrap();
        assert_eq!(diff(&bundle, &bundle, None, &mut |_| {}).unwrap(), []);
    }
}

#[test]
fn readers_give_what_was_crafted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sb");
    fs::write(&path, with_fragment(in_fragment(0, 90, 10))).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let tree = bundle.tree().unwrap();
    let Kind::File { content, .. } = tree.node(tree.find(Path::new("file")).unwrap()).kind else { panic!() };
    let mut bytes = Vec::new();
    bundle.reader(content).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 10]);
    assert_eq!(verify(&bundle, None, &mut |_| {}).findings, []);
}
