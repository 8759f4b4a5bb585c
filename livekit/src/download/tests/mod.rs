//! Downloads from servers of this machine that misbehave in every way.

mod answers;
mod secure;
mod server;
mod unreliable;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bundles::{PackOptions, Wanted, source};

use super::address::Address;
use super::digest::Digesting;
use super::proxy::Proxies;
use super::{Client, Digest, Patience, transfer};
use crate::error::{Error, Result};
use crate::output::Output;

/// A bundle of about 900 KiB, which does not get smaller.
fn bundle() -> Vec<u8> {
    static BUNDLE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("usr/share")).unwrap();
        let mut state = 1_u64;
        let noise = (0..900_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        fs::write(root.join("usr/share/noise"), noise.collect::<Vec<u8>>()).unwrap();
        let path = folder.path().join("x.sb");
        let source = source::directory(&root, &mut |_, _| Wanted::Keep).unwrap();
        bundles::pack(source, &path, &PackOptions::default(), &mut |_| {}).unwrap();
        fs::read(path).unwrap()
    };
    BUNDLE.get_or_init(make).clone()
}

/// Waits for what a busy machine takes, and only briefly between attempts.
fn client() -> Client {
    Client {
        patience: Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            silence: Duration::from_secs(10),
            attempts: 3,
            pause: Duration::from_millis(1),
        },
        proxies: Proxies::default(),
        // No name leaves this machine.
        look_up: |host| match host {
            "unknown.test" => Err("no server is known by the name unknown.test".into()),
            "dead.test" => Ok(vec![IpAddr::from([127, 255, 255, 254]), Ipv4Addr::LOCALHOST.into()]),
            _ => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        },
        tls: OnceLock::new(),
    }
}

/// A folder that a download goes to.
struct Target(tempfile::TempDir);

impl Target {
    fn new() -> Self {
        Target(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fetch(&self, client: &Client, url: &str, expected: Option<&Digest>) -> Result<PathBuf> {
        transfer::fetch(client, &Address::parse(url)?, self.path(), expected, &Output::new(true))
    }

    /// A download that succeeds: it is the bundle, by this name, and nothing else is left.
    fn gets(&self, client: &Client, url: &str, name: &str) {
        let path = self.fetch(client, url, None).unwrap();
        assert_eq!(path, self.path().join(name));
        assert!(fs::read(&path).unwrap() == bundle(), "{url}: other bytes");
        assert_eq!(self.names(), [name]);
    }

    /// A download that fails and leaves nothing.
    fn fails(&self, client: &Client, url: &str) -> Error {
        let before = self.names();
        let error = self.fetch(client, url, None).unwrap_err();
        assert_eq!(self.names(), before, "{error}");
        error
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let mut digesting = Digesting::default();
    digesting.add(bytes);
    digesting.finish()
}
