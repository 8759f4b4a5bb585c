//! What Debian's package manager says of a root: which packages there are, and which paths are theirs.
//!
//! Formats: dpkg(1), deb-control(5) for the status file, dpkg-divert(1); the lists in `info/` have a path on each line.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::root::resolve;

const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const DIVERSIONS: &str = "var/lib/dpkg/diversions";

/// A package that left something on the root: installed, or its configuration alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    pub name: String,
    pub architecture: String,
}

impl Package {
    /// `libc6:amd64`.
    pub fn qualified(&self) -> String {
        format!("{}:{}", self.name, self.architecture)
    }
}

/// The database of a root.
#[derive(Debug)]
pub struct Dpkg {
    root: PathBuf,
    /// By name.
    pub packages: Vec<Package>,
    /// Where files of others went that lay where a package wanted its own: by the first place, the second and who.
    diversions: HashMap<PathBuf, (PathBuf, String)>,
}

impl Dpkg {
    /// Reads the database of `root`; none if it has none.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let Some(status) = resolve(root, Path::new(STATUS)) else { return Ok(None) };
        let status = fs::read(&status).at("read dpkg's database", &status)?;
        let diversions = match resolve(root, Path::new(DIVERSIONS)) {
            Some(path) => fs::read(&path).at("read dpkg's diversions", &path)?,
            None => Vec::new(),
        };
        let (packages, diversions) = (packages(&status), parse_diversions(&diversions));
        Ok(Some(Dpkg { root: root.to_owned(), packages, diversions }))
    }

    /// The paths of `package` as its list has them, absolute; none if the list is missing.
    pub fn list(&self, package: &Package) -> Result<Option<Vec<PathBuf>>> {
        let names = [format!("{}.list", package.qualified()), format!("{}.list", package.name)];
        let found = names.iter().find_map(|name| resolve(&self.root, &Path::new(INFO).join(name)));
        let Some(path) = found else { return Ok(None) };
        Ok(Some(lines(&fs::read(&path).at("read the package list", &path)?).map(Path::to_owned).collect()))
    }

    /// Where the file lies that `package` has at `path`.
    pub fn diverted<'a>(&'a self, package: &Package, path: &'a Path) -> &'a Path {
        match self.diversions.get(path) {
            Some((to, by)) if *by != package.name => to,
            _ => path,
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &Path> {
    let filled = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    filled.map(|line| Path::new(OsStr::from_bytes(line)))
}

/// The packages of a status file: paragraphs of `Field: value`, continued on lines that begin with a space.
fn packages(status: &[u8]) -> Vec<Package> {
    let mut packages = Vec::new();
    let (mut name, mut architecture, mut there) = (String::new(), String::new(), false);
    for line in status.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        let line = String::from_utf8_lossy(line);
        if line.trim().is_empty() {
            let package = Package { name: name.split_off(0), architecture: architecture.split_off(0) };
            if there && !package.name.is_empty() {
                packages.push(package);
            }
            there = false;
        } else if let Some((field, value)) = line.split_once(':') {
            match field {
                "Package" => value.trim().clone_into(&mut name),
                "Architecture" => value.trim().clone_into(&mut architecture),
                "Status" => there = !value.trim().ends_with("not-installed"),
                _ => {}
            }
        }
    }
    packages.sort();
    packages
}

/// Three lines each: from, to, and the package whose own file stays at the first; `:` for the administrator.
fn parse_diversions(text: &[u8]) -> HashMap<PathBuf, (PathBuf, String)> {
    let lines: Vec<&Path> = lines(text).collect();
    let entry = |entry: &[&Path]| {
        let by = entry[2].to_string_lossy().into_owned();
        (entry[0].to_owned(), (entry[1].to_owned(), by))
    };
    lines.chunks_exact(3).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_that_are_there() {
        let status = b"Package: vim\nStatus: install ok installed\nArchitecture: amd64\nConffiles:\n /etc/vim/vimrc 0\n\
            Description: Package: editor\n Status: none\n\n\
            Package: gone\nStatus: deinstall ok not-installed\nArchitecture: all\n\n\
            Package: bash\nArchitecture: amd64\nStatus: deinstall ok config-files\n\n\n\
            Status: install ok installed\nPackage: libc6\nArchitecture: i386";
        let found: Vec<String> = packages(status).iter().map(Package::qualified).collect();
        assert_eq!(found, ["bash:amd64", "libc6:i386", "vim:amd64"]);
        assert!(packages(b"").is_empty());
    }

    #[test]
    fn diversions_spare_who_asked_for_them() {
        let text = b"/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/x\n/usr/bin/x.mine\n:\nrest\n";
        let dpkg = Dpkg { root: "/".into(), packages: Vec::new(), diversions: parse_diversions(text) };
        for (package, path, lies) in [
            ("dash", "/bin/sh", "/bin/sh"),
            ("bash", "/bin/sh", "/bin/sh.distrib"),
            ("bash", "/bin/bash", "/bin/bash"),
            ("x", "/usr/bin/x", "/usr/bin/x.mine"),
        ] {
            let package = Package { name: package.to_owned(), architecture: "all".to_owned() };
            assert_eq!(dpkg.diverted(&package, Path::new(path)), Path::new(lies), "{path}");
        }
    }
}
