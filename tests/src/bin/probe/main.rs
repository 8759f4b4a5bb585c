//! The test's hand in the guest. As `/sbin/init` of the tiny root it is process 1; in a Debian root it is a
//! service. Either way it connects the virtio port [`PORT_NAME`] with what the host asks for.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::XattrFlags;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::system::RebootCommand;
use tests::protocol::{self, Ending, LogLine, Loop, NESTED, PORT_NAME, Reply, Report, Request};

mod numbered;

/// Clock ticks in `/proc/stat`, the same on every Linux of this architecture.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("hammer") => return hammer(&words[1..]),
        Some("nap") => return nap(&words[1..]),
        Some("xattr") => return xattr(&words[1..]),
        Some("writer") => return numbered::write(&words[1..]),
        Some("written") => return numbered::check(&words[1..]),
        _ => {}
    }
    let init = std::process::id() == 1 && std::env::var_os(NESTED).is_none();
    if init {
        prepare_as_init();
        // Behind `--` on the kernel's command line, for a guest that nobody asks anything.
        let how = Ending::Poweroff;
        if std::env::args().any(|word| word == how.verb())
            && let Err(error) = end_as_init(how)
        {
            eprintln!("probe: cannot {}: {error}", how.verb());
        }
    }
    if let Err(error) = serve(init) {
        eprintln!("probe: {error}");
    }
    if init {
        // Process 1 must not return, and nobody can use a guest that does not answer.
        let _ = rustix::system::reboot(RebootCommand::PowerOff);
    }
}

/// Sleeps for a number of microseconds.
fn nap(words: &[String]) {
    let microseconds = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
    std::thread::sleep(Duration::from_micros(microseconds));
}

/// Sets an attribute of a file, or without a value shows it.
fn xattr(words: &[String]) {
    let mut value = [0; 256];
    match words {
        [path, name, text] => rustix::fs::setxattr(path, name, text.as_bytes(), XattrFlags::empty())
            .unwrap_or_else(|error| println!("{error}")),
        [path, name] => match rustix::fs::getxattr(path, name, &mut value[..]) {
            Ok(length) => println!("{}", String::from_utf8_lossy(&value[..length])),
            Err(_) => println!("none"),
        },
        _ => {}
    }
}

/// Looks for every path, opens and reads it, again and again until the file that is named first is there. Then says how
/// often it looked and what went wrong, each kind of trouble once.
fn hammer(words: &[String]) {
    let Some((end, paths)) = words.split_first() else { return };
    let mut trouble = BTreeMap::new();
    let mut looks = 0u64;
    while !Path::new(end).exists() {
        for path in paths {
            looks += 1;
            let looked = fs::symlink_metadata(path).and_then(|about| {
                let mut byte = [0; 1];
                if about.is_file() { File::open(path)?.read(&mut byte).map(drop) } else { Ok(()) }
            });
            if let Err(error) = looked {
                *trouble.entry(format!("{path}: {error}")).or_insert(0u64) += 1;
            }
        }
    }
    println!("{looks} looks, trouble: {trouble:?}");
}

/// What a distribution's init would have seen to before the first service: file systems it finds missing,
/// and the driver of the port.
fn prepare_as_init() {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        let mounts =
            protocol::parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let missing = !mounts.iter().any(|mount| mount.target == target);
        if missing && let Err(error) = rustix::mount::mount(kind, target, kind, MountFlags::empty(), None) {
            eprintln!("probe: cannot mount {kind} on {target}: {error}");
        }
    }
    for module in ["virtio_pci", "virtio_console"] {
        let loaded = Command::new("/bin/busybox").args(["modprobe", module]).status();
        if !loaded.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("probe: modprobe {module}: {loaded:?}");
        }
    }
}

fn serve(init: bool) -> io::Result<()> {
    let port = if std::env::var_os(NESTED).is_some() {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        OpenOptions::new().read(true).write(true).open(find_port(Duration::from_secs(30))?)?
    };
    let mut writer = port.try_clone()?;
    send(&mut writer, &Reply::Report(Box::new(report()?)))?;
    for line in BufReader::new(port).lines() {
        let line = line?;
        let reply = match serde_json::from_str(&line) {
            Ok(Request::End { how }) if init => {
                send(&mut writer, &Reply::Done)?;
                end_as_init(how)
            }
            Ok(request) => obey(request),
            Err(error) => Err(io::Error::other(format!("not a request: {error}: {line}"))),
        };
        send(&mut writer, &reply.unwrap_or_else(|error| Reply::Failed(error.to_string())))?;
    }
    Ok(())
}

fn send(port: &mut File, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    port.write_all(&line)
}

/// The device of our port, found by the name that sysfs has for it: no udev needed.
fn find_port(patience: Duration) -> io::Result<PathBuf> {
    let deadline = Instant::now() + patience;
    loop {
        for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            let device = Path::new("/dev").join(entry.file_name());
            // sysfs has the port a moment before devtmpfs.
            if name.trim() == PORT_NAME && device.exists() {
                return Ok(device);
            }
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("no virtio port named {PORT_NAME}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn obey(request: Request) -> io::Result<Reply> {
    Ok(match request {
        Request::Report => Reply::Report(Box::new(report()?)),
        Request::Read { path } => Reply::Text(String::from_utf8_lossy(&fs::read(path)?).into_owned()),
        Request::Write { path, content } => {
            let mut file = File::create(path)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            Reply::Done
        }
        Request::Exists { path } => Reply::Yes(Path::new(&path).symlink_metadata().is_ok()),
        Request::List { path } => {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Reply::Names(names)
        }
        Request::Run { argv } => run(&argv)?,
        Request::Writable { target } => {
            let flags = MountFlags::NOATIME;
            rustix::mount::mount_remount(target.as_str(), flags, "")?;
            Reply::Done
        }
        Request::End { how } => run(&["systemctl".into(), "--no-block".into(), how.verb().into()])?,
    })
}

fn run(argv: &[String]) -> io::Result<Reply> {
    let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("no program named"))?;
    let began = Instant::now();
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    Ok(Reply::Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Goes the way systemd-shutdown goes, see bootup(7) and its source: the ramfs becomes the root, the union
/// is under `/oldroot`, and `/shutdown` takes over process 1 with the verb as its argument.
fn end_as_init(how: Ending) -> io::Result<Reply> {
    const RAMFS: &str = "/run/initramfs";
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount_bind(RAMFS, RAMFS)?;
    for directory in ["dev", "proc", "sys", "run", "oldroot"] {
        fs::create_dir_all(Path::new(RAMFS).join(directory))?;
    }
    for directory in ["/dev", "/proc", "/sys", "/run"] {
        rustix::mount::mount_bind(directory, format!("{RAMFS}{directory}").as_str())?;
    }
    std::env::set_current_dir(RAMFS)?;
    rustix::process::pivot_root(".", "oldroot")?;
    std::env::set_current_dir("/")?;
    let error = std::os::unix::process::CommandExt::exec(Command::new("/shutdown").arg(how.verb()));
    eprintln!("probe: cannot execute /shutdown: {error}");
    rustix::system::reboot(RebootCommand::PowerOff)?;
    Err(error)
}

fn report() -> io::Result<Report> {
    let (busy, processes) = processor_use(&fs::read_to_string("/proc/stat")?);
    let uptime = fs::read_to_string("/proc/uptime")?;
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    Ok(Report {
        release: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().into(),
        cmdline: fs::read_to_string("/proc/cmdline")?.trim_end_matches('\n').into(),
        pid: std::process::id(),
        mounts: protocol::parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?),
        loops: loops(),
        memory: memory(&fs::read_to_string("/proc/meminfo")?),
        uptime: uptime.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        busy,
        processes,
        modules: modules.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect(),
        log: log().unwrap_or_default(),
    })
}

fn processor_use(stat: &str) -> (f64, u64) {
    let mut busy = 0.0;
    let mut processes = 0;
    for line in stat.lines() {
        if let Some(ticks) = line.strip_prefix("cpu ") {
            // user nice system idle iowait irq softirq steal; the guest columns are part of user
            let ticks: Vec<f64> = ticks.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let working = ticks.iter().enumerate().filter(|(column, _)| ![3, 4, 8, 9].contains(column));
            busy = working.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND;
        } else if let Some(count) = line.strip_prefix("processes ") {
            processes = count.trim().parse().unwrap_or(0);
        }
    }
    (busy, processes)
}

fn memory(meminfo: &str) -> BTreeMap<String, u64> {
    let value = |text: &str| text.split_whitespace().next()?.parse().ok();
    let parse = |line: &str| line.split_once(':').and_then(|(name, rest)| Some((name.into(), value(rest)?)));
    meminfo.lines().filter_map(parse).collect()
}

fn loops() -> Vec<Loop> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let text = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let flag = |name: &str| text(name).trim() == "1";
        if entry.path().join("loop").exists() {
            found.push(Loop {
                device: entry.file_name().to_string_lossy().into_owned(),
                backing_file: text("loop/backing_file").trim_end_matches('\n').into(),
                autoclear: flag("loop/autoclear"),
                read_only: flag("ro"),
                direct_io: flag("loop/dio"),
            });
        }
    }
    found.sort_by(|a, b| a.backing_file.cmp(&b.backing_file));
    found
}

/// Reads the kernel log to its present end; each read gives one record.
fn log() -> io::Result<Vec<LogLine>> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg")?;
    let mut lines = Vec::new();
    let mut record = [0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(length) => lines.extend(protocol::parse_kmsg(&String::from_utf8_lossy(&record[..length]))),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {} // overwritten while we read
            Err(_) => return Ok(lines),
        }
    }
}
