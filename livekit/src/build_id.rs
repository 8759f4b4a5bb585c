//! The build id: how a booting system tells its own medium from any other.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{AtPath, Result};

/// 16 lower-case hexadecimal digits, different for every build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildId(String);

impl BuildId {
    /// Never seen before.
    pub fn random() -> Result<Self> {
        let path = Path::new("/dev/urandom");
        let mut bytes = [0; 8];
        File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).at("read", path)?;
        Ok(BuildId(hex(&bytes)))
    }

    /// The same for the same input: for builds with SOURCE_DATE_EPOCH. `words` are the settings that change the
    /// image, `files` what it is made of.
    pub fn of(words: &[&str], files: &[&Path]) -> Result<Self> {
        let mut hash = Sha256::new();
        for word in words {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word.as_bytes());
        }
        for path in files {
            hash_file(&mut hash, path).at("read", path)?;
        }
        Ok(BuildId(hex(&hash.finalize()[..8])))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn hash_file(hash: &mut Sha256, path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    hash.update(file.metadata()?.len().to_le_bytes());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        hash.update(&buffer[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ() {
        let (a, b) = (BuildId::random().unwrap(), BuildId::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 16);
        assert!(a.as_str().bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
    }

    #[test]
    fn derived_ids_follow_the_input() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "one").unwrap();
        std::fs::write(&b, "two").unwrap();
        let id = |words: &[&str], files: &[&Path]| BuildId::of(words, files).unwrap();
        assert_eq!(id(&["x", "y"], &[&a]), id(&["x", "y"], &[&a]));
        for other in
            [id(&["xy", ""], &[&a]), id(&["x", "y"], &[&b]), id(&["x", "y"], &[&a, &b]), id(&[], &[])]
        {
            assert_ne!(id(&["x", "y"], &[&a]), other);
        }
    }
}
