use std::io;
use std::path::PathBuf;

/// Why an image could not be made. Each message names the path it is about; [`Error::hint`] has the remedy
/// where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path for the tree that cannot be one: relative, empty, or with `.` or `..` in it.
    #[error("{path:?} is not a path on the image: {reason}")]
    TreePath { path: String, reason: &'static str },

    /// Two things at one path of the tree, or a file where a directory is needed.
    #[error("{path} is already on the image as {what}")]
    Occupied { path: String, what: &'static str },

    /// An input file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },

    /// An input file that was not the same from the beginning of the build to its end.
    #[error("{} changed while the image was written", path.display())]
    Changed { path: PathBuf },

    /// The output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error, needed: u64 },

    /// The output exists and is a device or a directory: it would be replaced, not written to.
    #[error("cannot write {}: it is {what}, not a file", path.display())]
    NotAFile { path: PathBuf, what: &'static str },

    /// An option out of its range.
    #[error("{option} {value:?}: {reason}")]
    Option { option: &'static str, value: String, reason: &'static str },

    /// The tree or the boot files do not fit the formats.
    #[error("cannot lay out {what}: {reason}")]
    Layout { what: String, reason: String },

    /// Boot files that are in none of the roots.
    #[error("{}", missing_text(.missing, .roots))]
    BootFilesMissing {
        missing: Vec<String>,
        /// Debian's packages with them.
        packages: Vec<&'static str>,
        roots: Vec<PathBuf>,
    },

    /// A boot file that is not what its name says.
    #[error("{} is not {expected}", path.display())]
    BootFile { path: PathBuf, expected: &'static str },

    /// `grub-mkimage` could not be run, or failed.
    #[error("{program} failed: {reason}")]
    Program { program: String, reason: String },
}

impl Error {
    /// What to do about it, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Write { source, needed, .. } if is_full(source) => {
                Some(format!("the image needs {} MiB; write it to a larger disk", needed.div_ceil(1 << 20)))
            }
            Error::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the directory must exist".to_owned())
            }
            Error::NotAFile { .. } => Some("write a file first, then copy it to the device".to_owned()),
            Error::BootFilesMissing { packages, .. } => {
                Some(format!("apt-get install {}", packages.join(" ")))
            }
            Error::Program { .. } => Some("apt-get install grub-pc-bin grub-common".to_owned()),
            _ => None,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

fn missing_text(missing: &[String], roots: &[PathBuf]) -> String {
    let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
    format!("boot files not found: {}; looked in {}", missing.join(", "), roots.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_path_and_hints_the_remedy() {
        let full = Error::Write {
            path: "/out/live.iso".into(),
            source: io::Error::from_raw_os_error(28),
            needed: 700 << 20,
        };
        assert_eq!(full.to_string(), "cannot write /out/live.iso: No space left on device (os error 28)");
        assert_eq!(full.hint().unwrap(), "the image needs 700 MiB; write it to a larger disk");

        let missing = Error::BootFilesMissing {
            missing: vec!["a".to_owned(), "b".to_owned()],
            packages: vec!["x", "y"],
            roots: vec!["/build".into(), "/".into()],
        };
        assert_eq!(missing.to_string(), "boot files not found: a, b; looked in /build, /");
        assert_eq!(missing.hint().unwrap(), "apt-get install x y");
    }
}
