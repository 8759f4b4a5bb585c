//! One guest in QEMU's virtual time, watched on its serial port.
//!
//! With `-icount shift=0,sleep=off` one virtual nanosecond is one guest instruction, so that busy times do not depend on
//! what else this host does. The clock leaps while the guest waits for a disk: uptime alone says nothing, the time in
//! which the guest was neither idle nor waiting does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tests::programs;

use crate::reads::{self, Read};

/// A PC with QEMU's default devices (an IDE controller with an empty disc drive, a floppy drive), no network, one
/// processor, always the same seed and clock.
const MACHINE: &str = "-machine pc -cpu qemu64,+rdrand -smp 1 -seed 1 -rtc base=2026-06-01,clock=vm -net none \
     -nographic -no-reboot -monitor none -serial stdio";
const VIRTUAL_TIME: &str = "-accel tcg,thread=single -icount shift=0,sleep=off";
/// Real time that one run may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Clock ticks per second in `/proc/stat`.
const TICKS: f64 = 100.0;
/// What a guest that will not get further says.
const LAST_WORDS: &[&str] = &[
    "Kernel panic",
    "System is deadlocked on memory",
    "Initramfs unpacking failed",
    "Unable to find a medium",
    "Unable to find a live file system",
    "(initramfs)",
    "rescue shell",
    "emergency mode",
    "init: step ",
];

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Machine {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub append: String,
    /// MiB
    pub memory: u32,
    pub device: Device,
    /// Whether the clock counts instructions; else it is real.
    pub virtual_time: bool,
}

/// Where the medium is.
#[derive(Debug, Clone)]
pub enum Device {
    None,
    /// A disc on virtio-scsi
    Cd(PathBuf),
    /// A stick on xHCI; what is written to it is forgotten
    Usb(PathBuf),
}

impl Device {
    fn arguments(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Cd(image) => format!(
                "-device virtio-scsi-pci,id=scsi0 -drive if=none,id=cd,media=cdrom,readonly=on,format=raw,file={} \
                 -device scsi-cd,drive=cd",
                image.display()
            ),
            Self::Usb(image) => format!(
                "-device qemu-xhci,id=xhci -drive if=none,id=stick,format=raw,snapshot=on,file={} \
                 -device usb-storage,drive=stick,removable=on",
                image.display()
            ),
        }
    }
}

/// The counters of one moment, see the marker.
#[derive(Debug, Clone, Default)]
pub struct Counters(BTreeMap<String, String>);

impl Counters {
    fn parse(words: &str) -> Self {
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.into(), value.into()));
        Self(words.split(' ').filter_map(pair).collect())
    }

    /// A number; NaN where the guest did not tell it, which shows in the tables.
    pub fn number(&self, name: &str) -> f64 {
        self.0.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(f64::NAN)
    }

    /// Seconds in which the processor had work: billions of instructions.
    pub fn busy(&self) -> f64 {
        self.number("uptime") - (self.number("idle") + self.number("iowait")) / TICKS
    }

    /// MiB that are not available to programs.
    pub fn used(&self) -> f64 {
        (self.number("MemTotal") - self.number("MemAvailable")) / 1024.0
    }
}

/// What a guest went through.
#[derive(Debug, Default)]
pub struct Run {
    /// Moments that its markers printed
    pub moments: BTreeMap<String, Counters>,
    /// Kernel seconds at `Run … as init process`
    pub at_init: Option<f64>,
    /// Kernel seconds in which the initramfs was unpacked
    pub unpacking: Option<f64>,
    /// What was read from the medium until the end
    pub read: Option<Read>,
    /// Why it did not get to the end, if it did not
    pub failure: Option<String>,
    unpacking_since: Option<f64>,
}

impl Run {
    pub fn moment(&self, name: &str) -> Counters {
        self.moments.get(name).cloned().unwrap_or_default()
    }

    /// Takes note of a line of the serial port.
    fn note(&mut self, line: &str) {
        if let Some((name, words)) = line.strip_prefix("bench ").and_then(|rest| rest.split_once(' ')) {
            self.moments.insert(name.into(), Counters::parse(words));
        }
        let Some(seconds) = kernel_time(line) else { return };
        if line.contains("Trying to unpack rootfs image") {
            self.unpacking_since = Some(seconds);
        } else if line.contains("Freeing initrd memory") {
            self.unpacking = self.unpacking_since.map(|since| seconds - since);
        } else if line.contains("as init process") && self.at_init.is_none() {
            self.at_init = Some(seconds);
        }
    }
}

/// The time stamp of a kernel message.
fn kernel_time(line: &str) -> Option<f64> {
    line.strip_prefix('[')?.split_once(']')?.0.trim().parse().ok()
}

impl Machine {
    /// Runs it until the marker has printed `last`, it has failed, or it has switched itself off. The serial log goes to
    /// `log`.
    pub fn run(&self, last: &str, log: &Path) -> Run {
        let _slot = tests::vm::free_slot();
        let mut command = programs::command("qemu-system-x86_64");
        command.args(MACHINE.split_whitespace());
        let clock = if self.virtual_time { VIRTUAL_TIME } else { "-accel tcg" };
        command.args(clock.split(' ')).args(["-m", &self.memory.to_string()]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.initrd);
        command.args(["-append", &self.append]).args(self.device.arguments().split_whitespace());
        let mut record =
            File::create(log).unwrap_or_else(|error| panic!("cannot create {}: {error}", log.display()));
        writeln!(record, "# {command:?}").expect("room for a log");
        let sockets = tempfile::TempDir::with_prefix("livekit-bench-").expect("a folder for a socket");
        let monitor = sockets.path().join("monitor");
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", monitor.display())]);
        let qemu = Qemu::start(&mut command);
        let mut run = Run::default();
        run.failure = qemu.watch(last, &mut run, &mut record);
        if run.failure.is_none() {
            run.read = reads::read_by_now(&monitor);
        }
        run
    }
}

/// The running QEMU, killed when dropped.
struct Qemu {
    child: Child,
    lines: Receiver<String>,
}

impl Qemu {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start QEMU: {error}"));
        let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, lines }
    }

    /// Why it did not get to `last`.
    fn watch(&self, last: &str, run: &mut Run, record: &mut File) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let _ = writeln!(record, "{line}");
                    run.note(&line);
                    if run.moments.contains_key(last) {
                        return None;
                    }
                    if LAST_WORDS.iter().any(|words| line.contains(words)) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Some("the machine ended".into()),
                Err(RecvTimeoutError::Timeout) => {
                    return Some(format!("not there in {} s of real time", PATIENCE.as_secs()));
                }
            }
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Removes and makes anew the folder of the serial logs.
pub fn log_folder() -> PathBuf {
    let folder = programs::workspace().join("target/bench-boot");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    folder
}

#[cfg(test)]
mod tests_of_lines {
    use super::*;

    #[test]
    fn a_boot_is_told_by_its_lines() {
        let mut run = Run::default();
        for line in [
            "[    0.500000] Trying to unpack rootfs image as initramfs...",
            "[    0.750000] Freeing initrd memory: 12588K",
            "[    1.500000] Run /init as init process",
            "[    1.600000] init: something",
            "bench init uptime=2.50 idle=20 iowait=30 processes=99 modules=7 MemTotal=4096 MemAvailable=1024",
            "[    9.000000] Run /other as init process",
        ] {
            run.note(line);
        }
        assert_eq!((run.at_init, run.unpacking), (Some(1.5), Some(0.25)));
        let init = run.moment("init");
        assert!((init.busy() - 2.0).abs() < 1e-9 && (init.used() - 3.0).abs() < 1e-9);
        assert!(run.moment("login").busy().is_nan());
    }
}
