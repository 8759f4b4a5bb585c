//! What went wrong, in the shape users see: what was being done, why it failed, what helps.

use std::fmt;
use std::path::Path;

/// A failure: its context from the outermost in, its cause, and at most one hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    doing: Vec<String>,
    cause: String,
    hint: Option<String>,
}

/// Shorthand used throughout.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure described by `cause` alone.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { doing: Vec::new(), cause: cause.into(), hint: None }
    }

    /// A failed operation on a path: `cannot mount /x: Invalid argument (os error 22)`.
    pub fn at(what: &str, path: impl AsRef<Path>, cause: impl fmt::Display) -> Self {
        Self::new(format!("cannot {what} {}: {cause}", path.as_ref().display()))
    }

    /// Adds what was being done when this happened; the last one added is the outermost.
    #[must_use]
    pub fn doing(mut self, what: impl Into<String>) -> Self {
        self.doing.insert(0, what.into());
        self
    }

    /// Adds what the reader can do about it. The innermost hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// The hint alone.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Everything but the hint, on one line.
    pub fn message(&self) -> String {
        let mut text = String::new();
        for part in &self.doing {
            text.push_str(part);
            text.push_str(": ");
        }
        text.push_str(&self.cause);
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Names the operation and the path where a system call is made.
pub trait AtPath<T> {
    /// Turns an error number into an [`Error`] that says what could not be done to which path.
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> AtPath<T> for std::result::Result<T, E> {
    fn at(self, what: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|e| Error::at(what, path, e.into()))
    }
}

/// Adds context to a failure on its way up.
pub trait Context<T> {
    /// Adds what was being done.
    fn doing(self, what: &str) -> Result<T>;
    /// Adds what helps.
    fn hint(self, hint: &str) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|e| e.doing(what))
    }
    fn hint(self, hint: &str) -> Result<T> {
        self.map_err(|e| e.hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_from_the_outside_in() {
        let e = Error::at("mount", "/union", "Invalid argument").doing("the union").doing("step union");
        assert_eq!(e.to_string(), "step union: the union: cannot mount /union: Invalid argument");
    }

    #[test]
    fn the_innermost_hint_stays() {
        let e = Error::new("no").hint("first").hint("second");
        assert_eq!(e.to_string(), "no\nhint: first");
    }
}
