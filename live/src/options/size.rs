//! Sizes as users write them.

/// Reads `500`, `500M`, `4GB`, `1T` as bytes. A number alone is in MiB, as Linux Live Kit has it; units are powers of
/// 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let digits = bare.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match &bare[digits.len()..] {
        "K" => 10,
        "" | "M" => 20,
        "G" => 30,
        "T" => 40,
        unit => return Err(format!("{text}: {unit} is no unit; K, M, G and T are")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text}: not a size, such as 500M or 4G"))?;
    number.checked_mul(1 << shift).filter(|&n| n > 0).ok_or_else(|| format!("{text}: not a size that can be"))
}

/// Part of the machine's memory, or so many bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemorySize {
    Percent(u8),
    Bytes(u64),
}

impl MemorySize {
    /// Reads `60%`, or what [`bytes`] reads.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else { return bytes(text).map(Self::Bytes) };
        match number.parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err(format!("{text}: not a part of the memory, such as 60%")),
        }
    }

    /// In bytes, of a machine with so many of memory.
    pub const fn of(self, memory: u64) -> u64 {
        match self {
            Self::Percent(percent) => memory / 100 * percent as u64,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// As tmpfs(5) takes it for `size=`.
    pub fn for_tmpfs(self) -> String {
        match self {
            Self::Percent(percent) => format!("{percent}%"),
            Self::Bytes(bytes) => bytes.to_string(),
        }
    }
}

/// How much memory may be compressed when it is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Nothing was said: half of the memory, but no more than 4 GiB, for each takes 4 MiB to keep the books
    #[default]
    ByItself,
    Off,
    Asked(MemorySize),
}

impl Compression {
    const MOST: u64 = 4 << 30;

    /// Reads a switch, on means half of the memory, or what [`MemorySize::parse`] reads.
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        match text {
            None | Some("yes" | "on" | "1") => Ok(Self::Asked(MemorySize::Percent(50))),
            Some("no" | "off" | "0") => Ok(Self::Off),
            Some(text) => MemorySize::parse(text).map(Self::Asked),
        }
    }

    /// In bytes before they are compressed, of a machine with so many of memory.
    pub fn of(self, memory: u64) -> Option<u64> {
        match self {
            Self::ByItself => Some(Self::MOST.min(memory / 2)),
            Self::Off => None,
            Self::Asked(size) => Some(size.of(memory)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("16000", Some(16000 << 20)),
            ("500m", Some(500 << 20)),
            ("4GB", Some(4 << 30)),
            ("4GiB", Some(4 << 30)),
            ("1T", Some(1 << 40)),
            ("64k", Some(64 << 10)),
            ("512B", Some(512 << 20)),
            ("0", None),
            ("", None),
            ("G", None),
            ("-1", None),
            ("99999999999T", None),
            ("4MG", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn parts_of_memory() {
        for (text, expected) in [
            ("60%", Some("60%")),
            ("100%", Some("100%")),
            ("256M", Some("268435456")),
            ("0%", None),
            ("101%", None),
            ("%", None),
        ] {
            assert_eq!(
                MemorySize::parse(text).ok().map(MemorySize::for_tmpfs).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn parts_of_memory_in_bytes() {
        assert_eq!(MemorySize::Percent(25).of(1000), 250);
        assert_eq!(MemorySize::Bytes(7).of(1000), 7);
    }

    #[test]
    fn memory_to_compress() {
        for (compression, memory, expected) in [
            (Compression::ByItself, 1 << 30, Some(1 << 29)),
            (Compression::ByItself, 64 << 30, Some(4 << 30)),
            (Compression::Off, 1 << 30, None),
            (Compression::Asked(MemorySize::Percent(50)), 64 << 30, Some((64 << 30) / 100 * 50)),
            (Compression::Asked(MemorySize::Bytes(9)), 1 << 30, Some(9)),
        ] {
            assert_eq!(compression.of(memory), expected, "{compression:?} of {memory}");
        }
    }
}
