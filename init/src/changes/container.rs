//! Containers, for sessions on file systems that overlayfs cannot write to.

use std::path::Path;

use live::container::{self, Container, FIRST, encrypted, ext4};
use live::error::{AtPath, Error, Result};
use live::ext4::Torn;
use live::log;
use live::luks::Volume;
use live::options::Persistence;
use live::session::Session;
use rustix::fs::statvfs;

use super::passphrase;
use crate::drivers::Drivers;

/// What the kernel needs for a container. A kernel without modules has it built in, or says what it lacks.
const MODULES: [&str; 5] = ["loop", "dm_mod", "crc32c", "crc32c_generic", "ext4"];
/// What it needs for an encrypted one. Which of the ciphers are there depends on the processor.
pub const CIPHERS: [&str; 5] = ["dm_crypt", "aes_generic", "aesni_intel", "ecb", "xts"];

/// The smallest container that a system can live with.
const LEAST: u64 = FIRST;

/// Makes the container of a new session. Gives what it is opened with if it is encrypted.
pub fn create(
    session: &Session,
    wanted: &Persistence,
    encrypt: bool,
    drivers: &Drivers,
) -> Result<Option<Volume>> {
    let folder = &session.folder;
    let stat = statvfs(folder).at("look at", folder)?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < LEAST {
        let what = format!("{} MiB are free, a session needs {}", free >> 20, LEAST >> 20);
        return Err(Error::at("make a container in", folder, what).hint("make room on the medium"));
    }
    if wanted.size.is_some_and(|size| size < LEAST) {
        log::warning(format_args!("perchsize= is too small; the session has {} MiB", LEAST >> 20));
    }
    let (uuid, seed) = (container::random_uuid()?, container::random_uuid()?);
    if !encrypt {
        container::create(folder, FIRST, |file, _| ext4::write_template(file, uuid, seed))?;
        return Ok(None);
    }
    load_ciphers(drivers);
    let passphrase = passphrase::choose(&session.title())?;
    container::create(folder, FIRST, |file, path| {
        encrypted::write(file, path, FIRST, passphrase.bytes(), [uuid, seed])
    })
    .map(Some)
}

/// Loads what encryption needs. What is missing shows in the device that cannot be made.
pub fn load_ciphers(drivers: &Drivers) {
    for module in CIPHERS {
        if let Err(e) = drivers.load(module) {
            log::debug(format_args!("{e}"));
        }
    }
}

/// Mounts a session's container at `home`. `None` if it has none; else where in it the file system begins. The passphrase
/// of an encrypted one is asked for, unless the key is known.
pub fn open(session: &Session, key: Option<Volume>, home: &str, drivers: &Drivers) -> Result<Option<u64>> {
    for module in MODULES {
        drivers.load(module)?;
    }
    let Some(mut container) = Container::open(&session.folder)? else { return Ok(None) };
    if container.is_encrypted() {
        load_ciphers(drivers);
        let key = match key {
            Some(key) => key,
            None => {
                passphrase::unlock(&session.title(), |given| encrypted::find_key(container.node(), given))?
            }
        };
        container.unlock(&key)?;
    }
    if let Some(torn) = Torn::on(container.node())? {
        torn.mend()?;
    }
    let superblock = ext4::check(container.node(), container.room())?;
    if superblock.has_errors() {
        return Err(Error::at(
            "use",
            &session.folder,
            "the kernel found errors in this container when it was last used",
        )
        .hint("it was not changed; perchdir=new starts another session, e2fsck repairs this one"));
    }
    let home = Path::new(home);
    container::mount(container.node(), home)?;
    if superblock.size() < container.room() {
        // It was growing when the power went, or has just been made.
        container::fill(home, container.room())?;
    }
    Ok(Some(container.offset()))
}
