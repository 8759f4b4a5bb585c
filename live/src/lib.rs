//! What the programs of a live system share: `init` starts it, `cleanup` ends it, `livekit` changes it.
//!
//! - [`layout`]: the agreed paths. [`options`]: the kernel command line. [`steps`]: the named parts of the boot.
//! - [`union`], [`layer`], [`changes`]: bundles attached, with the changes on top. [`cover`]: the parts of the union that
//!   are replaced when a bundle comes or goes; [`overlay`]: the kernel's means to both.
//! - [`session`]: changes that are kept, by number. [`container`]: where they are on file systems like FAT32.
//! - [`dpkg`]: the packages of bundles, in `dpkg -l`.
//! - [`mounts`]: what is mounted now. [`kernel_modules`]: which module serves which device.
//! - [`luks`]: the header of an encrypted container.
//! - [`error`], [`log`], [`utc`]: how failures, progress and times are told. [`sys`]: system calls.

pub mod changes;
pub mod container;
pub mod cover;
pub mod dpkg;
pub mod error;
pub mod ext4;
pub mod kernel_modules;
pub mod layer;
pub mod layout;
pub mod log;
pub mod luks;
pub mod mounts;
pub mod options;
pub mod overlay;
pub mod session;
pub mod steps;
pub mod sys;
pub mod union;
pub mod utc;
