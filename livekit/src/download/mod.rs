//! Bundles from the network: fetched by http:// or https://, examined, and only then under their own name.
//!
//! - [`address`]: what the user typed, taken apart. [`proxy`]: who is asked instead of the server itself.
//! - [`names`], [`dns`]: the server's numbers. [`connect`], [`tls`]: the way to it.
//! - [`http`]: question and answer. [`transfer`]: the attempts. [`coming`]: the file; [`room`]: whether it fits.
//! - [`digest`]: what the user knows of the file beforehand.
//!
//! docs/decisions/0012-download.md has the reasons.

pub mod address;
mod coming;
mod connect;
mod digest;
mod dns;
mod http;
mod names;
mod proxy;
mod room;
mod tls;
mod transfer;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bundles::{Bundle, verify};
use rustls::ClientConfig;

pub use digest::Digest;

use crate::error::{Error, Result, from_chain};
use crate::output::Output;
use address::Address;
use proxy::Proxies;

/// Downloads a bundle into `folder`, under the name that the address or the server gives it, and examines it. With
/// `expected`, a file with another SHA-256 is refused. Returns where it is.
///
/// # Errors
/// The address is none, the server cannot be reached or refuses, the connection breaks again and again, the file does not
/// fit, is there already, has another digest, or is no bundle, or a damaged one. Nothing of it stays then.
pub fn fetch(url: &str, folder: &Path, expected: Option<&Digest>, output: &Output) -> Result<PathBuf> {
    transfer::fetch(&Client::new(), &Address::parse(url)?, folder, expected, output)
}

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a connection to one number of a server.
    connect: Duration,
    /// For the whole head of an answer, and for agreeing on encryption.
    answer: Duration,
    /// For the next bytes of a file; also the span in which some have to come, see [`transfer`].
    silence: Duration,
    /// How often a download is begun, or gone on with, without success.
    attempts: u32,
    /// Before the second attempt; twice as long before each further one.
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// Gives the numbers of a server's name, or says why there are none.
type LookUp = fn(&str) -> std::result::Result<Vec<IpAddr>, String>;

/// What all connections have in common.
struct Client {
    patience: Patience,
    proxies: Proxies,
    look_up: LookUp,
    /// Made when it is needed first: the certificates are hundreds of files on some systems.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Client {
    /// One for this machine and this environment.
    fn new() -> Self {
        Client {
            patience: Patience::default(),
            proxies: Proxies::of(|name| std::env::var(name).ok()),
            look_up: names::look_up,
            tls: OnceLock::new(),
        }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
enum Failure {
    /// Another attempt may succeed, after this time if the server has named one.
    Passing(String, Option<Duration>),
    /// No name server knows the server: final, unless it was known a moment ago.
    Unknown(Error),
    /// It would be the same again.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Examines all of a bundle.
fn examine(file: &Path, output: &Output) -> Result<()> {
    let hint = "what the server sent is no whole bundle; the address may be that of a page about it";
    let bundle = Bundle::open(file).map_err(|e| from_chain(&e).hint(hint))?;
    let mut step = output.step("Verifying it");
    let verified = verify(&bundle, None, &mut |progress| step.bytes(progress.bytes, progress.total_bytes));
    let Some(finding) = verified.findings.first() else {
        step.done(format!("{} files", verified.files));
        return Ok(());
    };
    let place = finding.path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default();
    Err(Error::new(format!("it is damaged: {place}{}", finding.what))
        .hint("try again; if it is damaged then too, it is so on the server"))
}
