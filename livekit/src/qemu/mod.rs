//! Starting an image in QEMU: which machine, with which firmware, how fast.

pub mod firmware;
pub mod image;
pub mod kvm;
pub mod power_button;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use firmware::Firmware;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// Where the image is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Cd,
    /// A USB stick; whether it keeps what the guest writes.
    Usb {
        keep: bool,
    },
}

/// What starts the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Bios,
    Uefi(Firmware),
    /// QEMU itself, without firmware and menu.
    Kernel {
        kernel: PathBuf,
        initramfs: PathBuf,
        parameters: String,
    },
}

/// A format of disk images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
}

/// A machine with one medium in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub image: PathBuf,
    pub format: Format,
    pub slot: Slot,
    pub start: Start,
    /// MiB.
    pub memory: u64,
    pub cpus: u32,
    /// The guest's screen in a window; else the serial console in the terminal.
    pub window: bool,
    /// What `-accel` says, in the order in which QEMU tries them.
    pub accels: Vec<&'static str>,
    /// Where its ports are heard, if it is to be listened to.
    pub recording: Option<Recording>,
}

/// Files of a machine that is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// What the guest writes to its second serial port.
    pub port: PathBuf,
    /// What it shows on its console, the first one.
    pub console: PathBuf,
    /// QEMU's socket for commands.
    pub monitor: PathBuf,
}

impl Recording {
    /// In a folder of their own.
    pub fn in_folder(folder: &Path) -> Self {
        let [port, console, monitor] = ["port", "console", "monitor"].map(|name| folder.join(name));
        Recording { port, console, monitor }
    }
}

impl Machine {
    /// QEMU's command line after the program's name.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        let secure = matches!(&self.start, Start::Uefi(firmware) if firmware.secure);
        line.pair("-machine", if secure { "q35,smm=on" } else { "q35" });
        for accel in &self.accels {
            line.pair("-accel", accel);
        }
        line.pair("-cpu", self.accels.first().map_or("max", |accel| cpu_model(accel)));
        line.pair("-smp", self.cpus.to_string());
        line.pair("-m", self.memory.to_string());
        self.add_start(&mut line);
        self.add_medium(&mut line);
        line.pair("-nic", "user,model=virtio-net-pci");
        line.pair("-device", "virtio-rng-pci");
        if let Some(recording) = &self.recording {
            line.pair("-display", "none");
            // As -serial mon:stdio, with a copy.
            line.file("-chardev", "stdio,id=console,mux=on,signal=off", "logfile", &recording.console);
            line.pair("-serial", "chardev:console");
            line.pair("-mon", "chardev=console,mode=readline");
            line.file("-chardev", "file,id=port", "path", &recording.port);
            line.pair("-serial", "chardev:port");
            line.file("-chardev", "socket,id=monitor,server=on,wait=off", "path", &recording.monitor);
            line.pair("-mon", "chardev=monitor,mode=control");
            // It is listened to for one boot.
            line.pair("-action", "reboot=shutdown");
        } else if !self.window {
            // Not -nographic: without a screen GRUB's menu would be on the serial line twice.
            line.pair("-display", "none");
            line.pair("-serial", "mon:stdio");
        }
        line.0
    }

    fn add_start(&self, line: &mut Line) {
        match &self.start {
            Start::Bios => {}
            Start::Uefi(firmware) => {
                if firmware.secure {
                    line.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
                    line.pair("-global", "ICH9-LPC.disable_s3=1");
                }
                line.drive("if=pflash,unit=0,format=raw,readonly=on", &firmware.code);
                // The variables are as fresh at every start: what the firmware writes goes to a temporary file.
                line.drive("if=pflash,unit=1,format=raw,snapshot=on", &firmware.variables);
            }
            Start::Kernel { kernel, initramfs, parameters } => {
                line.pair("-kernel", kernel);
                line.pair("-initrd", initramfs);
                line.pair("-append", parameters);
            }
        }
    }

    fn add_medium(&self, line: &mut Line) {
        let format = match self.format {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        };
        match self.slot {
            Slot::Cd => {
                line.drive(
                    &format!("if=none,id=medium,format={format},media=cdrom,readonly=on"),
                    &self.image,
                );
                line.pair("-device", "ide-cd,drive=medium,bootindex=1");
            }
            Slot::Usb { keep } => {
                let snapshot = if keep { "" } else { ",snapshot=on" };
                line.drive(&format!("if=none,id=medium,format={format}{snapshot}"), &self.image);
                line.pair("-device", "qemu-xhci");
                line.pair("-device", "usb-storage,drive=medium,removable=on,bootindex=1");
            }
        }
    }
}

/// The processor a guest sees: with KVM the host's own, else a plain one, which is emulated the fastest.
pub fn cpu_model(accel: &str) -> &'static str {
    if accel == "kvm" { "max" } else { "qemu64,+rdrand" }
}

struct Line(Vec<OsString>);

impl Line {
    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }

    fn drive(&mut self, options: &str, file: &Path) {
        self.file("-drive", options, "file", file);
    }

    /// Options of which the last is a file; QEMU reads a comma in its name as the next option unless it is doubled.
    fn file(&mut self, flag: &str, options: &str, last: &str, file: &Path) {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut value = format!("{options},{last}=").into_bytes();
        for &byte in file.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' {
                value.push(b',');
            }
        }
        self.pair(flag, OsString::from_vec(value));
    }
}

/// A command as one would type it, in one line for each flag.
pub fn shown(program: &str, arguments: &[OsString]) -> String {
    let mut text = program.to_owned();
    for argument in arguments {
        let argument = argument.to_string_lossy();
        text.push_str(if argument.starts_with('-') { " \\\n  " } else { " " });
        text.push_str(&shell_word(&argument));
    }
    text
}

/// The text as one word for a shell, quoted only if it must be.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+.,:/@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            image: "a,b.iso".into(),
            format: Format::Raw,
            slot: Slot::Cd,
            start: Start::Bios,
            memory: 1024,
            cpus: 2,
            window: false,
            accels: vec!["tcg"],
            recording: None,
        }
    }

    fn line(machine: &Machine) -> String {
        machine.arguments().join(&OsString::from(" ")).into_string().unwrap()
    }

    #[test]
    fn each_wish_shows_in_the_command() {
        let firmware = Firmware { code: "/C".into(), variables: "/V".into(), secure: true };
        let kernel = Start::Kernel { kernel: "/k".into(), initramfs: "/i".into(), parameters: "a b".into() };
        for (machine, has, has_not) in [
            (
                machine(),
                &[
                    "-machine q35 -accel tcg",
                    "media=cdrom,readonly=on,file=a,,b.iso",
                    "ide-cd,",
                    "mon:stdio",
                    "-m 1024",
                ][..],
                "usb",
            ),
            (
                Machine { slot: Slot::Usb { keep: false }, ..machine() },
                &["qemu-xhci", "snapshot=on,file=a,,b.iso"],
                "cdrom",
            ),
            (
                Machine { slot: Slot::Usb { keep: true }, format: Format::Qcow2, ..machine() },
                &["format=qcow2,file=", "usb-storage"],
                "snapshot",
            ),
            (Machine { window: true, ..machine() }, &["-m 1024"], "-display"),
            (
                Machine { accels: vec!["kvm", "tcg"], ..machine() },
                &["-accel kvm -accel tcg -cpu max"],
                "qemu64",
            ),
            (
                Machine { start: Start::Uefi(Firmware { secure: false, ..firmware.clone() }), ..machine() },
                &[
                    "-machine q35 ",
                    "unit=0,format=raw,readonly=on,file=/C",
                    "unit=1,format=raw,snapshot=on,file=/V",
                ],
                "smm",
            ),
            (
                Machine { start: Start::Uefi(firmware), ..machine() },
                &["q35,smm=on", "property=secure,value=on"],
                "-kernel",
            ),
            (
                Machine { recording: Some(Recording::in_folder(Path::new("/r,s"))), ..machine() },
                &[
                    "stdio,id=console,mux=on,signal=off,logfile=/r,,s/console -serial chardev:console",
                    "file,id=port,path=/r,,s/port -serial chardev:port",
                    "path=/r,,s/monitor -mon chardev=monitor,mode=control",
                ],
                "mon:stdio",
            ),
            (Machine { start: kernel, ..machine() }, &["-kernel /k -initrd /i -append a b"], "pflash"),
        ] {
            let line = line(&machine);
            for has in has {
                assert!(line.contains(has), "{has} is not in {line}");
            }
            assert!(!line.contains(has_not), "{has_not} is in {line}");
        }
    }

    #[test]
    fn the_shown_command_can_be_typed() {
        let arguments = ["-append", "a \"b\" it's", "-m", "512"].map(OsString::from);
        assert_eq!(shown("qemu", &arguments), "qemu \\\n  -append 'a \"b\" it'\\''s' \\\n  -m 512");
    }
}
