//! The shutdown program of the saved ramfs: `/run/initramfs/shutdown VERB`.
//!
//! systemd runs it as PID 1 with the ramfs as root and the live system at /oldroot. Other inits run it at the end of
//! their own shutdown, still inside the live system; then it enters the ramfs by itself. In both cases it takes
//! the system apart down to the boot medium, so that the medium is clean and free, and does what VERB says.
//!
//! Under another name it is the keeper, which watches over the changes while the system runs.

use live::layout::KEEPER;
use live::log;
use live::options::BootOptions;
use live::sys::power::Action;

mod commit;
mod eject;
mod enter;
mod holders;
mod keeper;
mod processes;
mod storage;
mod teardown;
mod trace;

fn main() {
    if std::env::args().next().is_some_and(|name| name == KEEPER) {
        if let Err(e) = keeper::run() {
            log::error(format_args!("{e}"));
        }
        return;
    }
    log::to_kernel("cleanup");
    let action = action();
    let options = BootOptions::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default());
    // From here on nothing stops the way down: what fails is told, and the rest goes on.
    if let Err(e) = enter::saved_ramfs() {
        log::error(format_args!("{e}"));
    }
    if let Some(port) = &options.trace {
        trace::report(port);
    }
    let medium = eject::optical_medium();
    processes::end_all();
    storage::stop_swapping();
    teardown::take_out();
    commit::changes_at_exit();
    teardown::unmount_everything();
    storage::report_loops();
    rustix::fs::sync();
    if let Some(drive) = medium.filter(|_| !options.no_eject) {
        drive.release(action);
    }
    log::restore_limit();
    perform(action);
}

/// What was asked for. A shutdown that nobody named ends in power-off.
fn action() -> Action {
    let verb = std::env::args().nth(1).unwrap_or_default();
    Action::named(&verb).unwrap_or_else(|| {
        log::warning(format_args!(
            "'{verb}' is not a verb that is known (poweroff, reboot, halt, kexec): poweroff"
        ));
        Action::PowerOff
    })
}

/// Ends the machine's run. PID 1 must never return.
fn perform(action: Action) {
    let first = if action == Action::Kexec && !kernel_is_loaded() {
        log::warning(format_args!("kexec: no kernel is loaded, restarting instead"));
        Action::Reboot
    } else {
        action
    };
    for action in [first, Action::Reboot, Action::PowerOff] {
        log::error(format_args!("{}", action.perform()));
    }
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

fn kernel_is_loaded() -> bool {
    std::fs::read_to_string("/sys/kernel/kexec_loaded").is_ok_and(|text| text.trim() == "1")
}
