//! Whether KVM works here. That /dev/kvm can be opened does not tell: on some machines guests start and then hang.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::QEMU;
use crate::error::{AtPath, Result};
use crate::scratch::Scratch;

/// How long the guest may take to say its one letter.
pub const PATIENCE: Duration = Duration::from_secs(2);

const ANSWER: u8 = b'K';

/// A ROM as large as QEMU takes. A processor starts 16 bytes below its end.
const ROM_SIZE: usize = 64 * 1024;

/// The whole guest: `mov dx, 0x3f8; mov al, 'K'; out dx, al; hlt; jmp -1`. It needs no memory, so it shows that
/// instructions are run and that a port access gets out, which is where a broken KVM hangs.
const GUEST: [u8; 9] = [0xba, 0xf8, 0x03, 0xb0, ANSWER, 0xee, 0xf4, 0xeb, 0xfd];

/// Whether this user may open /dev/kvm.
pub fn is_there() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Whether a guest that is run with `accel`, on the processors that [`super::Machine`] has with it, says something
/// within `patience`. A processor model that the host cannot give ends QEMU at once.
pub fn proves_itself(accel: &str, temporary: &Path, patience: Duration) -> Result<bool> {
    let scratch = Scratch::new_in(temporary)?;
    let rom = scratch.join("rom");
    let mut bytes = vec![0xf4; ROM_SIZE];
    bytes[ROM_SIZE - 16..ROM_SIZE - 16 + GUEST.len()].copy_from_slice(&GUEST);
    std::fs::write(&rom, bytes).at("write", &rom)?;

    let mut command = Command::new(QEMU);
    command.args([
        "-accel",
        accel,
        "-machine",
        "q35",
        "-cpu",
        super::cpu_model(accel),
        "-smp",
        "2",
        "-m",
        "16",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    command.args(["-serial", "stdio", "-monitor", "none", "-bios"]).arg(&rom);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A QEMU that cannot be started shows when it is started in earnest.
    let Ok(mut child) = command.spawn() else { return Ok(false) };
    let (said, heard) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut letter = [0];
            let _ = said.send(stdout.read(&mut letter).is_ok_and(|count| count == 1) && letter[0] == ANSWER);
        });
    }
    let works = heard.recv_timeout(patience).unwrap_or(false);
    let _ = child.kill();
    // Not waited for here: a process that hangs in the kernel cannot be killed.
    thread::spawn(move || child.wait());
    Ok(works)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_runs_is_heard() {
        let there = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status();
        assert!(there.is_ok(), "{QEMU} (package qemu-system-x86) is needed for this test");
        let temporary = tempfile::tempdir().unwrap();
        // Emulated: the machine that tests this may be one where KVM hangs.
        assert!(proves_itself("tcg", temporary.path(), Duration::from_secs(60)).unwrap());
        assert!(!proves_itself("no-such-accelerator", temporary.path(), Duration::from_secs(60)).unwrap());
        assert!(!proves_itself("tcg", temporary.path(), Duration::ZERO).unwrap());
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
