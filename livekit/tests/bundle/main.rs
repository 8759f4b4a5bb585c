//! `livekit bundle` and `livekit sb`, run from outside and judged by squashfs-tools. Owners and devices need root.

mod diff;
mod dir2sb;
mod extract;
mod from_packages;
mod pack;
mod place;
mod read;
mod trouble;
mod verify;
