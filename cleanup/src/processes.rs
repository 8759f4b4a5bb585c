//! Ending what still runs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use live::layout::KEEPER;
use live::log;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// How long processes have to end after they were asked to, and after they were made to.
const ASKED: Duration = Duration::from_secs(3);
const MADE: Duration = Duration::from_secs(2);

/// A process of user space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub name: String,
}

/// Asks every process to end, then ends it. PID 1, this process, and daemons that hold storage up until the very
/// end (their first argument starts with `@`, systemd's convention for those) are left, but not our own keeper.
pub fn end_all() {
    for (signal, patience) in [(Signal::TERM, ASKED), (Signal::KILL, MADE)] {
        let running = others();
        if running.is_empty() {
            return;
        }
        let names: Vec<String> = running.iter().map(|p| format!("{} ({})", p.name, p.pid)).collect();
        log::info(format_args!(
            "{} for {}",
            if signal == Signal::TERM { "TERM" } else { "KILL" },
            names.join(", ")
        ));
        for process in &running {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // It may have ended by itself.
                let _ = kill_process(pid, signal);
            }
        }
        let deadline = Instant::now() + patience;
        while !others().is_empty() && Instant::now() < deadline {
            bury_children();
            sleep(Duration::from_millis(20));
        }
    }
    for left in others() {
        log::warning(format_args!("{} ({}) does not end", left.name, left.pid));
    }
}

/// As PID 1, other processes' children become ours when they end.
fn bury_children() {
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
}

/// The processes of user space that are to end.
fn others() -> Vec<Process> {
    let own = getpid().as_raw_pid();
    all().into_iter().filter(|p| p.pid != 1 && p.pid != own && !holds_storage(p.pid)).collect()
}

/// All processes of user space. Kernel threads have no command line; a zombie has none any more.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()))
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Process { pid, name: name.trim_end().to_owned() }
        })
        .collect()
}

fn holds_storage(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.starts_with(b"@") && !line.starts_with(KEEPER.as_bytes()))
}
