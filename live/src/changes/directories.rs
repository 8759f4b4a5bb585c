//! Single directories that are kept, in a system whose other changes are in memory.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::copy;
use super::merge::remove;
use crate::cover;
use crate::error::{AtPath, Result};
use crate::layout::SAVED_RAMFS;
use crate::overlay::Overlay;
use crate::session::directories::{Directory, How};
use crate::sys::mount;

/// Where an overlay's own folders are in a directory of the session: as live-boot has them.
const UPPER: &str = "rw";
const WORK: &str = "work";

/// Puts a directory of the session that is mounted at `home` in its place in the system at `root`.
pub fn attach(directory: &Directory, home: &Path, root: &Path) -> Result<()> {
    let target = inside(root, &directory.path)?;
    let source = home.join(&directory.source);
    match directory.how {
        How::Bind => {
            if !source.is_dir() {
                copy_first(&target, &source)?;
            }
            mount::attach(&mount::copy_of(&source, false)?, &target)
        }
        How::Union => {
            let (upper, work) = (source.join(UPPER), source.join(WORK));
            remove(&work)?;
            cover::make_upper(&source, UPPER.as_ref(), &target)?;
            fs::create_dir_all(&work).at("make the directory", &work)?;
            let name = format!("lk:{}", directory.path.display());
            Overlay { source: &name, lowers: from_ref(&target), upper: &upper, work: &work }.at(&target)
        }
        How::Link => {
            fs::create_dir_all(&source).at("make the directory", &source)?;
            let seen = Path::new(SAVED_RAMFS).join(source.strip_prefix("/").unwrap_or(&source));
            link_files(&source, &seen, root, &directory.path)
        }
    }
}

/// The session's directory begins as the system's is. It gets its name when it is complete.
fn copy_first(system: &Path, source: &Path) -> Result<()> {
    let mut partial = source.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    remove(&partial)?;
    if let Some(above) = source.parent() {
        fs::create_dir_all(above).at("make the directory", above)?;
    }
    copy::tree(system, &partial)?;
    rustix::fs::sync();
    fs::rename(&partial, source).at("rename", &partial)
}

/// Links to each file below `source`, which the running system sees as `seen`, from the folder `place` of the system.
fn link_files(source: &Path, seen: &Path, root: &Path, place: &Path) -> Result<()> {
    let mut folder = None;
    for entry in fs::read_dir(source).at("list", source)? {
        let entry = entry.at("list", source)?;
        let (name, kind) = (entry.file_name(), entry.file_type().at("look at", entry.path())?);
        if kind.is_dir() {
            link_files(&entry.path(), &seen.join(&name), root, &place.join(&name))?;
            continue;
        }
        let folder = match &folder {
            Some(folder) => folder,
            None => folder.insert(inside(root, place)?),
        };
        let link = folder.join(&name);
        match fs::remove_file(&link) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).at("replace", &link),
            _ => symlink(seen.join(&name), &link).at("make the link", &link)?,
        }
    }
    Ok(())
}

/// The directory `path` of a system whose root is at `root`, made if it is not there. Links lead to where the system would
/// follow them.
fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let resolve = |path: &Path| {
        let root = fs::File::open(root)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
            .map_err(std::io::Error::from)
            .and_then(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())))
    };
    let mut walked = PathBuf::from("/");
    let mut found = resolve(&walked).at("find", root)?;
    for part in path.components().skip(1) {
        walked.push(part);
        found = match resolve(&walked) {
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                let made = found.join(part);
                fs::create_dir(&made).at("make the directory", &made)?;
                made
            }
            other => other.at("find", &walked)?,
        };
    }
    Ok(found)
}
