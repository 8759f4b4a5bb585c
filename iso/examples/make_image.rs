//! Makes a bootable image of a kernel and an initramfs: `cargo run -p iso --example make_image -- KERNEL INITRAMFS OUTPUT`.
//!
//! Options, before the files: `--text` for a menu without pictures, `--timeout SECONDS`, `--append PARAMETERS`,
//! `--title TEXT`, `--id HEX`, `--add FILE` for a file more, as `/livekit/NAME`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iso::grub::{BootFiles, Firmware, install};
use iso::menu::Menu;
use iso::{Error, ImageOptions, Source, Tree, Written};

fn main() -> ExitCode {
    let mut menu =
        Menu { title: "Live system".to_owned(), id: "0123456789abcdef".to_owned(), ..Menu::default() };
    let mut files = Vec::new();
    let mut added = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--text" => menu.graphical = false,
            "--timeout" => menu.timeout = value().parse().ok(),
            "--append" => menu.append = value(),
            "--title" => menu.title = value(),
            "--id" => menu.id = value(),
            "--add" => added.push(PathBuf::from(value())),
            _ => files.push(PathBuf::from(argument)),
        }
    }
    let [kernel, initramfs, output] = files.as_slice() else {
        eprintln!("usage: make_image [OPTIONS] KERNEL INITRAMFS OUTPUT");
        return ExitCode::from(2);
    };
    match make(&menu, kernel, initramfs, &added, output) {
        Ok(written) => {
            println!("{}: {} bytes", output.display(), written.size);
            written.warnings.iter().for_each(|warning| println!("warning: {warning}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn make(
    menu: &Menu,
    kernel: &Path,
    initramfs: &Path,
    added: &[PathBuf],
    output: &Path,
) -> Result<Written, Error> {
    let options = ImageOptions { volume_id: "LIVEKIT".to_owned(), epoch: 1_700_000_000 };
    let mut tree = Tree::new();
    tree.add_file("/livekit/boot/vmlinuz", Source::Path(kernel.to_owned()))?;
    tree.add_file("/livekit/boot/initramfs.img", Source::Path(initramfs.to_owned()))?;
    for file in added {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        tree.add_file(&format!("/livekit/{name}"), Source::Path(file.clone()))?;
    }
    let boot = install(&mut tree, &BootFiles::find(&[Path::new("/")], Firmware::Both)?, menu, options.epoch)?;
    iso::write(&tree, &boot, &options, output, &mut |_, _| {})
}
