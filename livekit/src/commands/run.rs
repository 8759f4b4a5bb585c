//! `livekit run`: an image in QEMU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::boot_trace::{self, OrderFile};
use crate::cli::{Accel, Run};
use crate::error::{AtPath, Error, Failure, Result};
use crate::output::Output;
use crate::qemu::firmware::Firmware;
use crate::qemu::{self, Machine, QEMU, Recording, Slot, Start, image, kvm};
use crate::scratch::Scratch;
use crate::settings::parse_size;

/// Less than this and no kernel starts.
const LEAST_MEMORY: u64 = 64;

/// Starts the image and waits for QEMU's end.
pub fn run(flags: &Run, output: &Output) -> Result<(), Failure> {
    let memory = memory(&flags.memory).map_err(Failure::Usage)?;
    let format = image::format(&flags.image)?;
    // Absolute: QEMU takes `a:b.iso` for a protocol.
    let path = flags.image.canonicalize().at("find the image", &flags.image)?;
    let temporary = std::env::temp_dir();
    let scratch = if flags.dry_run { None } else { Some(Scratch::new_in(&temporary)?) };
    let start = start(flags, &path, scratch.as_ref().map(Scratch::path))?;
    let recording = flags.trace_boot.is_some().then(|| {
        // A dry run has no folder: the names tell what they would be.
        Recording::in_folder(scratch.as_ref().map_or(Path::new(""), Scratch::path))
    });
    let accels =
        if flags.dry_run { possible_accels(flags.accel) } else { accels(flags.accel, &temporary, output)? };
    let slot = slot(flags, &path);
    let machine = Machine {
        image: path,
        format,
        slot,
        start,
        memory,
        cpus: flags.cpus,
        window: flags.window,
        accels,
        recording,
    };
    let arguments = machine.arguments();
    if flags.dry_run {
        return Ok(output.answer(qemu::shown(QEMU, &arguments))?);
    }
    let order = flags.trace_boot.as_deref().map(OrderFile::create).transpose()?;
    say_what_starts(&machine, output);
    let mut child = Command::new(QEMU).args(&arguments).spawn().map_err(|error| {
        Error::new(format!("cannot run {QEMU}: {error}"))
            .hint("install it (Debian: apt-get install qemu-system-x86; Fedora: qemu-system-x86-core)")
    })?;
    if let (Some(recording), Some(order)) = (&machine.recording, order) {
        let settle = Duration::from_secs(flags.trace_seconds);
        let result = boot_trace::record(&mut child, recording, &machine.image, settle, order, output);
        if result.is_err() {
            // Not left behind; it may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        return Ok(result?);
    }
    let status = child.wait().at("wait for", QEMU)?;
    if status.success() { Ok(()) } else { Err(Error::new(format!("{QEMU} ended with {status}")).into()) }
}

/// In MiB; a plain number already is.
fn memory(text: &str) -> Result<u64> {
    let mib = match text.parse::<u64>() {
        Ok(number) => Some(number),
        Err(_) => parse_size(text).map(|bytes| bytes >> 20),
    };
    mib.filter(|&mib| mib >= LEAST_MEMORY).ok_or_else(|| {
        Error::new(format!("`{text}` is no size of memory"))
            .hint(format!("for instance 1G or 512M, at least {LEAST_MEMORY}M"))
    })
}

/// An ISO image is a CD, anything else a stick, unless told otherwise. Only a disk image keeps what is written.
fn slot(flags: &Run, path: &Path) -> Slot {
    let is_iso = path.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("iso"));
    if flags.cd || (is_iso && !flags.usb) { Slot::Cd } else { Slot::Usb { keep: !is_iso } }
}

fn start(flags: &Run, path: &Path, scratch: Option<&Path>) -> Result<Start> {
    if flags.uefi || flags.secure_boot {
        return Ok(Start::Uefi(Firmware::find(flags.secure_boot)?));
    }
    let recorded = if flags.trace_boot.is_some() { boot_trace::PARAMETERS } else { "" };
    let append = match &flags.append {
        Some(append) => append,
        None if flags.trace_boot.is_some() => "",
        None => return Ok(Start::Bios),
    };
    let files = image::boot_files(path)?;
    let parameters = parameters(&[&files.parameters, recorded], append, flags.window);
    let store = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
        // A dry run leaves no files behind: the names tell what they would be.
        let Some(scratch) = scratch else { return Ok(name.into()) };
        let path = scratch.join(name);
        std::fs::write(&path, bytes).at("write", &path)?;
        Ok(path)
    };
    let (kernel, initramfs) = (store("vmlinuz", &files.kernel)?, store("initramfs.img", &files.initramfs)?);
    Ok(Start::Kernel { kernel, initramfs, parameters })
}

/// Those parameters, then the user's; with the console that is looked at, unless the user names one.
fn parameters(first: &[&str], append: &str, window: bool) -> String {
    let names_console = append.split_whitespace().any(|word| word.starts_with("console="));
    let console = if window || names_console { "" } else { "console=ttyS0,115200" };
    let parts = first.iter().copied().chain([console, append.trim()]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What a dry run shows: it starts nothing, so it cannot know whether KVM works.
fn possible_accels(wish: Accel) -> Vec<&'static str> {
    match wish {
        Accel::Kvm => vec!["kvm"],
        Accel::Auto if kvm::is_there() => vec!["kvm", "tcg"],
        Accel::Auto | Accel::Tcg => vec!["tcg"],
    }
}

fn accels(wish: Accel, temporary: &Path, output: &Output) -> Result<Vec<&'static str>> {
    Ok(match wish {
        Accel::Kvm => vec!["kvm"],
        Accel::Tcg => vec!["tcg"],
        Accel::Auto if !kvm::is_there() => {
            output.status("no access to /dev/kvm: the guest is emulated, which is slow");
            vec!["tcg"]
        }
        Accel::Auto if kvm::proves_itself("kvm", temporary, kvm::PATIENCE)? => vec!["kvm"],
        Accel::Auto => {
            output.status("KVM does not work here: the guest is emulated, which is slow");
            vec!["tcg"]
        }
    })
}

fn say_what_starts(machine: &Machine, output: &Output) {
    let firmware = match &machine.start {
        Start::Bios => "BIOS",
        Start::Uefi(firmware) if firmware.secure => "UEFI with Secure Boot",
        Start::Uefi(_) => "UEFI",
        Start::Kernel { .. } => "its kernel alone",
    };
    let slot = match machine.slot {
        Slot::Cd => "CD",
        Slot::Usb { keep: true } => "USB stick, which keeps what is written",
        Slot::Usb { keep: false } => "USB stick, writes are forgotten",
    };
    output.status(format!("Starting {} with {firmware} as {slot}.", machine.image.display()));
    if !machine.window {
        output.status("This terminal is the guest's serial console. Ctrl-A X ends it, Ctrl-A H helps.");
        if machine.start == Start::Bios || matches!(machine.start, Start::Uefi(_)) {
            output.status("In the boot menu, S starts the system with its messages here.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn flags(line: &str) -> Run {
        let words = ["livekit", "run"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_go_where_they_belong() {
        for (line, is) in [
            ("a.iso", Slot::Cd),
            ("a.ISO", Slot::Cd),
            ("a.iso --usb", Slot::Usb { keep: false }),
            ("stick.img", Slot::Usb { keep: true }),
            ("stick.img --cd", Slot::Cd),
        ] {
            let flags = flags(line);
            assert_eq!(slot(&flags, &flags.image), is, "{line}");
        }
    }

    #[test]
    fn memory_in_words() {
        for (text, mib) in [
            ("1G", Some(1024)),
            ("512M", Some(512)),
            ("300", Some(300)),
            ("1", None),
            ("lots", None),
            ("64K", None),
        ] {
            assert_eq!(memory(text).ok(), mib, "{text}");
        }
    }

    #[test]
    fn the_console_is_the_one_looked_at() {
        for (append, window, all) in [
            ("debug", false, "livekit.id=1 console=ttyS0,115200 debug"),
            ("", true, "livekit.id=1"),
            ("console=tty0 x", false, "livekit.id=1 console=tty0 x"),
        ] {
            assert_eq!(parameters(&["livekit.id=1", ""], append, window), all);
        }
    }
}
