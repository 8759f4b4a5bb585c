//! Keys of passphrases.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::hash::Hash;
use super::{Failure, Result};

/// What a passphrase costs to be tried, with argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Cost {
    /// KiB that are written in all: one to two seconds of one core.
    const WORK: u32 = 2 << 20;
    /// The most memory, in KiB: a stick is to open in a small machine too, with its bundles in memory.
    const MOST: u32 = 256 << 10;
    const LEAST: u32 = 16 << 10;

    /// For a machine with so many bytes of available memory, of which at most a quarter is used.
    pub fn for_memory(available: u64) -> Self {
        let quarter = u32::try_from(available / 4 / 1024).unwrap_or(u32::MAX);
        let memory = quarter.clamp(Self::LEAST, Self::MOST);
        Self { memory, passes: Self::WORK / memory }
    }

    /// For this machine.
    pub fn for_this_machine() -> Self {
        Self::for_memory(available_memory().unwrap_or(0))
    }
}

/// How a keyslot's key comes of a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derivation {
    Argon2 { id: bool, memory: u32, passes: u32, lanes: u32 },
    Pbkdf2 { hash: Hash, iterations: u32 },
}

impl Derivation {
    /// The key of a passphrase.
    pub fn derive(
        &self,
        passphrase: &[u8],
        salt: &[u8],
        length: usize,
        budget: &mut Budget,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut key = Zeroizing::new(vec![0; length]);
        match *self {
            Self::Pbkdf2 { hash, iterations } => {
                budget.pay_pbkdf2(iterations)?;
                hash.pbkdf2(passphrase, salt, iterations, &mut key);
            }
            Self::Argon2 { id, memory, passes, lanes } => {
                budget.pay(u64::from(memory) * u64::from(passes))?;
                let algorithm = if id { Algorithm::Argon2id } else { Algorithm::Argon2i };
                let impossible = |e: argon2::Error| Failure::Damaged(format!("argon2: {e}"));
                let params = Params::new(memory, passes, lanes, Some(length)).map_err(impossible)?;
                let mut blocks = allocate(params.block_count())?;
                Argon2::new(algorithm, Version::V0x13, params)
                    .hash_password_into_with_memory(passphrase, salt, &mut key, &mut blocks[..])
                    .map_err(impossible)?;
            }
        }
        Ok(key)
    }
}

/// Memory of so many KiB. The kernel grants more than it has and kills for it later, so it is asked what there is first.
fn allocate(kib: usize) -> Result<Vec<Block>> {
    let bytes = kib as u64 * Block::SIZE as u64;
    let available = available_memory();
    let refuse = || Failure::Memory { needed: bytes >> 20, available: available.map(|bytes| bytes >> 20) };
    if available.is_some_and(|available| bytes > available) {
        return Err(refuse());
    }
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(kib).map_err(|_| refuse())?;
    blocks.resize(kib, Block::new());
    Ok(blocks)
}

/// Bytes that can be had without swapping, and of swap. None without /proc.
fn available_memory() -> Option<u64> {
    parse_available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let of = |name: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    of("MemAvailable:")?.checked_add(of("SwapFree:").unwrap_or(0))
}

/// What all keyslots of a container together may cost, in KiB that argon2 writes: some minutes. A header can ask for
/// years.
#[derive(Debug)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(256 << 20)
    }
}

impl Budget {
    /// About two iterations take as long as one KiB of argon2.
    pub fn pay_pbkdf2(&mut self, iterations: u32) -> Result<()> {
        self.pay(u64::from(iterations) / 2)
    }

    fn pay(&mut self, work: u64) -> Result<()> {
        self.0 = self
            .0
            .checked_sub(work)
            .ok_or_else(|| Failure::Unsupported("a passphrase that takes minutes to be tried".into()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gives_a_quarter_of_its_memory() {
        for (mib, memory, passes) in
            [(0, 16, 128), (64, 16, 128), (512, 128, 16), (1024, 256, 8), (64 << 10, 256, 8)]
        {
            assert_eq!(Cost::for_memory(mib << 20), Cost { memory: memory << 10, passes }, "{mib} MiB");
        }
    }

    #[test]
    fn swap_counts_as_memory() {
        let table = [
            ("MemTotal: 9 kB\nMemAvailable:   2 kB\nSwapFree: 3 kB\n", Some(5 << 10)),
            ("MemAvailable: 2 kB\n", Some(2 << 10)),
            ("MemTotal: 9 kB\n", None),
            ("MemAvailable: 99999999999999999999 kB\n", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_available(text), expected, "{text}");
        }
    }

    #[test]
    fn too_much_memory_is_an_error() {
        assert!(matches!(allocate(usize::MAX >> 11), Err(Failure::Memory { .. })));
        assert_eq!(allocate(64).unwrap().len(), 64);
    }
}
