//! What `build-iso` is to do: flags and configuration put together and understood, before anything is touched.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bundles::Compressor;
use iso::grub::Firmware;

use crate::busybox;
use crate::cli::BuildIso;
use crate::config::{Config, Debian, Modules};
use crate::error::{Error, Failure, Result};
use crate::root::{DebianOptions, RootChoice};
use crate::split::Rules;
use live::utc;

/// Everything a build needs to know.
#[derive(Debug)]
pub struct BuildSettings {
    pub root: RootChoice,
    pub kernel: Option<PathBuf>,
    pub output: PathBuf,
    pub name: String,
    /// What the menu calls the system; none means what the root calls itself.
    pub title: Option<String>,
    pub append: String,
    /// `most`, `all`, or names separated by commas.
    pub modules: String,
    pub exclude: Vec<String>,
    /// The bundles the root is split into.
    pub split: Rules,
    pub busybox: busybox::Choice,
    pub boot_files: Option<PathBuf>,
    /// What the image starts from.
    pub firmware: Firmware,
    /// Seconds the menu waits.
    pub timeout: u32,
    pub text_menu: bool,
    pub compressor: Compressor,
    /// Bytes, a power of two.
    pub block_size: u32,
    /// Says which files are laid out first.
    pub order: Option<PathBuf>,
    /// Whether blocks are taken from the bundles of the last image.
    pub reuse: bool,
    /// SOURCE_DATE_EPOCH, in seconds since 1970.
    pub epoch: Option<u64>,
}

const DEFAULT_NAME: &str = "livekit";
const DEFAULT_TIMEOUT: u32 = 5;
const DEFAULT_COMPRESSOR: Compressor = Compressor::Zstd { level: 15 };
/// 1 MiB would make bundles 5 % smaller and a Debian's start from CD a second longer.
const DEFAULT_BLOCK_SIZE: u32 = 128 * 1024;

impl BuildSettings {
    /// Flags win over the configuration; `epoch` is SOURCE_DATE_EPOCH.
    pub fn new(flags: BuildIso, config: Config, epoch: Option<u64>) -> Result<Self, Failure> {
        let usage = Failure::Usage;
        let name = flags.name.or(config.name).unwrap_or_else(|| DEFAULT_NAME.to_owned());
        check_name(&name).map_err(usage)?;
        let root = choose_root(
            flags.root,
            flags.debian,
            flags.packages,
            flags.mirror,
            config.root,
            config.debian,
            &name,
        )
        .map_err(usage)?;
        let output = match flags.output.or(config.output) {
            Some(path) => path,
            None => format!("{name}-{}.iso", utc::day(epoch.map_or_else(now, Ok)?)).into(),
        };
        let busybox = match flags.busybox.or(config.busybox) {
            None => busybox::Choice::Find,
            Some(path) if path == Path::new("none") => busybox::Choice::Without,
            Some(path) => busybox::Choice::File(path),
        };
        let compressor = flags.compressor.or(config.compressor);
        let block_size = flags.block_size.or(config.block_size);
        let firmware = flags.firmware.or(config.firmware);
        // What is taken from elsewhere does not follow from the input.
        let reuse = match (flags.no_reuse, flags.reuse) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => config.reuse.unwrap_or(epoch.is_none()),
        };
        let mut exclude = config.exclude;
        exclude.extend(flags.exclude);
        Ok(BuildSettings {
            root,
            kernel: flags.kernel.or(config.kernel),
            output,
            title: flags.title.or(config.title),
            append: flags.append.or(config.append).unwrap_or_default(),
            modules: flags
                .modules
                .or(config.modules.map(Modules::into_text))
                .unwrap_or_else(|| "most".to_owned()),
            exclude,
            split: config.split,
            busybox,
            boot_files: flags.boot_files.or(config.boot_files),
            firmware: firmware
                .map_or(Ok(Firmware::default()), |text| parse_firmware(&text))
                .map_err(usage)?,
            timeout: flags.timeout.or(config.timeout).unwrap_or(DEFAULT_TIMEOUT),
            text_menu: flags.text_menu || config.text_menu,
            compressor: compressor
                .map_or(Ok(DEFAULT_COMPRESSOR), |text| parse_compressor(&text))
                .map_err(usage)?,
            block_size: block_size
                .map_or(Ok(DEFAULT_BLOCK_SIZE), |text| parse_block_size(&text))
                .map_err(usage)?,
            order: flags.order.or(config.order),
            reuse,
            epoch,
            name,
        })
    }

    /// The time written into the image, in seconds since 1970.
    pub fn time(&self) -> Result<u64> {
        self.epoch.map_or_else(now, Ok)
    }
}

/// What was named as root; a flag of one kind wins over a key of the other kind.
fn choose_root(
    root: Option<PathBuf>,
    suite: Option<String>,
    packages: Vec<String>,
    mirror: Option<String>,
    config_root: Option<PathBuf>,
    config_debian: Option<Debian>,
    name: &str,
) -> Result<RootChoice> {
    let debian = config_debian.unwrap_or_default();
    if let Some(path) = root {
        return RootChoice::of(&path);
    }
    match (suite, config_root, debian.suite) {
        (None, Some(_), Some(_)) => {
            Err(Error::new("the configuration has both `root` and `debian.suite`").hint("keep one of them"))
        }
        (None, Some(path), None) => RootChoice::of(&path),
        (None, None, None) if !packages.is_empty() || mirror.is_some() => {
            Err(Error::new("--packages and --mirror need --debian").hint("for instance: --debian bookworm"))
        }
        (None, None, None) => Ok(RootChoice::Running),
        (Some(suite), _, _) | (None, None, Some(suite)) => Ok(RootChoice::Debian(DebianOptions {
            suite,
            packages: if packages.is_empty() { debian.packages } else { packages },
            mirror: mirror.or(debian.mirror),
            hostname: name.to_owned(),
        })),
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=32).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(Error::new(format!("`{name}` cannot be the kit's name"))
        .hint("it names a folder: up to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"))
}

/// SOURCE_DATE_EPOCH, in seconds since 1970.
pub fn epoch() -> Result<Option<u64>, Failure> {
    let text = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    text.map(|text| parse_epoch(&text)).transpose().map_err(Failure::Usage)
}

fn parse_epoch(text: &str) -> Result<u64> {
    text.parse().map_err(|_| {
        Error::new(format!("SOURCE_DATE_EPOCH is `{text}`")).hint("it must be a number of seconds since 1970")
    })
}

fn now() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map(|now| now.as_secs()).map_err(|_| Error::new("the clock is set before 1970").hint("set the clock"))
}

fn parse_firmware(text: &str) -> Result<Firmware> {
    match text {
        "both" => Ok(Firmware::Both),
        "bios" => Ok(Firmware::Bios),
        "uefi" => Ok(Firmware::Uefi),
        _ => Err(Error::new(format!("unknown firmware `{text}`")).hint("one of both, bios, uefi")),
    }
}

/// `zstd`, `zstd:LEVEL`, `xz`, `gzip` or `lz4`.
pub fn parse_compressor(text: &str) -> Result<Compressor> {
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    match (name, level) {
        ("zstd", None) => Ok(DEFAULT_COMPRESSOR),
        ("zstd", Some(level)) => match level.parse() {
            Ok(level) if (1..=22).contains(&level) => Ok(Compressor::Zstd { level }),
            _ => Err(Error::new(format!("`{level}` is no level of zstd"))
                .hint("levels are 1 (fast) to 22 (small)")),
        },
        ("xz", None) => Ok(Compressor::Xz),
        ("gzip", None) => Ok(Compressor::Gzip),
        ("lz4", None) => Ok(Compressor::Lz4),
        _ => {
            Err(Error::new(format!("unknown compressor `{text}`"))
                .hint("one of zstd, zstd:LEVEL, xz, gzip, lz4"))
        }
    }
}

/// A power of two from 4K to 1M, in bytes.
pub fn parse_block_size(text: &str) -> Result<u32> {
    let size = parse_size(text).filter(|size| size.is_power_of_two() && (4096..=1 << 20).contains(size));
    size.and_then(|size| u32::try_from(size).ok()).ok_or_else(|| {
        Error::new(format!("`{text}` is no block size"))
            .hint("one of 4K, 8K, 16K, 32K, 64K, 128K, 256K, 512K, 1M")
    })
}

/// `128K`, `1M`, `2G` or a plain number of bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: BuildIso, config: &str) -> Result<BuildSettings, Failure> {
        BuildSettings::new(flags, Config::parse(config).unwrap(), Some(1_700_000_000))
    }

    #[test]
    fn defaults() {
        let settings = settings(BuildIso::default(), "").unwrap();
        assert_eq!(settings.root, RootChoice::Running);
        assert_eq!(settings.output, Path::new("livekit-20231114.iso"));
        assert_eq!((settings.modules.as_str(), settings.append.as_str(), settings.timeout), ("most", "", 5));
        assert_eq!((settings.compressor, settings.block_size), (DEFAULT_COMPRESSOR, 131_072));
        assert_eq!((settings.time().unwrap(), settings.busybox), (1_700_000_000, busybox::Choice::Find));
    }

    #[test]
    fn flags_win_over_the_file_and_patterns_add_up() {
        let flags = BuildIso {
            name: Some("rescue".into()),
            append: Some("a".into()),
            exclude: vec!["*.iso".into()],
            ..BuildIso::default()
        };
        let settings = settings(
            flags,
            "name = 'x'\nappend = 'b'\nexclude = ['/srv/*']\ntimeout = 0\ncompressor = 'xz'\nbusybox = 'none'\nfirmware = 'bios'",
        )
        .unwrap();
        assert_eq!((settings.name.as_str(), settings.append.as_str(), settings.timeout), ("rescue", "a", 0));
        assert_eq!(settings.exclude, ["/srv/*", "*.iso"]);
        assert_eq!(settings.compressor, Compressor::Xz);
        assert_eq!(settings.busybox, busybox::Choice::Without);
        assert_eq!(settings.firmware, Firmware::Bios);
        assert_eq!(settings.output, Path::new("rescue-20231114.iso"));
    }

    #[test]
    fn a_reproducible_build_takes_nothing_from_the_last() {
        for (flag, config, epoch, reuse) in [
            ("", "", None, true),
            ("", "", Some(1), false),
            ("--reuse", "", Some(1), true),
            ("--no-reuse", "", None, false),
            ("", "reuse = true", Some(1), true),
            ("", "reuse = false", None, false),
            ("--reuse", "reuse = false", None, true),
            ("--no-reuse", "reuse = true", None, false),
        ] {
            let flags =
                BuildIso { reuse: flag == "--reuse", no_reuse: flag == "--no-reuse", ..BuildIso::default() };
            let settings = BuildSettings::new(flags, Config::parse(config).unwrap(), epoch).unwrap();
            assert_eq!(settings.reuse, reuse, "{flag} {config} {epoch:?}");
        }
    }

    #[test]
    fn the_debian_table_and_flags() {
        let config = "[debian]\nsuite = 'bookworm'\npackages = ['vim']\nmirror = 'http://m'";
        let suite = |settings: BuildSettings| match settings.root {
            RootChoice::Debian(options) => {
                (options.suite, options.packages.join(","), options.mirror.unwrap_or_default())
            }
            other => panic!("{other:?}"),
        };
        let flags = BuildIso::default();
        assert_eq!(
            suite(settings(flags, config).unwrap()),
            ("bookworm".into(), "vim".into(), "http://m".into())
        );
        let flags =
            BuildIso { debian: Some("trixie".into()), packages: vec!["ssh".into()], ..BuildIso::default() };
        assert_eq!(
            suite(settings(flags, config).unwrap()),
            ("trixie".into(), "ssh".into(), "http://m".into())
        );
        let flags = BuildIso { root: Some("/usr".into()), ..BuildIso::default() };
        assert_eq!(settings(flags, config).unwrap().root, RootChoice::Directory("/usr".into()));
    }

    #[test]
    fn wrong_usage_is_told() {
        let flags = |change: fn(&mut BuildIso)| {
            let mut flags = BuildIso::default();
            change(&mut flags);
            flags
        };
        for (flags, config, message) in [
            (flags(|f| f.name = Some("a/b".into())), "", "`a/b` cannot be the kit's name"),
            (flags(|f| f.name = Some("-x".into())), "", "`-x` cannot be the kit's name"),
            (flags(|f| f.compressor = Some("lzo".into())), "", "unknown compressor `lzo`"),
            (flags(|f| f.compressor = Some("zstd:99".into())), "", "`99` is no level of zstd"),
            (flags(|f| f.firmware = Some("efi".into())), "", "unknown firmware `efi`"),
            (flags(|f| f.block_size = Some("100K".into())), "", "`100K` is no block size"),
            (flags(|f| f.packages = vec!["vim".into()]), "", "--packages and --mirror need --debian"),
            (
                BuildIso::default(),
                "root = '/'\n[debian]\nsuite = 'x'",
                "the configuration has both `root` and `debian.suite`",
            ),
        ] {
            let failure = settings(flags, config).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert_eq!(failure.error().message(), message);
            assert!(failure.error().hint_text().is_some(), "{message}");
        }
        let error = parse_epoch("soon").unwrap_err();
        assert_eq!(error.message(), "SOURCE_DATE_EPOCH is `soon`");
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("4096", Some(4096)),
            ("128K", Some(131_072)),
            ("2GiB", Some(2 << 30)),
            ("x", None),
            ("1T", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
