//! Module files of the root: plain or compressed, and what they say of themselves.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use live::error::{AtPath, Error, Result};

/// Compression of a stored module. Unpacked once, at every boot, by the hundred: worth the build's time.
const LEVEL: i32 = 19;

/// Larger than any module; bounds what a damaged file can make us allocate.
const LARGEST: u64 = 1 << 30;

/// Reads a module as the kernel takes it, from `NAME.ko`, `.ko.xz`, `.ko.zst` or `.ko.gz`. Its signature stays at its end.
///
/// # Errors
/// The file cannot be read, is damaged, or its compression is unknown.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).at("read", path)?;
    let plain = match path.extension().and_then(|e| e.to_str()) {
        Some("ko") => Ok(bytes),
        Some("xz") => unpack(liblzma::read::XzDecoder::new_multi_decoder(&bytes[..])),
        Some("zst") => zstd::stream::read::Decoder::new(&bytes[..]).and_then(unpack),
        Some("gz") => unpack(flate2::read::MultiGzDecoder::new(&bytes[..])),
        _ => return Err(Error::at("read", path, "unknown compression of a kernel module")),
    };
    let plain = plain.at("decompress", path)?;
    if !plain.starts_with(b"\x7fELF") {
        return Err(Error::at("use", path, "not a kernel module"));
    }
    Ok(plain)
}

fn unpack(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(LARGEST).read_to_end(&mut plain)?;
    Ok(plain)
}

/// One zstd frame with the size of its content, without a checksum: what init unpacks. An empty dictionary is none.
///
/// # Errors
/// Out of memory.
pub(super) fn compress(plain: &[u8], dictionary: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::Compressor::with_dictionary(LEVEL, dictionary)?.compress(plain)
}

/// The firmware files a module may ask for, relative to /lib/firmware: the `firmware=` fields of its section `.modinfo`.
pub(super) fn firmware(module: &[u8]) -> Vec<String> {
    let fields = section(module, b".modinfo").unwrap_or_default().split(|&b| b == 0);
    let names =
        fields.filter_map(|f| f.strip_prefix(b"firmware=")).filter_map(|n| std::str::from_utf8(n).ok());
    names.filter(|n| !n.split('/').any(|part| matches!(part, "" | "." | ".."))).map(str::to_owned).collect()
}

/// The content of a section of a 64-bit little-endian ELF file (elf(5)).
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    const CLASS64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
    if !elf.starts_with(CLASS64_LITTLE) {
        return None;
    }
    let table = number(elf, 40, 8)?;
    let (entry_size, count, names_index) = (number(elf, 58, 2)?, number(elf, 60, 2)?, number(elf, 62, 2)?);
    let header = |index: usize| table.checked_add(index.checked_mul(entry_size)?);
    let content = |header: usize| {
        let (start, size) =
            (number(elf, header.checked_add(24)?, 8)?, number(elf, header.checked_add(32)?, 8)?);
        elf.get(start..start.checked_add(size)?)
    };
    let names = content(header(names_index)?)?;
    (0..count).filter_map(header).find_map(|h| {
        let found = names.get(number(elf, h, 4)?..)?;
        (found.strip_prefix(name)?.first() == Some(&0)).then(|| content(h))?
    })
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    let value = field.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    usize::try_from(value).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    /// An ELF file with a section of names and `.modinfo`.
    pub(crate) fn module(info: &[u8]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let names_at = elf.len();
        elf.extend_from_slice(names);
        let info_at = elf.len();
        elf.extend_from_slice(info);
        let table = elf.len();
        for (name, start, size) in [(0, 0, 0), (1, names_at, names.len()), (11, info_at, info.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&u32::to_le_bytes(name));
            header[24..32].copy_from_slice(&(start as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            elf.extend_from_slice(&header);
        }
        elf[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        elf[58..64].copy_from_slice(&[64, 0, 3, 0, 1, 0]);
        elf
    }

    #[test]
    fn firmware_is_named_in_modinfo() {
        let elf = module(
            b"license=GPL\0firmware=ql2400_fw.bin\0firmware=a/b.fw\0firmware=../../etc/shadow\0firmware=\0",
        );
        assert_eq!(firmware(&elf), ["ql2400_fw.bin", "a/b.fw"]);
        assert!(firmware(&elf[..elf.len() - 200]).is_empty(), "cut off");
        assert!(firmware(b"\x7fELF").is_empty());
    }

    #[test]
    fn every_compression_of_distributions() {
        let dir = tempfile::tempdir().unwrap();
        let elf = module(b"license=GPL\0");
        let xz = {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
            writer.write_all(&elf).unwrap();
            writer.finish().unwrap()
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&elf).unwrap();
        let stored = compress(&elf, &[]).unwrap();
        for (name, bytes) in
            [("m.ko", &elf), ("m.ko.xz", &xz), ("m.ko.gz", &gzip.finish().unwrap()), ("m.ko.zst", &stored)]
        {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap(), elf, "{name}");
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            assert!(name == "m.ko" || read(&path).is_err(), "half of {name}");
        }
        fs::write(dir.path().join("m.ko.br"), b"x").unwrap();
        assert!(read(&dir.path().join("m.ko.br")).unwrap_err().message().contains("unknown compression"));
        fs::write(dir.path().join("m.ko"), b"version https://").unwrap();
        assert!(read(&dir.path().join("m.ko")).unwrap_err().message().contains("not a kernel module"));
    }
}
