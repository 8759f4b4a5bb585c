//! What a run of a program costs, and what runs by turns say of two programs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tests::tables::grouped;

use crate::packers::{Packer, Setting};

/// How often a running program is looked at. Its peak memory is kept by the kernel: only what it takes after the last look is
/// missed.
const LOOK: Duration = Duration::from_millis(10);
/// Clock ticks in /proc/PID/stat, the same on every Linux of this architecture.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Seconds from start to end
    pub wall: f64,
    /// Seconds of all threads, the kernel's work for them included
    pub processors: f64,
    /// Bytes
    pub memory: u64,
    /// Length of what was made, in bytes
    pub bytes: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let memory = self.memory >> 20;
        write!(
            f,
            "{:.2} s, CPU {:.2} s, {memory} MiB, {} bytes",
            self.wall,
            self.processors,
            grouped(self.bytes)
        )
    }
}

/// Runs a program to its end. Panics when it fails.
pub fn measured(mut command: Command, output: &Path) -> Cost {
    let shown = format!("{command:?}");
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    let (memory, end) = watch(&child, start).unwrap_or_else(|error| panic!("cannot watch {shown}: {error}"));
    let processors = ticks(&child).unwrap_or_else(|error| panic!("cannot look at {shown}: {error}"));
    let said = child.stderr.take().map(io::read_to_string).and_then(Result::ok).unwrap_or_default();
    let status = child.wait().unwrap_or_else(|error| panic!("cannot wait for {shown}: {error}"));
    assert!(status.success(), "{status}: {shown}\n{said}");
    let bytes = fs::metadata(output).map_or(0, |metadata| metadata.len());
    Cost { wall: end.as_secs_f64(), processors: processors / TICKS_PER_SECOND, memory, bytes }
}

/// Most memory of a process in bytes, and when it has ended; its entry in /proc stays until it is waited for.
fn watch(child: &Child, start: Instant) -> io::Result<(u64, Duration)> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let mut memory = 0;
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(id), options)?.is_some() {
            return Ok((memory, start.elapsed()));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        memory = memory.max(peak(&status).unwrap_or(0));
        thread::sleep(LOOK);
    }
}

/// Most bytes ever, from /proc/PID/status.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

fn ticks(child: &Child) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    used(&stat).ok_or_else(|| io::Error::other("no times in it"))
}

/// Ticks in user and kernel mode, from /proc/PID/stat: see proc(5), fields 14 and 15. The name may have blanks.
fn used(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(|field| field.parse::<f64>().ok());
    Some(fields.next()?? + fields.next()??)
}

#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub entries: u64,
    /// In files
    pub bytes: u64,
}

/// Reads everything once: nobody shall wait for the disk.
pub fn into_the_cache(top: &Path) -> Size {
    let mut size = Size { entries: 1, bytes: 0 };
    let mut todo = vec![top.to_owned()];
    while let Some(folder) = todo.pop() {
        let list = fs::read_dir(&folder).unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display()));
        for entry in list.flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            size.entries += 1;
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                let copied = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
                size.bytes += copied.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
            }
        }
    }
    size
}

/// Processes that wanted to run in the last minute.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Runs of several programs by turns.
#[derive(Default)]
pub struct Pairs(BTreeMap<Packer, Vec<Cost>>);

impl Pairs {
    pub fn add(&mut self, packer: Packer, cost: Cost) {
        self.0.entry(packer).or_default().push(cost);
    }

    pub fn against_mksquashfs(&self, setting: &Setting) -> [String; 8] {
        let theirs = Packer::Mksquashfs;
        let both = |of: &dyn Fn(Packer) -> String| format!("{} / {}", of(Packer::Livekit), of(theirs));
        [
            setting.name.into(),
            both(&|packer| format!("{:.1}", self.median(packer, |cost| cost.wall))),
            format!("{:.2}", self.ratio(theirs, |cost| cost.wall)),
            format!("{:.2}", self.ratio(theirs, |cost| cost.processors)),
            both(&|packer| grouped(self.last(packer).bytes)),
            format!("{:.4}", self.ratio(theirs, bytes)),
            both(&|packer| format!("{:.0}", self.median(packer, memory) / f64::from(1 << 20))),
            format!("{:.2}", self.ratio(theirs, memory)),
        ]
    }

    pub fn against_gensquashfs(&self, setting: &Setting) -> [String; 6] {
        let theirs = Packer::Gensquashfs;
        [
            setting.name.into(),
            format!("{:.2}", self.ratio(theirs, |cost| cost.wall)),
            format!("{:.2}", self.ratio(theirs, |cost| cost.processors)),
            format!("{:.4}", self.ratio(theirs, bytes)),
            format!("{:.0}", self.median(theirs, memory) / f64::from(1 << 20)),
            format!("{:.2}", self.ratio(theirs, memory)),
        ]
    }

    /// Ours in relation to theirs: the median of what each round says.
    fn ratio(&self, theirs: Packer, of: impl Fn(&Cost) -> f64) -> f64 {
        let rounds = self.0[&Packer::Livekit].iter().zip(&self.0[&theirs]);
        median(rounds.map(|(ours, theirs)| of(ours) / of(theirs)).collect())
    }

    fn median(&self, packer: Packer, of: impl Fn(&Cost) -> f64) -> f64 {
        median(self.0[&packer].iter().map(of).collect())
    }

    fn last(&self, packer: Packer) -> &Cost {
        self.0[&packer].last().expect("a packer that is there has run")
    }
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53")]
fn bytes(cost: &Cost) -> f64 {
    cost.bytes as f64
}

#[expect(clippy::cast_precision_loss, reason = "less than 2^53")]
fn memory(cost: &Cost) -> f64 {
    cost.memory as f64
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

#[cfg(test)]
mod tests_of_runs {
    use super::*;

    #[test]
    fn what_the_kernel_says() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tzombie\n"), None);
        assert_eq!(used("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0"), Some(175.0));
    }

    #[test]
    fn a_run_is_measured() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 0.2"]);
        let cost = measured(command, Path::new("/etc/passwd"));
        assert!(cost.wall >= 0.2 && cost.memory > 1 << 18 && cost.bytes > 0, "{cost:?}");
        assert!(cost.processors > 0.0 && cost.processors < cost.wall, "{cost:?}");
        let fails = std::panic::catch_unwind(|| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo why >&2; exit 3"]);
            measured(command, Path::new("/etc/passwd"))
        });
        let message = *fails.expect_err("it fails").downcast::<String>().expect("a formatted message");
        assert!(message.contains("exit status: 3") && message.contains("why"), "{message}");
    }

    #[test]
    fn the_median_of_the_rounds() {
        for (values, expected) in [(vec![1.0], 1.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![1.0, 2.0], 1.5)] {
            assert!((median(values.clone()) - expected).abs() < 1e-9, "{values:?}");
        }
        let cost = |wall| Cost { wall, processors: 1.0, memory: 1, bytes: 1 };
        let mut pairs = Pairs::default();
        // The second round was disturbed, for both.
        for (ours, theirs) in [(1.0, 2.0), (10.0, 18.0), (1.0, 2.0)] {
            pairs.add(Packer::Livekit, cost(ours));
            pairs.add(Packer::Mksquashfs, cost(theirs));
        }
        assert!((pairs.ratio(Packer::Mksquashfs, |cost| cost.wall) - 0.5).abs() < 1e-9);
    }
}
