//! The anti-forensic splitter, as in LUKS1 (TKS1, C. Fruhwirth): a key in stripes of its own length, all of which are
//! needed. So a key is gone for good as soon as some of its blocks are.

use zeroize::Zeroizing;

use super::hash::Hash;

/// The only number there is.
pub const STRIPES: usize = 4000;

/// Stripes of a key; `stripes` is filled with random bytes, of which the last stripe is replaced.
pub fn split(key: &[u8], stripes: &mut [u8], hash: Hash) {
    let (random, last) = stripes.split_at_mut(key.len() * (STRIPES - 1));
    let mixed = mix(random, key.len(), hash);
    for (out, (a, b)) in last.iter_mut().zip(mixed.iter().zip(key)) {
        *out = a ^ b;
    }
}

/// The key of `length` bytes in [`STRIPES`] stripes.
pub fn merge(stripes: &[u8], length: usize, hash: Hash) -> Zeroizing<Vec<u8>> {
    let (random, last) = stripes.split_at(length * (STRIPES - 1));
    let mut key = mix(random, length, hash);
    for (a, b) in key.iter_mut().zip(last) {
        *a ^= b;
    }
    key
}

fn mix(stripes: &[u8], length: usize, hash: Hash) -> Zeroizing<Vec<u8>> {
    let mut mixed = Zeroizing::new(vec![0; length]);
    for stripe in stripes.chunks_exact(length) {
        for (a, b) in mixed.iter_mut().zip(stripe) {
            *a ^= b;
        }
        // Each part is replaced by the hash of its number and itself.
        for (number, part) in (0u32..).zip(mixed.chunks_mut(hash.length())) {
            let diffused = Zeroizing::new(hash.of(&[&number.to_be_bytes(), part]));
            part.copy_from_slice(&diffused[..part.len()]);
        }
    }
    mixed
}
