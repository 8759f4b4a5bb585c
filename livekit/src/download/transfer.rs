//! A file comes, in as many attempts as it takes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bundles::BundleName;

use super::address::{Address, safe_name};
use super::coming::{Coming, Version};
use super::digest::Digest;
use super::http::{self, Head, Response};
use super::room::{Room, too_little};
use super::{Client, Failure};
use crate::error::{Error, Result};
use crate::output::{Output, Step, size};

/// Bytes that have to come within the time of a silence: less is no better than nothing.
const SLOWEST: u64 = 4 << 10;

/// Bytes after which failed attempts are forgotten.
const PROGRESS: u64 = 1 << 20;

/// Bytes between two looks whether there is still room.
const STRETCH: u64 = 8 << 20;

/// Downloads a bundle.
pub fn fetch(
    client: &Client,
    address: &Address,
    folder: &Path,
    expected: Option<&Digest>,
    output: &Output,
) -> Result<PathBuf> {
    let mut transfer = Transfer { client, address, folder, coming: None, most: 0 };
    let fetched = transfer.fetch(output);
    let done = fetched.and_then(|()| {
        let coming = transfer.coming.take().ok_or_else(|| Error::new("nothing came"))?;
        coming.finish(folder, expected, output)
    });
    done.map_err(|e| e.doing(format!("cannot download {address}")))
}

struct Transfer<'a> {
    client: &'a Client,
    address: &'a Address,
    folder: &'a Path,
    coming: Option<Coming>,
    /// The most bytes there ever were.
    most: u64,
}

impl Transfer<'_> {
    fn fetch(&mut self, output: &Output) -> Result<()> {
        let mut step = output.step(format!("Downloading {}", self.address));
        let (mut failures, mut mark) = (0, 0);
        loop {
            let (why, wait) = match self.attempt(&mut step) {
                Ok(()) => break,
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unknown(error)) if self.most == 0 => return Err(error),
                Err(Failure::Unknown(error)) => (error.message(), None),
                Err(Failure::Passing(why, wait)) => (why, wait),
            };
            if self.most >= mark + PROGRESS {
                (failures, mark) = (0, self.most);
            }
            failures += 1;
            if failures >= self.client.patience.attempts {
                let attempts = self.client.patience.attempts;
                return Err(Error::new(format!("{why}; given up after {attempts} attempts"))
                    .hint("try again later, or from another server"));
            }
            let pause = (self.client.patience.pause * 2_u32.pow(failures - 1)).max(wait.unwrap_or_default());
            output.status(format!("{why}; trying again in {} s", pause.as_secs_f64().round()));
            sleep(pause);
        }
        let seconds = step.seconds();
        step.done(rate(self.coming.as_ref().map_or(0, |coming| coming.length), seconds));
        Ok(())
    }

    /// Asks for what is missing and takes what comes.
    fn attempt(&mut self, step: &mut Step) -> Result<(), Failure> {
        let rest = self.coming.as_ref().and_then(Coming::rest);
        let response = http::get(self.client, self.address, rest.as_ref())?;
        match (response.head.status, &rest) {
            (200, _) => self.begin(&response)?,
            (206, Some(_)) => {
                let coming = self.coming.as_mut().filter(|coming| coming.goes_on_with(&response.head));
                if coming.is_none() {
                    return Err(self.changed());
                }
            }
            (416, Some(_)) => return Err(self.changed()),
            _ => return Err(refused(&response.head)),
        }
        self.take(response, step)
    }

    /// What is there is of another file than what the server has now.
    fn changed(&mut self) -> Failure {
        if let Some(coming) = &mut self.coming {
            coming.forget_version();
        }
        Failure::Passing("the file on the server has changed meanwhile".into(), None)
    }

    /// A file comes from its beginning.
    fn begin(&mut self, response: &Response) -> Result<()> {
        let (version, total) = (Version::of(&response.head), response.body.announced());
        let room = Room::in_folder(self.folder);
        let there = self.coming.as_ref().map_or(0, |coming| coming.length);
        if let (Some(needed), Some(room)) = (total, room)
            && needed > room.free.saturating_add(there)
        {
            return Err(too_little(self.folder, total, Some(room)));
        }
        match &mut self.coming {
            Some(coming) => coming.restart(version, total),
            none => {
                let name = name(self.address, response).ok_or_else(|| {
                    Error::new("neither the address nor the server gives it the name of a bundle")
                        .hint("such a name ends in .sb: download it with another program and rename it")
                })?;
                *none = Some(Coming::new(self.folder, &name, version, total)?);
                Ok(())
            }
        }
    }

    fn take(&mut self, mut response: Response, step: &mut Step) -> Result<(), Failure> {
        let Some(coming) = &mut self.coming else { return Ok(()) };
        let mut buffer = vec![0; 256 << 10];
        let silence = self.client.patience.silence;
        let (mut since, mut came, mut stretch) = (Instant::now(), 0, 0);
        loop {
            if came == 0 {
                // What lies between chunks could come by single bytes as well, where they are not counted.
                response.body.limit(2 * silence);
            }
            let read =
                response.body.read(&mut buffer).map_err(|e| interrupted(&e, coming.length, silence))?;
            if read == 0 {
                return Ok(());
            }
            coming.write(&buffer[..read], self.folder)?;
            self.most = self.most.max(coming.length);
            step.transfer(coming.length, coming.total);
            came += read as u64;
            stretch += read as u64;
            if stretch >= STRETCH {
                stretch = 0;
                still_fits(self.folder, coming)?;
            }
            if since.elapsed() >= silence {
                if came < SLOWEST {
                    let why = format!("only {} came within {} s", size(came), silence.as_secs());
                    return Err(Failure::Passing(why, None));
                }
                (since, came) = (Instant::now(), 0);
            }
        }
    }
}

/// Something else may have filled the disk or memory meanwhile, and some servers do not say how long a file is.
fn still_fits(folder: &Path, coming: &Coming) -> Result<()> {
    let left = coming.total.map_or(STRETCH, |total| total.saturating_sub(coming.length));
    match Room::in_folder(folder) {
        Some(room) if room.free < left.min(STRETCH) => Err(too_little(folder, coming.total, Some(room))),
        _ => Ok(()),
    }
}

/// The name of a bundle: what the user typed, what the server calls it, or where the server has sent us.
fn name(address: &Address, response: &Response) -> Option<String> {
    let named = response.head.get("content-disposition").and_then(disposition);
    let names = [address.file_name(), named, response.address.file_name()];
    names.into_iter().flatten().find(|name| BundleName::parse(name).is_some())
}

/// The plain `filename` of RFC 6266: a word, or a text in quotation marks without escapes.
fn disposition(value: &str) -> Option<String> {
    let mut parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("filename"))?;
    let value = value.trim();
    let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    if value.contains(['"', '\\', '/']) { None } else { safe_name(value) }
}

/// What a status means that brings no file.
fn refused(head: &Head) -> Failure {
    let shown = head.shown();
    let error = |text: String, hint: &str| Failure::Final(Error::new(text).hint(hint));
    match head.status {
        401 => error(
            format!("the server wants a name and a password ({shown})"),
            "https://NAME:PASSWORD@SERVER/… gives them; were they right?",
        ),
        403 => error(format!("the server does not let us have it ({shown})"), "is the address right?"),
        404 | 410 => error(format!("there is no such file on the server ({shown})"), "is the address right?"),
        408 | 425 | 429 | 500 | 502..=504 => {
            Failure::Passing(format!("the server answered {shown}"), head.wait())
        }
        _ => Failure::Final(Error::new(format!("the server answered {shown}"))),
    }
}

/// A body that did not come to its end.
fn interrupted(error: &io::Error, length: u64, silence: Duration) -> Failure {
    let after = size(length);
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("nothing came for {} s after {after}", silence.as_secs())
        }
        io::ErrorKind::UnexpectedEof => format!("the connection ended after {after}, too early"),
        _ => format!("the connection broke after {after}: {error}"),
    };
    Failure::Passing(why, None)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shown"
)]
fn rate(bytes: u64, seconds: f64) -> String {
    format!("{}, {}/s", size(bytes), size((bytes as f64 / seconds.max(0.001)) as u64))
}

#[cfg(test)]
mod decisions {
    use super::*;

    #[test]
    fn names_by_the_server() {
        for (value, expected) in [
            ("attachment; filename=a.sb", Some("a.sb")),
            ("attachment; FileName=\"a b.sb\"; size=5", Some("a b.sb")),
            ("attachment; filename*=UTF-8''a.sb", None),
            ("attachment; filename=\"../a.sb\"", None),
            ("attachment; filename=\"a\\\"b.sb\"", None),
            ("attachment; filename=\"a", None),
            ("attachment", None),
        ] {
            assert_eq!(disposition(value).as_deref(), expected, "{value}");
        }
    }
}
