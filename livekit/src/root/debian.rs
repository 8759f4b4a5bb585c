//! A fresh Debian as root, made by mmdebstrap.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::error::{AtPath, Error, Result};
use crate::external::Running;
use crate::output::Output;
use crate::scratch::Scratch;

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianOptions {
    /// The release by its name, such as `bookworm`.
    pub suite: String,
    /// Wanted besides the [basic ones](PACKAGES).
    pub packages: Vec<String>,
    /// Where packages come from; none means what apt uses on this host, or Debian's own mirror.
    pub mirror: Option<String>,
    /// The name of the host, which is the kit's.
    pub hostname: String,
}

/// What a live system needs to be of use at its console and in a network.
const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "systemd-sysv",
    "dbus",
    "udev",
    "kmod",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "less",
    "nano",
    "procps",
    "bash-completion",
];

/// What is known of the password of a root made here; the docs say it too.
pub const PASSWORD: &str = "live";

/// Every wired interface asks for an address.
const NETWORK: &str = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n";

/// Makes the root below `temporary`. The scratch directory goes with it.
pub fn make(options: &DebianOptions, temporary: &Path, output: &Output) -> Result<(PathBuf, Scratch)> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new("only root can make a Debian root").hint("run the command with sudo"));
    }
    let scratch = Scratch::new_in(temporary)?;
    let root = scratch.join("root");
    let files = scratch.join("files");
    write_files(&files, options)?;
    let step = output.step(format!("Making Debian {}", options.suite));
    let (lines, heard) = mpsc::channel();
    let mut command = Command::new("mmdebstrap");
    command.args(arguments(options, &root, &files)).env("TMPDIR", scratch.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mmdebstrap = Running::start(&mut command, "mmdebstrap", move |line| {
        let _ = lines.send(line.to_owned());
    })?;
    for line in heard {
        if let Some(doing) = line.strip_prefix("I: ") {
            step.detail(doing);
        }
    }
    mmdebstrap.finish().map_err(|error| {
        error
            .doing(format!("making Debian {}", options.suite))
            .hint("check the suite's name, --packages, --mirror and the network")
    })?;
    step.done(format!("root's password is \"{PASSWORD}\""));
    Ok((root, scratch))
}

/// Files that are copied over the new root.
fn write_files(files: &Path, options: &DebianOptions) -> Result<()> {
    for (name, text) in [
        ("etc/hostname", format!("{}\n", options.hostname)),
        ("etc/hosts", format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost\n", options.hostname)),
        ("etc/systemd/network/80-wired.network", NETWORK.to_owned()),
    ] {
        let path = files.join(name);
        let folder = path.parent().unwrap_or(files);
        std::fs::create_dir_all(folder).at("make", folder)?;
        std::fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}

fn arguments(options: &DebianOptions, root: &Path, files: &Path) -> Vec<std::ffi::OsString> {
    let mut packages: Vec<&str> = PACKAGES.to_vec();
    // Before Debian 12 it is a part of the package systemd.
    if !["buster", "bullseye", "oldoldstable"].contains(&options.suite.as_str()) {
        packages.push("systemd-resolved");
    }
    packages.extend(options.packages.iter().map(String::as_str));
    let mut arguments: Vec<std::ffi::OsString> =
        vec!["--variant=apt".into(), "--architectures=amd64".into(), "--format=directory".into()];
    arguments.push(format!("--include={}", packages.join(",")).into());
    let mut copy = std::ffi::OsString::from("--customize-hook=copy-in ");
    copy.push(shell_quoted(&files.join("etc").to_string_lossy()));
    copy.push(" /");
    arguments.push(copy);
    for hook in [
        format!("echo root:{PASSWORD} | chroot \"$1\" chpasswd"),
        "chroot \"$1\" systemctl enable systemd-networkd.service".into(),
        "chroot \"$1\" systemctl enable systemd-resolved.service".into(),
        ": > \"$1/etc/machine-id\"".into(),
    ] {
        arguments.push(format!("--customize-hook={hook}").into());
    }
    arguments.push(options.suite.clone().into());
    arguments.push(root.into());
    arguments.extend(options.mirror.as_ref().map(Into::into));
    arguments
}

/// The text as one word for a shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmdebstrap_is_told_everything() {
        let options = DebianOptions {
            suite: "bookworm".into(),
            packages: vec!["vim".into(), "ssh".into()],
            mirror: Some("http://deb.example/debian".into()),
            hostname: "rescue".into(),
        };
        let line: Vec<String> = arguments(&options, Path::new("/t/root"), Path::new("/t/it's"))
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        assert!(line.iter().any(|word| word.starts_with("--include=linux-image-amd64,systemd-sysv,")
            && word.ends_with(",vim,ssh")));
        assert!(line.contains(&r"--customize-hook=copy-in '/t/it'\''s/etc' /".to_owned()), "{line:?}");
        assert!(line.contains(&r#"--customize-hook=echo root:live | chroot "$1" chpasswd"#.to_owned()));
        assert_eq!(line[line.len() - 3..], ["bookworm", "/t/root", "http://deb.example/debian"]);
    }
}
