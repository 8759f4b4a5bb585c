//! What the guest's `cleanup` told: lines `BUNDLE INODE`, and a last one.

use live::layout::TRACE_END;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The bundle's path on the medium.
    pub bundle: String,
    /// The file's number in the bundle.
    pub inode: u32,
}

/// The reads in their order; none if the last line is missing. Lines that are no reads are passed over: firmware or
/// kernel may have used the port as well.
pub fn parse(text: &[u8]) -> Option<Vec<Read>> {
    let text = String::from_utf8_lossy(text);
    let mut reads = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line == TRACE_END {
            return Some(reads);
        }
        reads.extend(read(line));
    }
    None
}

fn read(line: &str) -> Option<Read> {
    let (bundle, inode) = line.rsplit_once(' ')?;
    Some(Read { bundle: bundle.to_owned(), inode: inode.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_port() {
        let read = |bundle: &str, inode| Read { bundle: bundle.into(), inode };
        for (text, reads) in [
            // A serial port has carriage returns.
            (
                &b"kit/00-core.sb 14\r\nkit/modules/a b.sb 940\r\nend\r\n"[..],
                Some(vec![read("kit/00-core.sb", 14), read("kit/modules/a b.sb", 940)]),
            ),
            (b"\xff noise\nkit/x.sb 1\nend\nkit/x.sb 2\n", Some(vec![read("kit/x.sb", 1)])),
            (b"end\n", Some(vec![])),
            (b"kit/00-core.sb 14\r\nkit/00-co", None),
            (b"", None),
        ] {
            assert_eq!(parse(text), reads, "{}", String::from_utf8_lossy(text));
        }
    }
}
