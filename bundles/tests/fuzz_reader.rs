//! Whatever bytes a bundle is made of, the reader answers with a tree or an error that has a place, in bounded memory, and
//! writes nothing outside of its target.
//!
//! Longer than in `cargo test`: `BOLERO_RANDOM_ITERATIONS=1000000 cargo test -p bundles --test fuzz_reader`, or under a
//! fuzzer that looks at coverage with `cargo bolero test`. A failure prints the seed it can be repeated with.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bolero::TypeGenerator;
use bundles::{Bundle, Error, ExtractOptions, Figures, Kind, diff, extract, verify};

/// Inputs that are only read.
const READ: usize = 20_000;
/// Inputs that are unpacked as well.
const UNPACKED: usize = 500;
/// Bytes of each file that are read: a hole may be long.
const ENOUGH: u64 = 1 << 20;
/// Those of mksquashfs.
const HONEST: usize = 8;
/// Most memory all tests of this program may take together, in KiB. Images are below 20 KB: each may take 64 MiB.
const MEMORY: u64 = 400 << 10;

/// An image with the place its tables begin at.
struct Seed {
    bytes: Vec<u8>,
    tables: usize,
}

/// Three of four times an honest image, which has more to change.
fn image(number: u8) -> &'static Seed {
    let honest = if number.is_multiple_of(4) { seeds().len() } else { HONEST };
    &seeds()[usize::from(number / 4) % honest]
}

fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let mut paths: Vec<PathBuf> = ["mksquashfs", "crafted"]
            .iter()
            .flat_map(|folder| fs::read_dir(corpus.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        // The honest ones first, in the same order everywhere.
        paths.sort_by_key(|path| (!path.starts_with(corpus.join("mksquashfs")), path.clone()));
        assert!(paths.len() > 30, "{paths:?}");
        let seed = |path| {
            let bytes = fs::read(path).unwrap();
            let tables = u64::from_le_bytes(bytes[64..72].try_into().unwrap());
            Seed { bytes, tables: usize::try_from(tables).unwrap() }
        };
        paths.into_iter().map(seed).collect()
    })
}

/// A change to an image. Places are taken modulo what there is.
#[derive(Debug, Clone, Copy, TypeGenerator)]
enum Mutation {
    FlipInSuperblock {
        at: u8,
        bit: u8,
    },
    FlipInTables {
        at: u16,
        bit: u8,
    },
    Flip {
        at: u16,
        bit: u8,
    },
    /// A field of two, four or eight bytes becomes one that is at an edge.
    Edge {
        at: u16,
        width: u8,
        value: u8,
    },
    Byte {
        at: u16,
        value: u8,
    },
    Truncate {
        to: u16,
    },
    /// Bytes of another image, or of the same.
    Splice {
        seed: u8,
        from: u16,
        to: u16,
        length: u8,
    },
    /// Bytes are put in, so that all behind is elsewhere.
    Insert {
        at: u16,
        length: u8,
        value: u8,
    },
}

const EDGES: [u64; 10] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

impl Mutation {
    fn apply(self, bytes: &mut Vec<u8>, tables: usize) {
        let length = bytes.len();
        if length <= 96 {
            return;
        }
        let within = |at: u16| usize::from(at) % length;
        let in_tables = |at: u16| {
            let begin = tables.min(length - 1);
            begin + usize::from(at) % (length - begin)
        };
        match self {
            Self::FlipInSuperblock { at, bit } => bytes[usize::from(at) % 96] ^= 1 << (bit % 8),
            Self::FlipInTables { at, bit } => bytes[in_tables(at)] ^= 1 << (bit % 8),
            Self::Flip { at, bit } => bytes[within(at)] ^= 1 << (bit % 8),
            Self::Edge { at, width, value } => {
                let place = if at % 8 == 0 { usize::from(at / 8) % 96 } else { in_tables(at) };
                let value = EDGES[usize::from(value) % EDGES.len()].to_le_bytes();
                let width = [2, 4, 8][usize::from(width) % 3].min(length - place);
                bytes[place..place + width].copy_from_slice(&value[..width]);
            }
            Self::Byte { at, value } => bytes[in_tables(at)] = value,
            Self::Truncate { to } => bytes.truncate(within(to)),
            Self::Splice { seed, from, to, length } => {
                let other = &image(seed).bytes;
                let (from, to) = (usize::from(from) % other.len(), within(to));
                let count = usize::from(length).min(other.len() - from).min(bytes.len() - to);
                bytes[to..to + count].copy_from_slice(&other[from..from + count]);
            }
            Self::Insert { at, length, value } => {
                let at = within(at);
                bytes.splice(at..at, std::iter::repeat_n(value, length.into()));
            }
        }
    }
}

/// A few changes: of an image with many, nothing is left to be read.
type Input = (u8, [Mutation; 4], u8);

fn mutated((seed, mutations, count): &Input) -> Vec<u8> {
    let seed = image(*seed);
    let mut bytes = seed.bytes.clone();
    mutations
        .iter()
        .take(1 + usize::from(*count) % 4)
        .for_each(|mutation| mutation.apply(&mut bytes, seed.tables));
    bytes
}

/// A directory with a bundle in it and nothing else.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("inner/x.sb")
    }

    /// Reads all there is. Returns the bundle if it could be opened.
    fn read(&self, bytes: &[u8]) -> Option<Bundle> {
        // Some file systems write out at once what replaces the bytes of a file.
        let _ = fs::remove_file(self.path());
        fs::write(self.path(), bytes).unwrap();
        let bundle = self.judge(bytes, Bundle::open(&self.path()))?;
        let verified = verify(&bundle, Some(1), &mut |_| {});
        for finding in &verified.findings {
            assert!(finding.offset.is_some_and(|offset| offset <= bytes.len() as u64), "{finding:?}");
        }
        let whole = self.judge(bytes, read_files(&bundle)).is_some();
        assert!(whole || !verified.findings.is_empty(), "what cannot be read was not found");
        self.judge(bytes, bundle.compressor_options());
        self.judge(bytes, Figures::of(&bundle, 3));
        Some(bundle)
    }

    /// Errors are about the bytes, and say where.
    fn judge<T>(&self, bytes: &[u8], result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Error::Malformed { path, offset, what }) => {
                assert_eq!(path, self.path());
                assert!(offset <= bytes.len() as u64 && !what.is_empty(), "{offset} {what}");
                None
            }
            Err(error) => panic!("not about the bytes: {error}"),
        }
    }

    fn unpack(&self, bytes: &[u8]) {
        let Some(bundle) = self.read(bytes) else { return };
        let target = self.dir.path().join("inner/target");
        let owners = rustix::process::geteuid().is_root();
        let options = ExtractOptions { owners, processors: Some(2), ..ExtractOptions::default() };
        match extract(&bundle, &target, &options, &mut |_| {}) {
            Ok(_) => assert!(diff(&bundle, &bundle, Some(1), &mut |_| {}).unwrap().is_empty()),
            Err(error) => {
                assert!(!target.exists(), "{error}");
                // A name may be too long for a file system, a hole too large.
                let Error::Io { path, .. } = error else {
                    self.judge::<()>(bytes, Err(error));
                    return;
                };
                assert!(path.starts_with(&target), "{}", path.display());
            }
        }
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        assert_eq!(names(&self.dir.path().join("inner")), ["x.sb"]);
        assert_eq!(names(self.dir.path()), ["inner"]);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn read_files(bundle: &Bundle) -> Result<(), Error> {
    let tree = bundle.tree()?;
    for (_, id) in tree.walk() {
        if let Kind::File { content, .. } = tree.node(id).kind {
            let mut reader = bundle.reader(content)?;
            let read = std::io::copy(&mut reader.by_ref().take(ENOUGH), &mut std::io::sink());
            if let Err(error) = read {
                return Err(error.downcast::<Error>().expect("an error of the bundle"));
            }
        }
    }
    Ok(())
}

fn assert_little_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY, "{peak} KiB");
}

/// The honest are whole; the others are not, and say so.
#[test]
fn the_corpus() {
    let scene = Scene::new();
    for seed in seeds() {
        scene.unpack(&seed.bytes);
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/mksquashfs");
    for name in ["gzip", "xz", "lz4", "zstd", "plain", "plain-fragments", "plain-bare"] {
        let bundle = Bundle::open(&corpus.join(name).with_extension("sb")).unwrap();
        assert_eq!(verify(&bundle, Some(1), &mut |_| {}).findings, [], "{name}");
    }
    assert!(Bundle::open(&corpus.join("lzo.sb")).is_err());
}

#[test]
fn any_bytes() {
    let scene = Scene::new();
    bolero::check!().with_iterations(READ / 10).for_each(|bytes: &[u8]| {
        scene.read(bytes);
        // Behind what is a superblock.
        let superblock = &seeds()[0].bytes[..96];
        scene.read(&[superblock, bytes].concat());
    });
    assert_little_memory();
}

#[test]
fn changed_images_are_read() {
    let scene = Scene::new();
    bolero::check!().with_type::<Input>().with_iterations(READ).for_each(|input| {
        scene.read(&mutated(input));
    });
    assert_little_memory();
}

#[test]
fn changed_images_are_unpacked() {
    bolero::check!().with_type::<Input>().with_iterations(UNPACKED).for_each(|input| {
        // What a failure leaves behind must not make the next.
        Scene::new().unpack(&mutated(input));
    });
    assert_little_memory();
}
