//! The programs, and how each is told the same.

use std::path::Path;
use std::process::Command;

use bundles::Compressor;
use tests::programs;

/// For each program.
pub const PROCESSORS: usize = 2;

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

/// The command, to which more flags can be added.
pub fn ours(setting: &Setting, source: &Path, output: &Path) -> Command {
    let mut command = Command::new(&programs::livekit().livekit);
    let compressor = match setting.compressor {
        Compressor::Zstd { level } => format!("zstd:{level}"),
        other => other.compression().to_string(),
    };
    command.args(["bundle", "pack", "--quiet", "--force", "--compressor", &compressor]);
    command.args(["--block-size", &setting.block_size.to_string(), "--processors", &PROCESSORS.to_string()]);
    command.arg(source).arg(output);
    command
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
