//! What of a root never goes into an image, as patterns in the syntax of .gitignore, each with its reason.
//!
//! docs/building.md shows these tables; a test keeps it true. The user's own patterns come after them, so that
//! `!/var/log/journal/*` takes something back in.

/// A pattern and why it is there.
pub type Entry = (&'static str, &'static str);

/// Left out of every root: what a boot fills anew.
pub const EVERY_ROOT: &[Entry] = &[
    ("/proc/*", "the kernel's"),
    ("/sys/*", "the kernel's"),
    ("/dev/*", "the kernel's"),
    ("/run/*", "made at every boot"),
    ("/tmp/*", "temporary"),
    ("/boot/initrd.img-*", "the kit has its own initramfs"),
    ("/boot/initramfs-*", "the kit has its own initramfs"),
    ("/boot/initrd-*", "the kit has its own initramfs"),
    ("/lost+found", "of the file system, not of the system"),
];

/// Left out of the running system: what belongs to this machine or this run of it.
pub const RUNNING: &[Entry] = &[
    ("/mnt/*", "other media"),
    ("/media/*", "other media"),
    ("/var/tmp/*", "temporary"),
    ("/boot/efi/*", "this machine's boot loader"),
    ("/efi/*", "this machine's boot loader"),
    ("/boot/grub/*", "this machine's boot loader"),
    ("/boot/loader/*", "this machine's boot loader"),
    ("/etc/fstab", "this machine's disks"),
    ("/etc/crypttab", "this machine's disks"),
    ("/etc/machine-id", "this machine's name to others; the kit brings an empty one"),
    ("/var/lib/dbus/machine-id", "this machine's name to others"),
    ("/var/lib/systemd/random-seed", "must not be shared"),
    ("/var/lib/systemd/credential.secret", "must not be shared"),
    ("/etc/udev/rules.d/70-persistent-net.rules", "this machine's network cards"),
    ("/etc/udev/rules.d/70-persistent-cd.rules", "this machine's drives"),
    ("/swapfile", "swap"),
    ("/swap.img", "swap"),
    ("/var/cache/apt/archives/*.deb", "cache"),
    ("/var/cache/apt/archives/partial/*", "cache"),
    ("/var/cache/apt/*.bin", "cache"),
    ("/var/cache/dnf/*", "cache"),
    ("/var/cache/libdnf5/*", "cache"),
    ("/var/cache/yum/*", "cache"),
    ("/var/cache/zypp/*", "cache"),
    ("/var/cache/pacman/pkg/*", "cache"),
    ("/var/cache/apk/*", "cache"),
    ("/var/cache/xbps/*", "cache"),
    ("/var/cache/distfiles/*", "cache"),
    ("/root/.cache/*", "cache"),
    ("/home/*/.cache/*", "cache"),
    ("/root/.local/share/Trash/*", "deleted already"),
    ("/home/*/.local/share/Trash/*", "deleted already"),
    ("/var/log/journal/*", "this machine's past"),
    ("/var/log/**/*.gz", "this machine's past"),
    ("/var/log/**/*.xz", "this machine's past"),
    ("/var/log/**/*.[0-9]", "this machine's past"),
    ("/var/log/**/*.old", "this machine's past"),
    ("/var/crash/*", "this machine's past"),
    ("/var/lib/systemd/coredump/*", "this machine's past"),
];

/// Directories below which a CACHEDIR.TAG does not count: the system's own caches there make its start quicker.
pub const TAGS_IGNORED_BELOW: &[&str] = &["usr", "var/cache"];

/// What a CACHEDIR.TAG file begins with (bford.info/cachedir).
pub const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_pattern() {
        let text = include_str!("../../../docs/building.md");
        for (pattern, _) in EVERY_ROOT.iter().chain(RUNNING) {
            assert!(text.contains(&format!("`{pattern}`")), "docs/building.md does not have {pattern}");
        }
    }
}
