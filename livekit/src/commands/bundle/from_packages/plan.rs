//! What apt would do, before it does.

use crate::error::{Error, Result};

/// A package that apt would install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// The version that is there.
    pub before: Option<String>,
    /// Bytes to download.
    pub download: u64,
    /// Bytes on the disk.
    pub installed: u64,
}

/// Everything that apt would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub new: Vec<Package>,
    pub upgraded: Vec<Package>,
    /// Names.
    pub removed: Vec<String>,
}

impl Plan {
    /// Reads what `apt-get --simulate install` says: `Inst NAME [OLD] (NEW ORIGIN [ARCHITECTURE])`, `Remv NAME [OLD]`.
    pub fn parse(text: &str) -> Self {
        let mut plan = Plan::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("Remv"), Some(name)) => plan.removed.push(name.to_owned()),
                (Some("Inst"), Some(name)) => {
                    let Some(package) = installed(name, line) else { continue };
                    let list = if package.before.is_some() { &mut plan.upgraded } else { &mut plan.new };
                    list.push(package);
                }
                _ => {}
            }
        }
        plan
    }

    /// All that would be installed.
    pub fn installed(&self) -> impl Iterator<Item = &Package> {
        self.new.iter().chain(&self.upgraded)
    }

    /// The same, to fill in sizes.
    pub fn installed_mut(&mut self) -> impl Iterator<Item = &mut Package> {
        self.new.iter_mut().chain(&mut self.upgraded)
    }

    /// Bytes to download, and bytes on the disk.
    pub fn sizes(&self) -> (u64, u64) {
        self.installed().fold((0, 0), |(a, b), package| (a + package.download, b + package.installed))
    }

    /// `3 packages`, `1 package (and 2 upgraded)`.
    pub fn title(&self) -> String {
        let new = self.new.len();
        let plural = if new == 1 { "" } else { "s" };
        match self.upgraded.len() {
            0 => format!("{new} package{plural}"),
            more => format!("{new} package{plural} (and {more} upgraded)"),
        }
    }

    /// Refuses what a bundle cannot do to a system, or ought not.
    pub fn check(&self, upgrade: bool, asked: &[String]) -> Result<()> {
        if !self.removed.is_empty() {
            let text =
                format!("{} cannot be there together with {}", asked.join(" "), self.removed.join(", "));
            let hint = "a bundle does not remove packages: remove them from the system, or choose others";
            return Err(Error::new(text).hint(hint));
        }
        if !upgrade && !self.upgraded.is_empty() {
            let change = |package: &Package| {
                let before = package.before.as_deref().unwrap_or_default();
                format!("{} ({before} to {})", package.name, package.version)
            };
            let list: Vec<String> = self.upgraded.iter().map(change).collect();
            let text = format!("packages of the system would have to be upgraded: {}", list.join(", "));
            let hint = "upgrade the system, or take them into the bundle with --upgrade";
            return Err(Error::new(text).hint(hint));
        }
        if self.installed().next().is_none() {
            let text = format!("nothing is to be installed: the system has {}", asked.join(" "));
            return Err(Error::new(text).hint("--root or --base name another system"));
        }
        Ok(())
    }
}

fn installed(name: &str, line: &str) -> Option<Package> {
    let (before, new) = line.split_once(" (")?;
    let old = before.split_once(" [").and_then(|(_, old)| old.strip_suffix(']'));
    let version = new.split_ascii_whitespace().next()?;
    let architecture = new.rsplit_once('[').and_then(|_| new.split_once('[')?.1.split_once(']'))?.0;
    Some(Package {
        name: name.split(':').next().unwrap_or(name).to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        before: old.map(str::to_owned),
        ..Package::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "NOTE: This is only a simulation!\n\
        Reading package lists...\n\
        Inst libgdbm6 (1.23-3 Debian:12.11/stable [amd64]) []\n\
        Inst libc6 [2.36-9] (2.36-9+deb12u10 Debian:12.11/stable, Debian-Security:12/stable-security [amd64])\n\
        Inst zlib1g:i386 (1:1.2.13 Debian:12.11/stable [i386])\n\
        Inst cowsay (3.03+dfsg2-8 Debian:12.11/stable [all])\n\
        Remv mawk [1.3]\n\
        Conf cowsay (3.03+dfsg2-8 Debian:12.11/stable [all])\n";

    #[test]
    fn what_apt_says() {
        let plan = Plan::parse(SAID);
        let words = |package: &Package| {
            let before = package.before.clone().unwrap_or_default();
            format!("{} {} {} {before}", package.name, package.version, package.architecture)
        };
        assert_eq!(
            plan.new.iter().map(words).collect::<Vec<_>>(),
            ["libgdbm6 1.23-3 amd64 ", "zlib1g 1:1.2.13 i386 ", "cowsay 3.03+dfsg2-8 all ",]
        );
        assert_eq!(
            plan.upgraded.iter().map(words).collect::<Vec<_>>(),
            ["libc6 2.36-9+deb12u10 amd64 2.36-9"]
        );
        assert_eq!(plan.removed, ["mawk"]);
        assert_eq!(plan.title(), "3 packages (and 1 upgraded)");
    }

    #[test]
    fn what_is_refused() {
        let package = |before: Option<&str>| Package {
            name: "x".into(),
            version: "2".into(),
            before: before.map(str::to_owned),
            ..Package::default()
        };
        let (new, upgraded) = (vec![package(None)], vec![package(Some("1"))]);
        let asked = ["x".to_owned()];
        for (plan, upgrade, expected) in [
            (Plan { new: new.clone(), ..Plan::default() }, false, ""),
            (Plan { new: new.clone(), upgraded: upgraded.clone(), removed: vec![] }, false, "x (1 to 2)"),
            (Plan { new: new.clone(), upgraded: upgraded.clone(), removed: vec![] }, true, ""),
            (Plan { new, upgraded, removed: vec!["y".into()] }, true, "x cannot be there together with y"),
            (Plan::default(), true, "nothing is to be installed: the system has x"),
        ] {
            let said = plan.check(upgrade, &asked).map_or_else(|error| error.message(), |()| String::new());
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        }
    }
}
