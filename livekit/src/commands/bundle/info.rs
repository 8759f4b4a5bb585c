//! `livekit bundle info`.

use std::io::{self, Write};
use std::path::Path;

use bundles::{Bundle, Figures, Superblock};
use serde_json::{Map, Value, json};

use super::from_bundle;
use super::summary::{Summary, compressor};
use crate::cli::bundle::Info;
use crate::error::Result;
use crate::output::{Output, Stopped, ratio, shown, size};
use live::utc;

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
    figures: Figures,
    summary: Summary,
}

impl<'a> Facts<'a> {
    fn of(path: &'a Path) -> Result<Self> {
        let bundle = Bundle::open(path).map_err(|error| from_bundle(&error))?;
        let superblock = *bundle.superblock();
        let options = bundle.compressor_options().map_err(|error| from_bundle(&error))?;
        let figures = Figures::of(&bundle, 0).map_err(|error| from_bundle(&error))?;
        let summary = Summary::of(bundle.tree().map_err(|error| from_bundle(&error))?);
        Ok(Facts {
            path,
            superblock,
            compressor: compressor(superblock.compression, options.as_deref()),
            figures,
            summary,
        })
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Facts { superblock, figures, summary, .. } = self;
        out.write_all(&shown(self.path.as_os_str()))?;
        writeln!(out)?;
        let mut line = |name: &str, text: String| writeln!(out, "  {name:<12}{text}");
        line("compressed", format!("{}, blocks of {} KiB", self.compressor, superblock.block_size >> 10))?;
        line("made", format!("{} UTC", utc::minute(superblock.made.into())))?;
        let (used, bytes) = (superblock.bytes_used, figures.bytes);
        line("size", format!("{} of {}, {}", size(used), size(bytes), ratio(used, bytes)))?;
        let kinds = self.counts().into_iter().filter(|(_, count)| *count > 0);
        line("holds", kinds.map(|(kind, n)| counted(n, kind)).collect::<Vec<_>>().join(", "))?;
        if figures.hard_links > 0 {
            line("hard links", counted(figures.hard_links, "further name"))?;
        }
        if figures.duplicates > 0 {
            let files = counted(figures.duplicates, "file");
            line("duplicates", format!("{files}, {} not stored again", size(figures.duplicate_bytes)))?;
        }
        if figures.holes > 0 {
            line("holes", format!("{} of zeros not stored", size(figures.holes)))?;
        }
        if figures.with_xattrs > 0 {
            let names: Vec<&str> = summary.xattrs.iter().map(String::as_str).collect();
            line(
                "attributes",
                format!("{} with {}", counted(figures.with_xattrs, "file"), names.join(", ")),
            )?;
        }
        let hidden = figures.whiteouts;
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

    fn counts(&self) -> [(&'static str, u64); 7] {
        let figures = &self.figures;
        [
            ("file", figures.files),
            ("directory", figures.directories),
            ("symlink", figures.symlinks),
            ("device", figures.devices),
            ("whiteout", figures.whiteouts),
            ("fifo", figures.fifos),
            ("socket", figures.sockets),
        ]
    }

    fn json(&self) -> Value {
        let Facts { superblock, figures, summary, .. } = self;
        let (used, bytes) = (superblock.bytes_used, figures.bytes);
        #[expect(clippy::cast_precision_loss, reason = "a ratio of four digits")]
        let ratio = (bytes > 0).then(|| (used as f64 / bytes as f64 * 1e4).round() / 1e4);
        let largest: Vec<Value> =
            summary.largest.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
        let counts: Map<String, Value> =
            self.counts().into_iter().map(|(kind, count)| (kind.to_owned(), count.into())).collect();
        json!({
            "path": self.path.to_string_lossy(),
            "compressor": self.compressor,
            "block_size": superblock.block_size,
            "made": superblock.made,
            "bytes": used,
            "content_bytes": bytes,
            "ratio": ratio,
            "stored_bytes": figures.stored,
            "metadata_bytes": figures.metadata,
            "counts": counts,
            "fragments": superblock.fragments,
            "ids": superblock.ids,
            "hard_links": figures.hard_links,
            "duplicates": {"files": figures.duplicates, "bytes": figures.duplicate_bytes},
            "hole_bytes": figures.holes,
            "xattrs": {"files": figures.with_xattrs, "names": summary.xattrs},
            "whiteouts": {
                "overlay": figures.whiteouts,
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
