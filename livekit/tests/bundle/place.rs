//! A place with a tree and a bundle of it, made by mksquashfs, for tests of what reads bundles.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

/// A folder that is gone with the test.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// With a tree of every kind of file in `tree`.
    pub fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "owners and devices are only root's to make: run as root"
        );
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write("tree/etc/os-release", b"ID=test\n");
        place.write("tree/etc/.wh.motd", b"");
        place.write("tree/usr/bin/tool", b"tool\n");
        let tool = place.path("tree/usr/bin/tool");
        fs::hard_link(&tool, place.path("tree/usr/bin/second")).unwrap();
        symlink("tool", place.path("tree/usr/bin/link")).unwrap();
        std::os::unix::fs::chown(&tool, Some(1000), Some(50)).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o4755)).unwrap();
        setxattr(&tool, "user.note", b"kept", XattrFlags::empty()).unwrap();
        // A block of data, one of zeros, and an end.
        let mut bulk = noise(200_000);
        bulk[65536..131_072].fill(0);
        place.write("tree/srv/one", &bulk);
        place.write("tree/srv/two", &bulk);
        let device = |name: &str, major, minor| {
            let path = place.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            mknodat(CWD, path, FileType::CharacterDevice, Mode::from(0o644), makedev(major, minor)).unwrap();
        };
        device("tree/dev/null", 1, 3);
        device("tree/srv/gone", 0, 0);
        setxattr(place.path("tree/etc"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        place
    }

    /// The same, with the tree packed as `x.sb` by mksquashfs.
    pub fn with_bundle() -> Self {
        let place = Place::new();
        let words = "tree x.sb -noappend -quiet -no-progress -all-time 1700000000 -mkfs-time 1700000000 \
            -comp zstd -Xcompression-level 3 -b 65536";
        place.run("mksquashfs", &words.split_whitespace().collect::<Vec<_>>());
        place
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What is in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// All there is to know of a tree but holes, as others see it.
    pub fn facts(&self, tree: &str) -> Vec<String> {
        let all = "cd \"$0\" && find . -exec stat -c '%n %F %a %u %g %Y %h %t:%T %N' {} + && \
            getfattr -R -h -d -m - -e hex . && find . -type f -exec sha256sum {} +";
        let mut lines: Vec<String> =
            self.run("bash", &["-c", all, tree]).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The same of what unsquashfs makes of a bundle.
    pub fn facts_unpacked(&self, bundle: &str) -> Vec<String> {
        self.run("unsquashfs", &["-quiet", "-no-progress", "-d", "unpacked", bundle]);
        let facts = self.facts("unpacked");
        fs::remove_dir_all(self.path("unpacked")).unwrap();
        facts
    }

    pub fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().len()
    }

    /// The command under test, run here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livekit"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// Its exit code, stdout and stderr.
    pub fn livekit(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} ended by a signal"));
        (code, text(&output.stdout), text(&output.stderr))
    }

    /// What another program says, which must do what it is asked.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program).args(arguments).current_dir(self.folder.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes that do not get smaller, always the same (xorshift64).
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(length.div_ceil(8))
    .flatten()
    .collect();
    bytes.truncate(length);
    bytes
}
