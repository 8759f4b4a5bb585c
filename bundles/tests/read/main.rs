//! The reader, judged by bundles that mksquashfs made.

mod extract;
mod names;
mod nasty;
mod seen;
mod verify;
