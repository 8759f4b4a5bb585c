//! The reader, judged by bundles that mksquashfs made.

mod diff;
mod extract;
mod names;
mod nasty;
mod seen;
mod verify;
