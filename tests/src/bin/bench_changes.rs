//! `make bench-changes`: what it costs to write into a session's container on FAT, beside an ext4 of its own and an ext4 in
//! one preallocated file on the same FAT, as others have it. The processor's time is in QEMU's virtual time: milliseconds are
//! millions of instructions. What reaches the disk, and how often it is waited for, is QEMU's count: how long that takes
//! is the disk's.

use std::path::Path;

use tests::programs::{command, output};
use tests::{Disk, Format, Guest, Kernel, Kit, Machine};

/// Runs of each figure. In the first one the container grows.
const RUNS: usize = 4;
const FILES: usize = 3000;
const CONTAINER: &str = "/run/initramfs/memory/changes/bench";
const FAT: &str = "/run/initramfs/memory/sessions";

/// A place to write to, and the disk it is on.
struct Place {
    name: &'static str,
    folder: &'static str,
    disk: &'static str,
}

const PLACES: [Place; 3] = [
    Place { name: "ext4 on the disk", folder: "/run/native/bench", disk: "native" },
    Place { name: "container on FAT32", folder: CONTAINER, disk: "stick" },
    Place { name: "ext4 in one file on FAT32", folder: "/run/plain/bench", disk: "stick" },
];

/// What is done there.
const WORKS: [(&str, &str); 2] = [
    ("unpack 3000 small files", "tar -xf /run/small.tar && sync"),
    ("write 256 MiB and sync", "dd if=/dev/zero of=large bs=1M count=256 conv=fsync 2>&1"),
];

fn main() {
    let kit = Kit::tiny(Kernel::V6_1);
    let small = tempfile::NamedTempFile::new().expect("a temporary file");
    small_files(small.path());
    // Preallocated: FAT has every cluster of it.
    let plain = tempfile::NamedTempFile::new().expect("a temporary file");
    plain.as_file().set_len(700 << 20).expect("a sparse file");
    make_ext4(plain.path());
    let medium = kit.medium().copy_of("livekit/small.tar", small.path());
    let medium = medium.copy_of("livekit/changes/plain", plain.path());
    let stick = medium.stick_with_room(Format::Fat32, 2200);
    let native = Disk::blank(1 << 30);
    make_ext4(native.path());
    let vm = kit.direct().virtual_time().memory(1024).patience(1800).append("perch");
    let mut machine = vm.virtio("stick", &stick).virtio("native", &native).start();
    let mut guest = machine.guest();
    prepare(&mut guest);
    for (work, script) in WORKS {
        println!(
            "\n| {work} | busy ms, first | busy ms | MB written, first | MB written | flushes |\n|---|---|---|---|---|---|"
        );
        for place in &PLACES {
            let runs: Vec<Run> = (0..RUNS).map(|_| run(&mut machine, &mut guest, place, script)).collect();
            println!("| {} | {}", place.name, row(&runs));
        }
    }
    machine.quit();
}

/// Complete: the kernel has nothing left to do in the background.
fn make_ext4(path: &Path) {
    let options = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
    output(command("mkfs.ext4").args(options).arg(path));
}

/// Files from 1 to 16 KiB in a tar archive at `archive`, with the same contents in every run.
fn small_files(archive: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..FILES {
        let below = folder.path().join(format!("small/{:02}", number % 50));
        std::fs::create_dir_all(&below).expect("a folder");
        let content: Vec<u8> =
            (0..1024 + number * 7919 % (15 * 1024)).map(|at| at.to_le_bytes()[0]).collect();
        std::fs::write(below.join(number.to_string()), content).expect("a small file");
    }
    let options = ["--sort=name", "--owner=0", "--group=0", "-cf"];
    output(command("tar").args(options).arg(archive).arg("-C").arg(folder.path()).arg("small"));
}

/// Milliseconds that the processor was not idle (proc(5), /proc/stat: all of its line but idle and iowait, in hundredths).
fn busy(guest: &mut Guest) -> f64 {
    let stat = guest.read("/proc/stat");
    let figures = stat.lines().next().into_iter().flat_map(str::split_whitespace).skip(1);
    let busy = figures.take(7).enumerate().filter(|(place, _)| ![3, 4].contains(place));
    busy.map(|(_, figure)| figure.parse::<f64>().expect("a figure")).sum::<f64>() * 10.0
}

fn prepare(guest: &mut Guest) {
    assert_eq!(guest.report.mount("/run/initramfs/memory/changes").kind, "ext4");
    guest.shell("cp /run/initramfs/memory/data/livekit/small.tar /run/small.tar");
    guest.shell("mkdir -p /run/plain /run/native; mount -t ext4 /dev/vdb /run/native");
    guest.shell(&format!("mount -t ext4 -o loop {FAT}/plain /run/plain"));
    let folders: Vec<&str> = PLACES.iter().map(|place| place.folder).collect();
    guest.shell(&format!("mkdir -p {}", folders.join(" ")));
}

struct Run {
    milliseconds: f64,
    megabytes: f64,
    flushes: u64,
}

fn run(machine: &mut Machine, guest: &mut Guest, place: &Place, script: &str) -> Run {
    guest.shell(&format!("rm -rf {0}/*; sync; echo 3 > /proc/sys/vm/drop_caches", place.folder));
    let (before, busy_before) = (machine.written(place.disk), busy(guest));
    guest.shell(&format!("cd {} && {script}", place.folder));
    let (after, milliseconds) = (machine.written(place.disk), busy(guest) - busy_before);
    Run {
        milliseconds,
        megabytes: (after.bytes - before.bytes) as f64 / 1e6,
        flushes: after.flushes - before.flushes,
    }
}

/// The first run, then the medians of the others.
fn row(runs: &[Run]) -> String {
    let median = |figure: &dyn Fn(&Run) -> f64| {
        let mut figures: Vec<f64> = runs.iter().skip(1).map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (times, written) = (|run: &Run| run.milliseconds, |run: &Run| run.megabytes);
    format!(
        "{:.0} | {:.0} | {:.1} | {:.1} | {} |",
        times(&runs[0]),
        median(&times),
        written(&runs[0]),
        median(&written),
        median(&|run| run.flushes as f64)
    )
}
