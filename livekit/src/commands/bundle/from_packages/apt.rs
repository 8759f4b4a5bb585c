//! apt, run in the throw-away union.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus};

use super::plan::Plan;
use super::union::ThrowAway;
use crate::error::{Error, Result};
use crate::output::{Output, Step};

/// How many of apt's last lines an error repeats.
const TAIL: usize = 25;

/// Options of every run: no questions, no flushing of what is thrown away, packages straight from the source to the disk.
const OPTIONS: &[&str] = &[
    "-y",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Options::=--force-unsafe-io",
];

/// apt in a union.
pub struct Apt<'a> {
    pub union: &'a ThrowAway,
    /// Whether recommended packages are installed, if apt is configured so.
    pub recommends: bool,
    pub output: &'a Output,
}

impl Apt<'_> {
    /// Whether there are lists of packages.
    pub fn has_lists(&self) -> bool {
        let lists = std::fs::read_dir(self.union.path.join("var/lib/apt/lists"));
        lists.is_ok_and(|lists| {
            lists.flatten().any(|list| list.file_name().to_string_lossy().contains("_Packages"))
        })
    }

    /// Fetches the lists of packages.
    pub fn update(&self) -> Result<()> {
        let step = self.output.step("Fetching package lists");
        self.run("update", self.command("update"), &step)?;
        step.done("done");
        Ok(())
    }

    /// What installing `packages` would do, with sizes.
    pub fn plan(&self, packages: &[String]) -> Result<Plan> {
        let mut command = self.install_command(&["--simulate"], packages);
        let mut plan =
            Plan::parse(&answer("install", &mut command).map_err(|error| {
                error.hint("check the names; --update fetches the lists of packages anew")
            })?);
        if plan.installed().next().is_none() {
            return Ok(plan);
        }
        let mut command = self.union.command("apt-cache");
        command.arg("show");
        command.args(plan.installed().map(|package| match package.architecture.as_str() {
            "all" => format!("{}={}", package.name, package.version),
            architecture => format!("{}:{architecture}={}", package.name, package.version),
        }));
        // Sizes are told where they are known: nothing depends on them.
        let sizes = sizes(&answer("show", &mut command).unwrap_or_default());
        for package in plan.installed_mut() {
            let key = (package.name.clone(), package.version.clone(), package.architecture.clone());
            (package.download, package.installed) = sizes.get(&key).copied().unwrap_or_default();
        }
        Ok(plan)
    }

    /// Installs them.
    pub fn install(&self, packages: &[String], step: &Step<'_>) -> Result<()> {
        self.run("install", self.install_command(&["--no-remove"], packages), step)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = self.union.command("apt-get");
        command.args(OPTIONS).arg(what);
        command
    }

    fn install_command(&self, options: &[&str], packages: &[String]) -> Command {
        let mut command = self.command("install");
        command.args(options);
        if !self.recommends {
            command.arg("--no-install-recommends");
        }
        command.arg("--").args(packages);
        command
    }

    /// Runs it to its end, showing what it is at.
    fn run(&self, what: &str, mut command: Command, step: &Step<'_>) -> Result<()> {
        let failed = |error: std::io::Error| Error::new(format!("cannot run apt-get {what}: {error}"));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        // Its ends of the pipe: the last of them ends the reading.
        drop(command);
        let mut tail = VecDeque::new();
        for line in BufReader::new(reader).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if ["Get:", "Unpacking ", "Setting up ", "Processing triggers "]
                .iter()
                .any(|w| line.starts_with(w))
            {
                step.detail(&line);
            }
            tail.push_back(line);
            if tail.len() > TAIL {
                tail.pop_front();
            }
        }
        let status = child.wait().map_err(failed)?;
        // Told, but no reason to fail for apt: lists may be older than they could be.
        if what == "update" {
            let warnings: Vec<String> =
                tail.iter().filter_map(|line| line.strip_prefix("W: ")).map(str::to_owned).collect();
            self.output.warnings("apt-get update", &warnings);
        }
        if status.success() { Ok(()) } else { Err(failure(what, status, &Vec::from(tail))) }
    }
}

/// Runs a command that only tells something.
fn answer(what: &str, command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| Error::new(format!("cannot run apt: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<String> = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    // What cannot be installed is explained on the other stream.
    let told = String::from_utf8_lossy(&output.stdout);
    let why = told.split_once("unmet dependencies:").map(|(_, why)| why).unwrap_or_default();
    let why = why.lines().filter(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
    Err(failure(what, output.status, &why.chain(lines).collect::<Vec<_>>()))
}

fn failure(what: &str, status: ExitStatus, said: &[String]) -> Error {
    let from = said.len().saturating_sub(TAIL);
    let text = said[from..].join("\n  ");
    let error = Error::new(format!("apt failed to {what} ({status}):\n  {text}"));
    if text.contains("No space left on device") || text.contains("enough free space") {
        return error.hint("TMPDIR=DIR names a directory with room, on a disk");
    }
    error
}

/// Bytes to download and on the disk, by name, version and architecture, from what `apt-cache show` tells.
fn sizes(text: &str) -> HashMap<(String, String, String), (u64, u64)> {
    let mut sizes = HashMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name| {
            let value = live::dpkg::field(paragraph.as_bytes(), name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let number = |name| field(name).parse::<u64>().unwrap_or_default();
        let key = (field("Package"), field("Version"), field("Architecture"));
        sizes.insert(key, (number("Size"), number("Installed-Size") << 10));
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_packages() {
        let text = "Package: a\nVersion: 1\nInstalled-Size: 3\nArchitecture: all\nSize: 700\n\nPackage: b\nVersion: 2\n";
        let sizes = sizes(text);
        assert_eq!(sizes[&("a".into(), "1".into(), "all".into())], (700, 3072));
        assert_eq!(sizes[&("b".into(), "2".into(), String::new())], (0, 0));
    }
}
