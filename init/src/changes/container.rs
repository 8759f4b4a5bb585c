//! Containers, for sessions on file systems that overlayfs cannot write to.

use std::path::Path;

use live::container::{self, Container, FIRST, ext4};
use live::error::{AtPath, Error, Result};
use live::log;
use live::options::Persistence;
use live::session::Session;
use rustix::fs::statvfs;

use crate::drivers::Drivers;

/// What the kernel needs for a container. A kernel without modules has it built in, or says what it lacks.
const MODULES: [&str; 5] = ["loop", "dm_mod", "crc32c", "crc32c_generic", "ext4"];

/// The smallest container that a system can live with.
const LEAST: u64 = FIRST;

/// Makes the container of a new session.
pub fn create(session: &Session, wanted: &Persistence) -> Result<()> {
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
    container::create(folder, FIRST, |file| ext4::write_template(file, uuid, seed))
}

/// Mounts a session's container at `home`. False if it has none.
pub fn open(session: &Session, home: &str, drivers: &Drivers) -> Result<bool> {
    for module in MODULES {
        drivers.load(module)?;
    }
    let Some(container) = Container::open(&session.folder)? else { return Ok(false) };
    let superblock = ext4::check(container.node(), container.size())?;
    if superblock.has_errors {
        return Err(Error::at(
            "use",
            &session.folder,
            "the kernel found errors in this container when it was last used",
        )
        .hint("it was not changed; perchdir=new starts another session, e2fsck repairs this one"));
    }
    let home = Path::new(home);
    container::mount(container.node(), home)?;
    if superblock.size < container.size() {
        // It was growing when the power went, or has just been made.
        container::fill(home, container.size())?;
    }
    Ok(true)
}
