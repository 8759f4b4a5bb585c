//! Hybrid ISO images.
#![forbid(unsafe_code)]
