//! An image of a container as a source: an OCI image layout, or what `docker save` writes, in a tar archive or in a
//! directory. Its layers are read where they are.
//!
//! OCI image specification 1.1, image-layout.md, image-index.md, manifest.md, layer.md; Docker image specification 1.2.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Source;
use super::archive::{ArchiveOptions, Broken, Collector, Entries, EntryKind, Stream, copy, relative};
use super::aufs::{self, Meaning, meaning};
use crate::{Error, Node, Tree, TreeError};

/// Bytes of a description at most: an index or manifest is a thousandth of that (image-spec, manifest.md, asks for 4 MiB).
const LONGEST_TEXT: u64 = 16 << 20;
/// How many links or indexes lead to one thing at most.
const DEEPEST: usize = 8;

/// One layer of an image.
#[derive(Debug)]
pub struct ImageLayer {
    /// As the image names it: `sha256:` and a number, which is that of the layer unpacked if `docker save` wrote it.
    pub digest: String,
    /// What it has, with overlayfs' whiteouts for what it hides.
    pub source: Source,
}

/// The image `path`: all its layers as one tree. With several platforms in it, that for amd64 Linux.
///
/// # Errors
/// It is no image, has several, or none for amd64; a layer is missing, damaged or of no known form.
pub fn oci(path: &Path, options: &ArchiveOptions) -> Result<Source, Error> {
    let mut collector = Collector::default();
    let mut merged = Tree::new(Node::directory());
    for layer in layers(path, options)? {
        let own = collector.take(layer.open(options)?, Some(&merged))?;
        apply(&mut merged, &own).map_err(|e| refused(path, &e))?;
    }
    let warnings = collector.warnings();
    Ok(Source { tree: merged, contents: Box::new(collector.contents), warnings })
}

/// The layers of the image `path`, the lowest first: each hides of those below what it did in the container.
///
/// # Errors
/// Those of [`oci`](oci()).
pub fn oci_layers(path: &Path, options: &ArchiveOptions) -> Result<Vec<ImageLayer>, Error> {
    let mut collector = Collector::default();
    let mut merged = Tree::new(Node::directory());
    let mut found = Vec::new();
    for layer in layers(path, options)? {
        let mut tree = collector.take(layer.open(options)?, Some(&merged))?;
        apply(&mut merged, &tree).map_err(|e| refused(path, &e))?;
        let mut warnings = collector.warnings();
        warnings.extend(aufs::translate(&mut tree).warnings);
        let contents = Box::new(collector.contents.share());
        found.push(ImageLayer { digest: layer.digest, source: Source { tree, contents, warnings } });
    }
    Ok(found)
}

/// Puts a layer upon the ones below it. What it hides is below only, wherever it stands among the names (layer.md,
/// "Whiteouts").
fn apply(merged: &mut Tree, layer: &Tree) -> Result<(), TreeError> {
    let mut hidden: Vec<PathBuf> = Vec::new();
    let mut own: Vec<PathBuf> = Vec::new();
    let mut kept = vec![(PathBuf::new(), Tree::ROOT)];
    let mut walk = layer.walk();
    while let Some((path, name, id)) = walk.advance() {
        let parent = path.parent().unwrap_or(Path::new(""));
        if own.last().is_some_and(|own| path.starts_with(own)) {
            continue;
        }
        match meaning(name) {
            Some(Meaning::Hides(name)) => hidden.push(parent.join(name)),
            Some(Meaning::Opaque) => {
                let below = merged.find(parent).and_then(|id| merged.node(id).names());
                hidden.extend(below.into_iter().flat_map(BTreeMap::keys).map(|name| parent.join(name)));
            }
            Some(Meaning::Own) => own.push(path.to_owned()),
            None => kept.push((path.to_owned(), id)),
        }
    }
    for path in &hidden {
        merged.remove(path);
    }
    copy(layer, merged, kept.into_iter())
}

/// A layer that was not opened yet.
struct Layer {
    digest: String,
    stream: Stream,
    /// Whether the digest is of what the stream unpacks to.
    of_unpacked: bool,
}

impl Layer {
    /// The layer, once its digest is known to be right.
    fn open(&self, options: &ArchiveOptions) -> Result<Stream, Error> {
        let stream = self.stream.clone();
        let (found, stream) = if options.any_order {
            let before = if self.of_unpacked { None } else { Some(digest(&mut stream.stored())) };
            let stream = stream.unpacked(&options.temporary)?;
            (before.unwrap_or_else(|| digest(&mut stream.input())), stream)
        } else if self.of_unpacked {
            (digest(&mut stream.input()), stream)
        } else {
            (digest(&mut stream.stored()), stream)
        };
        let found = found.map_err(Error::io("read", &stream.path))?;
        if found == self.digest {
            return Ok(stream);
        }
        Err(refused(&stream.path, &format!("it is damaged: its digest is {found}, not {}", self.digest)))
    }
}

fn digest(reader: &mut dyn Read) -> std::io::Result<String> {
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sha.update(&buffer[..read]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let mut text = "sha256:".to_owned();
    for byte in sha.finalize() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn refused(path: &Path, reason: &impl ToString) -> Error {
    Error::Refused { path: path.to_owned(), reason: reason.to_string() }
}

/// Where the parts of an image are.
enum Layout {
    Directory(PathBuf),
    Archive { stream: Stream, members: BTreeMap<PathBuf, Place> },
}

/// Where a part is in an archive.
enum Place {
    Bytes {
        offset: u64,
        length: u64,
    },
    /// `docker save` links to layers that are there already.
    Link(PathBuf),
}

impl Layout {
    fn open(path: &Path, options: &ArchiveOptions) -> Result<Self, Error> {
        if fs::metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(Self::Directory(path.to_owned()));
        }
        let stream = Stream::open(path, &options.temporary)?.unpacked(&options.temporary)?;
        let mut members = BTreeMap::new();
        let mut entries = Entries::new(stream.input());
        let broken = |Broken { offset, reason }| Error::Archive { path: path.to_owned(), offset, reason };
        while let Some(entry) = entries.next().map_err(broken)? {
            let name = relative(&entry.name).map_err(|reason| refused(path, &reason))?;
            let target = |target: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(target));
            let place = match &entry.kind {
                EntryKind::File(data) if data.extents.is_none() => {
                    Place::Bytes { offset: data.offset, length: data.size }
                }
                EntryKind::Link(link) => Place::Link(Path::new("/").join(target(link))),
                EntryKind::Symlink(link) => Place::Link(target(link)),
                _ => continue,
            };
            members.insert(name, place);
        }
        Ok(Self::Archive { stream, members })
    }

    /// For messages.
    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Archive { stream, .. } => &stream.path,
        }
    }

    /// The part of that name; none if it is not there.
    fn part(&self, name: &Path) -> Result<Option<Stream>, Error> {
        match self {
            Self::Directory(top) => {
                let path = top.join(name);
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(Error::io("open", path)(e)),
                };
                let length = file.metadata().map_err(Error::io("read", &path))?.len();
                Stream::of_file(&path, Arc::new(file), 0, length).map(Some)
            }
            Self::Archive { stream, members } => {
                let mut at = name.to_owned();
                for _ in 0..DEEPEST {
                    match members.get(&at) {
                        Some(&Place::Bytes { offset, length }) => {
                            let mut part = stream.part(offset, length)?;
                            part.path = PathBuf::from(format!("{}:{}", stream.path.display(), at.display()));
                            return Ok(Some(part));
                        }
                        Some(Place::Link(target)) => at = resolve(&at, target),
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    /// A part that describes others.
    fn text(&self, name: &Path) -> Result<Option<Vec<u8>>, Error> {
        let Some(part) = self.part(name)? else { return Ok(None) };
        let mut text = Vec::new();
        let read = part.stored().take(LONGEST_TEXT).read_to_end(&mut text);
        read.map_err(Error::io("read", &part.path))?;
        Ok(Some(text))
    }

    fn json(&self, name: &Path, expected: Option<&str>) -> Result<Option<Value>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let at = self.path().join(name);
        if let Some(expected) = expected {
            let found = digest(&mut text.as_slice()).map_err(Error::io("read", &at))?;
            if found != expected {
                return Err(refused(&at, &format!("it is damaged: its digest is {found}, not {expected}")));
            }
        }
        serde_json::from_slice(&text).map(Some).map_err(|e| refused(&at, &e))
    }

    /// What a descriptor is about, as JSON.
    fn described(&self, descriptor: &Value) -> Result<Value, Error> {
        let digest = self.digest_of(descriptor)?;
        let missing = || refused(self.path(), &format!("{digest} is not in it"));
        self.json(&blob(digest), Some(digest))?.ok_or_else(missing)
    }

    /// The digest in a descriptor.
    fn digest_of<'a>(&self, descriptor: &'a Value) -> Result<&'a str, Error> {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        if hex.is_some_and(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))) {
            return Ok(digest);
        }
        Err(refused(self.path(), &format!("`{digest}` is no digest of the kind sha256")))
    }
}

/// Where a digest is in an image layout.
fn blob(digest: &str) -> PathBuf {
    Path::new("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// Where a link leads, within the archive.
fn resolve(link: &Path, target: &Path) -> PathBuf {
    let mut at = link.parent().map(Path::to_owned).unwrap_or_default();
    for component in target.components() {
        match component {
            std::path::Component::RootDir => at = PathBuf::new(),
            std::path::Component::ParentDir => drop(at.pop()),
            std::path::Component::Normal(name) => at.push(name),
            _ => {}
        }
    }
    at
}

/// The layers of the one image in `path`, the lowest first.
fn layers(path: &Path, options: &ArchiveOptions) -> Result<Vec<Layer>, Error> {
    let layout = Layout::open(path, options)?;
    if let Some(index) = layout.json(Path::new("index.json"), None)? {
        return of_index(&layout, index);
    }
    if let Some(manifest) = layout.json(Path::new("manifest.json"), None)? {
        return of_docker(&layout, &manifest);
    }
    Err(refused(path, &"it is no image of a container: it has neither index.json nor manifest.json"))
}

fn of_index(layout: &Layout, index: Value) -> Result<Vec<Layer>, Error> {
    let mut at = index;
    for _ in 0..DEEPEST {
        let Some(manifests) = at["manifests"].as_array() else { return of_manifest(layout, &at) };
        let chosen = choose(manifests).map_err(|reason| refused(layout.path(), &reason))?;
        at = layout.described(chosen)?;
    }
    Err(refused(layout.path(), &"an index of an index, without end"))
}

/// The one of several manifests that is for this kind of machine.
fn choose(manifests: &[Value]) -> Result<&Value, String> {
    let attestation = |m: &&Value| {
        m["platform"]["os"] == "unknown"
            || m["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"
    };
    // An image with several names is there several times.
    let mut seen = BTreeSet::new();
    let mut images: Vec<_> = manifests.iter().filter(|m| !attestation(m)).collect();
    images.retain(|m| seen.insert(m["digest"].as_str()));
    if images.len() > 1 {
        let known = images.iter().any(|m| m["platform"].is_object());
        if known {
            images.retain(|m| m["platform"]["os"] == "linux" && m["platform"]["architecture"] == "amd64");
        }
    }
    match images[..] {
        [one] => Ok(one),
        [] => Err("it has no image for amd64 Linux".to_owned()),
        _ => {
            let name = |m: &&Value| {
                let name = &m["annotations"]["org.opencontainers.image.ref.name"];
                name.as_str().or(m["digest"].as_str()).unwrap_or("?").to_owned()
            };
            let names: Vec<_> = images.iter().map(name).collect();
            Err(format!("it has several images: {}", names.join(", ")))
        }
    }
}

fn of_manifest(layout: &Layout, manifest: &Value) -> Result<Vec<Layer>, Error> {
    let Some(layers) = manifest["layers"].as_array() else {
        return Err(refused(layout.path(), &"its manifest has no layers"));
    };
    let layer = |descriptor: &Value| {
        let digest = layout.digest_of(descriptor)?.to_owned();
        let stream = layout.part(&blob(&digest))?;
        let stream =
            stream.ok_or_else(|| refused(layout.path(), &format!("the layer {digest} is not in it")))?;
        Ok(Layer { digest, stream, of_unpacked: false })
    };
    layers.iter().map(layer).collect()
}

/// What `docker save` wrote before it wrote the OCI's form.
fn of_docker(layout: &Layout, manifest: &Value) -> Result<Vec<Layer>, Error> {
    let refuse = |reason: String| refused(layout.path(), &reason);
    let image = match manifest.as_array().map(Vec::as_slice) {
        Some([one]) => one,
        Some([]) | None => return Err(refuse("its manifest has no image".to_owned())),
        Some(several) => {
            let names = several.iter().map(|image| image["RepoTags"].to_string());
            return Err(refuse(format!("it has several images: {}", names.collect::<Vec<_>>().join(", "))));
        }
    };
    let part = |value: &Value| -> Result<PathBuf, Error> {
        relative(value.as_str().unwrap_or_default().as_bytes()).map_err(refuse)
    };
    let config = layout.json(&part(&image["Config"])?, None)?;
    let config = config.ok_or_else(|| refuse("its configuration is not in it".to_owned()))?;
    let digests = config["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
    let layers = image["Layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if digests.len() != layers.len() {
        return Err(refuse(format!("it has {} layers and {} digests of such", layers.len(), digests.len())));
    }
    let layer = |(name, digest): (&Value, &Value)| {
        let stream = layout.part(&part(name)?)?;
        let stream = stream.ok_or_else(|| refuse(format!("the layer {name} is not in it")))?;
        Ok(Layer { digest: digest.as_str().unwrap_or_default().to_owned(), stream, of_unpacked: true })
    };
    layers.iter().zip(digests).map(layer).collect()
}
