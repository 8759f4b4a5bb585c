//! Bundles of trees that are nowhere but here.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{
    Bundle, Compressor, ContentId, Contents, Device, Error, FileReader, FileState, Kind, Node, PackOptions,
    Packed, Source, Tree, Xattr, pack,
};

const BLOCK: usize = 4096;

/// Bytes that do not repeat, always the same.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Bytes that do.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = (0..).flat_map(|n: u64| format!("{} {seed} says {n}\n", n * n).into_bytes());
    words.take(length).collect()
}

/// What a file is when it is to be read.
#[derive(Clone)]
enum Held {
    Bytes(Vec<u8>),
    Gone,
    Unreadable,
}

/// Files by their [`ContentId`].
struct Memory {
    files: Vec<Held>,
    stream: bool,
    next: u64,
}

impl Contents for Memory {
    fn open(&mut self, content: ContentId) -> Result<Box<dyn FileReader + '_>, Error> {
        assert!(!self.stream || content.0 >= self.next, "a stream is read in its order, and once");
        self.next = content.0 + 1;
        let failed = |kind| Error::io("read", "memory")(io::Error::from(kind));
        match &self.files[usize::try_from(content.0).unwrap()] {
            Held::Bytes(bytes) => Ok(Box::new(Slice(bytes))),
            Held::Gone => Err(failed(io::ErrorKind::NotFound)),
            Held::Unreadable => Err(failed(io::ErrorKind::PermissionDenied)),
        }
    }

    fn stored_order(&self) -> bool {
        self.stream
    }
}

struct Slice<'a>(&'a [u8]);

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not more at once than a pipe may give.
        let length = buffer.len().min(self.0.len()).min(3000);
        let (now, later) = self.0.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.0 = later;
        Ok(length)
    }
}

impl FileReader for Slice<'_> {
    fn finish(&mut self) -> io::Result<FileState> {
        Ok(FileState::Unchanged)
    }
}

/// A tree in the making.
struct Scene {
    tree: Tree,
    files: Vec<Held>,
}

impl Scene {
    fn new() -> Self {
        Self { tree: Tree::new(Node { mtime: 1000, ..Node::directory() }), files: Vec::new() }
    }

    fn held(&mut self, path: &str, size: usize, held: Held) -> &mut Node {
        let kind = Kind::File { size: size as u64, content: ContentId(self.files.len() as u64) };
        self.files.push(held);
        self.node(path, kind)
    }

    fn file(&mut self, path: &str, bytes: Vec<u8>) -> &mut Node {
        self.held(path, bytes.len(), Held::Bytes(bytes))
    }

    fn node(&mut self, path: &str, kind: Kind) -> &mut Node {
        let node = Node { kind, mode: 0o644, mtime: 1_600_000_000, ..Node::directory() };
        let id = self.tree.insert(Path::new(path), node).unwrap();
        self.tree.node_mut(id)
    }

    fn source(&self, stream: bool) -> Source {
        let contents = Memory { files: self.files.clone(), stream, next: 0 };
        Source { tree: self.tree.clone(), contents: Box::new(contents), warnings: Vec::new() }
    }

    fn bytes(&self, content: ContentId) -> &[u8] {
        match &self.files[usize::try_from(content.0).unwrap()] {
            Held::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.to_vec() }
}

/// Something of everything.
fn everything() -> Scene {
    let mut scene = Scene::new();
    for n in 0..300_u32 {
        let length = usize::try_from(n).unwrap() * 37 % 9000;
        let node = scene.file(
            &format!("usr/share/{}/file-{n:04}.{}", n % 11, ["txt", "py", "so.1"][n as usize % 3]),
            text(n.into(), length),
        );
        (node.uid, node.gid, node.mtime) = (n % 5, n % 3 + 70_000, i64::from(n) * 20_000_000);
    }
    for n in 0..1000 {
        scene.file(&format!("many/{}-{n}", "x".repeat(n % 60)), Vec::new());
    }
    scene.file("bin/code", [b"\x7fELF".to_vec(), text(1, 50_000), noise(2, 50_000)].concat()).mode = 0o4755;
    scene.file("bin/again", [b"\x7fELF".to_vec(), text(1, 50_000), noise(2, 50_000)].concat());
    scene.file(
        "holes",
        [noise(3, BLOCK), vec![0; 5 * BLOCK], noise(4, 10), vec![0; 3 * BLOCK + 100]].concat(),
    );
    scene.file("zeros", vec![0; 7 * BLOCK]);
    scene.file("exact", text(9, 2 * BLOCK));
    scene.node("link", Kind::Symlink("usr/share/0/nowhere".into()));
    scene.node("dev/sda", Kind::BlockDevice(Device { major: 8, minor: 0x12345 }));
    scene.node("dev/gone", Kind::CharDevice(Device::WHITEOUT));
    scene.node("dev/pipe", Kind::Fifo).mode = 0o600;
    scene.node("dev/socket", Kind::Socket).mtime = -5;
    scene.node("dev/later", Kind::Fifo).mtime = 1 << 40;
    scene.tree.insert(Path::new("empty"), Node { mode: 0o1777, ..Node::directory() }).unwrap();
    for path in ["bin/name", "usr/other"] {
        let node = scene.tree.find(Path::new("bin/code")).unwrap();
        scene.tree.link(Path::new(path), node).unwrap();
    }
    let large = noise(5, 300);
    scene.file("attributes/a", text(1, 5)).xattrs =
        vec![xattr("security.capability", b"cap"), xattr("user.large", &large)];
    scene.file("attributes/b", text(2, 5)).xattrs =
        vec![xattr("security.capability", b"cap"), xattr("user.large", &large)];
    scene.file("attributes/c", text(3, 5)).xattrs =
        vec![xattr("trusted.large", &large), xattr("user.empty", b"")];
    let list = [&[2, 0, 0, 0][..], &[4, 0, 4, 0, 0, 0, 0, 0], &[16, 0, 7, 0, 0, 0, 0, 0]].concat();
    let node = scene.file("attributes/list", Vec::new());
    (node.mode, node.xattrs) = (0o675, vec![xattr("system.posix_acl_access", &list)]);
    scene
}

fn options() -> PackOptions {
    let compressor = Compressor::Zstd { level: 3 };
    PackOptions { compressor, block_size: 4096, epoch: Some(1_700_000_000), ..PackOptions::default() }
}

struct Made {
    dir: tempfile::TempDir,
    packed: Packed,
}

impl Made {
    fn path(&self) -> PathBuf {
        self.dir.path().join("x.sb")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn bundle(&self) -> Bundle {
        Bundle::open(&self.path()).unwrap()
    }
}

fn made(source: Source, options: &PackOptions) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let packed = pack(source, &dir.path().join("x.sb"), options, &mut |_| {}).unwrap();
    Made { dir, packed }
}

/// Everything by its name, as it is to be, or as a bundle has it.
type Listing = BTreeMap<PathBuf, (Node, Vec<u8>)>;

fn listing(tree: &Tree, mut bytes: impl FnMut(ContentId) -> Vec<u8>) -> Listing {
    let with_bytes = |(path, id)| {
        let mut node: Node = Tree::node(tree, id).clone();
        let mut content = Vec::new();
        match &mut node.kind {
            Kind::Directory(names) => names.clear(),
            Kind::File { content: id, .. } => {
                content = bytes(*id);
                *id = ContentId(0);
            }
            _ => {}
        }
        (path, (node, content))
    };
    tree.walk().map(with_bytes).collect()
}

fn listing_of(bundle: &Bundle) -> Listing {
    listing(bundle.tree().unwrap(), |content| {
        let mut bytes = Vec::new();
        bundle.reader(content).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What a bundle is to have of a scene.
fn expected(scene: &Scene, latest: i64) -> Listing {
    let mut expected = listing(&scene.tree, |content| scene.bytes(content).to_vec());
    for (node, _) in expected.values_mut() {
        node.mtime = node.mtime.clamp(0, latest);
        if node.xattrs.iter().any(|xattr| xattr.name == "system.posix_acl_access") {
            (node.mode, node.xattrs) = (0o645, Vec::new());
        }
    }
    expected
}

#[track_caller]
fn assert_same(found: &Listing, expected: &Listing) {
    for (path, what) in expected {
        assert!(
            found.get(path) == Some(what),
            "{}: {:?}",
            path.display(),
            found.get(path).map(|found| &found.0)
        );
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn everything_comes_back() {
    let scene = everything();
    for stream in [false, true] {
        let made = made(scene.source(stream), &options());
        assert_same(&listing_of(&made.bundle()), &expected(&scene, 1_700_000_000));
        let Packed { duplicates, warnings, changed, vanished, .. } = &made.packed;
        assert_eq!((changed.len(), vanished.len()), (0, 0));
        assert_eq!(
            warnings,
            &[
                "the access control lists of 1 file are not in the bundle: squashfs cannot store them",
                "87 files got the nearest time a squashfs has, from 1970 to 2106"
            ]
        );
        // Those without a byte are all alike, and three of 300 have none.
        assert!(*duplicates > 1000, "{duplicates}");
        let bundle = made.bundle();
        let find = |path| bundle.tree().unwrap().find(Path::new(path)).unwrap();
        assert_eq!(find("bin/code"), find("usr/other"));
        assert_eq!(bundle.tree().unwrap().link_counts()[find("bin/name").index()], 3);
    }
}

#[test]
fn a_stream_is_packed_like_a_directory() {
    // What is seen to be there already only when it has been packed leaves nothing behind.
    let mut scene = Scene::new();
    for path in ["a", "b", "c"] {
        scene.file(path, [noise(1, 9 * BLOCK), text(1, 7)].concat());
    }
    let directory = made(scene.source(false), &options());
    assert_eq!(directory.packed.duplicates, 2);
    assert!(directory.bytes() == made(scene.source(true), &options()).bytes());
}

#[test]
fn blocks_are_shared_by_files_with_other_ends() {
    let mut scene = Scene::new();
    let blocks = [noise(1, 5 * BLOCK), vec![0; BLOCK]].concat();
    for (path, end) in [("a", &b"one"[..]), ("b", b"another"), ("c", b""), ("d", b"one")] {
        scene.file(path, [&blocks, end].concat());
    }
    for stream in [false, true] {
        let made = made(scene.source(stream), &options());
        assert_eq!(made.packed.duplicates, 1);
        assert!(made.packed.bytes < 2 * 5 * BLOCK as u64, "{}", made.packed.bytes);
        assert_same(&listing_of(&made.bundle()), &expected(&scene, 1_700_000_000));
    }
}

#[test]
fn always_the_same_bytes() {
    // Another version of a library that compresses may change these; nothing else may.
    let golden = [
        (Compressor::Zstd { level: 15 }, "4336e58a10db6aabf78ff8539382bd75964f726505949d6b28e7536d760393d5"),
        (Compressor::Xz, "a732a6d3ce0505064ee6374cd4c2b44970beda3f8258ea17450ef276c9d586ae"),
        (Compressor::Gzip, "c18814126cca85af228b560e026159513109fcf107cce7b5e9d58b8534c4caa8"),
        (Compressor::Lz4, "4526b2748909db86b36d6e578589eea5d71063d781cc773365ecd765a76c44dc"),
    ];
    let scene = everything();
    for processors in [1, 2, 7] {
        let found = golden.map(|(compressor, _)| {
            let options = PackOptions { compressor, processors: Some(processors), ..options() };
            let made = made(scene.source(false), &options);
            (compressor, sha256(&made.bytes()))
        });
        let expected = golden.map(|(compressor, hash)| (compressor, hash.to_owned()));
        assert_eq!(found, expected, "with {processors} processors");
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn nothing_in_it() {
    let made = made(Scene::new().source(false), &options());
    assert_eq!((made.packed.files, made.packed.bytes, listing_of(&made.bundle()).len()), (0, 4096, 0));
}

#[test]
fn files_that_are_not_what_they_were() {
    let mut scene = Scene::new();
    scene.held("grown", 10, Held::Bytes(text(1, 20_000)));
    scene.held("shrunk", 20_000, Held::Bytes(text(2, 10)));
    scene.held("d/gone", 20_000, Held::Gone);
    scene.file("kept", text(3, 10_000));
    let made = made(scene.source(false), &options());
    assert_eq!(made.packed.changed, ["grown", "shrunk"].map(PathBuf::from));
    assert_eq!(made.packed.vanished, [PathBuf::from("d/gone")]);
    assert_eq!(made.packed.files, 3);
    let sizes: Vec<_> = listing_of(&made.bundle())
        .into_iter()
        .map(|(path, (_, bytes))| (path.to_str().unwrap().to_owned(), bytes.len()))
        .collect();
    assert_eq!(
        sizes,
        [("d", 0), ("grown", 20_000), ("kept", 10_000), ("shrunk", 10)].map(|(p, n)| (p.to_owned(), n))
    );
}

#[test]
fn what_cannot_be_packed_is_named_and_leaves_nothing() {
    type Change = dyn Fn(&mut Scene);
    let cases: [(&Change, &str); 4] = [
        (
            &|s| {
                s.held("a/b", 5, Held::Unreadable);
            },
            "cannot read memory: permission denied",
        ),
        (
            &|s| {
                s.node("a/b", Kind::Symlink("x".repeat(5000).into()));
            },
            "cannot pack a/b: the target of the link",
        ),
        (
            &|s| {
                s.node(&format!("a/{}", "n".repeat(300)), Kind::Fifo);
            },
            "squashfs has names of 1 to 256 bytes",
        ),
        (
            &|s| {
                s.node("a/b", Kind::CharDevice(Device { major: 1 << 12, minor: 0 }));
            },
            "cannot pack a/b: squashfs has no place for such a device number",
        ),
    ];
    for (change, expected) in cases {
        let mut scene = everything();
        change(&mut scene);
        let dir = tempfile::tempdir().unwrap();
        let error = pack(scene.source(false), &dir.path().join("x.sb"), &options(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_full_disk_is_called_so() {
    let error = super::write(
        everything().source(false),
        &std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap(),
        Path::new("/full/x.sb"),
        &options(),
        &mut |_| {},
    );
    assert_eq!(error.unwrap_err().to_string(), "cannot write /full/x.sb: No space left on device");
}

#[test]
fn the_first_come_first() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c", "d"] {
        scene.file(name, noise(u64::from(name.as_bytes()[0]), 3 * BLOCK + 10));
    }
    let order = ["c", "nowhere", "a"].map(PathBuf::from).to_vec();
    let made = made(scene.source(false), &PackOptions { order, ..options() });
    let bundle = made.bundle();
    let mut starts: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let node = bundle.tree().unwrap().find(Path::new(name)).unwrap();
            let Kind::File { content, .. } = bundle.tree().unwrap().node(node).kind else { unreachable!() };
            let file = bundle.file(content).unwrap();
            (file.blocks().next().unwrap().start, file.fragment().unwrap().0, name)
        })
        .to_vec();
    starts.sort_unstable();
    let names: Vec<_> = starts.iter().map(|(_, fragment, name)| (*fragment, *name)).collect();
    assert_eq!(names, [(0, "c"), (0, "a"), (1, "b"), (1, "d")]);
    assert!(
        bundle.fragment(0).unwrap().start < starts[2].0,
        "the ends of the first come before what follows"
    );
}

/// A scene with one thing changed, and whether some of the old bundle must, or all may, be taken.
#[test]
fn an_old_bundle_gives_what_did_not_change() {
    let old = everything();
    let full = made(old.source(false), &options());
    type Change = dyn Fn(&mut Scene);
    let changes: [(&str, &Change); 7] = [
        ("nothing", &|_| {}),
        ("a small file", &|s| {
            s.file("usr/share/1/file-0001.py", text(77, 37));
        }),
        ("the middle of a large one", &|s| {
            let mut bytes = [b"\x7fELF".to_vec(), text(1, 50_000), noise(2, 50_000)].concat();
            bytes[60_000] ^= 1;
            s.file("bin/again", bytes);
        }),
        ("its end, of the same length", &|s| {
            let mut bytes = [b"\x7fELF".to_vec(), text(1, 50_000), noise(2, 50_000)].concat();
            bytes[100_003] ^= 1;
            s.file("bin/again", bytes);
        }),
        ("removed", &|s| {
            s.tree.remove(Path::new("usr/share/3"));
        }),
        ("gone when read", &|s| {
            s.held("usr/share/1/file-0012.txt", 444, Held::Gone);
        }),
        ("grown when read", &|s| {
            s.held("usr/share/1/file-0012.txt", 444, Held::Bytes(text(1, 9000)));
        }),
    ];
    for (what, change) in changes {
        let mut new = everything();
        change(&mut new);
        for stream in [false, true] {
            let options = PackOptions { reuse: Some(Arc::new(full.bundle())), ..options() };
            let again = made(new.source(stream), &options);
            let plain = made(new.source(stream), &PackOptions { reuse: None, ..options });
            assert_same(&listing_of(&again.bundle()), &listing_of(&plain.bundle()));
            assert_eq!(plain.packed.reused_bytes, 0);
            assert!(again.packed.reused_bytes * 10 > full.packed.bytes * 5, "{what}: {:?}", again.packed);
            assert!(again.packed.bytes <= plain.packed.bytes + 3 * 4096, "{what}: {:?}", again.packed);
        }
    }
}

#[test]
fn what_was_deleted_is_in_no_fragment() {
    let secret = noise(99, 500);
    let mut scene = Scene::new();
    scene.file("a", text(1, 700));
    scene.file("b", secret.clone());
    scene.file("c", text(2, 700));
    let old = made(scene.source(false), &options());
    scene.tree.remove(Path::new("b"));
    let options = PackOptions { reuse: Some(Arc::new(old.bundle())), ..options() };
    let new = made(scene.source(false), &options);
    assert_eq!(new.packed.reused_bytes, 0);
    let bundle = new.bundle();
    for index in 0..bundle.superblock().fragments {
        let block = bundle.read_fragment(index).unwrap();
        assert!(!block.windows(secret.len()).any(|window| window == secret));
    }
    assert_same(&listing_of(&bundle), &expected(&scene, 1_700_000_000));
}

#[test]
fn a_bundle_packed_otherwise_gives_nothing() {
    let scene = everything();
    let old = made(scene.source(false), &options());
    for other in [
        PackOptions { compressor: Compressor::Zstd { level: 4 }, ..options() },
        PackOptions { compressor: Compressor::Gzip, ..options() },
        PackOptions { block_size: 8192, ..options() },
    ] {
        let new = made(scene.source(false), &PackOptions { reuse: Some(Arc::new(old.bundle())), ..other });
        assert_eq!(new.packed.reused_bytes, 0);
        let told = new
            .packed
            .warnings
            .iter()
            .any(|warning| warning.ends_with("x.sb: it is not packed with these settings"));
        assert!(told, "{:?}", new.packed.warnings);
    }
}
