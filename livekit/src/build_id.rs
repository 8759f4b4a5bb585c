//! The build id: how a booting system tells its own medium from any other.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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

    /// The same for the same image: for builds with SOURCE_DATE_EPOCH. `digest` is of everything the image is made of
    /// but the id, which is [`BuildId::unknown`] there.
    pub fn of(digest: &[u8; 32]) -> Self {
        BuildId(hex(&digest[..8]))
    }

    /// In place of an id while it is not known.
    pub fn unknown() -> Self {
        BuildId(hex(&[0; 8]))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
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
    fn derived_ids_are_the_digests_beginning() {
        let digest = std::array::from_fn(|at| 0xa0 + u8::try_from(at).unwrap());
        assert_eq!(BuildId::of(&digest).as_str(), "a0a1a2a3a4a5a6a7");
        assert_eq!(BuildId::unknown().as_str(), "0000000000000000");
    }
}
