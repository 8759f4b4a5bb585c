//! One module for each command.

pub mod activate;
pub mod build_iso;
pub mod bundle;
pub mod deactivate;
mod from_running;
pub mod list;
pub mod refresh;
pub mod run;
pub mod savechanges;
pub mod sb;
pub mod session;
pub mod status;
