//! `make bench-boot`: how long our boot takes and how much memory it needs, beside Debian's live-boot from the same root,
//! in QEMU's virtual time. docs/performance.md says what the figures mean.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tests::{document, programs, tables};

use boots::Medium;
use initramfs::Initramfs;
use kits::{Kit, Root};
use machine::{Device, Machine};
use tables::{Table, grouped, seconds, whole};

mod aims;
mod boots;
mod initramfs;
mod kits;
mod machine;
mod reads;

const DOCUMENT: &str = "docs/performance.md";
const BLOCK_SIZES: [&str; 5] = ["32K", "64K", "128K", "256K", "1M"];

/// Measures the boot in QEMU's virtual time
#[derive(Parser)]
struct Arguments {
    /// What to measure [default: all]
    parts: Vec<Part>,

    /// Put the tables into docs/performance.md
    #[arg(long)]
    write: bool,

    /// Do not measure live-boot beside
    #[arg(long)]
    alone: bool,

    /// Search live-boot's least memory, too: slow
    #[arg(long)]
    least_of_all: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Boots from CD and USB to login
    Boot,
    /// Sizes, modules and memory of the initramfs
    Initramfs,
    /// Block sizes of the bundles
    Blocks,
    /// Reads from the medium, with files in any order and in that of the boot
    Reads,
    /// The least memory that suffices
    Least,
}

fn main() {
    let arguments = Arguments::parse();
    assert!(
        rustix::process::geteuid().is_root(),
        "a root with its owners needs root\nhint: sudo make bench-boot"
    );
    let wanted = |part: Part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let logs = machine::log_folder();
    let root = Root::make();
    let mut kits = vec![Kit::ours(&root, None)];
    if !arguments.alone {
        match Kit::live_boot(&root) {
            Ok(kit) => kits.push(kit),
            Err(error) => {
                eprintln!("live-boot's packages cannot be had, livekit is measured alone:\n{error}");
            }
        }
    }
    let mut bench = Bench {
        root,
        kits,
        logs,
        values: BTreeMap::new(),
        processes_before: Vec::new(),
        write: arguments.write,
    };
    bench.add("setting", &bench.setting());
    if wanted(Part::Initramfs) || wanted(Part::Boot) {
        bench.initramfs();
    }
    if wanted(Part::Boot) {
        bench.boots();
    }
    if wanted(Part::Least) {
        bench.least(arguments.least_of_all);
    }
    if wanted(Part::Blocks) {
        bench.blocks();
    }
    if wanted(Part::Reads) {
        bench.reads();
    }
    if arguments.parts.is_empty() {
        bench.aims();
    }
}

struct Bench {
    root: Root,
    kits: Vec<Kit>,
    logs: PathBuf,
    /// Measured values of each kit, by kit and index of the aim
    values: BTreeMap<(usize, usize), f64>,
    /// Processes that each kit's kernel had started when `/init` began
    processes_before: Vec<f64>,
    /// Whether what was measured goes into the document
    write: bool,
}

impl Bench {
    /// Prints a part of the document, and puts it there if it is to be written.
    fn add(&self, name: &str, content: &str) {
        println!("\n{content}");
        if self.write {
            document::write(&programs::workspace().join(DOCUMENT), name, content);
        }
    }

    fn setting(&self) -> String {
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        let date = programs::output(programs::command("date").args(["-u", "+%Y-%m-%d"]));
        let qemu = first_line(programs::output(programs::command("qemu-system-x86_64").arg("--version")));
        let versions: Vec<&str> = self.kits.iter().map(|kit| kit.versions.as_str()).collect();
        format!(
            "Measured on {} by `make bench-boot`: {}; kernel {}; {qemu}.",
            date.trim(),
            versions.join("; "),
            self.root.release
        )
    }

    /// A machine that ends at the marker in its initramfs: with a kit's, or with nothing else in it.
    fn at_start(&self, kit: Option<&Kit>) -> machine::Counters {
        let name = kit.map_or("bare kernel", |kit| kit.name.as_str());
        eprintln!("boot: {name}, to /init");
        let folder = tempfile::TempDir::with_prefix("livekit-bench-").expect("a temporary folder");
        let initrd = folder.path().join("initrd");
        initramfs::with_marker(&kits::marker(), kit.map(|kit| kit.initrd.as_path()), &initrd);
        let machine = Machine {
            kernel: self.root.kernel(),
            initrd,
            append: "console=ttyS0 loglevel=7 panic=-1 rdinit=/bench-marker".into(),
            memory: boots::MEMORY,
            device: Device::None,
            virtual_time: true,
        };
        machine.run("start", &self.logs.join(format!("{name}-start.log"))).moment("start")
    }

    fn initramfs(&mut self) {
        let bare = self.at_start(None);
        let of_kernel = initramfs::of_kernel(&self.root.modules_dep());
        let contents: Vec<Initramfs> = self.kits.iter().map(|kit| Initramfs::read(&kit.initrd)).collect();
        let mut sizes = Table::new(&[
            "initramfs",
            "bytes",
            "unpacked bytes",
            "modules",
            "memory taken at /init, MiB",
            "without free lists",
        ]);
        for (index, content) in contents.iter().enumerate() {
            let start = self.at_start(Some(&self.kits[index]));
            let taken = (bare.number("MemAvailable") - start.number("MemAvailable")) / 1024.0;
            let listed = (start.number("FreeLists") - bare.number("FreeLists")) / 1024.0;
            #[expect(clippy::cast_precision_loss, reason = "sizes of files")]
            let megabytes = content.bytes as f64 / 1e6;
            self.values.extend([((index, 5), taken), ((index, 8), megabytes)]);
            self.processes_before.push(start.number("processes"));
            sizes.row([
                self.kits[index].name.clone(),
                grouped(content.bytes),
                grouped(content.unpacked),
                content.modules.len().to_string(),
                format!("{taken:.1}"),
                format!("{:.1}", taken - listed),
            ]);
        }
        let names: Vec<&str> = self.kits.iter().map(|kit| kit.name.as_str()).collect();
        let mut coverage = Table::new(&[&["directory", "in kernel"], names.as_slice()].concat());
        let sets: Vec<_> = std::iter::once(&of_kernel).chain(contents.iter().map(|c| &c.modules)).collect();
        for (label, counts) in initramfs::coverage(&sets) {
            let numbers = counts.iter().map(ToString::to_string);
            coverage.row(std::iter::once(label.to_owned()).chain(numbers));
        }
        let mut text = format!("{sizes}\nModules by directory of the kernel:\n\n{coverage}");
        if let [ours, theirs] = contents.as_slice() {
            let list = |names: Vec<String>| {
                let short = names.iter().map(|path| path.rsplit('/').next().unwrap_or(path));
                short.collect::<Vec<_>>().join(" ")
            };
            text.push_str(&format!(
                "\nStorage and USB drivers that live-boot has and livekit has not: {}.\n\n\
                 That livekit has and live-boot has not: {}.\n",
                list(ours.lacks(theirs)),
                list(theirs.lacks(ours))
            ));
        }
        self.add("initramfs", &text);
    }

    fn boots(&mut self) {
        let mut all = Vec::new();
        for (index, kit) in self.kits.iter().enumerate() {
            let before = self.processes_before[index];
            let boot = |medium, more| boots::boot(kit, medium, more, before, &self.logs);
            let [cd, usb, to_ram] = [boot(Medium::Cd, ""), boot(Medium::Usb, ""), boot(Medium::Cd, "toram")];
            let values = [
                (0, cd.run.at_init.unwrap_or(f64::NAN)),
                (1, cd.in_initramfs()),
                (2, usb.in_initramfs()),
                (3, cd.started()),
                (4, cd.total()),
                (6, cd.run.moment("login").used()),
            ];
            self.values.extend(values.map(|(aim, value)| ((index, aim), value)));
            all.extend([cd, usb, to_ram]);
        }
        let text = format!("{}\n{}", boots::table(&all), self.started());
        self.add("boot", &text);
    }

    /// What the processes are that were started.
    fn started(&self) -> String {
        let mut table =
            Table::new(&["from CD, /init to real init", "kernel threads", "processes", "programs"]);
        for kit in &self.kits {
            let started = boots::started(kit, &self.logs);
            let number = |name: &str| whole(started.number(name));
            table.row([kit.name.clone(), number("kernel_threads"), number("forks"), number("programs")]);
        }
        table.to_string()
    }

    fn least(&mut self, of_all: bool) {
        let mut table = Table::new(&["kit, from CD", "least -m, MiB", "16 MiB less"]);
        let count = if of_all { self.kits.len() } else { 1 };
        for (index, kit) in self.kits.iter().take(count).enumerate() {
            let (least, failure) = boots::least_memory(kit, "", &self.logs);
            self.values.insert((index, 7), least.map_or(f64::NAN, f64::from));
            let least = least.map_or("–".into(), |least| least.to_string());
            table.row([kit.name.clone(), least, failure.replace('|', " ")]);
        }
        self.add("least", &table.to_string());
    }

    fn blocks(&mut self) {
        let mut table = Table::new(&[
            "block size",
            "bytes of the bundles",
            "initramfs busy s",
            "real init→login busy s",
            "used MiB at login",
        ]);
        for size in BLOCK_SIZES {
            let kit = Kit::ours(&self.root, Some(size));
            let boot = boots::boot(&kit, Medium::Cd, "", f64::NAN, &self.logs);
            table.row([
                size.into(),
                grouped(kit.squashfs_bytes),
                seconds(boot.in_initramfs()),
                seconds(boot.to_login()),
                whole(boot.run.moment("login").used()),
            ]);
        }
        self.add("blocks", &table.to_string());
    }

    fn reads(&mut self) {
        let folder = tempfile::TempDir::with_prefix("livekit-bench-").expect("a temporary folder");
        let order = folder.path().join("boot.order");
        reads::trace(&self.kits[0], &order);
        let ordered = Kit::ordered(&self.root, &order);
        let mut table = Table::new(&["kit, from CD, to login", "read requests", "MiB read", "KiB a request"]);
        for kit in self.kits.iter().chain([&ordered]) {
            let read = boots::boot(kit, Medium::Cd, "", f64::NAN, &self.logs).run.read;
            table.row(reads::row(&kit.name, read));
        }
        self.add("reads", &table.to_string());
    }

    fn aims(&mut self) {
        let values =
            |kit: usize| std::array::from_fn(|aim| self.values.get(&(kit, aim)).copied().unwrap_or(f64::NAN));
        let table = aims::table(values(0), (self.kits.len() > 1).then(|| values(1)));
        self.add("aims", &table.to_string());
    }
}
