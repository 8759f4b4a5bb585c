//! Why a container cannot be opened or made.

use std::fmt;
use std::io;

use crate::error::Error;

/// Why a container cannot be opened or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no LUKS header.
    NotLuks2,
    /// Both copies of the header are damaged, or what is valid contradicts itself. With the reason.
    Damaged(String),
    /// No keyslot opens with it.
    WrongPassphrase,
    /// It is valid, and has something that is not supported here. With its name.
    Unsupported(String),
    /// A keyslot needs more memory than there is.
    Memory {
        /// MiB the keyslot asks for.
        needed: u64,
        /// MiB there are; none where the system did not say.
        available: Option<u64>,
    },
    /// The device is too small for a container.
    TooSmall,
    /// The device or the source of random bytes fails. With what was being done and the reason.
    Io(String),
}

impl Failure {
    pub(super) fn io(what: &str, error: impl Into<io::Error>) -> Self {
        Self::Io(format!("cannot {what}: {}", error.into()))
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(super) fn unsupported(kind: &str, name: impl fmt::Display) -> Self {
        Self::Unsupported(format!("{kind} {name}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLuks2 => f.write_str("not a LUKS2 container"),
            Self::Damaged(why) => write!(f, "the LUKS2 header is damaged: {why}"),
            Self::WrongPassphrase => f.write_str("wrong passphrase"),
            Self::Unsupported(what) => write!(f, "the LUKS2 container uses what is not supported: {what}"),
            Self::Memory { needed, available: Some(available) } => {
                write!(
                    f,
                    "the passphrase needs {needed} MiB of memory to be tried, {available} MiB are available"
                )
            }
            Self::Memory { needed, available: None } => {
                write!(f, "the passphrase needs {needed} MiB of memory to be tried, and there is less")
            }
            Self::TooSmall => f.write_str("too small for a LUKS2 container"),
            Self::Io(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.to_string());
        match failure {
            Failure::Memory { .. } => {
                error.hint("where there is more memory: cryptsetup luksConvertKey --pbkdf-memory KIB")
            }
            _ => error,
        }
    }
}
