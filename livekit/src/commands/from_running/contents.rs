//! What goes into the live folder of the image.

use std::fs;
use std::path::{Path, PathBuf};

use iso::{Source, Tree};

use crate::error::{AtPath, Result};

/// What is at one place of the live folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The path from the live folder.
    pub place: String,
    pub content: Content,
    /// Permission bits that are not the usual ones.
    pub mode: Option<u32>,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file of the running system, which stays.
    File(PathBuf),
    /// One made for the image, and given up to it.
    Made(PathBuf),
    /// A symbolic link with its target.
    Link(String),
    Folder,
}

impl Item {
    /// A file of the running system.
    pub fn file(place: impl Into<String>, path: PathBuf) -> Self {
        Self { place: place.into(), content: Content::File(path), mode: None }
    }

    /// A file made for the image.
    pub fn made(place: impl Into<String>, path: PathBuf) -> Self {
        Self { place: place.into(), content: Content::Made(path), mode: None }
    }

    /// Its length in bytes.
    pub fn length(&self) -> Result<u64> {
        match &self.content {
            Content::File(path) | Content::Made(path) => Ok(fs::metadata(path).at("look at", path)?.len()),
            Content::Link(_) | Content::Folder => Ok(0),
        }
    }
}

/// The lengths of what is made for the image, and those of what stays, summed up, in bytes.
pub fn lengths(items: &[Item]) -> Result<(Vec<u64>, u64)> {
    let (mut made, mut stays) = (Vec::new(), 0);
    for item in items {
        match item.content {
            Content::Made(_) => made.push(item.length()?),
            _ => stays += item.length()?,
        }
    }
    Ok((made, stays))
}

/// The tree of an image with these things in the live folder.
pub fn tree(name: &str, items: &[Item]) -> Result<Tree, iso::Error> {
    let mut tree = Tree::new();
    for Item { place, content, mode } in items {
        let path = format!("/{name}/{place}");
        match content {
            Content::File(file) => tree.add_file(&path, Source::Path(file.clone()))?,
            Content::Made(file) => tree.add_file(&path, Source::Scratch(file.clone()))?,
            Content::Link(target) => tree.add_link(&path, target)?,
            Content::Folder => tree.add_directory(&path)?,
        }
        if let Some(mode) = mode {
            tree.set_mode(&path, *mode);
        }
    }
    for folder in ["modules", "optional", "rootcopy", "changes"] {
        tree.add_directory(&format!("/{name}/{folder}"))?;
    }
    Ok(tree)
}

/// A pattern in the syntax of .gitignore that matches this absolute path alone; nothing if its name is no text.
pub fn pattern_of(path: &Path) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || c == '/';
    let escaped = path.to_str()?.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]));
    Some(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::source::filter::Patterns;

    #[test]
    fn the_pattern_of_a_path_matches_nothing_else() {
        for path in ["/home/me/mine.iso", "/a b /[x]*?{y,z}!#", "/été/.livekit-x", "/back\\slash"] {
            let patterns = Patterns::new([pattern_of(Path::new(path)).unwrap()]).unwrap();
            let matches = |path: &str| patterns.leave_out(Path::new(&path[1..]), false) == Some(true);
            assert!(matches(path), "{path}");
            for other in [format!("/deep{path}"), format!("{path}x"), path.replace(['*', 'm', 'é', 'b'], "u")]
            {
                assert!(!matches(&other), "{path} and {other}");
            }
        }
    }
}
