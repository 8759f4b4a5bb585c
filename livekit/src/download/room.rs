//! Whether there is room for what comes.

use std::path::Path;

use crate::activation::source::available_memory;
use crate::error::Error;
use crate::output::size;

/// `f_type` of file systems in memory (statfs(2)): tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Memory that is left to the system.
const LEFT: u64 = 32 << 20;

/// Room in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be written.
    pub free: u64,
    /// Whether they are memory.
    in_memory: bool,
}

impl Room {
    /// Looks; nothing if the file system does not tell.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        let about = rustix::fs::statvfs(folder).ok()?;
        let kind = rustix::fs::statfs(folder).ok()?.f_type;
        let in_memory = IN_MEMORY.contains(&kind);
        let free = (about.f_blocks > 0).then(|| about.f_bavail.saturating_mul(about.f_frsize));
        let memory = if in_memory { std::fs::read_to_string("/proc/meminfo").ok() } else { None };
        Self::judge(free, in_memory, memory.as_deref().and_then(available_memory))
    }

    /// A file system in memory may have no limit of its own, or one that memory no longer allows.
    fn judge(free: Option<u64>, in_memory: bool, memory: Option<u64>) -> Option<Self> {
        let memory = memory.filter(|_| in_memory).map(|memory| memory.saturating_sub(LEFT));
        let free = match (free, memory) {
            (Some(free), Some(memory)) => free.min(memory),
            (free, memory) => free.or(memory)?,
        };
        Some(Room { free, in_memory })
    }
}

/// Why something of `needed` bytes does not go into a folder with this room.
pub fn too_little(folder: &Path, needed: Option<u64>, room: Option<Room>) -> Error {
    let free =
        room.map_or(String::new(), |room| format!(", {} has {} free", folder.display(), size(room.free)));
    let what = match needed {
        Some(needed) => format!("there is no room for it: it has {}{free}", size(needed)),
        None => format!("there is no more room for it{free}"),
    };
    Error::new(what).hint(if room.is_some_and(|room| room.in_memory) {
        "end programs to free memory; --keep puts it on the medium instead"
    } else {
        "free some space there"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_where_it_is_written_to() {
        let mib = |n: u64| n << 20;
        for (free, in_memory, memory, expected) in [
            (Some(mib(9)), false, Some(mib(1)), Some(mib(9))),
            (Some(mib(90)), true, Some(mib(52)), Some(mib(20))),
            (Some(mib(9)), true, Some(mib(52)), Some(mib(9))),
            (None, true, Some(mib(52)), Some(mib(20))),
            (Some(mib(9)), true, Some(mib(5)), Some(0)),
            (Some(mib(9)), true, None, Some(mib(9))),
            (None, false, None, None),
        ] {
            let found = Room::judge(free, in_memory, memory).map(|room| room.free);
            assert_eq!(found, expected, "{free:?} {in_memory} {memory:?}");
        }
        assert!(Room::in_folder(Path::new("/dev/shm")).is_some_and(|room| room.in_memory));
        assert!(Room::in_folder(Path::new("/no/such/folder")).is_none());
    }
}
