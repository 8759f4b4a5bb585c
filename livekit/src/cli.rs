//! Every flag, once. Help and, later, man page and completion come from here.

pub mod bundle;
pub mod from_packages;
pub mod running;
pub mod savechanges;
pub mod sb;
pub mod session;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "livekit",
    version,
    about = "Make live systems and run them",
    long_about = "Turns a root file system into a live system: compressed bundles, a small initramfs and one ISO \
        image that starts from CD and USB stick, with BIOS, UEFI and Secure Boot.",
    after_help = "`livekit help COMMAND` explains a command with examples.",
    after_long_help = "Exit code: 0 done, 1 could not, 2 wrong usage, 3 done but files changed or vanished while they were \
        read. `livekit bundle diff` has its own.\n\n\
        `livekit help COMMAND` explains a command with examples.",
    args_override_self = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Say nothing but warnings, errors and what was asked for
    #[arg(long, short, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the words of a command line, the program's name first, and the environment.
    ///
    /// To clap a variable is a flag like any other, and contradicts flags on the command line. Here these win: variables
    /// of flags that cannot be used with them do not count.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        let mut command = Cli::command();
        command.build();
        // Whatever is wrong is told by the second reading, which knows all.
        let line = without_variables(command.clone(), |_, _| true).try_get_matches_from(&words);
        if let Some((name, given)) = line.as_ref().ok().and_then(ArgMatches::subcommand) {
            command = without_variables(command, |subcommand, argument| {
                subcommand.get_name() == name && contradicts(subcommand, argument, given)
            });
        }
        Cli::from_arg_matches(&command.try_get_matches_from(words)?)
    }
}

/// Takes the environment variables from those arguments of subcommands that `which` says.
fn without_variables(
    command: clap::Command,
    which: impl Fn(&clap::Command, &clap::Arg) -> bool,
) -> clap::Command {
    command.mut_subcommands(|subcommand| {
        let known = subcommand.clone();
        subcommand.mut_args(
            |argument| {
                if which(&known, &argument) { argument.env(Resettable::Reset) } else { argument }
            },
        )
    })
}

/// Whether `argument` cannot be used with what is `given` on the command line.
fn contradicts(command: &clap::Command, argument: &clap::Arg, given: &ArgMatches) -> bool {
    let excludes = |one: &clap::Arg, other: &clap::Arg| {
        command.get_arg_conflicts_with(one).iter().any(|excluded| excluded.get_id() == other.get_id())
    };
    let on_the_line =
        |arg: &&clap::Arg| given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    command
        .get_arguments()
        .filter(on_the_line)
        .any(|other| excludes(other, argument) || excludes(argument, other))
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Activate(running::Activate),
    BuildIso(Box<BuildIso>),
    Bundle(bundle::Bundle),
    Deactivate(running::Deactivate),
    List(running::List),
    Refresh(running::Refresh),
    Run(Run),
    #[command(name = "savechanges")]
    SaveChanges(Box<savechanges::SaveChanges>),
    Sb(sb::Sb),
    Session(session::Session),
    Status(running::Status),
}

/// Make a bootable ISO image of a system
///
/// Packs a root file system into bundles, makes an initramfs with the drivers of its kernel, and writes both with a
/// boot menu into one image. The image starts from CD, and from a USB stick it is copied to
/// (`cp livekit.iso /dev/sdX`), with BIOS, UEFI and Secure Boot.
///
/// The root is only read. Without --root and --debian it is the running system: all of it but /tmp, /run, /media and
/// /mnt, caches, build output, swap files, /etc/fstab and the machine's id. Passwords, keys and /home are in the image
/// then: whoever has the image has them.
#[derive(Debug, Default, Args)]
#[command(
    visible_alias = "build",
    after_long_help = r#"Examples:
  Make an image of the running system:
      sudo livekit build-iso
  Leave something out:
      sudo livekit build-iso --exclude '/srv/*' --exclude '*.iso'
  A small Debian 12 (root's password is "live"):
      sudo livekit build-iso --debian bookworm --packages vim,ssh
  Of a running live system what is active now, with what was changed:
      sudo livekit build-iso --from-running --changes --output /media/disk/mine.iso
  From a directory or an archive:
      sudo livekit build-iso --root /srv/root --output rescue.iso --name rescue
      sudo livekit build-iso --root root.tar.zst --append "console=ttyS0"

Every flag but --config, --quiet, --from-running and what goes with that has a key of its name in livekit.toml; those of --debian, --packages and
--mirror are `suite`, `packages` and `mirror` in the table [debian], that of --no-reuse is `reuse = false`.
A flag wins over its environment variable, which wins over the file:
      name = "rescue"
      append = "net.ifnames=0"
      exclude = ["/srv/*"]
      [debian]
      suite = "bookworm"
      packages = ["vim", "ssh"]
      [[bundle]]
      name = "05-desktop"
      packages = ["xserver-*", "firefox-esr"]
`livekit help bundle plan` has more of [[bundle]], which splits the root into bundles.

SOURCE_DATE_EPOCH (seconds since 1970) fixes every time and the build id: the same input gives the same image."#
)]
pub struct BuildIso {
    /// What to pack: a directory, a tar archive (plain, .gz, .xz, .zst), or `running` [default: running]
    #[arg(long, value_name = "DIR|TAR|running", env = "LIVEKIT_ROOT", conflicts_with = "debian")]
    pub root: Option<PathBuf>,

    /// Of the running live system: the bundles that are active now, as they are, and the medium's kernel
    ///
    /// What was activated since the boot goes into modules/, under a number that keeps it on top. optional/ and rootcopy/ of
    /// the medium are copied along, sessions are not. Where the system has no GRUB packages, the UEFI boot loader is that
    /// of the medium, and the image starts with UEFI alone.
    #[arg(long, conflicts_with_all = ["root", "debian", "packages", "mirror", "kernel", "modules", "busybox", "order",
        "exclude", "reuse", "no_reuse"])]
    pub from_running: bool,

    /// With --from-running: what was changed, too, as a bundle of its own: see `livekit help savechanges`
    #[arg(long, requires = "from_running")]
    pub changes: bool,

    /// With --changes: private keys, passwords and histories, too
    #[arg(long, requires = "changes")]
    pub with_secrets: bool,

    /// Make a Debian of this suite with mmdebstrap and pack it
    ///
    /// It has a kernel, systemd, a DHCP client on every wired interface and what a console needs. The host is called
    /// as the kit, the password of root is "live". Nothing is kept for the next time.
    #[arg(long, value_name = "SUITE", env = "LIVEKIT_DEBIAN")]
    pub debian: Option<String>,

    /// More packages for --debian, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub packages: Vec<String>,

    /// Where --debian takes packages from [default: what apt uses here]
    #[arg(long, value_name = "URL", env = "LIVEKIT_MIRROR")]
    pub mirror: Option<String>,

    /// The kernel image [default: the newest one in the root that has its modules there]
    #[arg(long, value_name = "FILE", env = "LIVEKIT_KERNEL")]
    pub kernel: Option<PathBuf>,

    /// The image to write [default: NAME-DATE.iso here]
    #[arg(long, short, value_name = "FILE", env = "LIVEKIT_OUTPUT")]
    pub output: Option<PathBuf>,

    /// The kit's name: of the folder on the medium, and in the menu [default: livekit]
    #[arg(long, value_name = "NAME", env = "LIVEKIT_NAME")]
    pub name: Option<String>,

    /// What the menu calls the system [default: what it calls itself in /etc/os-release]
    #[arg(long, value_name = "TEXT", env = "LIVEKIT_TITLE")]
    pub title: Option<String>,

    /// The configuration file [default: livekit.toml here, if there is one]
    #[arg(long, value_name = "FILE", env = "LIVEKIT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Boot parameters for every menu entry
    #[arg(long, value_name = "PARAMETERS", env = "LIVEKIT_APPEND", allow_hyphen_values = true)]
    pub append: Option<String>,

    /// Kernel modules in the initramfs: `most`, `all`, or names separated by commas [default: most]
    ///
    /// `most` has every driver a boot medium may need. With a list, only these (and what they depend on) are there,
    /// along with what every boot needs: smaller, for a machine you know.
    #[arg(long, value_name = "most|all|LIST", env = "LIVEKIT_MODULES")]
    pub modules: Option<String>,

    /// Leave out what matches, in the syntax of .gitignore; `!` takes back in [repeatable]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub exclude: Vec<String>,

    /// The static busybox of the rescue shell, or `none` [default: the root's or this system's]
    #[arg(long, value_name = "FILE|none", env = "LIVEKIT_BUSYBOX")]
    pub busybox: Option<PathBuf>,

    /// Where shim and GRUB lie, as unpacked Debian packages have them below usr/lib [default: this system's]
    #[arg(long, value_name = "DIR", env = "LIVEKIT_BOOT_FILES")]
    pub boot_files: Option<PathBuf>,

    /// What the image starts from: `both`, or `bios` or `uefi` alone, without the other's files [default: both]
    #[arg(long, value_name = "both|bios|uefi", env = "LIVEKIT_FIRMWARE")]
    pub firmware: Option<String>,

    /// Seconds the menu waits before it starts the system [default: 5]
    #[arg(long, value_name = "SECONDS", env = "LIVEKIT_TIMEOUT")]
    pub timeout: Option<u32>,

    /// A menu of plain text, quicker on slow graphics
    #[arg(long)]
    pub text_menu: bool,

    /// How bundles are compressed: zstd, xz, gzip or lz4; zstd takes a level [default: zstd:15]
    #[arg(long, value_name = "NAME[:LEVEL]", env = "LIVEKIT_COMPRESSOR")]
    pub compressor: Option<String>,

    /// Bytes compressed together in a bundle, 4K to 1M: more is smaller and slower to read [default: 128K]
    #[arg(long, value_name = "SIZE", env = "LIVEKIT_BLOCK_SIZE")]
    pub block_size: Option<String>,

    /// Lay out first what this file names, a path of the root on each line: what a boot reads, in its order
    ///
    /// Paths are absolute or from the top of the root; lines that begin with # do not count.
    #[arg(long, value_name = "FILE", env = "LIVEKIT_ORDER")]
    pub order: Option<PathBuf>,

    /// Take unchanged blocks from the bundles of the last image even with SOURCE_DATE_EPOCH
    ///
    /// That is done anyway without it. Blocks are taken only if they hold the same bytes; but a file's end may lie in
    /// another place than if all were packed anew, so the image does not follow from the input alone.
    #[arg(long, overrides_with = "no_reuse")]
    pub reuse: bool,

    /// Pack everything anew
    #[arg(long, overrides_with = "reuse")]
    pub no_reuse: bool,
}

/// Start an image in QEMU
///
/// An ISO image (.iso) is put in as a CD, any other file as a USB stick; --usb and --cd say otherwise. What the system
/// writes to a stick made from an ISO image is forgotten at the end; other disk images keep it.
///
/// The serial console is this terminal. Keys go to the guest, Ctrl-C too; Ctrl-A X ends QEMU, Ctrl-A H helps. The boot
/// menu is there as well: choose "serial console" in it to see the system start.
#[derive(Debug, Args)]
#[command(after_long_help = r#"Examples:
  livekit run livekit.iso
  livekit run livekit.iso --uefi --secure-boot --usb --memory 2G
  livekit run livekit.iso --append "console=ttyS0 debug"
  livekit run livekit.iso --window
  livekit run livekit.iso --trace-boot boot.order
  livekit run stick.img --dry-run"#)]
pub struct Run {
    /// The image: FILE.iso, or the image of a disk
    #[arg(value_name = "FILE")]
    pub image: PathBuf,

    /// With UEFI firmware instead of BIOS
    #[arg(long)]
    pub uefi: bool,

    /// With UEFI firmware that enforces Secure Boot with Microsoft's keys
    #[arg(long)]
    pub secure_boot: bool,

    /// As a USB stick
    #[arg(long, conflicts_with = "cd")]
    pub usb: bool,

    /// As a CD
    #[arg(long)]
    pub cd: bool,

    /// The guest's memory: 512M, 2G; a plain number is MiB
    #[arg(long, short, value_name = "SIZE", default_value = "1G", env = "LIVEKIT_RUN_MEMORY")]
    pub memory: String,

    /// The guest's processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: u32,

    /// The serial console in this terminal (the default)
    #[arg(long, conflicts_with = "window")]
    pub serial: bool,

    /// The guest's screen in a window
    #[arg(long)]
    pub window: bool,

    /// Skip firmware and menu: start the image's kernel with its usual parameters and these
    #[arg(long, value_name = "PARAMETERS", allow_hyphen_values = true, conflicts_with_all = ["uefi", "secure_boot"])]
    pub append: Option<String>,

    /// How the guest's processor is run: `kvm`, `tcg` (slow, everywhere), or `auto`: KVM if it proves to work
    #[arg(long, value_name = "HOW", default_value = "auto", env = "LIVEKIT_RUN_ACCEL")]
    pub accel: Accel,

    /// Write the files that a boot reads to FILE, the first one first, for `build-iso --order`
    ///
    /// The image's kernel is started as with --append, and the system is switched off when it has been up for a while;
    /// log in and power it off if it does not heed its power button. FILE gets one path a line, relative to the root.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["uefi", "secure_boot", "window"])]
    pub trace_boot: Option<PathBuf>,

    /// How long --trace-boot lets the system run after its login prompt, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "trace_boot",
        value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub trace_seconds: u64,

    /// Print the QEMU command instead of running it
    #[arg(long)]
    pub dry_run: bool,
}

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    Auto,
    Kvm,
    Tcg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "livekit build-iso --root / --debian bookworm",
            "livekit run a.iso --usb --cd",
            "livekit run a.iso --serial --window",
            "livekit run a.iso --uefi --append x",
            "livekit run a.iso --cpus 0",
            "livekit run a.iso --uefi --trace-boot x",
            "livekit run a.iso --window --trace-boot x",
            "livekit run a.iso --trace-seconds 5",
            "livekit run",
            "livekit",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn parameters_may_begin_with_a_dash() {
        let cli = Cli::try_parse_from(["livekit", "run", "a.iso", "--append", "-s quiet"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.append.as_deref(), Some("-s quiet"));
    }
}
