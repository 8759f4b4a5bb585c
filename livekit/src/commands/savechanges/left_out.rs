//! What of the changes is volatile or generated, and does not go into a save, as patterns in the syntax of .gitignore,
//! each with what it is.
//!
//! docs/changes.md shows this table; a test keeps it true. `--include` takes back in what it names.

/// A pattern and what it matches.
pub type Entry = (&'static str, &'static str);

const TEMPORARY: &str = "temporary files";
const BOOT: &str = "made at every boot";
const KERNEL: &str = "the kernel's";
const MEDIA: &str = "other media";
const CACHE: &str = "caches";
const LOG: &str = "logs";
const MACHINE: &str = "this machine's, or this run's";
const GENERATED: &str = "generated files";
const TRASH: &str = "deleted already";
const LOCK: &str = "locks of running programs";
const DATABASE: &str = "dpkg's whole databases";
const SAVE: &str = "earlier saves";

/// Sockets, wherever they are: nothing is behind one without the program that made it.
pub const SOCKETS: &str = "sockets";

/// Left out of every save.
pub const LEFT_OUT: &[Entry] = &[
    ("/proc", KERNEL),
    ("/sys", KERNEL),
    ("/dev", KERNEL),
    ("/run", BOOT),
    ("/var/run/*", BOOT),
    ("/var/lock/*", BOOT),
    ("/etc/fstab", BOOT),
    ("/etc/mtab", BOOT),
    ("/boot", "the boot's, which the medium has"),
    ("/mnt", MEDIA),
    ("/media", MEDIA),
    ("/tmp", TEMPORARY),
    ("/var/tmp/*", TEMPORARY),
    ("/swapfile", "swap"),
    ("/swap.img", "swap"),
    ("/lost+found", "the file system's"),
    // Services want their folders there.
    ("/var/log/**", LOG),
    ("!/var/log/**/", "folders, which stay"),
    ("/var/log/journal/*", LOG),
    (".xsession-errors*", LOG),
    ("/var/cache/**", CACHE),
    ("!/var/cache/**/", "folders, which stay"),
    ("/var/lib/apt/lists/*", CACHE),
    ("/var/lib/PackageKit/transactions.db", CACHE),
    (".cache/", CACHE),
    (".thumbnails/", CACHE),
    ("**/.config/**/Cache/", CACHE),
    ("**/.config/**/Code Cache/", CACHE),
    ("GPUCache/", CACHE),
    ("/var/lib/apt/periodic/*", MACHINE),
    ("/var/lib/logrotate/status", MACHINE),
    ("/var/lib/systemd/timers/*", MACHINE),
    ("/var/lib/systemd/timesync/*", MACHINE),
    ("/var/lib/systemd/rfkill/*", MACHINE),
    ("/var/lib/systemd/backlight/*", MACHINE),
    ("/var/lib/systemd/coredump/*", MACHINE),
    ("/var/lib/systemd/pstore/*", MACHINE),
    ("/var/crash/*", MACHINE),
    ("/var/lib/upower/history-*", MACHINE),
    ("/var/lib/dhcp/*.leases*", MACHINE),
    ("/var/lib/dhclient/*.lease*", MACHINE),
    ("/var/lib/dhcpcd/*.lease*", MACHINE),
    ("/var/lib/NetworkManager/*.lease*", MACHINE),
    ("/var/lib/NetworkManager/timestamps", MACHINE),
    ("/var/lib/NetworkManager/seen-bssids", MACHINE),
    ("/etc/adjtime", MACHINE),
    ("/etc/udev/rules.d/70-persistent-net.rules", MACHINE),
    ("/etc/udev/rules.d/70-persistent-cd.rules", MACHINE),
    ("/etc/ld.so.cache", GENERATED),
    ("/var/lib/systemd/catalog/database", GENERATED),
    ("/var/lib/plocate/*", GENERATED),
    ("/var/lib/mlocate/*", GENERATED),
    ("/var/lib/xkb/*.xkm", GENERATED),
    ("/var/backups/*", GENERATED),
    ("/var/lib/dpkg/*-old", GENERATED),
    // A save has fragments of them instead.
    ("/var/lib/dpkg/status", DATABASE),
    ("/var/lib/dpkg/available", DATABASE),
    ("/var/lib/dpkg/diversions", DATABASE),
    ("/var/lib/dpkg/statoverride", DATABASE),
    ("/var/lib/dpkg/triggers/*", DATABASE),
    ("/var/lib/dpkg/updates/*", DATABASE),
    ("/var/lib/dpkg/info/format", DATABASE),
    ("/var/lib/dpkg/cmethopt", DATABASE),
    ("**/lib/modules/*/modules.*.bin", GENERATED),
    ("**/lib/modules/*/modules.alias", GENERATED),
    ("**/lib/modules/*/modules.dep", GENERATED),
    ("**/lib/modules/*/modules.devname", GENERATED),
    ("**/lib/modules/*/modules.softdep", GENERATED),
    ("**/lib/modules/*/modules.symbols", GENERATED),
    ("**/lib/modules/*/modules.weakdep", GENERATED),
    ("__pycache__/", GENERATED),
    ("**/.local/share/Trash/", TRASH),
    (".Trash-*/", TRASH),
    (".nfs*", TRASH),
    (".fuse_hidden*", TRASH),
    ("*.pid", LOCK),
    ("/etc/.pwd.lock", LOCK),
    ("/var/lib/dpkg/lock*", LOCK),
    ("/var/lib/apt/daily_lock", LOCK),
    (".parentlock", LOCK),
    ("**/.mozilla/firefox/*/lock", LOCK),
    ("**/.config/**/Singleton*", LOCK),
    (".~lock.*", LOCK),
    (".Xauthority", LOCK),
    (".ICEauthority", LOCK),
    (".serverauth.*", LOCK),
    ("changes-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9][0-9][0-9][0-9][0-9].sb", SAVE),
    ("*.sb.partial", SAVE),
    (".livekit-partial", TEMPORARY),
];

/// What the entry of that pattern matches.
pub fn reason(pattern: &str) -> &'static str {
    LEFT_OUT.iter().find(|(known, _)| *known == pattern).map_or("left out", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_pattern() {
        let text = include_str!("../../../../docs/changes.md");
        for (pattern, reason) in LEFT_OUT {
            assert!(text.contains(&format!("`{pattern}`")), "docs/changes.md does not have {pattern}");
            assert!(text.contains(reason), "docs/changes.md does not have {reason}");
        }
    }
}
