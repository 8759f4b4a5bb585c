//! livekit.toml: what a kit always wants, so that `livekit build-iso` alone makes it.
//!
//! An absent file means defaults. A key that is not known is an error that names the nearest one: a silent typo would
//! only be noticed in the finished image.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{AtPath, Error, Failure};
use crate::split::{self, Rules, Table};

/// The file looked for where none is named.
pub const DEFAULT_FILE: &str = "livekit.toml";

/// What the file may say; every key is optional and means what the flag of that name means.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Config {
    pub root: Option<PathBuf>,
    pub kernel: Option<PathBuf>,
    pub output: Option<PathBuf>,
    pub name: Option<String>,
    pub title: Option<String>,
    pub append: Option<String>,
    pub modules: Option<Modules>,
    pub exclude: Vec<String>,
    pub busybox: Option<PathBuf>,
    pub boot_files: Option<PathBuf>,
    pub firmware: Option<String>,
    pub timeout: Option<u32>,
    pub text_menu: bool,
    pub compressor: Option<String>,
    pub block_size: Option<String>,
    pub order: Option<PathBuf>,
    pub reuse: Option<bool>,
    pub debian: Option<Debian>,
    /// The bundles a root is split into: what `[[bundle]]` says, or the default.
    #[serde(skip)]
    pub split: Rules,
    #[serde(rename = "bundle")]
    bundles: Option<Vec<Table>>,
}

/// The `[debian]` table.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Debian {
    pub suite: Option<String>,
    pub packages: Vec<String>,
    pub mirror: Option<String>,
}

/// `modules = "most"` or `modules = ["ahci", "nvme"]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Modules {
    Word(String),
    List(Vec<String>),
}

impl Modules {
    /// As the flag has it.
    pub fn into_text(self) -> String {
        match self {
            Modules::Word(word) => word,
            Modules::List(names) => names.join(","),
        }
    }
}

const KEYS: &[&str] = &[
    "root",
    "kernel",
    "output",
    "name",
    "title",
    "append",
    "modules",
    "exclude",
    "busybox",
    "boot-files",
    "firmware",
    "timeout",
    "text-menu",
    "compressor",
    "block-size",
    "order",
    "reuse",
    "debian",
    "bundle",
];
const DEBIAN_KEYS: &[&str] = &["suite", "packages", "mirror"];

impl Config {
    /// Reads `named`, or livekit.toml in the working directory if there is one. Paths in it are taken from the
    /// file's own directory.
    pub fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(Config::default());
            }
            other => other.at("read the configuration", path).map_err(Failure::Usage)?,
        };
        let mut config = Config::parse(&text)
            .map_err(|error| Failure::Usage(error.doing(format!("configuration {}", path.display()))))?;
        config.anchor_paths(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// Reads the text of a configuration.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let table = toml::de::DeTable::parse(text).map_err(|error| syntax_error(text, &error))?;
        check_keys(text, table.get_ref(), KEYS, "")?;
        if let Some(debian) = table.get_ref().get("debian").and_then(|value| value.get_ref().as_table()) {
            check_keys(text, debian, DEBIAN_KEYS, "debian.")?;
        }
        let bundles = bundle_tables(table.get_ref());
        for (_, bundle) in &bundles {
            check_keys(text, bundle, split::KEYS, "bundle.")?;
        }
        let mut config: Config = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        if let Some(tables) = config.bundles.take() {
            let starts: Vec<usize> = bundles.iter().map(|(start, _)| *start).collect();
            config.split = Rules::new(tables, &starts, |offset| line_of(text, offset))?;
        }
        Ok(config)
    }

    fn anchor_paths(&mut self, folder: &Path) {
        let words = [Path::new("running"), Path::new("none")];
        for path in [
            &mut self.root,
            &mut self.kernel,
            &mut self.output,
            &mut self.busybox,
            &mut self.boot_files,
            &mut self.order,
        ] {
            if let Some(path) =
                path.as_mut().filter(|path| path.is_relative() && !words.contains(&path.as_path()))
            {
                *path = folder.join(&path);
            }
        }
    }
}

/// The tables of `[[bundle]]`, each with the byte it begins at.
fn bundle_tables<'a, 'b>(table: &'a toml::de::DeTable<'b>) -> Vec<(usize, &'a toml::de::DeTable<'b>)> {
    let array = table.get("bundle").and_then(|value| value.get_ref().as_array());
    let entries = array.into_iter().flat_map(|array| array.iter());
    entries.filter_map(|entry| Some((entry.span().start, entry.get_ref().as_table()?))).collect()
}

fn check_keys(text: &str, table: &toml::de::DeTable<'_>, known: &[&str], prefix: &str) -> Result<(), Error> {
    let unknown = table.iter().map(|(key, _)| key).find(|key| !known.contains(&key.get_ref().as_ref()));
    let Some(key) = unknown else { return Ok(()) };
    let name = key.get_ref();
    let line = line_of(text, key.span().start);
    let error = Error::new(format!("line {line}: unknown key `{prefix}{name}`"));
    Err(match nearest(name, known) {
        Some(near) => error.hint(format!("did you mean `{prefix}{near}`?")),
        None => error.hint(format!("known keys: {}", known.join(", "))),
    })
}

fn syntax_error(text: &str, error: &toml::de::Error) -> Error {
    let message = error.message();
    match error.span() {
        Some(span) => Error::new(format!("line {}: {message}", line_of(text, span.start))),
        None => Error::new(message),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// The known key that `typed` was probably meant to be.
fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.replace('_', "-").to_lowercase();
    known
        .iter()
        .map(|&key| (strsim::damerau_levenshtein(&typed, key), key))
        .filter(|(distance, key)| *distance <= key.len().max(3) / 3)
        .min()
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn reads_every_key() {
        let config = Config::parse(
            r#"
            root = "/srv/root"
            kernel = "vmlinuz"
            output = "x.iso"
            name = "rescue"
            title = "Rescue"
            append = "net.ifnames=0"
            modules = ["ahci", "nvme"]
            exclude = ["/srv/*"]
            busybox = "none"
            boot-files = "boot"
            firmware = "uefi"
            timeout = 3
            text-menu = true
            compressor = "xz"
            block-size = "1M"
            order = "boot.order"
            reuse = false
            [debian]
            suite = "bookworm"
            packages = ["vim"]
            mirror = "http://deb.example/debian"
            "#,
        )
        .unwrap();
        assert_eq!(config.modules.map(Modules::into_text).as_deref(), Some("ahci,nvme"));
        assert_eq!(config.timeout, Some(3));
        assert!(config.text_menu);
        assert_eq!(config.debian.unwrap().suite.as_deref(), Some("bookworm"));
    }

    #[test]
    fn every_flag_has_its_key_as_the_help_says() {
        let command = crate::cli::Cli::command();
        let build = command.find_subcommand("build-iso").unwrap();
        let flags = build
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .filter(|flag| !["config", "no-reuse", "from-running", "changes", "with-secrets"].contains(flag));
        let flags: BTreeSet<&str> = flags.map(|flag| if flag == "debian" { "suite" } else { flag }).collect();
        let keys = KEYS
            .iter()
            .chain(DEBIAN_KEYS)
            .copied()
            .filter(|key| !["debian", "bundle"].contains(key))
            .collect();
        assert_eq!(flags, keys);
    }

    #[test]
    fn empty_means_defaults() {
        assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message, hint) in [
            ("nmae = 'x'", "line 1: unknown key `nmae`", Some("did you mean `name`?")),
            ("\n\nblock_size = '1M'", "line 3: unknown key `block_size`", Some("did you mean `block-size`?")),
            ("Exclude = []", "line 1: unknown key `Exclude`", Some("did you mean `exclude`?")),
            (
                "[debian]\nsuit = 'x'",
                "line 2: unknown key `debian.suit`",
                Some("did you mean `debian.suite`?"),
            ),
            (
                "[debian]\nrelease = 'x'",
                "line 2: unknown key `debian.release`",
                Some("known keys: suite, packages, mirror"),
            ),
            ("name = 'a'\nname = 'b'", "line 2: duplicate key", None),
            (
                "\n[[bundle]]\nname = '05-x'\npackage = ['x']",
                "line 4: unknown key `bundle.package`",
                Some("did you mean `bundle.packages`?"),
            ),
            (
                "[[bundle]]\npaths = ['/x']",
                "line 1: a bundle has no name",
                Some("for instance: name = \"05-desktop\""),
            ),
            (
                "name = 'x'\n\n[[bundle]]\nname = '05-x'\npackages = []",
                "line 3: 05-x.sb takes nothing",
                Some("give it `paths`, `packages`, or both"),
            ),
            (
                "[[bundle]]\nname = '05-x'\npaths = ['/a']\n[[bundle]]\npaths = ['/b']\nname = '05-X.sb'",
                "line 6: a second bundle `05-X.sb`",
                Some("the first is in line 2"),
            ),
            (
                "[[bundle]]\nname = '00-core'\npaths = ['/a']",
                "line 2: `00-core` cannot be the name of a bundle: it is the bundle of what no rule takes",
                Some("take a number between those of the two, as in 05-desktop"),
            ),
            (
                "[[bundle]]\nname = '05-x'\npaths = [\n  '/a',\n  '/b[',\n]",
                "line 5: cannot understand the pattern `/b[`: error parsing glob '/b[': unclosed character class; missing ']'",
                Some(
                    "patterns have the syntax of .gitignore: `/usr/share/icons/**`, `*.mo`, `!/usr/share/keep`",
                ),
            ),
            ("[[bundle]]\nname = 5", "line 2: invalid type: integer `5`, expected a string", None),
            ("[bundle]\nname = '05-x'", "line 1: invalid type: map, expected a sequence", None),
            ("timeout = 'soon'", "line 1: invalid type: string \"soon\", expected u32", None),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!((error.message().as_str(), error.hint_text()), (message, hint), "{text}");
        }
    }

    #[test]
    fn bundles_are_those_named_or_the_default() {
        let bundles = |text: &str| -> Vec<String> {
            let rules = Config::parse(text).unwrap().split;
            rules.0.into_iter().map(|rule| rule.bundle).collect()
        };
        assert_eq!(bundles(""), ["01-firmware.sb"]);
        assert!(bundles("bundle = []").is_empty());
        let text =
            "[[bundle]]\nname = '07-b'\npaths = ['/b']\n\n[[bundle]]\nname = '05-a'\npackages = ['a*']";
        assert_eq!(bundles(text), ["07-b.sb", "05-a.sb"]);
        let rules = Config::parse(text).unwrap().split.0;
        assert_eq!((rules[0].line, rules[1].line, rules[1].packages[0].line), (Some(1), Some(5), Some(7)));
    }

    #[test]
    fn paths_are_taken_from_the_files_folder() {
        let mut config = Config::parse("root = 'tree'\nkernel = '/boot/k'\nbusybox = 'none'").unwrap();
        config.anchor_paths(Path::new("/kit"));
        assert_eq!(config.root.as_deref(), Some(Path::new("/kit/tree")));
        assert_eq!(config.kernel.as_deref(), Some(Path::new("/boot/k")));
        assert_eq!(config.busybox.as_deref(), Some(Path::new("none")));
    }
}
