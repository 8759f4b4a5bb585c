//! The programs, and how each is told the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use bundles::{Bundle, Compressor, PackOptions, Wanted, source};
use tests::programs;

/// For each program.
pub const PROCESSORS: usize = 2;
/// The word that makes this program pack, and nothing else.
pub const PACK: &str = "pack-one";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packer {
    Livekit,
    Mksquashfs,
    Gensquashfs,
}

/// A compressor with its level, and a block size.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub compressor: Compressor,
    pub block_size: u32,
    mksquashfs: &'static [&'static str],
    gensquashfs: &'static [&'static str],
    /// Only when everything is to be measured.
    slow: bool,
}

const SETTINGS: &[Setting] = &[
    zstd("zstd-15-128K", 15, 128 << 10),
    zstd("zstd-15-256K", 15, 256 << 10),
    zstd("zstd-15-1M", 15, 1 << 20),
    Setting {
        name: "gzip-128K",
        compressor: Compressor::Gzip,
        block_size: 128 << 10,
        mksquashfs: &["-comp", "gzip"],
        gensquashfs: &["-c", "gzip"],
        slow: false,
    },
    Setting {
        name: "lz4-128K",
        compressor: Compressor::Lz4,
        block_size: 128 << 10,
        mksquashfs: &["-comp", "lz4", "-Xhc"],
        gensquashfs: &["-c", "lz4", "-X", "hc"],
        slow: false,
    },
    Setting {
        slow: true,
        mksquashfs: &["-comp", "zstd", "-Xcompression-level", "22"],
        gensquashfs: &["-c", "zstd", "-X", "level=22"],
        ..zstd("zstd-22-128K", 22, 128 << 10)
    },
    Setting {
        name: "xz-x86-1M",
        compressor: Compressor::Xz,
        block_size: 1 << 20,
        mksquashfs: &["-comp", "xz", "-Xbcj", "x86"],
        gensquashfs: &["-c", "xz", "-X", "x86"],
        slow: true,
    },
];

const fn zstd(name: &'static str, level: u32, block_size: u32) -> Setting {
    Setting {
        name,
        compressor: Compressor::Zstd { level },
        block_size,
        mksquashfs: &["-comp", "zstd", "-Xcompression-level", "15"],
        gensquashfs: &["-c", "zstd", "-X", "level=15"],
        slow: false,
    }
}

/// Those that are wanted; with names, only these.
pub fn settings(all: bool, names: &[String]) -> Vec<&'static Setting> {
    for name in names {
        assert!(SETTINGS.iter().any(|s| s.name == name), "no setting {name}\nhint: {:?}", known());
    }
    let named = |setting: &Setting| names.iter().any(|name| name == setting.name);
    SETTINGS.iter().filter(|s| named(s) || names.is_empty() && (all || !s.slow)).collect()
}

fn known() -> Vec<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).collect()
}

impl Packer {
    pub fn command(self, setting: &Setting, source: &Path, output: &Path) -> Command {
        let block_size = setting.block_size.to_string();
        let processors = PROCESSORS.to_string();
        match self {
            Self::Livekit => ours(setting, source, output),
            Self::Mksquashfs => {
                let mut command = programs::command("mksquashfs");
                command.arg(source).arg(output).args(["-noappend", "-no-progress", "-quiet", "-xattrs"]);
                command.args(["-b", &block_size, "-processors", &processors]).args(setting.mksquashfs);
                command
            }
            Self::Gensquashfs => {
                let mut command = programs::command("gensquashfs");
                // Without attributes: it gives up at an access control list, which Debian's /var/log/journal has.
                command.args(["-f", "-q", "-k", "-e", "-b", &block_size, "-j", &processors]);
                command.args(setting.gensquashfs).arg("-D").arg(source).arg(output);
                command
            }
        }
    }
}

/// This program once more, to pack. Another argument is a bundle to reuse.
pub fn ours(setting: &Setting, source: &Path, output: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program knows its own path"));
    command.args([PACK, setting.name]).arg(source).arg(output);
    command
}

/// What [`ours`] makes this program do.
pub fn pack(words: &[OsString]) {
    let [name, source, output, old @ ..] = words else { panic!("{PACK} NAME SOURCE OUTPUT [OLD]") };
    let setting = SETTINGS.iter().find(|s| name == s.name).unwrap_or_else(|| panic!("no setting {name:?}"));
    let options = PackOptions {
        compressor: setting.compressor,
        block_size: setting.block_size,
        processors: Some(PROCESSORS),
        reuse: old
            .first()
            .map(|old| Bundle::open(Path::new(old)).unwrap_or_else(|error| panic!("{error}")).into()),
        ..PackOptions::default()
    };
    let source = source::directory(Path::new(source), &mut |_, _| Wanted::Keep);
    let packed = source.and_then(|s| bundles::pack(s, &PathBuf::from(output), &options, &mut |_| {}));
    packed.unwrap_or_else(|error| panic!("{error}"));
}

#[cfg(test)]
mod tests_of_settings {
    use super::*;

    #[test]
    fn slow_ones_are_asked_for() {
        let names = |all, names: &[&str]| -> Vec<&str> {
            let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
            settings(all, &names).iter().map(|setting| setting.name).collect()
        };
        let quick = ["zstd-15-128K", "zstd-15-256K", "zstd-15-1M", "gzip-128K", "lz4-128K"];
        assert_eq!(names(false, &[]), quick);
        assert_eq!(names(true, &[]).len(), quick.len() + 2);
        assert_eq!(names(false, &["xz-x86-1M", "gzip-128K"]), ["gzip-128K", "xz-x86-1M"]);
        assert!(std::panic::catch_unwind(|| settings(true, &["zstd".into()])).is_err());
    }

    #[test]
    fn everybody_is_told_the_same() {
        for setting in SETTINGS {
            let words = |packer: Packer| -> Vec<String> {
                // gensquashfs may not be there: only what is said counts.
                let command = packer.command(setting, Path::new("/source"), Path::new("/output"));
                command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
            };
            for packer in [Packer::Mksquashfs, Packer::Gensquashfs] {
                let words = words(packer);
                assert!(words.contains(&setting.block_size.to_string()), "{words:?}");
                if let Compressor::Zstd { level } = setting.compressor {
                    assert!(words.iter().any(|w| w.ends_with(&level.to_string())), "{words:?}");
                }
            }
        }
    }
}
