//! The program that writes bundles for now: its exclude file, its progress and its messages.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use crate::Error;
use crate::wanted::Choice;

/// What a finished run said.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) status: ExitStatus,
    /// Lines of standard error, in their order.
    pub(crate) messages: Vec<String>,
}

/// Runs mksquashfs; `progress` gets its counts of blocks and files.
///
/// # Errors
/// It is not installed, or cannot be run.
pub(crate) fn run(
    arguments: &[OsString],
    epoch: Option<u64>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Error> {
    let mut command = Command::new("mksquashfs");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Bytes are bytes in the exclude file, and messages are the ones known here.
    command.env("LC_ALL", "C").env_remove("SOURCE_DATE_EPOCH");
    if let Some(epoch) = epoch {
        // Later times of files become this one; earlier ones stay.
        command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    let child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::MksquashfsMissing,
        _ => Error::io("run", "mksquashfs")(e),
    })?;
    watch(child, progress).map_err(Error::io("run", "mksquashfs"))
}

fn watch(mut child: Child, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Report> {
    let errors = child.stderr.take();
    let reader = thread::spawn(move || errors.map_or_else(Vec::new, messages));
    if let Some(output) = child.stdout.take() {
        follow(BufReader::new(output), progress);
    }
    let messages = reader.join().unwrap_or_default();
    Ok(Report { status: child.wait()?, messages })
}

fn messages(errors: impl Read) -> Vec<String> {
    let lines = BufReader::new(errors).split(b'\n').map_while(Result::ok);
    let texts = lines.map(|l| String::from_utf8_lossy(&l).trim().to_owned());
    texts.filter(|t| !t.is_empty()).collect()
}

/// Reads bars like `[====|  ] 600/1200  50%`, separated by carriage returns.
fn follow(output: impl BufRead, progress: &mut dyn FnMut(u64, u64)) {
    let mut last = None;
    for bar in output.split(b'\r').map_while(Result::ok) {
        let counts = parse_bar(&String::from_utf8_lossy(&bar));
        if counts.is_some() && counts != last {
            last = counts;
            let (done, total) = counts.unwrap_or_default();
            progress(done, total);
        }
    }
}

fn parse_bar(bar: &str) -> Option<(u64, u64)> {
    let counts = bar.rsplit_once(']')?.1.split_whitespace().next()?;
    let (done, total) = counts.split_once('/')?;
    let (done, total) = (done.parse().ok()?, total.parse().ok()?);
    (done <= total && total > 0).then_some((done, total))
}

/// The text of an exclude file for `-wildcards`, one pattern a line, that matches what was excluded, everything in the
/// emptied directories, and nothing else.
///
/// Not for its wildcards: without them mksquashfs excludes by inode, and with a file its other hard links.
pub(crate) fn exclude_file(choice: &Choice) -> Vec<u8> {
    let mut text = Vec::new();
    let mut add = |path: &Path, end: &[u8]| {
        // The first backslash of a line only says that no comment begins here.
        text.push(b'\\');
        pattern(path, &mut text);
        text.extend_from_slice(end);
    };
    choice.excluded.iter().for_each(|path| add(path, b"\n"));
    for path in &choice.emptied {
        // A star takes no name that begins with a dot.
        add(path, b"/*\n");
        add(path, b"/.*\n");
    }
    text
}

/// Any byte but a newline means itself behind a backslash. A newline cannot stand in a line: it is the one byte that is
/// none of the others.
fn pattern(path: &Path, text: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\n' => text.extend_from_slice(b"[!\x01-\x09\x0b-\xff]"),
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. => text.push(byte),
            _ => text.extend_from_slice(&[b'\\', byte]),
        }
    }
}

/// Writes the exclude file beside the output.
pub(crate) fn write_exclude_file(choice: &Choice, path: &Path) -> Result<(), Error> {
    let mut file = std::fs::File::create(path).map_err(Error::io("create", path))?;
    file.write_all(&exclude_file(choice)).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn patterns_are_literal() {
        let table: &[(&str, &[u8])] = &[
            ("usr/bin/x", b"\\usr/bin/x\n"),
            ("# a", b"\\\\#\\ a\n"),
            ("... a", b"\\\\.\\.\\.\\ a\n"),
            ("!(a)*[b]?\\", b"\\\\!\\(a\\)\\*\\[b\\]\\?\\\\\n"),
            ("-x", b"\\\\-x\n"),
            ("a\nb", b"\\a[!\x01-\x09\x0b-\xff]b\n"),
            ("é", b"\\\xc3\xa9\n"),
        ];
        for (path, expected) in table {
            let choice = Choice { excluded: vec![PathBuf::from(path)], ..Choice::default() };
            let text = exclude_file(&choice);
            assert_eq!(text, *expected, "{path}: {}", String::from_utf8_lossy(&text));
        }
        let choice = Choice { emptied: vec!["proc".into(), "a*".into()], ..Choice::default() };
        assert_eq!(exclude_file(&choice), b"\\proc/*\n\\proc/.*\n\\a\\*/*\n\\a\\*/.*\n");
    }

    #[test]
    fn progress_bars() {
        let mut seen = Vec::new();
        let output = b"\r[===/   ] 600/1200  50%\r[===-   ] 600/1200  50%\r[=|] 0/0 100%\rnoise\r[=====] 1200/1200 100%\n";
        follow(&output[..], &mut |done, total| seen.push((done, total)));
        assert_eq!(seen, [(600, 1200), (1200, 1200)]);
    }

    #[test]
    fn lines_of_standard_error() {
        assert_eq!(messages(&b"\n one \n\xff\nthree"[..]), ["one", "\u{fffd}", "three"]);
    }
}
