//! When the boot fails: what and why, then a shell on every console, for as long as anyone needs it. PID 1 never
//! ends and never restarts the machine by itself.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use live::error::Error;
use live::layout::BUSYBOX;
use live::log;
use live::options::BootOptions;
use live::steps::Step;
use rustix::process::{WaitOptions, wait};

use crate::console::Consoles;

/// Makes a panic, which would end PID 1 and so the kernel, a failed boot like any other. One in a thread that loads
/// drivers costs those drivers.
pub fn on_panic() {
    let main = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let error = Error::new(format!("a bug in init: {panic}"));
        if std::thread::current().id() == main {
            after(&error);
        }
        log::error(format_args!("{error}"));
    }));
}

/// Opens a shell before a step that `break=` names. The boot goes on when it ends.
pub fn break_before(step: Step, options: &BootOptions) {
    if !options.breaks.contains(&step) {
        return;
    }
    let text = format!("break={}: a shell before this step; 'exit' goes on with the boot", step.name());
    log::warning(format_args!("{text}"));
    if !Path::new(BUSYBOX).exists() {
        log::warning(format_args!("there is no shell: the build host had no static busybox"));
        return;
    }
    let consoles = Consoles::open();
    consoles.say(&format!("\n{text}\n"));
    let mut shells: Vec<Child> = consoles.paths().filter_map(start_shell).collect();
    // The first shell that is left lets the boot go on; the others would hold the consoles.
    while !shells.is_empty() && !shells.iter_mut().any(|shell| matches!(shell.try_wait(), Ok(Some(_)))) {
        sleep(Duration::from_millis(100));
    }
    for mut shell in shells {
        let _ = shell.kill();
        let _ = shell.wait();
    }
}

/// The end of a boot that failed.
pub fn after(error: &Error) -> ! {
    log::error(format_args!("{}", error.message()));
    if let Some(hint) = error.hint_text() {
        log::error(format_args!("hint: {hint}"));
    }
    let allowed = fs::read_to_string("/proc/cmdline").map_or(true, |line| BootOptions::parse(&line).rescue);
    let shell = Path::new(BUSYBOX).exists();
    let consoles = Consoles::open();
    // A panic while a question stood has left them without echo.
    consoles.make_sane();
    if !allowed || !shell {
        let why = if allowed { "there is no rescue shell in this initramfs" } else { "rescue=off" };
        consoles.say(&format!(
            "\nThe live system did not start ({why}). The reason is above; switch off when read.\n"
        ));
        wait_forever();
    }
    consoles.say(&format!(
        "\nThe live system did not start:\n{error}\nThis is a rescue shell. dmesg shows the boot, \
         /sys/class/block has the disks, 'reboot -f' restarts.\n"
    ));
    loop {
        let shells: Vec<Child> = consoles.paths().filter_map(start_shell).collect();
        if shells.is_empty() {
            wait_forever();
        }
        for mut shell in shells {
            let _ = shell.wait();
        }
        sleep(Duration::from_secs(1));
    }
}

/// Starts a shell that owns the terminal `console`, so that job control and Ctrl-C work.
fn start_shell(console: &Path) -> Option<Child> {
    let open =
        |write: bool| -> std::io::Result<File> { OpenOptions::new().read(true).write(write).open(console) };
    let terminal = open(true).and_then(|t| Ok((t.try_clone()?, t.try_clone()?, t)));
    let (input, output, errors) = terminal.ok()?;
    install_applets();
    Command::new(BUSYBOX)
        .args(["setsid", "-c", BUSYBOX, "sh", "-i"])
        .env_clear()
        .env("PATH", "/bin:/sbin")
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("PS1", "livekit# ")
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .spawn()
        .map_err(|e| log::error(format_args!("no shell on {}: {e}", console.display())))
        .ok()
}

/// Gives the shell's user ls, mount and the rest under their own names.
fn install_applets() {
    if !Path::new("/bin/ls").exists() {
        let _ = Command::new(BUSYBOX).args(["--install", "-s", "/bin"]).status();
    }
}

/// Waits for power-off, burying children that others left.
fn wait_forever() -> ! {
    loop {
        if !matches!(wait(WaitOptions::empty()), Ok(Some(_))) {
            sleep(Duration::from_secs(3600));
        }
    }
}
