//! Whether a bundle is whole: all of it is read, and what is wrong is listed rather than the end of it.

mod data;
mod structure;

use std::path::PathBuf;

use super::Bundle;
use super::limits::Budget;
use super::load::{Loaded, load};
use crate::{Error, NodeId};

/// Findings that are listed; of a file of noise there could be millions.
const MOST: usize = 1000;

/// Something that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, in bytes from the beginning of the file; nothing if it is what is not there that is wrong.
    pub offset: Option<u64>,
    /// The file of the bundle that is affected, if it is known.
    pub path: Option<PathBuf>,
    /// What it is.
    pub what: String,
}

/// What was examined, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Regular files.
    pub files: u64,
    /// Blocks of files and of fragments that were unpacked.
    pub blocks: u64,
    /// Metadata blocks that were unpacked.
    pub metadata_blocks: u64,
    /// What is wrong; nothing in a whole bundle.
    pub findings: Vec<Finding>,
    /// Findings that are not in the list, as there were too many.
    pub more: u64,
}

/// How far the examination is: bytes of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyProgress {
    /// Unpacked.
    pub bytes: u64,
    /// To unpack.
    pub total_bytes: u64,
}

/// Examines all of a bundle: unpacks each block, and sees that tables, directories, links and numbers agree. Damage does not
/// end it.
pub fn verify(
    bundle: &Bundle,
    processors: Option<usize>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Verified {
    let mut findings = Findings { bundle, verified: Verified::default() };
    structure::tables(&mut findings);
    let mut wrong = Vec::new();
    let mut more = 0;
    let loaded = load(bundle, &mut |error| {
        if wrong.len() < MOST {
            wrong.push(error);
        } else {
            more += 1;
        }
        Ok(())
    });
    wrong.into_iter().for_each(|error| findings.error(None, &error));
    findings.verified.more += more;
    match loaded {
        Ok(loaded) => {
            findings.verified.files = loaded.files.len() as u64;
            structure::links(&mut findings, &loaded);
            structure::directories(&mut findings, &loaded);
            structure::export(&mut findings, &loaded);
            data::verify(&mut findings, &loaded, processors, progress);
        }
        Err(error) => findings.error(None, &error),
    }
    findings.verified.findings.sort_by_key(|finding| finding.offset);
    findings.verified.findings.dedup();
    findings.verified
}

/// What was found so far.
struct Findings<'a> {
    bundle: &'a Bundle,
    verified: Verified,
}

impl Findings<'_> {
    fn add(&mut self, finding: Finding) {
        if self.verified.findings.len() < MOST {
            self.verified.findings.push(finding);
        } else {
            self.verified.more += 1;
        }
    }

    fn error(&mut self, path: Option<PathBuf>, error: &Error) {
        let finding = match error {
            Error::Malformed { offset, what, .. } => {
                Finding { offset: Some(*offset), path, what: what.clone() }
            }
            error => Finding { offset: None, path, what: error.to_string() },
        };
        self.add(finding);
    }

    /// Something is wrong `at` a place of the image.
    fn wrong(&mut self, at: u64, path: Option<PathBuf>, what: impl Into<String>) {
        self.error(path, &self.bundle.image.malformed(at, what));
    }

    /// Something is wrong with the inode of a node.
    fn node(&mut self, loaded: &Loaded, id: NodeId, what: impl Into<String>) {
        let block = loaded.nodes.get(id.index()).map_or(0, |node| node.reference.block);
        let at = self.bundle.tables.inodes.start.saturating_add(block);
        self.wrong(at, Some(loaded.path_of(id)), what);
    }

    fn budget(&self) -> Budget {
        Budget::new(self.bundle.limits)
    }
}
