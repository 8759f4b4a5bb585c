//! `livekit bundle`: what is done with bundles, one module for each.

pub mod largest;
pub mod plan;
