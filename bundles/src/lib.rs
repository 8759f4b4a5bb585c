//! Bundle files.
#![forbid(unsafe_code)]
