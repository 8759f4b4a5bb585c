//! Text that leaves no trace in memory.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{Ordering, compiler_fence};

use super::line::last_character;

/// Bytes a secret may have. As memory for all of them is there from the start, growing leaves no copies behind.
const LONGEST: usize = 1024;

/// What was typed, byte for byte. Overwritten when dropped, as far as that can be asked for without unsafe code.
pub struct Secret {
    bytes: Vec<u8>,
}

impl Secret {
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(LONGEST) }
    }

    /// Without the line's end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a byte; one too many is left out.
    pub fn push(&mut self, byte: u8) {
        if self.bytes.len() < LONGEST {
            self.bytes.push(byte);
        }
    }

    /// Takes the last character off.
    pub fn pop(&mut self) {
        self.cut(self.bytes.len() - last_character(&self.bytes));
    }

    pub fn clear(&mut self) {
        self.cut(0);
    }

    fn cut(&mut self, len: usize) {
        overwrite(&mut self.bytes[len..]);
        self.bytes.truncate(len);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        overwrite(&mut self.bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Makes it zeros. The compiler has to take it that someone looks at them, so it may not leave this out.
pub fn overwrite(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(&*bytes);
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_moves_in_memory_and_has_an_end() {
        let mut secret = Secret::new();
        let start = secret.bytes.as_ptr();
        for _ in 0..LONGEST + 10 {
            secret.push(b'x');
        }
        assert_eq!((secret.bytes.as_ptr(), secret.bytes.len()), (start, LONGEST));
        secret.clear();
        assert_eq!((secret.bytes.as_ptr(), secret.bytes()), (start, &b""[..]));
    }

    #[test]
    fn overwrites_and_tells_nothing() {
        let mut bytes = *b"secret";
        overwrite(&mut bytes);
        assert_eq!(bytes, [0; 6]);
        let mut secret = Secret::new();
        secret.push(b'x');
        assert!(!format!("{secret:?}").contains('x'));
    }
}
