//! The boot benchmark's marker: prints the guest's counters on the first serial port as one line,
//! `bench MOMENT name=value …`. What it does follows from how it is started:
//!
//! * as the initramfs's first program (`rdinit=/bench-marker`): moment `start`, then switches the machine off;
//! * as `init=`: moment `init`, then becomes the distribution's init;
//! * by a service, with the moment as its argument: prints, and ends.
//!
//! With `trace_event=…` on the kernel command line it also counts, from the kernel's trace, what was started
//! since the initramfs's `/init`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::mount::MountFlags;
use rustix::system::RebootCommand;

const PORT: &str = "/dev/ttyS0";
/// What the marker becomes when it stands in for the distribution's init.
const INIT: &str = "/lib/systemd/systemd";
const TRACING: &str = "/sys/kernel/tracing";

fn main() {
    let mut arguments = std::env::args();
    let own_name = arguments.next().unwrap_or_default();
    if std::process::id() != 1 {
        let moment = arguments.next().unwrap_or_else(|| "now".into());
        if let Err(error) = print(&moment) {
            eprintln!("bench-marker: {error}");
            std::process::exit(1);
        }
    } else if own_name == "/bench-marker" {
        let _ = print("start");
        let _ = rustix::system::reboot(RebootCommand::PowerOff);
    } else {
        if let Err(error) = print("init") {
            eprintln!("bench-marker: {error}");
        }
        let error = Command::new(INIT).args(arguments).exec();
        eprintln!("bench-marker: cannot start {INIT}: {error}");
    }
}

fn print(moment: &str) -> io::Result<()> {
    mount_missing("proc", "/proc", "stat");
    mount_missing("devtmpfs", "/dev", "ttyS0");
    let mut line = format!("bench {moment}{}", counters()?);
    let command_line = fs::read_to_string("/proc/cmdline")?;
    if command_line.contains("trace_event=") {
        line.push_str(&started());
    }
    // A line of its own, whatever the console has just printed.
    let line = format!("\n{line}\n");
    OpenOptions::new().write(true).open(PORT)?.write_all(line.as_bytes())
}

fn mount_missing(kind: &str, target: &str, file: &str) {
    if !Path::new(target).join(file).exists() {
        let _ = fs::create_dir(target);
        let _ = rustix::mount::mount(kind, target, kind, MountFlags::empty(), None);
    }
}

/// ` name=value` for each counter: seconds, clock ticks (hundredths of a second), numbers, and `/proc/meminfo` in KiB by
/// its own names.
fn counters() -> io::Result<String> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let stat = fs::read_to_string("/proc/stat")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    // Without modules support, or before any is loaded, the file is absent or empty.
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default().lines().count();
    let uptime = uptime.split(' ').next().unwrap_or_default();
    // proc(5): cpu user nice system idle iowait …
    let ticks: Vec<&str> = stat.lines().next().unwrap_or_default().split_whitespace().collect();
    let tick = |index: usize| ticks.get(index).copied().unwrap_or_default();
    let processes = stat.lines().find_map(|line| line.strip_prefix("processes ")).unwrap_or_default();
    let mut line = format!(
        " uptime={uptime} idle={} iowait={} processes={processes} modules={modules}",
        tick(4),
        tick(5)
    );
    for entry in memory.lines() {
        if let Some((name, value)) = entry.split_once(':') {
            let value = value.trim().trim_end_matches(" kB");
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line.push_str(&format!(" FreeLists={}", free_lists()));
    Ok(line)
}

/// KiB of free pages that the processors keep for themselves, which `/proc/meminfo` counts as used.
fn free_lists() -> u64 {
    let zones = fs::read_to_string("/proc/zoneinfo").unwrap_or_default();
    let counts = zones.lines().filter_map(|line| line.trim_start().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum::<u64>() * 4
}

/// Counts of the kernel's trace since the initramfs's `/init`: forks of kernel threads, forks of anything else, programs
/// executed.
fn started() -> String {
    mount_missing("sysfs", "/sys", "kernel");
    mount_missing("tracefs", TRACING, "trace");
    let trace = match fs::read_to_string(Path::new(TRACING).join("trace")) {
        Ok(trace) => trace,
        Err(error) => return format!(" trace={}", error.kind()),
    };
    let since = trace.find("sched_process_exec: filename=/init ").map_or(trace.as_str(), |at| &trace[at..]);
    let (mut threads, mut processes, mut programs) = (0, 0, 0);
    for line in since.lines().skip(1) {
        if line.contains("sched_process_fork: comm=kthreadd ") {
            threads += 1;
        } else if line.contains("sched_process_fork: ") {
            processes += 1;
        } else if line.contains("sched_process_exec: ") {
            programs += 1;
        }
    }
    format!(" kernel_threads={threads} forks={processes} programs={programs}")
}
