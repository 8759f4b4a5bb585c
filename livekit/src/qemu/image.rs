//! What an image tells of itself: its format, and the kernel that its boot menu starts.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hadris_fs::sync::{FileSystem, Volume};
use hadris_fs::{ErrorKind, Extent, MountOptions, Resolve};
use hadris_iso::sync::IsoFs;
use hadris_storage::host::FileDevice;

use super::Format;
use crate::error::{AtPath, Error, Result};

/// The format of a disk image by its first bytes.
pub fn format(path: &Path) -> Result<Format> {
    let mut magic = [0; 4];
    let mut file = File::open(path).at("open the image", path)?;
    let length = file.read(&mut magic).at("read the image", path)?;
    Ok(if &magic[..length] == b"QFI\xfb" { Format::Qcow2 } else { Format::Raw })
}

/// The kernel of an image, as its menu starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    pub kernel: Vec<u8>,
    pub initramfs: Vec<u8>,
    /// What is on the command line of every menu entry.
    pub parameters: String,
}

/// Where `iso` writes the menu's entries.
const ENTRIES: &str = "/boot/grub/entries.cfg";

/// Takes the kernel, the initramfs and their parameters out of an ISO image that livekit made.
pub fn boot_files(path: &Path) -> Result<BootFiles> {
    let foreign = |reason: String| {
        Error::at("take the kernel out of", path, reason)
            .hint("--append works with ISO images made by `livekit build-iso`; without it any image starts")
    };
    let volume = Volume::new(open(path)?.map_err(foreign)?);
    let read = |name: &str| volume.read(name).map_err(|error| foreign(format!("{name}: {error}")));
    let entries = String::from_utf8_lossy(&read(ENTRIES)?).into_owned();
    let start = parse_entries(&entries).ok_or_else(|| foreign(format!("{ENTRIES} starts no kernel")))?;
    Ok(BootFiles {
        kernel: read(&start.kernel)?,
        initramfs: read(&start.initramfs)?,
        parameters: start.parameters,
    })
}

/// Where in an ISO image the bytes of a file begin. `None`: it has no such file.
pub fn place_of(path: &Path, name: &str) -> Result<Option<u64>> {
    let unreadable = |reason: String| Error::at(&format!("find {name} in"), path, reason);
    let mut file_system = open(path)?.map_err(unreadable)?;
    let node = match file_system.resolve(name.as_bytes(), Resolve::Lexical) {
        Ok(node) => node,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    // A file of 4 GiB and more has several extents, which writers put one after the other.
    let mut extents = [Extent::new(0, 0); 64];
    let count = file_system.extents(node, 0, &mut extents).map_err(|error| unreadable(error.to_string()))?;
    let extents = &extents[..count];
    if extents.windows(2).any(|pair| pair[0].end() != pair[1].offset()) {
        return Err(unreadable("it is in pieces".into()));
    }
    Ok(extents.first().map(Extent::offset))
}

/// The image's file system, or that there is none.
fn open(path: &Path) -> Result<Result<IsoFs<FileDevice>, String>> {
    let device = FileDevice::open(path).at("open the image", path)?;
    Ok(IsoFs::mount(device, MountOptions::new()).map_err(|_| "it is no ISO image".to_owned()))
}

#[derive(Debug, PartialEq, Eq)]
struct MenuStart {
    kernel: String,
    initramfs: String,
    parameters: String,
}

/// The last `linux` command is the one for a medium of its own; the one before is for an image within another system.
fn parse_entries(text: &str) -> Option<MenuStart> {
    let command = |name: &str| {
        let mut lines =
            text.lines().filter_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(' '));
        lines.next_back().map(grub_words)
    };
    let mut linux = command("linux")?.into_iter();
    let initramfs = command("initrd")?.into_iter().next()?;
    let kernel = linux.next()?;
    let parameters: Vec<String> =
        linux.filter(|word| !word.starts_with('$')).map(|word| kernel_word(&word)).collect();
    Some(MenuStart { kernel, initramfs, parameters: parameters.join(" ") })
}

/// Splits a line as GRUB's shell does: quotes keep words together and go away.
fn grub_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// A word for the kernel's command line, which knows double quotes.
fn kernel_word(word: &str) -> String {
    if !word.contains(char::is_whitespace) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((name, value)) => format!("{name}=\"{value}\""),
        None => format!("\"{word}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menus_kernel_is_understood() {
        let text = "function boot_kernel {\n  echo 'Loading the kernel ...'\n  if [ -n \"$live_from\" ]; then\n    \
            linux /kit/boot/vmlinuz livekit.id=0123 \"$live_from\" $@ 'a=b'\n  else\n    \
            linux /kit/boot/vmlinuz livekit.id=0123 $@ 'a=b' 'x=it'\\''s so'\n  fi\n  \
            initrd /kit/boot/initramfs.img\n}\nmenuentry 'Linux' --id live { boot_kernel quiet; }\n";
        let start = parse_entries(text).unwrap();
        assert_eq!(start.kernel, "/kit/boot/vmlinuz");
        assert_eq!(start.initramfs, "/kit/boot/initramfs.img");
        assert_eq!(start.parameters, "livekit.id=0123 a=b x=\"it's so\"");
        assert_eq!(parse_entries("menuentry x { chainloader /efi }"), None);
    }

    #[test]
    fn words_as_grub_reads_them() {
        for (line, words) in [
            ("a  b", &["a", "b"][..]),
            ("'a b' \"c d\"e", &["a b", "c de"]),
            (r"a\ b ''", &["a b", ""]),
            ("", &[]),
        ] {
            assert_eq!(grub_words(line), words, "{line}");
        }
    }

    #[test]
    fn formats_are_told_apart_and_foreign_images_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        for (bytes, is) in
            [(&b"QFI\xfb\0\0"[..], Format::Qcow2), (b"\xeb\x63", Format::Raw), (b"", Format::Raw)]
        {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(format(&path).unwrap(), is);
        }
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let error = boot_files(&path).unwrap_err();
        assert!(error.message().ends_with("it is no ISO image"), "{error}");
    }
}
