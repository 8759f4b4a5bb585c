//! What dm-crypt has to be told.

use std::fmt::{self, Write};

use zeroize::Zeroizing;

use super::metadata::Segment;
use super::{Failure, Result};

/// What dm-crypt counts offsets and lengths in.
const SECTOR: u64 = 512;

/// An opened container.
pub struct Volume {
    /// As dm-crypt names it: `aes-xts-plain64`.
    pub cipher: String,
    /// The key of the data. Overwritten when the value is dropped.
    pub key: Zeroizing<Vec<u8>>,
    /// Where the data begin, in bytes.
    pub offset: u64,
    /// Bytes of data; none for all that follows.
    pub size: Option<u64>,
    /// Bytes that are encrypted as one.
    pub sector_size: u32,
    /// Added to the number of each sector.
    pub iv_tweak: u64,
    /// Options that the container wants to be opened with, as dm-crypt names them: `allow_discards`.
    pub options: Vec<&'static str>,
    /// As text.
    pub uuid: String,
}

impl Volume {
    pub(super) fn new(
        segment: Segment,
        options: Vec<&'static str>,
        uuid: String,
        key: Zeroizing<Vec<u8>>,
    ) -> Result<Self> {
        if ![32, 48, 64].contains(&key.len()) {
            return Err(Failure::unsupported("key of bytes:", key.len()));
        }
        let Segment { cipher, offset, size, sector_size, iv_tweak } = segment;
        Ok(Self { cipher, key, offset, size, sector_size, iv_tweak, options, uuid })
    }

    /// The length of dm-crypt's device in sectors of 512 bytes, over a device of `device_size` bytes.
    pub fn sectors(&self, device_size: u64) -> u64 {
        let size = self.size.unwrap_or(device_size.saturating_sub(self.offset));
        (size - size % u64::from(self.sector_size)) / SECTOR
    }

    /// The parameters of the target `crypt` over `device`, a number such as `7:0`
    /// (Documentation/admin-guide/device-mapper/dm-crypt.rst). `extra` are more options, such as `allow_discards`.
    pub fn table(&self, device: &str, extra: &[&'static str]) -> Zeroizing<String> {
        let mut options = self.options.clone();
        options.extend(extra.iter().filter(|option| !self.options.contains(option)));
        let sector_size = format!("sector_size:{}", self.sector_size);
        if u64::from(self.sector_size) != SECTOR {
            options.push(&sector_size);
        }
        // Reserved as a whole: text that has to grow leaves copies of the key behind.
        let mut table = Zeroizing::new(String::with_capacity(512 + 2 * self.key.len()));
        table.push_str(&self.cipher);
        table.push(' ');
        for byte in self.key.iter() {
            let digits = [byte >> 4, byte & 15].map(|n| char::from_digit(n.into(), 16).unwrap_or('0'));
            table.extend(digits);
        }
        let _ = write!(table, " {} {device} {}", self.iv_tweak, self.offset / SECTOR);
        if !options.is_empty() {
            let _ = write!(table, " {} {}", options.len(), options.join(" "));
        }
        table
    }
}

/// Without the key.
impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("cipher", &self.cipher)
            .field("offset", &self.offset)
            .field("size", &self.size)
            .field("sector_size", &self.sector_size)
            .field("iv_tweak", &self.iv_tweak)
            .field("options", &self.options)
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_the_kernel_documents_them() {
        let mut volume = Volume {
            cipher: "aes-xts-plain64".into(),
            key: Zeroizing::new(vec![0x0a; 32]),
            offset: 1 << 20,
            size: None,
            sector_size: 512,
            iv_tweak: 0,
            options: vec![],
            uuid: String::new(),
        };
        let start = format!("aes-xts-plain64 {}", "0a".repeat(32));
        assert_eq!(*volume.table("7:0", &[]), format!("{start} 0 7:0 2048"));
        assert_eq!(volume.sectors((1 << 20) + 5000), 9);
        volume.sector_size = 4096;
        volume.iv_tweak = 8;
        volume.options = vec!["allow_discards"];
        let expected = format!("{start} 8 7:0 2048 2 allow_discards sector_size:4096");
        assert_eq!(*volume.table("7:0", &["allow_discards"]), expected);
        assert_eq!(volume.sectors((1 << 20) + 5000), 8);
        volume.size = Some(8192);
        assert_eq!(volume.sectors(1 << 30), 16);
        assert!(!format!("{volume:?}").contains("10, 10"), "the key is printed");
    }
}
