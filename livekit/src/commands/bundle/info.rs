//! `livekit bundle info`.

use std::io::{self, Write};
use std::path::Path;

use bundles::{Bundle, Superblock};
use serde_json::{Value, json};

use super::from_bundle;
use super::summary::{Summary, compressor};
use crate::cli::bundle::Info;
use crate::error::Result;
use crate::output::{Output, Stopped, ratio, shown, size};
use crate::utc;

/// Says what each bundle is.
pub fn info(flags: &Info, output: &Output) -> Result<()> {
    output.answers(|out| {
        for (n, path) in flags.bundles.iter().enumerate() {
            let facts = Facts::of(path)?;
            if flags.json {
                writeln!(out, "{}", facts.json())?;
            } else {
                if n > 0 {
                    writeln!(out)?;
                }
                facts.text(out)?;
            }
        }
        Ok::<(), Stopped>(())
    })
}

/// All that is said.
struct Facts<'a> {
    path: &'a Path,
    superblock: Superblock,
    compressor: String,
    summary: Summary,
}

impl<'a> Facts<'a> {
    fn of(path: &'a Path) -> Result<Self> {
        let bundle = Bundle::open(path).map_err(|error| from_bundle(&error))?;
        let superblock = *bundle.superblock();
        let options = bundle.compressor_options().map_err(|error| from_bundle(&error))?;
        let summary = Summary::of(&bundle).map_err(|error| from_bundle(&error))?;
        Ok(Facts {
            path,
            superblock,
            compressor: compressor(superblock.compression, options.as_deref()),
            summary,
        })
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (superblock, summary) = (&self.superblock, &self.summary);
        out.write_all(&shown(self.path.as_os_str()))?;
        writeln!(out)?;
        let mut line = |name: &str, text: String| writeln!(out, "  {name:<12}{text}");
        line("compressed", format!("{}, blocks of {} KiB", self.compressor, superblock.block_size >> 10))?;
        line("made", format!("{} UTC", utc::minute(superblock.made.into())))?;
        let (used, bytes) = (superblock.bytes_used, summary.bytes);
        line("size", format!("{} of {}, {}", size(used), size(bytes), ratio(used, bytes)))?;
        let kinds: Vec<String> = summary.kinds.iter().map(|(kind, n)| counted(*n, kind)).collect();
        line("holds", kinds.join(", "))?;
        let (files, names) = summary.hard_links;
        if files > 0 {
            line("hard links", format!("{} with {names} names", counted(files, "file")))?;
        }
        let (files, bytes) = summary.duplicates;
        if files > 0 {
            line("duplicates", format!("{}, {} not stored again", counted(files, "file"), size(bytes)))?;
        }
        if summary.holes > 0 {
            line("holes", format!("{} of zeros not stored", size(summary.holes)))?;
        }
        if summary.with_xattrs > 0 {
            let names: Vec<&str> = summary.xattrs.iter().map(String::as_str).collect();
            line(
                "attributes",
                format!("{} with {}", counted(summary.with_xattrs, "file"), names.join(", ")),
            )?;
        }
        let hidden = summary.count("whiteout");
        if hidden + summary.opaque > 0 {
            let opaque = counted(summary.opaque, "opaque directory");
            line("overlay", format!("hides {}, {opaque}", counted(hidden, "name")))?;
        }
        if summary.aufs > 0 {
            let names = counted(summary.aufs, "name");
            line("aufs", format!("{names} of aufs: translate with `livekit bundle convert`"))?;
        }
        for (n, (path, bytes)) in summary.largest.iter().enumerate() {
            let name = if n == 0 { "largest" } else { "" };
            line(name, format!("{:>10}  {}", size(*bytes), path.replace(char::is_control, "?")))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let (superblock, summary) = (&self.superblock, &self.summary);
        let (used, bytes) = (superblock.bytes_used, summary.bytes);
        #[expect(clippy::cast_precision_loss, reason = "a ratio of four digits")]
        let ratio = (bytes > 0).then(|| (used as f64 / bytes as f64 * 1e4).round() / 1e4);
        let largest: Vec<Value> =
            summary.largest.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
        json!({
            "path": self.path.to_string_lossy(),
            "compressor": self.compressor,
            "block_size": superblock.block_size,
            "made": superblock.made,
            "bytes": used,
            "content_bytes": bytes,
            "ratio": ratio,
            "counts": summary.kinds,
            "fragments": superblock.fragments,
            "ids": superblock.ids,
            "hard_links": {"files": summary.hard_links.0, "names": summary.hard_links.1},
            "duplicates": {"files": summary.duplicates.0, "bytes": summary.duplicates.1},
            "hole_bytes": summary.holes,
            "xattrs": {"files": summary.with_xattrs, "names": summary.xattrs},
            "whiteouts": {
                "overlay": summary.count("whiteout"),
                "overlay_opaque": summary.opaque,
                "aufs": summary.aufs,
            },
            "largest": largest,
        })
    }
}

/// `3 files`, `1 directory`.
fn counted(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn nouns() {
        for (count, noun, text) in [
            (0, "file", "0 files"),
            (1, "directory", "1 directory"),
            (2, "opaque directory", "2 opaque directories"),
        ] {
            assert_eq!(counted(count, noun), text);
        }
    }
}
