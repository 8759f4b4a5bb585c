//! Every path the programs agree on, spelled once.
//!
//! Paths of the boot are seen from inside the initramfs; the running system sees the same tree below
//! [`SAVED_RAMFS`]. The names below `memory` are those of Linux Live Kit, so that scripts written for Slax
//! keep working.

/// Where the saved ramfs lives in the running system; systemd looks for `shutdown` in it.
pub const SAVED_RAMFS: &str = "/run/initramfs";

/// The directory of the ramfs that the first root is moved to.
pub const ESCAPE: &str = "/m";

/// The mounted boot medium, or its copy in memory.
pub const MEDIUM: &str = "/memory/data";

/// The file system that holds the ISO file, when the medium is one.
pub const CARRIER: &str = "/memory/carrier";

/// One directory for each attached bundle.
pub const BUNDLES: &str = "/memory/bundles";

/// Where writes go: `upper` and `work` on one file system.
pub const CHANGES: &str = "/memory/changes";

/// The folder of sessions, writable, where changes are kept.
pub const SESSIONS: &str = "/memory/sessions";

/// The session, where it is not written to at once: the changes in memory lie on it.
pub const SESSION: &str = "/memory/session";

/// The session, where single directories of it are kept and nothing else: see [`crate::session::directories`].
pub const KEPT: &str = "/memory/kept";

/// Written by the boot where changes are kept: which session is in use.
pub const SESSION_FILE: &str = "/etc/livekit/session";

/// Bundles that were copied to memory to be activated.
pub const ACTIVATED: &str = "/memory/activated";

/// An empty folder: the layer of a cover that has no bundle any more.
pub const EMPTY: &str = "/memory/empty";

/// Where a copy of the medium is gathered before it takes the medium's place.
pub const TO_RAM: &str = "/memory/toram";

/// The union, until it becomes the root.
pub const UNION: &str = "/union";

/// At shutdown: the union as seen from the saved ramfs. The name is systemd's.
pub const OLD_ROOT: &str = "/oldroot";

/// The kit's name, baked in by the build: the folder of the medium that holds the bundles.
pub const KIT_NAME_FILE: &str = "/etc/livekit/name";

/// Written by the boot: the folder of the medium that holds the bundles, such as `/memory/data/livekit`.
pub const LIVE_FOLDER_FILE: &str = "/etc/livekit/folder";

/// The shutdown program, in the saved ramfs.
pub const SHUTDOWN: &str = "/shutdown";

/// The name under which that program watches over the changes. systemd spares processes whose name begins so at
/// shutdown (systemd.io/ROOT_STORAGE_DAEMONS).
pub const KEEPER: &str = "@livekit-keeper";

/// What the running system's command remembers until power-off: which bundles came and went.
pub const RUN_STATE: &str = "/run/livekit";

/// Kernel modules in the initramfs; below it one directory for each kernel release.
pub const MODULES: &str = "/lib/modules";

/// A static busybox for the rescue shell, where the build host had one.
pub const BUSYBOX: &str = "/bin/busybox";

/// What a bundle file's name ends in.
pub const BUNDLE_SUFFIX: &str = ".sb";

/// The last line of what `livekit.trace=` has the shutdown write: nothing is missing.
pub const TRACE_END: &str = "end";

/// The file in the live folder that names the build it belongs to.
pub fn id_file(id: &str) -> String {
    format!("{id}.id")
}
