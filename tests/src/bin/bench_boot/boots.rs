//! Boots from the media to login, and what they cost.

use std::path::{Path, PathBuf};

use crate::kits::Kit;
use crate::machine::{Counters, Device, Machine, Run};
use crate::tables::{Table, seconds, whole};

/// MiB of the machines that are compared.
pub const MEMORY: u32 = 1024;
/// Steps of the search for the least memory, and where it starts, in MiB.
const STEP: u32 = 16;
const FIRST: u32 = 160;
/// A system that needs more than this is not searched further.
const MOST: u32 = 640;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    Cd,
    Usb,
}

/// A boot of one kit from one medium.
#[derive(Debug)]
pub struct Boot {
    pub label: String,
    pub run: Run,
    /// Processes that had been started when `/init` began
    pub processes_before: f64,
}

impl Boot {
    pub fn in_initramfs(&self) -> f64 {
        self.run.moment("init").busy() - self.run.at_init.unwrap_or(f64::NAN)
    }

    pub fn to_login(&self) -> f64 {
        self.run.moment("login").busy() - self.run.moment("init").busy()
    }

    pub fn total(&self) -> f64 {
        self.run.moment("login").busy()
    }

    pub fn started(&self) -> f64 {
        self.run.moment("init").number("processes") - self.processes_before
    }
}

/// The machine in which a kit boots from a medium.
pub fn machine(kit: &Kit, medium: Medium, more: &str) -> Machine {
    let device = match medium {
        Medium::Cd => Device::Cd(kit.disc.clone()),
        Medium::Usb => Device::Usb(kit.stick.clone()),
    };
    Machine {
        kernel: kit.kernel.clone(),
        initrd: kit.initrd.clone(),
        append: format!("{} {more}", kit.append),
        memory: MEMORY,
        device,
        virtual_time: true,
    }
}

/// Boots a kit from a medium, with additional parameters.
pub fn boot(kit: &Kit, medium: Medium, more: &str, processes_before: f64, logs: &Path) -> Boot {
    let label = [kit.name.as_str(), if medium == Medium::Cd { "CD" } else { "USB vfat" }, more];
    let label = label.join(" ").trim_end().to_owned();
    eprintln!("boot: {label}");
    let run = machine(kit, medium, more).run("login", &log(logs, &label));
    Boot { label, run, processes_before }
}

/// What was started between `/init` and the real init, from the kernel's trace of a boot of its own: kernel threads,
/// processes, programs.
pub fn started(kit: &Kit, logs: &Path) -> Counters {
    eprintln!("boot: {}, traced", kit.name);
    let trace = "trace_event=sched:sched_process_fork,sched:sched_process_exec";
    machine(kit, Medium::Cd, trace).run("init", &log(logs, &format!("{} traced", kit.name))).moment("init")
}

/// The least memory with which a kit reaches login from CD, in MiB, and why the next step down does not. Time is real here:
/// what a guest does that is short of memory is mostly waiting.
pub fn least_memory(kit: &Kit, more: &str, logs: &Path) -> (Option<u32>, String) {
    let attempt = |memory: u32| {
        eprintln!("boot: {} {more} with {memory} MiB", kit.name);
        let mut machine = machine(kit, Medium::Cd, more);
        machine.memory = memory;
        machine.virtual_time = false;
        machine.run("login", &log(logs, &format!("{} {more} {memory} MiB", kit.name))).failure
    };
    let mut memory = FIRST;
    let mut reached = None;
    loop {
        match attempt(memory) {
            None => {
                reached = Some(memory);
                memory -= STEP;
            }
            Some(failure) if reached.is_some() || memory >= MOST => return (reached, failure),
            // Up in larger steps at first, down again in small ones.
            Some(_) => memory += 4 * STEP,
        }
    }
}

fn log(folder: &Path, label: &str) -> PathBuf {
    folder.join(format!("{}.log", label.replace([' ', ','], "-")))
}

/// The columns in which boots are compared.
pub fn table(boots: &[Boot]) -> Table {
    let mut table = Table::new(&[
        "kit, medium",
        "kernel→/init s (of which unpack)",
        "initramfs busy s",
        "real init→login busy s",
        "total busy s",
        "started in initramfs",
        "modules at init / login",
        "used MiB at real init",
        "used MiB at login",
    ]);
    for boot in boots {
        let (init, login) = (boot.run.moment("init"), boot.run.moment("login"));
        if let Some(failure) = &boot.run.failure {
            eprintln!("boot: {}: {failure}", boot.label);
        }
        table.row([
            boot.label.clone(),
            format!(
                "{} ({})",
                seconds(boot.run.at_init.unwrap_or(f64::NAN)),
                seconds(boot.run.unpacking.unwrap_or(f64::NAN))
            ),
            seconds(boot.in_initramfs()),
            seconds(boot.to_login()),
            seconds(boot.total()),
            whole(boot.started()),
            format!("{} / {}", whole(init.number("modules")), whole(login.number("modules"))),
            whole(init.used()),
            whole(login.used()),
        ]);
    }
    table
}
