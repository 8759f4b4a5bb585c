//! To RAM: the bundles copied to memory, so that the medium can be taken away.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use live::error::{AtPath, Error, Result};
use live::layout;
use live::log;
use live::options::BootOptions;
use live::session::Current;
use live::sys::mount::{self, Mount};

use crate::medium::{Medium, disks::are_on_one_disk};
use crate::selection::Selection;

/// Memory the running system needs beside the copy, at the least.
const LEAVE_FREE: u64 = 64 << 20;

/// With `toram`: copies the bundles of this boot, and rootcopy/, to memory and unmounts the medium. Where memory is too small
/// for that, says so and goes on from the medium.
pub fn copy_if_asked(
    medium: Medium,
    bundles: Selection,
    options: &BootOptions,
) -> Result<(Medium, Selection)> {
    if !options.to_ram {
        return Ok((medium, bundles));
    }
    let rootcopy = medium.live_folder.join("rootcopy");
    let mut needed = if rootcopy.is_dir() { size_below(&rootcopy)? } else { 0 };
    for file in bundles.files() {
        needed += fs::metadata(file).at("look at", file)?.len();
    }
    let available = available_memory()?;
    if let Some(refusal) = too_large(needed, available) {
        log::warning(format_args!("toram: {refusal}; going on from the medium, leave it in"));
        return Ok((medium, bundles));
    }
    let gathered = Path::new(layout::TO_RAM);
    fs::create_dir_all(gathered).at("make the directory", gathered)?;
    let size = needed + (needed / 64) + (1 << 20);
    Mount::new("tmpfs", "lk:toram").set("mode", "0755").set("size", &size.to_string()).at(gathered)?;
    let name = medium.live_folder.file_name().unwrap_or_default();
    let copy = gathered.join(name);
    fs::create_dir_all(&copy).at("make the directory", &copy)?;

    let mut progress = Progress::new(needed);
    let copied = bundles.moved_to(&copy);
    for (from, to) in bundles.files().iter().zip(copied.files()) {
        copy_file(from, to, &mut progress)?;
    }
    if rootcopy.is_dir() {
        crate::finish::copy_tree(&rootcopy, &copy.join("rootcopy"))?;
    }
    copy_ids(&medium.live_folder, &copy)?;
    log::to_console(format_args!("\n"));
    release(&medium)?;
    mount::move_to(gathered, layout::MEDIUM)?;
    let keeps_changes = Current::read(layout::SESSION_FILE.as_ref())
        .is_some_and(|session| are_on_one_disk(&session.device, &medium.device));
    let advice = if keeps_changes {
        "leave the medium in, it keeps the changes"
    } else {
        "the medium can be taken away"
    };
    log::warning(format_args!("toram: {} MiB are in memory, {advice}", needed >> 20));
    let live_folder = Path::new(layout::MEDIUM).join(name);
    let bundles = copied.moved_to(&live_folder);
    Ok((Medium { live_folder, ..medium }, bundles))
}

/// Unmounts the medium, and its carrier if it is an ISO file.
fn release(medium: &Medium) -> Result<()> {
    mount::unmount(layout::MEDIUM).at("unmount", layout::MEDIUM)?;
    if medium.is_iso_file {
        mount::unmount(layout::CARRIER).at("unmount", layout::CARRIER)?;
    }
    Ok(())
}

/// The reason why a copy of that many bytes should not be tried.
fn too_large(needed: u64, available: u64) -> Option<String> {
    (needed + LEAVE_FREE > available).then(|| {
        let (needed, available, spare) = (needed >> 20, available >> 20, LEAVE_FREE >> 20);
        format!("the copy needs {needed} MiB and the system {spare}, {available} MiB of memory are free")
    })
}

fn available_memory() -> Result<u64> {
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).at("read", path)?;
    parse_available(&text).ok_or_else(|| Error::at("find MemAvailable in", path, "it is not there"))
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn size_below(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        let about = fs::symlink_metadata(&path).at("look at", &path)?;
        // A page for every name, as tmpfs takes.
        size += if about.is_dir() { size_below(&path)? } else { about.len() } + 4096;
    }
    Ok(size)
}

fn copy_file(from: &Path, to: &Path, progress: &mut Progress) -> Result<()> {
    let mut input = File::open(from).at("open", from)?;
    let mut output = File::create(to).at("create", to)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = input.read(&mut buffer).at("read", from)?;
        if length == 0 {
            return Ok(());
        }
        output.write_all(&buffer[..length]).at("write", to)?;
        progress.add(length as u64);
    }
}

/// The files that name the builds a live folder belongs to.
fn copy_ids(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).at("list", from)?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "id") {
            fs::copy(entry.path(), to.join(entry.file_name())).at("copy", entry.path())?;
        }
    }
    Ok(())
}

/// Tells how far the copy is, on the console, where the user waits for it.
struct Progress {
    started: Instant,
    total: u64,
    done: u64,
    told: u64,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self { started: Instant::now(), total, done: 0, told: u64::MAX }
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let percent = self.done * 100 / self.total.max(1);
        if percent != self.told {
            self.told = percent;
            let left =
                self.started.elapsed().as_secs() * (self.total.saturating_sub(self.done)) / self.done.max(1);
            let (done, total) = (self.done >> 20, self.total >> 20);
            log::to_console(format_args!(
                "\rcopying to RAM: {done} of {total} MiB, {percent} %, {left} s left  "
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_decides() {
        assert_eq!(too_large(100 << 20, 200 << 20), None);
        let refusal = too_large(180 << 20, 200 << 20).unwrap();
        assert_eq!(refusal, "the copy needs 180 MiB and the system 64, 200 MiB of memory are free");
    }

    #[test]
    fn reads_meminfo() {
        assert_eq!(parse_available("MemTotal: 9 kB\nMemAvailable:     2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_available("MemTotal: 9 kB\n"), None);
    }
}
