//! LUKS2 containers, with cryptsetup as the judge: it opens ours, and its own are opened here.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use live::luks::{self, Cost, Failure, Volume};
use tempfile::TempDir;

const RIGHT: &[u8] = b"correct horse \xc3\xa4";
const OTHER: &[u8] = b"second";
const SIZE: u64 = 32 << 20;
/// What cryptsetup takes at the least.
const CHEAP: Cost = Cost { memory: 64, passes: 4 };

/// Runs cryptsetup with the passphrase on its standard input.
fn cryptsetup(args: &[&str], passphrase: &[u8]) -> Output {
    let mut command = Command::new("cryptsetup");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cryptsetup is needed: apt-get install cryptsetup-bin");
    // It closes its end early where it asks for nothing.
    let _ = child.stdin.take().expect("piped").write_all(passphrase);
    child.wait_with_output().expect("cryptsetup ends")
}

fn succeeds(args: &[&str], passphrase: &[u8]) -> String {
    let output = cryptsetup(args, passphrase);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "cryptsetup {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

struct Container {
    path: PathBuf,
    folder: TempDir,
}

impl Container {
    fn empty(size: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("container");
        File::create(&path).and_then(|file| file.set_len(size)).expect("a file");
        Self { path, folder }
    }

    fn ours(size: u64) -> Self {
        let made = Self::empty(size);
        let file = made.file();
        luks::format(&file, size, RIGHT, &CHEAP, &mut luks::kernel_random).expect("a container");
        made
    }

    fn theirs(args: &[&str]) -> Self {
        let made = Self::empty(SIZE);
        let mut all = vec!["luksFormat", "--batch-mode", "--type", "luks2", "--key-file", "-"];
        all.extend(args);
        all.push(made.name());
        succeeds(&all, RIGHT);
        made
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("text")
    }

    fn file(&self) -> File {
        File::options().read(true).write(true).open(&self.path).expect("the container opens")
    }

    fn open(&self, passphrase: &[u8]) -> luks::Result<Volume> {
        luks::open(&mut self.file(), passphrase)
    }

    fn start(&self) -> Vec<u8> {
        let mut start = Vec::new();
        self.file().take(18 << 20).read_to_end(&mut start).expect("the container is read");
        start
    }

    /// The key of the data, as cryptsetup finds it.
    fn key(&self, passphrase: &[u8]) -> Vec<u8> {
        let key = self.folder.path().join("key");
        let _ = fs::remove_file(&key);
        let file = ["--volume-key-file", text(&key)];
        let dump = ["luksDump", "--batch-mode", "--dump-volume-key", "--key-file", "-"];
        succeeds(&[&dump[..], &file, &[self.name()]].concat(), passphrase);
        fs::read(&key).expect("the key is written")
    }

    /// Whether cryptsetup opens it.
    fn tests(&self, passphrase: &[u8]) -> bool {
        let open = ["open", "--test-passphrase", "--batch-mode", "--key-file", "-", self.name()];
        cryptsetup(&open, passphrase).status.success()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

const ARGON2ID: [&str; 8] =
    ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "64", "--pbkdf-parallel", "1"];

#[test]
fn cryptsetup_opens_ours() {
    for (size, sector_size) in [(SIZE, 4096), (SIZE + 512, 512)] {
        let ours = Container::ours(size);
        let dump = succeeds(&["luksDump", ours.name()], b"");
        for expected in
            ["Version:       \t2", "argon2id", "offset: 1048576 [bytes]", "cipher: aes-xts-plain64"]
        {
            assert!(dump.contains(expected), "no {expected:?} in {dump}");
        }
        assert!(dump.contains(&format!("sector: {sector_size} [bytes]")), "{dump}");
        assert!(ours.tests(RIGHT));
        assert!(!ours.tests(b"wrong"));
        let volume = ours.open(RIGHT).expect("we open it too");
        assert!(dump.contains(&volume.uuid), "{} is not in {dump}", volume.uuid);
        assert_eq!(*volume.key, ours.key(RIGHT));
        assert_eq!((volume.offset, volume.size, volume.sector_size), (1 << 20, None, sector_size));
        assert!(luks::is_luks2(&ours.start()) && !luks::is_luks2(b"LUKS\xba\xbe\0\x01"));
        assert_eq!(ours.open(b"wrong").unwrap_err(), Failure::WrongPassphrase);
    }
}

#[test]
fn cryptsetup_changes_ours() {
    let ours = Container::ours(SIZE);
    let key = ours.key(RIGHT);
    let new = ours.folder.path().join("new");
    fs::write(&new, OTHER).expect("a file");
    let add = ["luksAddKey", "--batch-mode", "--key-file", "-"];
    succeeds(&[&add[..], &ARGON2ID, &[ours.name(), text(&new)]].concat(), RIGHT);
    for passphrase in [RIGHT, OTHER] {
        assert_eq!(*ours.open(passphrase).expect("both keyslots open").key, key);
    }
    succeeds(&["luksKillSlot", "--batch-mode", ours.name(), "0"], b"");
    assert_eq!(ours.open(RIGHT).unwrap_err(), Failure::WrongPassphrase);
    assert_eq!(*ours.open(OTHER).expect("the one that is left").key, key);
    // What was changed is found to be newer than an old copy.
    succeeds(
        &["luksUUID", "--batch-mode", "--uuid", "12345678-1234-4234-8234-123456789012", ours.name()],
        b"",
    );
    assert_eq!(ours.open(OTHER).expect("open").uuid, "12345678-1234-4234-8234-123456789012");
    succeeds(&["config", "--priority", "ignore", "--key-slot", "1", ours.name()], b"");
    assert!(matches!(ours.open(OTHER).unwrap_err(), Failure::Unsupported(_)));
}

#[test]
fn theirs_are_opened() {
    let argon2i = ["--pbkdf", "argon2i", "--pbkdf-force-iterations", "5", "--pbkdf-memory", "100"];
    let pbkdf2 = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let table: [(&[&[&str]], u32, usize); 9] = [
        (&[&ARGON2ID], 512, 64),
        (&[&ARGON2ID, &["--sector-size", "4096"]], 4096, 64),
        (&[&argon2i, &["--pbkdf-parallel", "3"]], 512, 64),
        (&[&argon2i, &["--pbkdf-parallel", "1", "--hash", "sha512"]], 512, 64),
        (&[&pbkdf2], 512, 64),
        (&[&pbkdf2, &["--hash", "sha1"]], 512, 64),
        (&[&pbkdf2, &["--hash", "sha512", "--sector-size", "4096"]], 4096, 64),
        (&[&pbkdf2, &["--key-size", "256", "--offset", "4096"]], 512, 32),
        (
            &[
                &pbkdf2,
                &[
                    "--luks2-metadata-size",
                    "64k",
                    "--keyslot-cipher",
                    "aes-xts-plain64",
                    "--keyslot-key-size",
                    "256",
                ],
            ],
            512,
            64,
        ),
    ];
    for (args, sector_size, key_size) in table {
        let args = args.concat();
        let sectors = format!("--sector-size={sector_size}");
        let theirs = Container::theirs(&[&[sectors.as_str()], &args[..]].concat());
        let volume = theirs.open(RIGHT).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        assert_eq!(*volume.key, theirs.key(RIGHT), "{args:?}");
        assert_eq!((volume.sector_size, volume.key.len()), (sector_size, key_size), "{args:?}");
        assert_eq!(volume.cipher, "aes-xts-plain64");
        assert_eq!(theirs.open(b"wrong").unwrap_err(), Failure::WrongPassphrase, "{args:?}");
    }
}

#[test]
fn what_is_not_supported_has_a_name() {
    let pbkdf2 = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let table: [(&[&str], &str); 4] = [
        (&["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"], "cipher aes-cbc-essiv:sha256"),
        (&["--hash", "sha384"], "hash sha384"),
        (
            &["--hash", "sha256", "--keyslot-cipher", "aes-cbc-plain64", "--keyslot-key-size", "256"],
            "aes-cbc-plain64",
        ),
        (&["--type", "luks1"], "LUKS version 1"),
    ];
    for (args, expected) in table {
        let theirs = Container::theirs(&[&pbkdf2[..], args].concat());
        let failure = theirs.open(RIGHT).unwrap_err();
        assert!(matches!(failure, Failure::Unsupported(_)), "{failure}");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[test]
fn the_second_copy_is_enough_and_either_is_needed() {
    for made in [Container::ours(SIZE), Container::theirs(&ARGON2ID)] {
        let key = made.open(RIGHT).expect("whole").key;
        // The magic, the version, the size, the name of the checksum, the JSON.
        for place in [0, 7, 14, 72, 5000] {
            let mut start = made.start();
            start[place] ^= 0x5a;
            assert_eq!(
                luks::open(&mut Cursor::new(&start), RIGHT).expect("second copy").key,
                key,
                "byte {place}"
            );
            start[(16 << 10) + 4500] ^= 1;
            let failure = luks::open(&mut Cursor::new(&start), RIGHT).unwrap_err();
            assert!(matches!(failure, Failure::Damaged(_)), "byte {place}: {failure}");
        }
        made.file().write_all_at(&[0; 4096], 0).expect("written");
        assert!(made.open(RIGHT).is_ok());
        // cryptsetup puts the first copy back.
        assert!(made.tests(RIGHT));
        made.file().write_all_at(&[0; 4096], 0).expect("written");
        made.file().write_all_at(&[0; 4096], 16 << 10).expect("written");
        assert_eq!(made.open(RIGHT).unwrap_err(), Failure::NotLuks2);
    }
}

#[test]
fn torn_containers_are_told() {
    let whole = Container::ours(SIZE).start();
    for length in [0, 1, 7, 8, 4095, 4096, 16_383, 16_384, 20_000, 32_768, 200_000, 1 << 20] {
        let failure = luks::open(&mut Cursor::new(&whole[..length]), RIGHT).unwrap_err();
        let expected =
            if length < 8 { failure == Failure::NotLuks2 } else { matches!(failure, Failure::Damaged(_)) };
        assert!(expected, "{length} bytes: {failure}");
    }
}

/// What a power cut leaves: at no moment a header without its keyslot, and nothing of an older container.
#[test]
fn there_is_no_header_until_all_is_there() {
    let made = Container::theirs(&ARGON2ID);
    let size = luks::DATA_OFFSET;
    let file = made.file();
    let refused = luks::format(&file, size, RIGHT, &CHEAP, &mut luks::kernel_random);
    assert_eq!(refused.err(), Some(Failure::TooSmall));
    assert!(made.open(RIGHT).is_ok(), "what cannot be formatted is left alone");
    luks::format(&file, SIZE, OTHER, &CHEAP, &mut luks::kernel_random).expect("formatted");
    assert_eq!(made.open(RIGHT).unwrap_err(), Failure::WrongPassphrase);
    // As if the last write had not come.
    file.write_all_at(&[0; 16 << 10], 0).expect("written");
    assert!(made.open(OTHER).is_ok() && made.tests(OTHER));
}

#[test]
fn without_random_bytes_there_is_no_container() {
    let made = Container::empty(SIZE);
    let mut none = |_: &mut [u8]| Err(std::io::Error::other("the source is dry"));
    let failure = luks::format(&made.file(), SIZE, RIGHT, &CHEAP, &mut none).unwrap_err();
    assert_eq!(failure.to_string(), "cannot get random bytes: the source is dry");
    assert!(made.start().iter().all(|&byte| byte == 0));
}

/// A machine's own cost: cryptsetup agrees on memory and passes beyond the least.
#[test]
fn the_usual_cost_is_opened_by_both() {
    let made = Container::empty(SIZE);
    let cost = Cost::for_memory(512 << 20);
    let given =
        luks::format(&made.file(), SIZE, RIGHT, &cost, &mut luks::kernel_random).expect("a container");
    assert!(made.tests(RIGHT));
    let opened = made.open(RIGHT).expect("opened");
    assert_eq!(*opened.key, made.key(RIGHT));
    assert_eq!((format!("{given:?}"), &given.key), (format!("{opened:?}"), &opened.key));
}
