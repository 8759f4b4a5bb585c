//! What the end-to-end tests are written with: live systems booted in QEMU, asked from inside by a probe
//! and judged from outside.
//!
//! * [`Kit`]: a live ISO made by `livekit build-iso` from a tiny or a Debian root, with its files at hand
//! * [`Medium`], [`Disk`]: what is plugged into a machine, made without root
//! * [`WriteCache`]: a disk that forgets what was not flushed when the power goes
//! * [`Vm`], [`Machine`]: QEMU, with deadlines, never left behind
//! * [`Nest`]: the same union without a machine, in namespaces of this one: quick, with this machine's kernel
//! * [`Guest`], [`protocol::Report`]: what the running system says of itself, over a virtio port
//!
//! Everything panics with a full sentence when it cannot do its work: a test that cannot run has failed.

pub mod cache;
pub mod document;
pub mod guest;
pub mod kernels;
pub mod kits;
pub mod media;
pub mod nest;
pub mod programs;
pub mod protocol;
pub mod qmp;
pub mod roots;
pub mod tables;
pub mod vm;
pub mod write_cache;

pub use guest::Guest;
pub use kernels::Kernel;
pub use kits::Kit;
pub use media::{Disk, Format, Medium};
pub use nest::Nest;
pub use protocol::{Ending, Report};
pub use vm::{Firmware, Machine, Vm};
pub use write_cache::{Lot, WriteCache};
