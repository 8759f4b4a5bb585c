//! The image as a disk: partition table, and the EFI system partition.

mod judge;

use std::path::Path;

use iso::grub::{BootFiles, Firmware};
use iso::{Boot, Source, Tree};
use judge::{Image, run};

#[test]
fn the_partition_table_is_sound() {
    type Part = fn(Boot) -> Boot;
    let cases: [(Part, usize); 3] =
        [(|boot| boot, 2), (|boot| Boot { bios: None, ..boot }, 2), (|boot| Boot { esp: None, ..boot }, 1)];
    for (boot, partitions) in cases {
        let Image { path: image, directory: _directory, .. } = Image::with(boot);
        let path = image.to_str().unwrap();
        let text = run("sgdisk", &["-v", path]);
        assert!(text.contains("No problems found."), "{text}");
        let listed = run("sgdisk", &["-p", path]);
        let numbers = listed.lines().skip_while(|line| !line.starts_with("Number")).skip(1).count();
        assert_eq!(numbers, partitions, "{listed}");
    }
}

#[test]
fn windows_leaves_the_first_partition_alone() {
    let Image { path: image, directory: _directory, .. } = Image::bootable();
    let text = run("sgdisk", &["-i", "1", image.to_str().unwrap()]);
    assert!(text.contains("Attribute flags: 9000000000000000"), "{text}");
}

#[test]
fn the_esp_is_a_clean_fat_with_the_boot_loader() {
    let Image { path: image, directory, .. } = Image::bootable();
    let (start, length) = judge::partition(&image, 2);
    let esp = directory.path().join("esp");
    std::fs::write(&esp, judge::cut(&image, start * 512, usize::try_from(length * 512).unwrap())).unwrap();
    check_fat(&esp);
    let copy = directory.path().join("copy");
    for (name, original) in [
        ("EFI/BOOT/BOOTX64.EFI", Some("/usr/lib/shim/shimx64.efi.signed")),
        ("EFI/BOOT/grubx64.efi", Some("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")),
        ("EFI/BOOT/mmx64.efi", Some("/usr/lib/shim/mmx64.efi.signed")),
        ("boot/grub/grub.cfg", None),
    ] {
        run(
            "mcopy",
            &["-n", "-o", "-i", esp.to_str().unwrap(), &format!("::/{name}"), copy.to_str().unwrap()],
        );
        let bytes = std::fs::read(&copy).unwrap();
        match original {
            Some(path) => assert!(bytes == std::fs::read(path).unwrap(), "{name}"),
            None => assert!(String::from_utf8(bytes).unwrap().contains("/livekit/0123456789abcdef.id")),
        }
    }
    let listed = run("mdir", &["-i", esp.to_str().unwrap(), "-b", "-/", "::"]);
    assert_eq!(listed.lines().filter(|line| !line.ends_with('/')).count(), 4, "{listed}");
}

fn check_fat(image: &Path) {
    let text = run("fsck.fat", &["-n", "-v", image.to_str().unwrap()]);
    for trouble in ["differ", "dirty", "orphan", "wrong", "Reclaim", "bad"] {
        assert!(!text.contains(trouble), "{text}");
    }
}

#[test]
fn esps_of_all_sizes_are_clean() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("esp");
    for length in [0, 1, 2_000_000, 5_900_000, 14_900_000, 15_100_000, 29_000_000] {
        let bytes = vec![0xa5; length];
        let image = iso::esp::image(&[("EFI/BOOT/BOOTX64.EFI", &bytes)], judge::ID, judge::EPOCH).unwrap();
        std::fs::write(&path, image).unwrap();
        check_fat(&path);
    }
}

#[test]
fn uefi_only_and_bios_only_images_have_what_they_need() {
    let mut files = BootFiles::find(&[Path::new("/")], Firmware::Both).unwrap();
    let bios = files.bios.take();
    let mut tree = Tree::new();
    let boot = iso::grub::install(&mut tree, &files, &judge::menu(), judge::EPOCH).unwrap();
    assert!(boot.bios.is_none() && boot.esp.is_some());
    assert!(tree.contains("/EFI/BOOT/BOOTX64.EFI") && !tree.contains("/boot/grub/eltorito.img"));

    (files.uefi, files.bios) = (None, bios);
    let mut tree = Tree::new();
    let boot = iso::grub::install(&mut tree, &files, &judge::menu(), judge::EPOCH).unwrap();
    assert!(boot.bios.is_some() && boot.esp.is_none());
    assert!(!tree.contains("/EFI") && tree.contains("/boot/grub/eltorito.img"));
}

#[test]
fn a_menu_in_text_brings_no_pictures() {
    let mut tree = Tree::new();
    judge::install(&mut tree, &iso::menu::Menu { graphical: false, ..judge::menu() });
    let files: Vec<_> =
        tree.files().filter(|(path, _)| path.starts_with("/boot/")).map(|(path, _)| path).collect();
    assert_eq!(
        files,
        [
            "/boot/grub/eltorito.img",
            "/boot/grub/entries.cfg",
            "/boot/grub/grub.cfg",
            "/boot/grub/loopback.cfg"
        ]
    );
}

#[test]
fn grub_accepts_the_scripts() {
    let menu = iso::menu::Menu {
        title: "Bob's \"live\" $system".to_owned(),
        append: r#"a=$b;c d="e 'f' {g}" }"#.to_owned(),
        ..judge::menu()
    };
    let directory = tempfile::tempdir().unwrap();
    for graphical in [true, false] {
        let mut tree = Tree::new();
        let boot = judge::install(&mut tree, &iso::menu::Menu { graphical, ..menu.clone() });
        let mut scripts: Vec<(String, Vec<u8>)> = tree
            .files()
            .filter_map(|(path, source)| match source {
                Source::Bytes(bytes) if path.ends_with(".cfg") => Some((path.to_owned(), bytes.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(scripts.len(), 3);
        let esp = directory.path().join("esp");
        std::fs::write(&esp, boot.esp.unwrap()).unwrap();
        let stub = directory.path().join("stub");
        run(
            "mcopy",
            &["-n", "-o", "-i", esp.to_str().unwrap(), "::/boot/grub/grub.cfg", stub.to_str().unwrap()],
        );
        scripts.push(("the stub".to_owned(), std::fs::read(&stub).unwrap()));
        for (name, bytes) in scripts {
            let path = directory.path().join("script");
            std::fs::write(&path, &bytes).unwrap();
            let text = run("grub-script-check", &[path.to_str().unwrap()]);
            assert!(text.is_empty(), "{name}: {text}");
        }
    }
}
