//! Machines: QEMU with every wait bounded, ended when the value goes, and on failure explained by the end of
//! the serial log and the command that starts the same machine by hand.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::cache;
use crate::guest::{Guest, Port};
use crate::kernels;
use crate::media::Disk;
use crate::programs;
use crate::protocol::{Ending, PORT_NAME, Reply};
use crate::qmp::Qmp;
use crate::write_cache::WriteCache;

/// Machines at once, over all tests and processes: each keeps a processor busy.
const AT_ONCE: usize = 2;
/// What init says last when it cannot go on.
const GIVEN_UP: &str = "The live system did not start";
/// Lines of the serial log shown when a test fails.
const TAIL: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Uefi,
    /// With the vendor keys enrolled, so that only a signed chain starts
    SecureBoot,
}

/// A machine to be started.
#[derive(Debug)]
pub struct Vm {
    firmware: Firmware,
    kernel: Option<(PathBuf, PathBuf)>,
    append: Vec<String>,
    memory: u32,
    patience: Duration,
    arguments: Vec<String>,
    disks: Vec<Disk>,
    virtual_time: bool,
}

impl Vm {
    /// A machine whose kernel QEMU loads itself: the quick way for all that does not test the boot loader.
    pub fn direct(kernel: &Path, initrd: &Path) -> Self {
        let mut vm = Self::firmware(Firmware::Bios);
        vm.kernel = Some((kernels::uncompressed(kernel), initrd.into()));
        vm.patience = Duration::from_secs(180);
        // A panic ends the machine at once: no test waits for one. A second of each boot is the kernel's doubt of its clock
        // and its ciphers.
        vm.append("console=ttyS0 panic=-1 tsc=reliable cryptomgr.notests")
    }

    /// A machine that boots from its media.
    pub fn firmware(firmware: Firmware) -> Self {
        Self {
            firmware,
            kernel: None,
            append: Vec::new(),
            memory: 512,
            patience: Duration::from_secs(420),
            arguments: Vec::new(),
            disks: Vec::new(),
            virtual_time: false,
        }
    }

    /// One virtual nanosecond is one guest instruction: figures do not depend on what else this host does. The clock leaps
    /// while the guest waits for a disk.
    #[must_use]
    pub fn virtual_time(mut self) -> Self {
        self.virtual_time = true;
        self
    }

    /// Adds to the kernel command line of a directly loaded kernel.
    #[must_use]
    pub fn append(mut self, parameters: &str) -> Self {
        self.append.push(parameters.into());
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// How long each wait for this machine may last.
    #[must_use]
    pub fn patience(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    /// A USB stick, plugged in from the start.
    #[must_use]
    pub fn usb(self, id: &str, disk: &Disk) -> Self {
        self.usb_later(id, disk).plugged_in(id)
    }

    /// A USB stick that [`Machine::plug_in`] plugs in.
    #[must_use]
    pub fn usb_later(self, id: &str, disk: &Disk) -> Self {
        self.usb_drive(id, disk, "")
    }

    /// A USB stick, or card in a reader, with its write protection on.
    #[must_use]
    pub fn usb_locked(self, id: &str, disk: &Disk) -> Self {
        self.usb_drive(id, disk, ",readonly=on").plugged_in(id)
    }

    fn usb_drive(mut self, id: &str, disk: &Disk, more: &str) -> Self {
        let controller = "qemu-xhci,id=xhci";
        if !self.arguments.iter().any(|argument| argument == controller) {
            self.arguments.extend(["-device".into(), controller.into()]);
        }
        self.drive(id, disk, more);
        self
    }

    fn plugged_in(mut self, id: &str) -> Self {
        self.arguments.extend(["-device".into(), format!("{},bootindex=1", usb_device(id))]);
        self
    }

    /// A disc in an IDE (BIOS) or AHCI (UEFI) drive.
    #[must_use]
    pub fn cd(mut self, disk: &Disk) -> Self {
        self.drive("cd", disk, ",media=cdrom,readonly=on");
        self.arguments.extend(["-device".into(), "ide-cd,drive=cd,id=cdrom,bootindex=1".into()]);
        self
    }

    /// What the machine's clock says at the start, in UTC: `2003-05-05T12:00:00`.
    #[must_use]
    pub fn clock(mut self, time: &str) -> Self {
        self.arguments.extend(["-rtc".into(), format!("base={time}")]);
        self
    }

    /// A virtio disk.
    #[must_use]
    pub fn virtio(mut self, id: &str, disk: &Disk) -> Self {
        self.drive(id, disk, "");
        self.virtio_device(id)
    }

    fn virtio_device(mut self, id: &str) -> Self {
        self.arguments.extend(["-device".into(), format!("virtio-blk-pci,drive={id}")]);
        self
    }

    /// A virtio disk whose writes QEMU notes.
    #[must_use]
    pub fn virtio_noted(mut self, id: &str, disk: &Disk, cache: &WriteCache) -> Self {
        let (file, log) = (disk.path().display(), cache.log());
        let drive = format!(
            "if=none,id={id},driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={file},\
             log.driver=file,log.filename={}",
            log.display()
        );
        self.drive_as(disk, drive);
        self.virtio_device(id)
    }

    fn drive(&mut self, id: &str, disk: &Disk, more: &str) {
        let snapshot = if disk.is_kept() || more.contains("readonly") { "" } else { ",snapshot=on" };
        let file = disk.path().display();
        let drive = format!("if=none,id={id},format=raw,file={file}{snapshot}{more}");
        self.drive_as(disk, drive);
    }

    fn drive_as(&mut self, disk: &Disk, drive: String) {
        self.arguments.extend(["-drive".into(), drive]);
        self.disks.push(disk.clone());
    }

    /// Starts the machine, when fewer than two others run.
    pub fn start(self) -> Machine {
        let slot = free_slot();
        let sockets = TempDir::with_prefix("livekit-vm-").expect("a folder for sockets");
        let folder = log_folder();
        let serial = folder.join("serial.log");
        let mut command = Command::new(programs::find("qemu-system-x86_64"));
        command.args(self.command_line(sockets.path(), &folder));
        let shown = shell_line(&command);
        fs::write(folder.join("command"), format!("{shown}\n")).expect("a writable log folder");
        let output = File::create(folder.join("qemu.log")).expect("a writable log folder");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start QEMU: {error}\n{shown}"));
        let mut process = Process { child, folder, shown };
        let connect = |process: &mut Process, name: &str| process.connect(&sockets.path().join(name));
        let qmp = connect(&mut process, "qmp");
        let qmp = Qmp::new(qmp).unwrap_or_else(|error| panic!("QEMU does not greet: {error}"));
        let keyboard = connect(&mut process, "serial");
        discard(keyboard.try_clone().expect("a second handle"));
        let port = Port::new(connect(&mut process, "probe")).expect("a socket takes a timeout");
        let patience = self.patience.mul_f64(patience_factor());
        Machine {
            process,
            qmp,
            keyboard,
            port: Some(port),
            patience,
            serial,
            seen: 0,
            _disks: self.disks,
            _sockets: sockets,
            slot: Some(slot),
        }
    }

    fn command_line(&self, sockets: &Path, folder: &Path) -> Vec<String> {
        let direct = self.kernel.is_some();
        let socket =
            |id: &str| format!("socket,id={id},path={},server=on,wait=off", sockets.join(id).display());
        let machine = if self.firmware == Firmware::Bios { "pc" } else { "q35,smm=on" };
        let mut line: Vec<String> = format!(
            "-nodefaults -machine {machine} -accel {} -cpu qemu64,+rdrand -seed 1 -m {} -nic none -display none \
             -no-reboot -vga {} -device virtio-serial-pci",
            if self.virtual_time { "tcg,thread=single -icount shift=0,sleep=off" } else { "tcg" },
            self.memory,
            if direct { "none" } else { "std" }
        )
        .split(' ')
        .map(String::from)
        .collect();
        let mut add = |option: &str, value: String| line.extend([option.into(), value]);
        add("-chardev", format!("{},logfile={}", socket("serial"), folder.join("serial.log").display()));
        add("-serial", "chardev:serial".into());
        add("-chardev", socket("qmp"));
        add("-mon", "chardev=qmp,mode=control".into());
        add("-chardev", socket("probe"));
        add("-device", format!("virtserialport,chardev=probe,name={PORT_NAME}"));
        if let Some((kernel, initrd)) = &self.kernel {
            add("-kernel", kernel.display().to_string());
            add("-initrd", initrd.display().to_string());
            add("-append", self.append.join(" "));
        }
        line.extend(firmware_arguments(self.firmware, sockets));
        line.extend(self.arguments.iter().cloned());
        line
    }
}

fn usb_device(id: &str) -> String {
    format!("usb-storage,bus=xhci.0,drive={id},id={id}-device,removable=on")
}

/// The flash chips of a UEFI machine; its variables are a fresh copy for each run.
fn firmware_arguments(firmware: Firmware, folder: &Path) -> Vec<String> {
    let (code, variables, more) = match firmware {
        Firmware::Bios => return Vec::new(),
        Firmware::Uefi => ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", ""),
        Firmware::SecureBoot => (
            "OVMF_CODE_4M.secboot.fd",
            "OVMF_VARS_4M.ms.fd",
            " -global driver=cfi.pflash01,property=secure,value=on -global ICH9-LPC.disable_s3=1",
        ),
    };
    let [code, template] =
        [code, variables].map(|name| programs::file_of_package(&format!("/usr/share/OVMF/{name}"), "ovmf"));
    let variables = folder.join("variables.fd");
    fs::copy(template, &variables).expect("a copy of the firmware's variables");
    let flash = |unit: u8, file: &Path, more: &str| {
        format!("-drive if=pflash,format=raw,unit={unit},file={}{more}", file.display())
    };
    let line = format!("{} {}{more}", flash(0, &code, ",readonly=on"), flash(1, &variables, ""));
    line.split(' ').map(String::from).collect()
}

/// Reads what the serial port says until QEMU ends: it is in the log, but unread it would stop the guest.
fn discard(mut serial: UnixStream) {
    std::thread::spawn(move || std::io::copy(&mut serial, &mut std::io::sink()));
}

/// Waits until one of the machine slots is free and holds it.
pub fn free_slot() -> File {
    let folder = cache::folder();
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    loop {
        for number in 0..AT_ONCE {
            let slot = File::create(folder.join(format!("machine-{number}.lock"))).expect("a writable cache");
            if slot.try_lock().is_ok() {
                return slot;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `target/vm/TEST-N`: where the logs of the N-th machine of this test stay.
fn log_folder() -> PathBuf {
    static MACHINES: AtomicU32 = AtomicU32::new(1);
    let number = MACHINES.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("unnamed").replace("::", "-");
    let folder = programs::workspace().join("target/vm").join(format!("{test}-{number}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    folder
}

/// `LIVEKIT_TEST_PATIENCE` multiplies every limit, for machines that are slower still.
pub fn patience_factor() -> f64 {
    std::env::var("LIVEKIT_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./,:+".contains(c));
        if plain { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// QEMU itself, killed when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    folder: PathBuf,
    shown: String,
}

impl Process {
    fn connect(&mut self, socket: &Path) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => return stream,
                Err(error) if Instant::now() > deadline => {
                    panic!("cannot connect {}: {error}", socket.display())
                }
                Err(_) => self.must_run(),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn must_run(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("QEMU ended too early: {status}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for log in ["qemu.log", "serial.log"] {
                let path = self.folder.join(log);
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
                let lines: Vec<_> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
                eprintln!("---- end of {} ----\n{tail}", path.display());
            }
            eprintln!("---- the same machine by hand ----\n{}", self.shown);
        }
    }
}

/// What was written to a disk, by QEMU's count.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub bytes: u64,
    /// How often the disk was told to make it last.
    pub flushes: u64,
}

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    qmp: Qmp,
    keyboard: UnixStream,
    port: Option<Port>,
    patience: Duration,
    serial: PathBuf,
    /// Bytes of the serial log that earlier waits have passed
    seen: usize,
    _disks: Vec<Disk>,
    _sockets: TempDir,
    /// Until QEMU has ended: the next machine of the same test may be started while this value lives.
    slot: Option<File>,
}

impl Machine {
    /// Waits until the probe reports.
    #[track_caller]
    pub fn guest(&mut self) -> Guest {
        let mut port = self.port.take().expect("the guest of a machine is asked for once");
        let deadline = Instant::now() + self.patience;
        loop {
            match port.poll() {
                Ok(Some(Reply::Report(report))) => return Guest::new(port, *report),
                Ok(Some(other)) => panic!("the probe began with {other:?}"),
                Ok(None) => {}
                Err(error) => panic!("no report from the guest: {error}"),
            }
            self.process.must_run();
            assert!(!self.serial_log().contains(GIVEN_UP), "the boot failed");
            assert!(Instant::now() < deadline, "no report from the guest in {:?}", self.patience);
        }
    }

    /// Cuts the power. Gives what the serial port has said until then.
    pub fn cut(mut self) -> String {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        self.serial_log()
    }

    /// Waits for the report of the system that this guest has started anew.
    #[track_caller]
    pub fn guest_again(&mut self, guest: Guest) -> Guest {
        self.port = Some(guest.into_port());
        self.guest()
    }

    /// What the guest has written to a disk so far.
    pub fn written(&mut self, id: &str) -> Written {
        let all = self.qmp.execute("query-blockstats", &json!({})).expect("QEMU's counts");
        let found = all.as_array().and_then(|all| all.iter().find(|it| it["device"] == id));
        let stats = &found.unwrap_or_else(|| panic!("no disk {id}"))["stats"];
        let number = |name: &str| stats[name].as_u64().expect("a count");
        Written { bytes: number("wr_bytes"), flushes: number("flush_operations") }
    }

    /// Waits until the serial port has shown a text, after what earlier calls have waited for; gives all
    /// lines up to the end of that one.
    #[track_caller]
    pub fn serial_shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + self.patience;
        loop {
            let log = self.serial_log();
            let rest = log.get(self.seen..).unwrap_or_default();
            if let Some(place) = rest.find(text) {
                let end = rest[place..].find('\n').map_or(place + text.len(), |line| place + line);
                self.seen += end;
                return rest[..end].to_string();
            }
            let ended = matches!(self.process.child.try_wait(), Ok(Some(_)));
            assert!(!ended, "the machine ended without {text:?} on the serial port");
            assert!(Instant::now() < deadline, "no {text:?} on the serial port in {:?}", self.patience);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// All that the serial port has shown.
    pub fn serial_log(&self) -> String {
        // One replacement character per bad byte, so that places in it stay valid as it grows.
        let log = fs::read(&self.serial).unwrap_or_default();
        log.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect()
    }

    /// Types on the serial port.
    pub fn types(&mut self, keys: &str) {
        std::io::Write::write_all(&mut self.keyboard, keys.as_bytes()).expect("QEMU reads the serial socket");
    }

    /// Types answers on the serial port, each when the question before it has been shown.
    #[track_caller]
    pub fn answers(&mut self, answers: &[(&str, &str)]) {
        for (question, keys) in answers {
            self.serial_shows(question);
            // The prompt may follow a list.
            std::thread::sleep(Duration::from_secs(1));
            self.types(keys);
        }
    }

    /// Plugs in a stick of [`Vm::usb_later`].
    pub fn plug_in(&mut self, id: &str) {
        let arguments = json!({
            "driver": "usb-storage", "bus": "xhci.0", "drive": id, "id": format!("{id}-device"), "removable": true
        });
        self.qmp
            .execute("device_add", &arguments)
            .unwrap_or_else(|error| panic!("cannot plug in {id}: {error}"));
    }

    /// Pulls a stick out, without warning.
    pub fn pull_out(&mut self, id: &str) {
        let device = format!("{id}-device");
        let result = self.qmp.execute("device_del", &json!({ "id": device }));
        result.unwrap_or_else(|error| panic!("cannot pull out {id}: {error}"));
        let deadline = Instant::now() + self.patience;
        let gone = self.qmp.event("DEVICE_DELETED", |data| data["device"] == device.as_str(), deadline);
        assert!(matches!(gone, Ok(Some(_))), "{id} stayed in: {gone:?}");
    }

    /// Waits until the drive's tray has opened.
    #[track_caller]
    pub fn tray_opens(&mut self) {
        self.tray_moves(true);
    }

    /// Waits until the drive's tray has closed.
    #[track_caller]
    pub fn tray_closes(&mut self) {
        self.tray_moves(false);
    }

    #[track_caller]
    fn tray_moves(&mut self, open: bool) {
        let deadline = Instant::now() + self.patience;
        let moved = self.qmp.event("DEVICE_TRAY_MOVED", |data| data["tray-open"] == open, deadline);
        assert!(matches!(moved, Ok(Some(_))), "the tray did not become open={open}: {moved:?}");
    }

    /// Whether a tray has moved at all.
    pub fn tray_moved(&mut self) -> bool {
        matches!(self.qmp.event("DEVICE_TRAY_MOVED", |_| true, Instant::now()), Ok(Some(_)))
    }

    /// Asserts that the machine is on.
    #[track_caller]
    pub fn still_runs(&mut self) {
        self.process.must_run();
    }

    /// Waits until the guest has switched the machine off.
    #[track_caller]
    pub fn powers_off(&mut self) {
        assert_eq!(self.ends(), "guest-shutdown", "the guest ended otherwise");
    }

    /// Has the guest switch the machine off.
    #[track_caller]
    pub fn power_off(&mut self, mut guest: Guest) {
        guest.end(Ending::Poweroff);
        self.powers_off();
    }

    /// Waits until the guest has reset the machine, which ends it here.
    #[track_caller]
    pub fn reboots(&mut self) {
        assert_eq!(self.ends(), "guest-reset", "the guest ended otherwise");
    }

    /// Waits until the kernel has halted.
    #[track_caller]
    pub fn halts(&mut self) {
        self.serial_shows("reboot: System halted");
        self.quit();
    }

    /// Pulls the plug.
    pub fn quit(&mut self) {
        let _ = self.qmp.execute("quit", &json!({}));
        self.process.child.wait().expect("QEMU is our child");
    }

    #[track_caller]
    fn ends(&mut self) -> String {
        let deadline = Instant::now() + self.patience;
        let event = match self.qmp.event("SHUTDOWN", |_| true, deadline) {
            Ok(Some(event)) => event,
            Ok(None) => panic!("QEMU ended without a word"),
            Err(error) => panic!("the machine did not end in {:?}: {error}", self.patience),
        };
        self.process.child.wait().expect("QEMU is our child");
        self.slot = None;
        let reason = event["reason"].as_str().unwrap_or_default().to_string();
        assert!(!self.serial_log().contains("Kernel panic"), "the kernel panicked");
        reason
    }
}
