//! What of the union's upper becomes the bundle.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bundles::source::{self, filter::Patterns};
use bundles::{NodeId, Source, Tree, Wanted};

use super::leave_out::PATTERNS;
use crate::commands::bundle::packing::from_source;
use crate::error::Result;

/// The bundle to be.
pub struct Made {
    pub source: Source,
    /// Files of the base that the bundle has in its own way, in sentences.
    pub replaced: Vec<String>,
    /// Private keys that were made for the packages, in sentences.
    pub keys: Vec<String>,
}

/// dpkg's notes on what stands for a general name, a file for each.
const ALTERNATIVES: &str = "var/lib/dpkg/alternatives";

/// Reads `upper`, the changes over `base`.
pub fn of(upper: &Path, base: &Path) -> Result<Made> {
    let patterns = Patterns::new(PATTERNS.iter().map(|(pattern, _)| pattern)).map_err(|e| from_source(&e))?;
    let (mut replaced, mut keys) = (Vec::new(), Vec::new());
    let source = source::directory(upper, &mut |path, metadata| {
        if patterns.leave_out(path, metadata.is_dir()) == Some(true) {
            return Wanted::Skip;
        }
        let wanted = wanted(path, metadata, (upper, base));
        // The choice among alternatives changes by its nature; each bundle has its own fragments.
        let expected = path.starts_with("etc/alternatives") || path.starts_with(live::dpkg::FRAGMENTS);
        if wanted == Wanted::Keep && !metadata.is_dir() && !expected {
            let there = fs::symlink_metadata(base.join(path));
            if there.is_ok_and(|there| !there.is_dir()) {
                replaced.push(format!(
                    "the bundle has {} of its own, in the place of the system's",
                    path.display()
                ));
            }
        }
        if wanted == Wanted::Keep && metadata.is_file() && is_key(&upper.join(path)) {
            let path = path.display();
            keys.push(format!(
                "{path} is a private key that was made just now: whoever has the bundle has it"
            ));
        }
        wanted
    });
    let mut source = source.map_err(|e| from_source(&e))?;
    show_through(&mut source.tree, base);
    Ok(Made { source, replaced, keys })
}

fn wanted(path: &Path, metadata: &Metadata, (upper, base): (&Path, &Path)) -> Wanted {
    let Ok(before) = fs::symlink_metadata(base.join(path)) else { return Wanted::Keep };
    let same = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
    if same(&before) != same(metadata) {
        return Wanted::Keep;
    }
    if metadata.is_dir() {
        return Wanted::Pass;
    }
    // In the base it is about alternatives that the bundle does not know.
    if path.starts_with(ALTERNATIVES) {
        return Wanted::Skip;
    }
    let equal = metadata.is_file()
        && metadata.len() == before.len()
        && matches!((fs::read(upper.join(path)), fs::read(base.join(path))), (Ok(a), Ok(b)) if a == b);
    // Written to, and left as it was.
    if equal { Wanted::Skip } else { Wanted::Keep }
}

/// Whether a file begins as keys do that OpenSSH and OpenSSL write (RFC 7468).
fn is_key(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut head));
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    read.is_ok() && line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----")
}

/// New directories hide nothing: before Linux 6.1 overlayfs marks each as opaque, and what another bundle has in it
/// would be hidden.
fn show_through(tree: &mut Tree, base: &Path) {
    let mut new: Vec<NodeId> = Vec::new();
    let mut walk = tree.walk();
    while let Some((path, _, id)) = walk.advance() {
        let marked = tree.node(id).xattrs.iter().any(|xattr| is_opaque(&xattr.name));
        if marked && fs::symlink_metadata(base.join(path)).is_err() {
            new.push(id);
        }
    }
    for id in new {
        tree.node_mut(id).xattrs.retain(|xattr| !is_opaque(&xattr.name));
    }
}

fn is_opaque(name: &std::ffi::OsStr) -> bool {
    name == "trusted.overlay.opaque"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_packages_brought() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in [
            ("base/etc/shells", "a"),
            ("base/etc/same", "b"),
            ("base/var/lib/dpkg/alternatives/vi", "old"),
            ("base/usr/bin/x", ""),
            ("base/var/log/x", ""),
            ("base/var/cache/x", ""),
            ("upper/etc/shells", "other"),
            ("upper/etc/same", "b"),
            ("upper/etc/passwd", "x"),
            ("upper/etc/key", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"),
            ("upper/etc/ld.so.cache", "x"),
            ("upper/usr/bin/hello", "x"),
            ("upper/usr/share/hello/x", "x"),
            ("upper/var/lib/dpkg/status", "x"),
            ("upper/var/lib/dpkg/lock", ""),
            ("upper/var/lib/dpkg/triggers/File", "x"),
            ("upper/var/lib/dpkg/info/hello.list", "x"),
            ("upper/var/lib/dpkg/alternatives/vi", "new"),
            ("upper/var/lib/dpkg/alternatives/hello", "new"),
            ("upper/var/lib/apt/lists/x_Packages", "x"),
            ("upper/var/log/dpkg.log", "x"),
            ("upper/var/cache/apt/pkgcache.bin", "x"),
        ] {
            put(name, text);
        }
        fs::create_dir_all(dir.path().join("upper/var/log/hello")).unwrap();
        let made = of(&dir.path().join("upper"), &dir.path().join("base")).unwrap();
        let files: Vec<String> = made
            .source
            .tree
            .walk()
            .filter(|(_, id)| {
                made.source.tree.node(*id).names().is_none_or(std::collections::BTreeMap::is_empty)
            })
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert_eq!(
            files,
            [
                "etc/key",
                "etc/shells",
                "usr/bin/hello",
                "usr/share/hello/x",
                "var/lib/dpkg/alternatives/hello",
                "var/lib/dpkg/info/hello.list",
                "var/log/hello",
            ]
        );
        assert!(
            made.keys.len() == 1 && made.keys[0].starts_with("etc/key is a private key"),
            "{:?}",
            made.keys
        );
        assert_eq!(made.replaced, ["the bundle has etc/shells of its own, in the place of the system's"]);
    }
}
