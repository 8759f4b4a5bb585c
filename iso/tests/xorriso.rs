//! xorriso, an independent reader and writer of ISO 9660, agrees with what was written.

mod judge;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use iso::{Boot, Source, Tree};
use judge::{Image, run};

/// The files and directories xorriso finds on an image, with their content; `None` for directories.
fn extracted(image: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("files");
    let text = run(
        "xorriso",
        &["-osirrox", "on", "-indev", image.to_str().unwrap(), "-extract", "/", target.to_str().unwrap()],
    );
    assert!(!text.contains("WARNING") && !text.contains("SORRY") && !text.contains("FAILURE"), "{text}");
    let mut found = BTreeMap::new();
    let mut pending = vec![target.clone()];
    while let Some(path) = pending.pop() {
        let name = path.strip_prefix(&target).unwrap().to_str().unwrap().to_owned();
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            if metadata.is_dir() { 0o755 } else { 0o644 },
            "{name}"
        );
        assert_eq!(
            metadata.modified().unwrap(),
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(judge::EPOCH)
        );
        if metadata.is_dir() {
            pending.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            found.insert(name, None);
        } else {
            found.insert(name, Some(std::fs::read(&path).unwrap()));
        }
    }
    found.remove("");
    found
}

/// What should be found: the tree as given.
fn given(tree: &Tree) -> BTreeMap<String, Option<Vec<u8>>> {
    let content = |source: &Source| match source {
        Source::Bytes(bytes) => bytes.clone(),
        Source::Path(path) | Source::Scratch(path) => std::fs::read(path).unwrap(),
    };
    let name = |path: &str| path[1..].to_owned();
    let directories = tree.directories().map(|path| (name(path), None));
    directories.chain(tree.files().map(|(path, source)| (name(path), Some(content(source))))).collect()
}

fn assert_same(found: &BTreeMap<String, Option<Vec<u8>>>, expected: &BTreeMap<String, Option<Vec<u8>>>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, content) in expected {
        assert!(found[name] == *content, "{name}");
    }
}

#[test]
fn a_bootable_image_has_its_files_twice() {
    let Image { directory, path: image, tree } = Image::bootable();

    let mut expected = given(&tree);
    let found = extracted(&image);
    // The writer patches GRUB's image with the place it has.
    let grub_image = "boot/grub/eltorito.img";
    assert_ne!(found[grub_image], expected[grub_image]);
    expected.insert(grub_image.to_owned(), found[grub_image].clone());
    // Directories deeper than eight levels are kept in one of their own, which readers hide or show.
    expected.insert("rr_moved".to_owned(), None);
    assert_same(&found, &expected);

    // The first partition alone is the same file system, as seen through /dev/sdX1.
    let (start, length) = judge::partition(&image, 1);
    assert_eq!(start, 64);
    let partition = directory.path().join("partition1");
    std::fs::write(&partition, judge::cut(&image, start * 512, usize::try_from(length * 512).unwrap()))
        .unwrap();
    assert_same(&extracted(&partition), &expected);
}

#[test]
fn the_boot_records_are_as_xorriso_writes_them() {
    let Image { path: image, directory: _directory, .. } = Image::bootable();
    let text = run(
        "xorriso",
        &["-indev", image.to_str().unwrap(), "-report_el_torito", "plain", "-report_system_area", "plain"],
    );
    assert!(!text.contains("WARNING") && !text.contains("SORRY"), "{text}");
    // Runs of spaces are the tool's layout.
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let sectors = std::fs::metadata(&image).unwrap().len() / 512;
    let (esp, esp_length) = judge::partition(&image, 2);
    for expected in [
        "El Torito img path : 1 /boot/grub/eltorito.img".to_owned(),
        "El Torito img opts : 1 boot-info-table grub2-boot-info".to_owned(),
        format!("El Torito boot img : 2 UEFI y none 0x0000 0x00 {esp_length} {}", esp / 4),
        "System area summary: MBR protective-msdos-label grub2-mbr cyl-align-off GPT".to_owned(),
        "Partition offset : 16".to_owned(),
        format!("MBR partition : 1 0x00 0xee 1 {}", sectors - 1),
        "MBR partition : 2 0x80 0x00 0 1".to_owned(),
        "GPT partname local : 1 ISO9660".to_owned(),
        format!("GPT start and size : 1 64 {}", esp - 64),
        "GPT partname local : 2 EFI system partition".to_owned(),
        format!("GPT start and size : 2 {esp} {esp_length}"),
        "Volume id : 'LIVEKIT'".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected:?} is not in\n{text}");
    }
    assert!(
        lines.iter().any(|line| line.starts_with("El Torito boot img : 1 BIOS y none 0x0000 0x00 4 ")),
        "{text}"
    );
}

#[test]
fn grub_finds_its_image_on_disk() {
    let Image { path: image, tree, directory: _directory } = Image::bootable();
    let mbr = judge::cut(&image, 0, 512);
    let sector = u64::from_le_bytes(mbr[0x1b0..0x1b8].try_into().unwrap());
    assert_eq!(sector % 4, 0);
    // Behind the first block, which is for CDs, comes the second: where the core begins.
    let core = tree.files().find(|(path, _)| path.ends_with("eltorito.img")).unwrap().1.clone();
    let Source::Bytes(core) = core else { panic!("the image is in memory") };
    let on_disk = judge::cut(&image, sector * 512, 400);
    assert!(on_disk == core[2048..2448], "the sector in the MBR is not the core's");
    assert_eq!(u64::from_le_bytes(judge::cut(&image, sector * 512 + 500, 8).try_into().unwrap()), sector + 1);
}

#[test]
fn a_plain_image_has_no_boot_records() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("data.iso");
    let tree = judge::demanding_tree();
    let written = judge::write(&tree, &Boot::default(), &image).unwrap();
    assert_eq!(written.size, std::fs::metadata(&image).unwrap().len());
    let mut expected = given(&tree);
    expected.insert("rr_moved".to_owned(), None);
    assert_same(&extracted(&image), &expected);
    assert!(judge::cut(&image, 0, 32768).iter().all(|&byte| byte == 0));
}

#[test]
fn the_dates_are_those_given() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("data.iso");
    judge::write(&judge::demanding_tree(), &Boot::default(), &image).unwrap();
    let text = run("xorriso", &["-indev", image.to_str().unwrap(), "-pvd_info"]);
    for field in ["Creation Time: 2023111422132000", "Modif. Time  : 2023111422132000"] {
        assert!(text.contains(field), "{field:?} is not in\n{text}");
    }
}

#[test]
fn links_and_modes_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (image, target) = (directory.path().join("live.iso"), directory.path().join("files"));
    let mut tree = judge::demanding_tree();
    let long = format!("/{}end", "folder-with-a-long-name/".repeat(20));
    tree.add_file("/livekit/rootcopy/script", Source::Bytes(b"#!/bin/sh\n".to_vec())).unwrap();
    tree.add_link("/livekit/rootcopy/relative", "../rootcopy/script").unwrap();
    tree.add_link("/livekit/rootcopy/nowhere", &long).unwrap();
    tree.add_directory("/livekit/rootcopy/own").unwrap();
    tree.set_mode("/livekit/rootcopy/script", 0o104_755);
    tree.set_mode("/livekit/rootcopy/own", 0o700);
    assert!(tree.add_link("/livekit/rootcopy/own", "x").is_err());
    assert!(tree.add_file("/livekit/rootcopy/nowhere/x", Source::Bytes(Vec::new())).is_err());
    let boot = judge::install(&mut tree, &judge::menu());
    let warnings = judge::write(&tree, &boot, &image).unwrap().warnings;
    assert!(
        !warnings.iter().any(|warning| warning.contains("where") || warning.contains("relative")),
        "{warnings:?}"
    );

    let (start, length) = judge::partition(&image, 1);
    let partition = directory.path().join("partition1");
    std::fs::write(&partition, judge::cut(&image, start * 512, usize::try_from(length * 512).unwrap()))
        .unwrap();
    for image in [&image, &partition] {
        let _ = std::fs::remove_dir_all(&target);
        let [from, to] = [image, &target].map(|path| path.to_str().unwrap());
        run("xorriso", &["-osirrox", "on", "-indev", from, "-extract", "/livekit/rootcopy", to]);
        let link = |name: &str| std::fs::read_link(target.join(name)).unwrap();
        assert_eq!(link("relative"), Path::new("../rootcopy/script"));
        assert_eq!(link("nowhere"), Path::new(&long));
        for (name, mode) in [("script", 0o4755), ("own", 0o700), ("empty", 0o644), ("many", 0o755)] {
            let metadata = target.join(name).metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        }
    }
}
