//! `make bench-bundles`: time, size and memory of packing a Debian, beside mksquashfs and gensquashfs with the same compressor,
//! level and block size. docs/performance.md says what the figures mean.

use std::path::{Path, PathBuf};

use bundles::Compressor;
use clap::Parser;
use tests::tables::{Table, grouped};
use tests::{Kernel, document, programs, roots};

use packers::{Packer, Setting};
use runs::{Cost, Pairs};

mod packers;
mod reuse;
mod runs;

const DOCUMENT: &str = "docs/performance.md";

/// Measures packing beside other programs
#[derive(Parser)]
struct Arguments {
    /// Put the tables into docs/performance.md
    #[arg(long)]
    write: bool,

    /// Runs of each program with each setting
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,

    /// The slow settings, too
    #[arg(long)]
    all: bool,

    /// Only these settings: zstd-15-128K
    #[arg(long, value_delimiter = ',')]
    settings: Vec<String>,

    /// Leave gensquashfs out
    #[arg(long)]
    without_gensquashfs: bool,

    /// Leave other programs out: only what reusing the last bundle saves
    #[arg(long)]
    only_reuse: bool,

    /// Pack this folder rather than the Debian of the tests
    #[arg(long)]
    source: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::parse();
    assert!(
        rustix::process::geteuid().is_root(),
        "a root with its owners needs root\nhint: sudo make bench-bundles"
    );
    let source = arguments.source.clone().unwrap_or_else(|| roots::debian_folder(Kernel::V6_1));
    let tree = runs::into_the_cache(&source);
    let folder = tempfile::TempDir::with_prefix_in("livekit-bench-", "/var/tmp").expect("a temporary folder");
    let bench = Bench { source, entries: tree.entries, folder: folder.path().to_owned(), arguments };
    bench.add("bundles-setting", &setting(tree));
    if !bench.arguments.only_reuse {
        bench.add("bundles", &bench.table());
    }
    bench.add("bundles-reuse", &bench.reuse());
}

struct Bench {
    source: PathBuf,
    /// Everything in the source, itself included.
    entries: u64,
    folder: PathBuf,
    arguments: Arguments,
}

impl Bench {
    fn add(&self, name: &str, content: &str) {
        println!("\n{content}");
        if self.arguments.write {
            document::write(&programs::workspace().join(DOCUMENT), name, content);
        }
    }

    fn table(&self) -> String {
        let mut ours_and_mksquashfs = Table::new(&[
            "compressor, block size",
            "wall s, livekit / mksquashfs",
            "wall ratio",
            "CPU ratio",
            "bytes, livekit / mksquashfs",
            "size ratio",
            "peak memory MiB, livekit / mksquashfs",
            "memory ratio",
        ]);
        let mut and_gensquashfs = Table::new(&[
            "compressor, block size",
            "wall ratio to gensquashfs",
            "CPU ratio",
            "size ratio",
            "peak memory MiB, gensquashfs",
            "memory ratio",
        ]);
        for setting in packers::settings(self.arguments.all, &self.arguments.settings) {
            let pairs = self.runs(setting);
            ours_and_mksquashfs.row(pairs.against_mksquashfs(setting));
            if !self.arguments.without_gensquashfs {
                and_gensquashfs.row(pairs.against_gensquashfs(setting));
            }
            // A long run is often looked at before its end.
            eprintln!("{ours_and_mksquashfs}");
        }
        if self.arguments.without_gensquashfs {
            return ours_and_mksquashfs.to_string();
        }
        format!("{ours_and_mksquashfs}\n{and_gensquashfs}")
    }

    fn reuse(&self) -> String {
        let Arguments { all, settings, pairs, .. } = &self.arguments;
        let settings: Vec<_> = packers::settings(*all, settings)
            .into_iter()
            .filter(|setting| !settings.is_empty() || matches!(setting.compressor, Compressor::Zstd { .. }))
            .collect();
        reuse::table(&settings, &self.source, &self.folder, *pairs)
    }

    /// All programs by turns, every other time in the opposite order: what else the machine does hits each of them.
    fn runs(&self, setting: &Setting) -> Pairs {
        let mut packers = vec![Packer::Livekit, Packer::Mksquashfs];
        if !self.arguments.without_gensquashfs {
            packers.push(Packer::Gensquashfs);
        }
        let mut pairs = Pairs::default();
        for round in 1..=self.arguments.pairs {
            for &packer in &packers {
                let cost = self.run(packer, setting);
                eprintln!("{} {packer:?}, round {round}: {cost}", setting.name);
                pairs.add(packer, cost);
            }
            packers.reverse();
        }
        pairs
    }

    fn run(&self, packer: Packer, setting: &Setting) -> Cost {
        let output = self.folder.join("bundle.sb");
        let cost = runs::measured(packer.command(setting, &self.source, &output), &output);
        assert_eq!(listed(&output), self.entries, "{packer:?} has left something out, or put something in");
        cost
    }
}

/// When, how and of what.
fn setting(tree: runs::Size) -> String {
    let word = |program: &str, options: &[&str], index: usize| {
        let text = programs::output(programs::command(program).args(options));
        let line = text.lines().next().unwrap_or_default();
        line.split_whitespace().nth(index).unwrap_or_default().to_owned()
    };
    let date = programs::output(programs::command("date").args(["-u", "+%Y-%m-%d"]));
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "Measured on {} by `make bench-bundles BENCH='{}'`: livekit {}, mksquashfs {}, gensquashfs {}. {} files, folders \
             and links of {} bytes; {} processors for each. Load of the machine before: {}.",
        date.trim(),
        words.join(" "),
        env!("CARGO_PKG_VERSION"),
        word("mksquashfs", &["-version"], 2),
        word("gensquashfs", &["--version"], 2),
        grouped(tree.entries),
        grouped(tree.bytes),
        packers::PROCESSORS,
        runs::load(),
    )
}

/// What unsquashfs finds in a bundle.
fn listed(bundle: &Path) -> u64 {
    let list = programs::output(programs::command("unsquashfs").args(["-l", "-d", ""]).arg(bundle));
    list.lines().filter(|line| line.starts_with('/') || line.is_empty()).count() as u64
}
