//! The named parts of the boot. One name serves the log, the error's context, `break=` and docs/boot.md.

use crate::error::{Context, Result};
use crate::log;

/// A part of the boot, in the order they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Move the initramfs to where `pivot_root` can leave it and shutdown can come back to it.
    Ramfs,
    /// Load the drivers this machine asks for.
    Drivers,
    /// Find the medium the system is on.
    Medium,
    /// Open the place where writes go.
    Changes,
    /// Copy the bundles to memory, if asked.
    ToRam,
    /// Attach the bundles.
    Layers,
    /// Mount the union.
    Union,
    /// Make the union fit to start: rootcopy, fstab.
    Finish,
    /// Make the union the root and become its init.
    Handover,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 9] = [
        Self::Ramfs,
        Self::Drivers,
        Self::Medium,
        Self::Changes,
        Self::ToRam,
        Self::Layers,
        Self::Union,
        Self::Finish,
        Self::Handover,
    ];

    /// The name used in the log and by `break=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ramfs => "ramfs",
            Self::Drivers => "drivers",
            Self::Medium => "medium",
            Self::Changes => "changes",
            Self::ToRam => "toram",
            Self::Layers => "layers",
            Self::Union => "union",
            Self::Finish => "finish",
            Self::Handover => "handover",
        }
    }

    /// The step of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Does the step's work; a failure carries the step's name.
    pub fn run<T>(self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        log::debug(format_args!("step {}", self.name()));
        work().doing(&format!("step {}", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_steps() {
        for step in Step::ALL {
            assert_eq!(Step::named(step.name()), Some(step));
        }
        assert_eq!(Step::named("mount"), None);
    }
}
