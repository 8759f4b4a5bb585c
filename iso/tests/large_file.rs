//! Files of more than 4 GiB take several extents on ISO 9660: what lies across the border must be read back whole.

mod judge;

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use iso::{Boot, Source, Tree};
use judge::run;

#[test]
fn more_than_4_gib_is_read_back_across_the_border() {
    // Holes are read fastest from memory, where they take none.
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let length = (4 << 30) + (70 << 20) + 1234;
    // Hadris cuts at 4 GiB less 2 KiB; marks lie across that, across 4 GiB, and at both ends.
    let marks: Vec<(u64, String)> = [0, (4 << 30) - 2048 - 9, (4 << 30) - 9, length - 18]
        .map(|offset: u64| (offset, format!("mark {offset:013}")))
        .to_vec();
    let path = directory.path().join("large.sb");
    let file = File::create(&path).unwrap();
    file.set_len(length).unwrap();
    for (offset, mark) in &marks {
        file.write_all_at(mark.as_bytes(), *offset).unwrap();
    }

    let mut tree = Tree::new();
    tree.add_file("/livekit/00-core.sb", Source::Scratch(path.clone())).unwrap();
    tree.add_file("/livekit/01-after.sb", Source::Bytes(b"after".to_vec())).unwrap();
    let boot = judge::install(&mut tree, &judge::menu());
    let image = directory.path().join("live.iso");
    let written = judge::write(&tree, &boot, &image).unwrap();
    assert!(!path.exists());
    // Holes stay holes, or this test would need the space.
    assert!(image.metadata().unwrap().blocks() * 512 < 64 << 20);
    assert!(run("sgdisk", &["-v", image.to_str().unwrap()]).contains("No problems found."));

    let place = written.places["/livekit/00-core.sb"];
    assert_eq!(place.length, length);
    let read = File::open(&image).unwrap();
    for (offset, mark) in &marks {
        let mut found = vec![0; mark.len()];
        read.read_exact_at(&mut found, place.offset + offset).unwrap();
        assert_eq!(found, mark.as_bytes());
    }

    let cut = directory.path().join("cut");
    let drive = format!("stdio:{}", image.display()); // xorriso is wary of paths in /dev
    for (offset, mark) in &marks {
        let _ = std::fs::remove_file(&cut);
        let (offset, length) = (offset.to_string(), mark.len().to_string());
        let cut = cut.to_str().unwrap();
        run(
            "xorriso",
            &[
                "-osirrox",
                "on",
                "-indev",
                &drive,
                "-extract_cut",
                "/livekit/00-core.sb",
                &offset,
                &length,
                cut,
            ],
        );
        assert_eq!(std::fs::read_to_string(cut).unwrap(), *mark);
    }
    let text = run("xorriso", &["-indev", &drive, "-lsl", "/livekit/00-core.sb"]);
    assert!(text.contains(&length.to_string()), "{text}");
}

#[test]
fn a_plain_image_of_zeros_has_its_full_length() {
    let directory = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    tree.add_file("/zeros", Source::Bytes(vec![0; 3 << 20])).unwrap();
    let image = directory.path().join("zeros.iso");
    let written = judge::write(&tree, &Boot::default(), &image).unwrap();
    assert_eq!(image.metadata().unwrap().len(), written.size);
    assert!(written.size > 3 << 20);
}
