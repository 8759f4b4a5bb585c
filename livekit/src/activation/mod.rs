//! Bundles that come and go while the system runs.
//!
//! [`System`] changes the union; [`state`] is what it is meant to be, [`stack`] the bundles in their order, [`brings`] how a
//! bundle's files come to be seen, [`copies`] those of them that are copied, [`holders`] who uses a bundle.

pub mod arrive;
pub mod brings;
pub mod check;
pub mod copies;
pub mod holders;
pub mod leave;
pub mod medium;
pub mod source;
pub mod stack;
pub mod state;
pub mod system;

pub use system::System;
