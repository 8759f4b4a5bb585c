//! Bundles that come and go while the system runs.
//!
//! - [`arrive`], [`leave`]: the two ways, from the user's words to the end. [`System`] changes the union.
//! - [`state`]: what the system is meant to be; [`stack`]: the bundles in their order.
//! - [`source`], [`medium`], [`check`]: which file a bundle is attached from, and whether it can be used.
//! - [`brings`]: how a bundle's files come to be seen; [`copies`]: those that are copied.
//! - [`holders`]: who uses a bundle.
//! - [`triggers`], [`hooks`]: what the system, and the bundle itself, want to be run; [`bounded`] runs it.

pub mod arrive;
mod bounded;
pub mod brings;
pub mod check;
pub mod copies;
pub mod holders;
pub mod hooks;
pub mod leave;
pub mod medium;
pub mod source;
pub mod stack;
pub mod state;
pub mod system;
pub mod triggers;

pub use system::System;
