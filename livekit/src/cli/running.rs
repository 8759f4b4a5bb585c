//! The commands for a running live system.

use clap::Args;

/// Add bundles to the running system
///
/// The files of each bundle appear at once, for every process, over those of older bundles and under what you have
/// changed. FILE is a path, with or without `.sb`, the name of a bundle on the medium (with or without its number), or
/// an http:// or https:// address. With several, the last one lies on top; all are activated or none.
///
/// A bundle on the medium or on a fixed disk is used where it is. From anywhere else (the system itself, a stick, a
/// network) it is copied to memory first, or with --keep to the medium.
///
/// Everything at the top of the file system is switched at once but /var, /home and /root: there, new directories and
/// files appear, and what exists already is seen after the next boot with the bundle. /boot, /dev, /media, /mnt, /proc,
/// /run, /sys and /tmp of a bundle do not count.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit activate /media/usb/10-office.sb
  livekit activate vim                          # from modules/ or optional/ of the medium
  livekit activate --keep https://example.org/20-games.sb
  livekit activate --persist optional-tools     # and at every boot from now on"#)]
pub struct Activate {
    /// Bundle files, names or addresses
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

    /// Copy to the medium's modules/ instead of memory; every boot takes it from there
    #[arg(long)]
    pub keep: bool,

    /// Make the bundle part of every boot: copied or moved into the medium's modules/
    #[arg(long)]
    pub persist: bool,

    /// Refuse an address whose file has another SHA-256 than this
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,

    /// Run nothing after the change: no ldconfig, no daemon-reload, no hooks of bundles
    #[arg(long)]
    pub no_triggers: bool,
}

/// Take bundles out of the running system
///
/// While a process uses a file of the bundle, the command refuses and names the process. With --lazy the bundle goes at
/// once: who has a file of it open keeps it, and its loop device is freed when the last of them ends.
///
/// A bundle of the boot is hidden: its files are not seen any more, but it stays mounted until the next boot, which takes
/// it again (`noload=NAME` leaves it out). The bundle with the running init cannot go.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit deactivate 10-office.sb
  livekit deactivate office --lazy"#)]
pub struct Deactivate {
    /// Names of active bundles, with or without number and .sb
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    /// Take it out even while it is used
    #[arg(long)]
    pub lazy: bool,

    /// Run nothing: no ldconfig, no daemon-reload, no hooks of bundles
    #[arg(long)]
    pub no_triggers: bool,
}

/// List the active bundles, lowest first
///
/// Those of the boot come first, as their names sort, then those that were activated, as they came. The one below in
/// the list covers those above it.
#[derive(Debug, Args)]
pub struct List {
    /// As JSON: name, origin, hidden, file, size, compressor, since, by
    #[arg(long)]
    pub json: bool,
}

/// Show what the running system is made of: union, changes, medium, memory
#[derive(Debug, Args)]
pub struct Status {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Bring the system up to the medium's modules
///
/// Bundles that were put into the live folder or its modules/ since are activated, and those activated from there whose
/// file is gone are deactivated.
#[derive(Debug, Args)]
pub struct Refresh {
    /// Take bundles out even while they are used
    #[arg(long)]
    pub lazy: bool,

    /// Run nothing: no ldconfig, no daemon-reload, no hooks of bundles
    #[arg(long)]
    pub no_triggers: bool,
}
