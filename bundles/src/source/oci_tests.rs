//! Images of containers, made by hand after the specification.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::archive::tests::tar;
use super::view::{brief, run, view};
use super::*;

type Entries<'a> = &'a [(u8, &'a str, &'a str, &'a [u8])];

fn options(directory: &Path) -> ArchiveOptions {
    ArchiveOptions { temporary: directory.to_owned(), any_order: false }
}

fn digest(bytes: &[u8]) -> String {
    let hex: Vec<_> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

/// Puts a blob into a layout; returns its descriptor.
fn add(layout: &Path, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let folder = layout.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&digest[7..]), bytes).unwrap();
    json!({ "digest": digest, "size": bytes.len(), "mediaType": "application/octet-stream" })
}

/// Packs the n-th layer as others pack theirs.
fn pack(n: usize, bytes: &[u8]) -> Vec<u8> {
    match n % 3 {
        0 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        1 => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn manifest(layout: &Path, layers: &[Entries]) -> Value {
    let layers: Vec<_> =
        layers.iter().enumerate().map(|(n, entries)| add(layout, &pack(n, &tar(entries)))).collect();
    let config = add(layout, b"{}");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    add(layout, manifest.to_string().as_bytes())
}

fn index(layout: &Path, manifests: &[Value]) {
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

const LAYERS: &[Entries] = &[
    &[
        (b'5', "etc/", "", b""),
        (b'0', "etc/a", "", b"a0"),
        (b'0', "etc/b", "", b"b0"),
        (b'0', "gone/deep/x", "", b"x0"),
        (b'0', "opaque/old", "", b"old"),
        (b'0', "usr/lib/l", "", b"l0"),
        (b'2', "lib", "usr/lib", b""),
        (b'0', "again/old", "", b"old"),
        (b'0', "file", "", b"was a file"),
    ],
    &[
        // A whiteout behind what it does not concern: the name in its own layer.
        (b'0', "etc/b", "", b"b1"),
        (b'0', "etc/.wh.b", "", b""),
        (b'0', "etc/.wh.a", "", b""),
        (b'0', ".wh.gone", "", b""),
        (b'0', "opaque/new", "", b"new"),
        (b'0', "opaque/.wh..wh..opq", "", b""),
        (b'0', "lib/m", "", b"m1"),
        (b'1', "hard", "usr/lib/l", b""),
        (b'0', ".wh.again", "", b""),
        (b'0', "again/new", "", b"new"),
        (b'0', "file/inside", "", b"now a folder"),
        (b'0', ".wh..wh.aufs", "", b""),
    ],
    &[(b'0', "etc/a", "", b"a2"), (b'0', ".wh.nothing", "", b"")],
];

const MERGED: &[&str] = &[
    "again/",
    "again/new: new",
    "etc/",
    "etc/a: a2",
    "etc/b: b1",
    "file/",
    "file/inside: now a folder",
    "hard: l0",
    "lib: Symlink(\"usr/lib\")",
    "opaque/",
    "opaque/new: new",
    "usr/",
    "usr/lib/",
    "usr/lib/l: l0",
    "usr/lib/m: m1",
];

/// The image of [`LAYERS`] in all forms.
fn forms(dir: &Path) -> Vec<PathBuf> {
    let layout = dir.join("layout");
    let one = manifest(&layout, LAYERS);
    index(&layout, &[one]);
    run("tar", &["-cf", "image.tar", "-C", "layout", "."], dir);
    run("tar", &["-czf", "image.tar.gz", "-C", "layout", "."], dir);
    let docker = dir.join("docker");
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for (n, entries) in LAYERS.iter().enumerate() {
        let bytes = tar(entries);
        digests.push(digest(&bytes));
        names.push(format!("{n}/layer.tar"));
        fs::create_dir_all(docker.join(n.to_string())).unwrap();
        fs::write(docker.join(format!("{n}/real.tar")), bytes).unwrap();
        std::os::unix::fs::symlink(format!("../{n}/real.tar"), docker.join(format!("{n}/layer.tar")))
            .unwrap();
    }
    let config = json!({ "rootfs": { "type": "layers", "diff_ids": digests } });
    fs::write(docker.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["a:b"], "Layers": names }]);
    fs::write(docker.join("manifest.json"), manifest.to_string()).unwrap();
    run("tar", &["-cf", "docker.tar", "-C", "docker", "."], dir);
    ["layout", "image.tar", "image.tar.gz", "docker", "docker.tar"]
        .iter()
        .map(|form| dir.join(form))
        .collect()
}

#[test]
fn layers_become_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    for path in forms(dir.path()) {
        for any_order in [false, true] {
            let options = ArchiveOptions { any_order, ..options(dir.path()) };
            let mut source = oci(&path, &options).unwrap();
            assert_eq!(brief(&mut source), MERGED, "{}", path.display());
            assert!(source.warnings.is_empty(), "{:?}", source.warnings);
            let packed = !path.to_str().unwrap().contains("docker") && !any_order;
            assert_eq!(source.contents.stored_order(), packed, "{}", path.display());
        }
    }
}

#[test]
fn layers_become_bundles_that_hide_what_they_did() {
    let expected: [&[&str]; 3] = [
        &[
            "again/",
            "again/old: old",
            "etc/",
            "etc/a: a0",
            "etc/b: b0",
            "file: was a file",
            "gone/",
            "gone/deep/",
            "gone/deep/x: x0",
            "lib: Symlink(\"usr/lib\")",
            "opaque/",
            "opaque/old: old",
            "usr/",
            "usr/lib/",
            "usr/lib/l: l0",
        ],
        &[
            "again/",
            "again/new: new",
            "etc/",
            "etc/a: CharDevice(Device { major: 0, minor: 0 })",
            "etc/b: b1",
            "file/",
            "file/inside: now a folder",
            "gone: CharDevice(Device { major: 0, minor: 0 })",
            "hard: l0",
            "opaque/",
            "opaque/new: new",
            "usr/",
            "usr/lib/",
            "usr/lib/l: l0",
            "usr/lib/m: m1",
        ],
        &["etc/", "etc/a: a2", "nothing: CharDevice(Device { major: 0, minor: 0 })"],
    ];
    let dir = tempfile::tempdir().unwrap();
    for path in forms(dir.path()) {
        let mut layers = oci_layers(&path, &options(dir.path())).unwrap();
        assert_eq!(layers.len(), 3);
        for (layer, expected) in layers.iter_mut().zip(expected) {
            assert_eq!(brief(&mut layer.source), expected, "{}", path.display());
            assert!(layer.digest.starts_with("sha256:"));
        }
        let seen = view(&mut layers[1].source);
        let opaque: Vec<_> = seen.iter().filter(|(_, seen)| !seen.xattrs.is_empty()).collect();
        let names: Vec<_> = opaque.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(names, ["again", "opaque"]);
        assert_eq!(seen[Path::new("usr/lib/l")].same_as, Path::new("hard"));
        // A folder that the layer does not speak of is as it is below.
        assert_eq!(seen[Path::new("etc")].mode, 0o644);
    }
}

fn with_platform(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    descriptor
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path();
    let image = |name: &str| manifest(layout, &[&[(b'0', name, "", b"")]]);
    let amd64 = with_platform(image("amd64"), "linux", "amd64");
    let arm64 = with_platform(image("arm64"), "linux", "arm64");
    let windows = with_platform(image("windows"), "windows", "amd64");
    let attestation = with_platform(image("attestation"), "unknown", "unknown");
    let nested = json!({ "schemaVersion": 2, "manifests": [arm64, amd64, attestation] });
    let nested = add(layout, nested.to_string().as_bytes());
    for (manifests, expected) in [
        (vec![image("a")], Ok("a: ")),
        (vec![image("a"), image("a")], Ok("a: ")),
        (vec![arm64.clone()], Ok("arm64: ")),
        (vec![arm64.clone(), windows.clone(), amd64.clone()], Ok("amd64: ")),
        (vec![amd64.clone(), attestation.clone()], Ok("amd64: ")),
        (vec![nested], Ok("amd64: ")),
        (vec![arm64, windows], Err("it has no image for amd64 Linux")),
        (vec![], Err("it has no image for amd64 Linux")),
        (vec![image("a"), image("b")], Err("it has several images: sha256:")),
    ] {
        index(layout, &manifests);
        match (oci(layout, &options(layout)), expected) {
            (Ok(mut source), Ok(expected)) => assert_eq!(brief(&mut source), [expected]),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, expected) => panic!("{got:?} and not {expected:?}"),
        }
    }
}

#[test]
fn damaged_images_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let one = manifest(&whole, LAYERS);
    index(&whole, std::slice::from_ref(&one));
    let manifest_path = whole.join("blobs/sha256").join(&one["digest"].as_str().unwrap()[7..]);
    let manifest: Value = serde_json::from_slice(&fs::read(&manifest_path).unwrap()).unwrap();
    let layer = |n: usize| {
        PathBuf::from("blobs/sha256").join(&manifest["layers"][n]["digest"].as_str().unwrap()[7..])
    };
    let manifest_path = manifest_path.strip_prefix(&whole).unwrap().to_owned();
    let replaced =
        |from: &str, to: &str| fs::read_to_string(whole.join("index.json")).unwrap().replace(from, to);
    let digest = one["digest"].as_str().unwrap();
    for (part, bytes, expected) in [
        (layer(2), Some(b"other".to_vec()), "it is damaged: its digest is sha256:"),
        (layer(0), Some(vec![]), "it is damaged: its digest is sha256:e3b0c442"),
        (layer(1), None, "the layer sha256:"),
        (manifest_path.clone(), Some(b"{}".to_vec()), "it is damaged: its digest is"),
        (manifest_path, None, "is not in it"),
        ("index.json".into(), Some(b"{".to_vec()), "EOF while parsing"),
        ("index.json".into(), Some(b"{}".to_vec()), "its manifest has no layers"),
        ("index.json".into(), None, "it has neither index.json nor manifest.json"),
        (
            "index.json".into(),
            Some(replaced(digest, "sha256:../../x").into_bytes()),
            "`sha256:../../x` is no digest",
        ),
        (
            "index.json".into(),
            Some(replaced("sha256", "sha512").into_bytes()),
            "is no digest of the kind sha256",
        ),
    ] {
        run("cp", &["-r", "whole", "copy"], dir.path());
        let copy = dir.path().join("copy");
        match bytes {
            Some(bytes) => fs::write(copy.join(&part), bytes).unwrap(),
            None => fs::remove_file(copy.join(&part)).unwrap(),
        }
        run("tar", &["-cf", "copy.tar", "-C", "copy", "."], dir.path());
        for path in ["copy", "copy.tar"] {
            let error = oci(&dir.path().join(path), &options(dir.path())).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains(path),
                "{} {expected}: {error}",
                part.display()
            );
        }
        fs::remove_dir_all(copy).unwrap();
    }
    assert!(
        oci(Path::new("/nonexistent"), &options(dir.path()))
            .unwrap_err()
            .to_string()
            .contains("cannot open /nonexistent")
    );
}
