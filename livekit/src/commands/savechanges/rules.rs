//! What of the changes goes into a save.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bundles::source::filter::Patterns;
use bundles::{Device, Kind, Node};

use super::left_out::{self, LEFT_OUT};
use super::secrets::{self, SECRETS};
use crate::commands::bundle::from_bundle;
use crate::error::Result;

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is saved.
    Keep,
    /// The user does not want it.
    Excluded,
    /// It is volatile or generated: in which way.
    LeftOut(&'static str),
    /// It is a secret: of which kind.
    Secret(&'static str),
}

/// What a name stands for, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Directory,
    /// A regular file with something in it.
    File,
    Socket,
    /// Empty files, links, devices, pipes, and marks of removed files.
    Other,
}

impl What {
    /// Of what is in a bundle.
    pub fn of(node: &Node) -> Self {
        match node.kind {
            Kind::Directory(_) => What::Directory,
            Kind::File { size, .. } if size > 0 => What::File,
            Kind::Socket => What::Socket,
            _ => What::Other,
        }
    }
}

/// Whether a node is a mark of a removed file.
pub fn is_whiteout(node: &Node) -> bool {
    matches!(node.kind, Kind::CharDevice(Device::WHITEOUT))
}

/// The tables, and what the user wants otherwise.
#[derive(Debug, Clone)]
pub struct Rules {
    exclude: Patterns,
    include: Patterns,
    left_out: Patterns,
    secrets: Patterns,
    with_secrets: bool,
    /// Secrets that are wanted nevertheless, by their whole path.
    wanted_secrets: HashSet<PathBuf>,
}

impl Rules {
    /// `include` takes back in what the table leaves out, and secrets whose whole path it is; `exclude` leaves out more,
    /// and counts more than `include`. Both are patterns in the syntax of .gitignore.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(include: &[String], exclude: &[String], with_secrets: bool) -> Result<Self> {
        let patterns =
            |list: &mut dyn Iterator<Item = &str>| Patterns::new(list).map_err(|error| from_bundle(&error));
        let whole = include.iter().map(|path| PathBuf::from(path.trim_start_matches('/')));
        Ok(Self {
            exclude: patterns(&mut exclude.iter().map(String::as_str))?,
            include: patterns(&mut include.iter().map(String::as_str))?,
            left_out: patterns(&mut LEFT_OUT.iter().map(|(pattern, _)| *pattern))?,
            secrets: patterns(&mut SECRETS.iter().map(|(pattern, _)| *pattern))?,
            with_secrets,
            wanted_secrets: whole.collect(),
        })
    }

    /// Of a relative path.
    pub fn judge(&self, path: &Path, what: What) -> Verdict {
        let is_directory = what == What::Directory;
        let matched = |patterns: &Patterns| patterns.deciding(path, is_directory).is_some_and(|(_, is)| is);
        if matched(&self.exclude) {
            return Verdict::Excluded;
        }
        if !matched(&self.include) {
            if let Some((pattern, true)) = self.left_out.deciding(path, is_directory) {
                return Verdict::LeftOut(left_out::reason(pattern));
            }
            if what == What::Socket {
                return Verdict::LeftOut(left_out::SOCKETS);
            }
        }
        match self.secrets.deciding(path, is_directory) {
            Some((pattern, true)) if what == What::File && self.keeps_back(path) => {
                Verdict::Secret(secrets::kind(pattern))
            }
            _ => Verdict::Keep,
        }
    }

    /// Whether the file of that relative path stays out if it is a secret.
    pub fn keeps_back(&self, path: &Path) -> bool {
        !self.with_secrets && !self.wanted_secrets.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(include: &[&str], exclude: &[&str], with_secrets: bool, path: &str) -> String {
        let list = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
        let rules = Rules::new(&list(include), &list(exclude), with_secrets).unwrap();
        let (path, what) = match path.split_once(' ') {
            Some((path, "whiteout")) => (path, What::Other),
            Some((path, "socket")) => (path, What::Socket),
            _ if path.ends_with('/') => (path.trim_end_matches('/'), What::Directory),
            _ => (path, What::File),
        };
        match rules.judge(Path::new(path), what) {
            Verdict::Keep => "keep",
            Verdict::Excluded => "excluded",
            Verdict::LeftOut(reason) | Verdict::Secret(reason) => reason,
        }
        .to_owned()
    }

    #[test]
    fn the_tables() {
        for (path, expected) in [
            ("etc/hostname", "keep"),
            ("etc/fstab", "made at every boot"),
            ("srv/etc/fstab", "keep"),
            ("tmp/", "temporary files"),
            ("home/me/tmp/x", "keep"),
            ("var/log/nginx/", "keep"),
            ("var/log/nginx/access.log", "logs"),
            ("var/log/journal/0123/", "logs"),
            ("var/log/old whiteout", "logs"),
            ("var/cache/man/", "keep"),
            ("var/cache/man/index.db", "caches"),
            ("home/me/.cache/", "caches"),
            ("home/me/.cache/a/key4.db", "caches"),
            ("var/lib/apt/lists/x", "caches"),
            ("var/lib/dpkg/status", "dpkg's whole databases"),
            ("var/lib/dpkg/triggers/File", "dpkg's whole databases"),
            ("var/lib/dpkg/info/a.list", "keep"),
            ("var/lib/dpkg/alternatives/vi", "keep"),
            ("usr/share/livekit/dpkg/status", "keep"),
            ("var/lib/dpkg/status-old", "generated files"),
            ("usr/lib/modules/6.1/modules.dep.bin", "generated files"),
            ("lib/modules/6.1/modules.alias", "generated files"),
            ("usr/lib/modules/6.1/modules.order", "keep"),
            ("usr/lib/modules/6.1/extra/x.ko", "keep"),
            ("usr/lib/python3/__pycache__/x.pyc", "generated files"),
            ("home/me/.local/share/Trash/files/x", "deleted already"),
            ("home/me/project/Cargo.lock", "keep"),
            ("root/changes-20261126-184501.sb", "earlier saves"),
            ("root/changes-mine.sb", "keep"),
            ("home/me/s socket", "sockets"),
            ("etc/shadow", "password hashes"),
            ("etc/shadow whiteout", "keep"),
            ("etc/passwd", "keep"),
            ("etc/ssh/ssh_host_rsa_key", "private key"),
            ("etc/ssh/ssh_host_rsa_key.pub", "keep"),
            ("root/.ssh/", "keep"),
            ("root/.ssh/id_ed25519", "private key"),
            ("home/me/.ssh/id_ed25519.pub", "keep"),
            ("home/me/.ssh/known_hosts", "keep"),
            ("home/me/.gnupg/private-keys-v1.d/", "keep"),
            ("home/me/.gnupg/private-keys-v1.d/A.key", "private key"),
            ("home/me/.gnupg/pubring.kbx", "keep"),
            ("etc/NetworkManager/system-connections/home.nmconnection", "network passwords"),
            ("home/me/.mozilla/firefox/x.default/cookies.sqlite-wal", "cookies"),
            ("home/me/.config/chromium/Default/Cookies", "cookies"),
            ("home/me/.config/chromium/Default/Login Data", "saved passwords"),
            ("root/.bash_history", "history"),
            ("home/me/.python_history", "history"),
            ("etc/machine-id", "machine id"),
            ("var/lib/systemd/random-seed", "random seed"),
            ("home/me/.aws/credentials", "credentials"),
            ("home/me/.aws/config", "keep"),
        ] {
            assert_eq!(judged(&[], &[], false, path), expected, "{path}");
        }
    }

    #[test]
    fn what_the_user_wants_otherwise() {
        for (include, exclude, with_secrets, path, expected) in [
            (&["/var/cache/apt"][..], &[][..], false, "var/cache/apt/x", "keep"),
            (&["/var/cache/apt/x"], &[], false, "var/cache/apt/x", "keep"),
            (&["/var/cache/apt/x"], &[], false, "var/cache/apt/y", "caches"),
            (&["/tmp/**"], &["*.o"], false, "tmp/a.o", "excluded"),
            (&["/tmp/**"], &["*.o"], false, "tmp/a.c", "keep"),
            (&[], &["/home/*", "!/home/me"], false, "home/you/x", "excluded"),
            (&[], &["/home/*", "!/home/me"], false, "home/me/x", "keep"),
            (&["/etc/**"], &[], false, "etc/shadow", "password hashes"),
            (&["/etc/shadow"], &[], false, "etc/shadow", "keep"),
            (&["/etc/shadow"], &[], false, "etc/gshadow", "password hashes"),
            (&[], &[], true, "etc/shadow", "keep"),
            (&[], &[], true, "etc/fstab", "made at every boot"),
            (&[], &["/etc/shadow"], true, "etc/shadow", "excluded"),
            (&["/home/me/s"], &[], false, "home/me/s socket", "keep"),
        ] {
            assert_eq!(
                judged(include, exclude, with_secrets, path),
                expected,
                "{path} {include:?} {exclude:?}"
            );
        }
    }
}
