//! One module for each command.

pub mod build_iso;
pub mod bundle;
pub mod run;
pub mod sb;
