//! The bundle that a command writes.

use std::path::{Path, PathBuf};

use bundles::BundleName;

use crate::error::{AtPath, Error, Failure, Result};

/// Checks that `path` can be written, before anything is read for it. One that is there is refused, unless `replace`.
pub fn check(path: &Path, replace: bool) -> Result<(), Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    if name.and_then(BundleName::parse).is_none() {
        let error =
            Error::new(format!("`{}` cannot be a bundle's name: it does not end in .sb", path.display()))
                .hint("the bundle to write is the last argument, such as 05-tools.sb");
        return Err(Failure::Usage(error));
    }
    folder(path)?.metadata().at("find the directory", folder(path)?)?;
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::at("look at", path, error).into()),
        Ok(metadata) if metadata.is_dir() => Err(Error::new(format!("{} is a directory", path.display()))
            .hint("`livekit sb dir2sb` turns a directory into the bundle of its name")
            .into()),
        Ok(metadata) if !metadata.is_file() => {
            Err(Error::new(format!("{} is there and is no file", path.display())).into())
        }
        Ok(_) if replace => Ok(()),
        Ok(_) => {
            Err(Error::new(format!("{} is there already", path.display())).hint("--force replaces it").into())
        }
    }
}

/// The directory that `path` is in, in full.
pub fn folder(path: &Path) -> Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder.canonicalize().at("find the directory", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old.sb"), "").unwrap();
        std::fs::create_dir(dir.path().join("dir.sb")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("link.sb")).unwrap();
        for (name, replace, code, says) in [
            ("x", false, 2, "does not end in .sb"),
            (".sb", false, 2, "does not end in .sb"),
            ("none/x.sb", false, 1, "cannot find the directory"),
            ("old.sb", false, 1, "old.sb is there already"),
            ("dir.sb", true, 1, "dir.sb is a directory"),
            ("link.sb", true, 1, "link.sb is there and is no file"),
        ] {
            let failure = check(&dir.path().join(name), replace).unwrap_err();
            assert_eq!(failure.exit_code(), code, "{name}");
            assert!(failure.error().message().contains(says), "{name}: {}", failure.error());
        }
        assert!(check(&dir.path().join("new.sb"), false).is_ok());
        assert!(check(&dir.path().join("old.sb"), true).is_ok());
    }
}
