//! `livekit.trace=`: tells a device which files of the bundles were read, the first one first.
//!
//! The kernel has recorded it, from its own start on: with `trace_event=filemap:mm_filemap_add_to_page_cache` every page
//! that comes into the page cache leaves a line in tracefs. Pages of the union's files belong to the layer they are from,
//! so the device is a bundle's loop device and the inode number is one of the bundle.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use live::error::{AtPath, Result};
use live::layout::{BUNDLE_SUFFIX, MEDIUM, TRACE_END};
use live::log;
use live::sys::loop_device;
use live::sys::mount::Mount;
use rustix::fs::OFlags;

/// Where tracefs belongs. It stays mounted, as all of the kernel's file systems.
const TRACING: &str = "/sys/kernel/tracing";

/// What the kernel prints before the fields of the event (include/trace/events/filemap.h).
const EVENT: &str = ": mm_filemap_add_to_page_cache: ";

/// Writes what was read to `port`. Done while the bundles are still attached; nothing depends on it.
pub fn report(port: &str) {
    match send(Path::new(port)) {
        Ok(count) => log::info(format_args!("told {port} the first reads of {count} files")),
        Err(e) => log::warning(format_args!("livekit.trace=: {e}")),
    }
}

fn send(port: &Path) -> Result<usize> {
    let bundles = bundles();
    let trace = Path::new(TRACING).join("trace");
    if !trace.exists() {
        Mount::new("tracefs", "tracefs").at(TRACING)?;
    }
    let lines = BufReader::new(File::open(&trace).at("open", &trace)?);
    // Process 1 would get the port as its terminal.
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let out = OpenOptions::new().write(true).custom_flags(flags).open(port).at("open", port)?;
    copy(lines, &bundles, BufWriter::new(out)).at(&format!("copy {} to", trace.display()), port)
}

/// Device numbers as the trace has them (`7:0`), with the bundle's path on the medium.
fn bundles() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (node, file) in loop_device::attached() {
        let Some(name) = node.file_name() else { continue };
        let device = fs::read_to_string(Path::new("/sys/block").join(name).join("dev"));
        if let (Ok(device), Some(bundle)) = (device, on_medium(&file)) {
            found.push((device.trim().to_owned(), bundle.to_owned()));
        }
    }
    found
}

/// The path on the medium of a loop device's file, which is seen from whatever root this process has.
fn on_medium(file: &str) -> Option<&str> {
    let (_, path) = file.split_once(MEDIUM)?;
    path.strip_prefix('/').filter(|path| path.ends_with(BUNDLE_SUFFIX))
}

/// Writes `BUNDLE INODE` for each file at its first line in the trace, then the end's mark. Gives the number of files.
fn copy(mut trace: impl BufRead, bundles: &[(String, String)], mut out: impl Write) -> io::Result<usize> {
    let mut seen = HashSet::new();
    let mut line = Vec::new();
    // A program's name may be any bytes.
    while trace.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if let Some((device, inode)) = event(&text)
            && let Some(index) = bundles.iter().position(|(number, _)| number == device)
            && seen.insert((index, inode))
        {
            writeln!(out, "{} {inode}", bundles[index].1)?;
        }
        line.clear();
    }
    writeln!(out, "{TRACE_END}")?;
    out.flush()?;
    Ok(seen.len())
}

/// Device and inode number of a line of the trace; inode numbers are hexadecimal there.
fn event(line: &str) -> Option<(&str, u64)> {
    let (_, fields) = line.rsplit_once(EVENT)?;
    let mut words = fields.split_ascii_whitespace();
    let mut field = |name: &str| (words.next()? == name).then(|| words.next()).flatten();
    let device = field("dev")?;
    let inode = u64::from_str_radix(field("ino")?, 16).ok()?;
    Some((device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of Debian's kernels 6.1.192 and 6.12.117, and names that programs may give themselves.
    const TRACE: &[u8] = b"# tracer: nop\n#\n# entries-in-buffer/entries-written: 9/9   #P:1\n#\n\
        #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n\
        #              | |         |   |||||     |         |\n\
                      sh-1       [000] .....     2.865806: mm_filemap_add_to_page_cache: dev 0:3 ino b00000 pfn=0x309a ofs=0 order=0\n\
                      sh-1       [000] .....     3.011850: mm_filemap_add_to_page_cache: dev 7:0 ino e pfn=0x1f6fb ofs=0 order=0\n\
                      sh-1       [000] .....     3.012274: mm_filemap_add_to_page_cache: dev 7:0 ino 3ac pfn=0x1f6f9 ofs=0 order=0\n\
                      sh-1       [001] d....     3.028983: mm_filemap_add_to_page_cache: dev 7:1 ino e pfn=0x2ee1 ofs=0 order=2\n\
                      sh-1       [000] .....     3.060110: mm_filemap_add_to_page_cache: dev 7:0 ino e pfn=0x6877 ofs=4096 order=0\n\
         \xffx: y dev 7:1-77      [000] .....     3.060116: mm_filemap_add_to_page_cache: dev 7:1 ino 1 pfn=0x6878 ofs=0 order=0\n\
                      sh-1       [000] .....     3.060200: mm_filemap_delete_from_page_cache: dev 7:1 ino 2 pfn=0x1 ofs=0 order=0\n\
                      sh-1       [000] .....     3.060201: mm_filemap_add_to_page_cache: dev 11:0 ino 740 pfn=0x1 ofs=0 order=0\n\
                   <...>-1       [000] .....     3.060202: mm_filemap_add_to_page_cache: dev 7:0 ino";

    #[test]
    fn first_reads_in_their_order() {
        let bundles = [("7:0", "livekit/00-core.sb"), ("7:1", "livekit/modules/a b.sb")]
            .map(|(device, bundle)| (device.to_owned(), bundle.to_owned()));
        let mut out = Vec::new();
        assert_eq!(copy(TRACE, &bundles, &mut out).unwrap(), 4);
        let expected = "livekit/00-core.sb 14\nlivekit/00-core.sb 940\nlivekit/modules/a b.sb 14\n\
            livekit/modules/a b.sb 1\nend\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn bundles_are_those_of_the_medium() {
        for (file, bundle) in [
            ("/memory/data/livekit/00-core.sb", Some("livekit/00-core.sb")),
            ("/run/initramfs/memory/data/livekit/modules/x.sb", Some("livekit/modules/x.sb")),
            ("/oldroot/run/initramfs/memory/data/livekit/x.sb", Some("livekit/x.sb")),
            ("/memory/data/disk.img", None),
            ("/root/other.sb", None),
            ("/memory/database/x.sb", None),
        ] {
            assert_eq!(on_medium(file), bundle, "{file}");
        }
    }
}
