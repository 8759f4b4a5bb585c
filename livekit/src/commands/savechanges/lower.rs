//! A layer that the changes lie over: the mount of a bundle, a directory, or a bundle file, which is not mounted.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bundles::{Bundle, Kind};

use crate::commands::bundle::from_bundle;
use crate::error::{AtPath, Result, from_chain};

/// What can be asked of a layer, by relative paths.
pub enum Lower {
    Folder(PathBuf),
    File(Box<Bundle>),
}

impl Lower {
    /// A directory as it is; anything else is to be a bundle.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let bundle = Bundle::open(path).map_err(|error| from_bundle(&error))?;
        Ok(Self::File(Box::new(bundle)))
    }

    /// What is in a regular file; nothing if there is none.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(path);
                match fs::symlink_metadata(&path) {
                    Ok(about) if about.is_file() => fs::read(&path).at("read", &path).map(Some),
                    Ok(_) => Ok(None),
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                        Ok(None)
                    }
                    Err(error) => Err(error).at("look at", &path),
                }
            }
            Self::File(bundle) => {
                let tree = bundle.tree().map_err(|error| from_bundle(&error))?;
                let Some(id) = tree.find(path) else { return Ok(None) };
                let Kind::File { content, .. } = tree.node(id).kind else { return Ok(None) };
                let mut text = Vec::new();
                let mut reader = bundle.reader(content).map_err(|error| from_bundle(&error))?;
                reader.read_to_end(&mut text).map_err(|error| {
                    from_chain(&error).doing(format!(
                        "reading {} in {}",
                        path.display(),
                        bundle.path().display()
                    ))
                })?;
                Ok(Some(text))
            }
        }
    }
}
