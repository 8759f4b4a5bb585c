//! `livekit bundle`, `livekit sb` and `livekit savechanges`, run from outside and judged by squashfs-tools. Owners and devices need root.

mod diff;
mod dir2sb;
mod extract;
mod from_packages;
mod pack;
mod place;
mod read;
mod savechanges;
mod trouble;
mod verify;
