//! `livekit bundle from-packages` over this machine's own system, with packages of Debian's archive, judged by dpkg and by
//! running what was installed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use live::dpkg;
use live::overlay::Overlay;
use live::sys::loop_device::LoopDevice;
use live::sys::mount::{self, Mount};
use live::sys::namespace;
use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, text};

/// A program in Perl, with a dependency; and a service with an account, a D-Bus policy and an init script.
const PACKAGES: [&str; 2] = ["cowsay", "dnsmasq"];

/// The runs come one after the other: each holds this machine's dpkg lock.
#[test]
fn packages_become_a_bundle() {
    let place = Place::new();
    fs::create_dir(place.path("tmp")).unwrap();
    let status = fs::read("/var/lib/dpkg/status").unwrap();

    what_is_not_there_is_an_error(&place);
    a_dry_run_says_what_would_be(&place);
    an_interrupt_leaves_nothing(&place);
    a_bundle_has_what_apt_installs(&place);
    namespace::in_copy(|| {
        mount::make_private("/")?;
        the_bundle_works_over_the_system(&place);
        Ok(())
    })
    .unwrap();

    assert_eq!(place.names("tmp"), [""; 0]);
    assert!(fs::read("/var/lib/dpkg/status").unwrap() == status, "dpkg's database of this machine changed");
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains("livekit-packages"));
}

fn from_packages(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(&[&["bundle", "from-packages"], arguments].concat());
    command.env("TMPDIR", place.path("tmp"));
    command
}

fn run(place: &Place, arguments: &[&str]) -> (i32, String, String) {
    let output = from_packages(place, arguments).output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn what_is_not_there_is_an_error(place: &Place) {
    place.write("there.sb", b"precious");
    for (arguments, code, says) in [
        (&["there", "cowsay"][..], 1, "error: there.sb is there already"),
        (&["none/x", "cowsay"], 1, "error: cannot find the directory"),
        (&["x", "cowsay-"], 2, "it is not a package"),
        (&["x"], 2, "required arguments were not provided"),
        (&["--root", "tree", "x", "cowsay"], 1, "has no dpkg and apt"),
        (&["--update", "x", "no-such-package"], 1, "E: Unable to locate package no-such-package"),
        (&["x", "bash:amd64", "dpkg"], 1, "nothing is to be installed: the system has bash:amd64 dpkg"),
    ] {
        let (found, stdout, stderr) = run(place, arguments);
        // An older system has newer versions to come.
        let says = if stderr.contains("would have to be upgraded") { "upgraded: " } else { says };
        assert_eq!((found, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
    assert_eq!(fs::read(place.path("there.sb")).unwrap(), b"precious");
    fs::remove_file(place.path("there.sb")).unwrap();
    let program = place.path("livekit");
    fs::copy(env!("CARGO_BIN_EXE_livekit"), &program).unwrap();
    fs::set_permissions(place.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut nobody = Command::new(program);
    nobody
        .args(["bundle", "from-packages", "--dry-run", "x", "cowsay"])
        .uid(65534)
        .gid(65534)
        .current_dir("/");
    let output = nobody.output().unwrap();
    assert_eq!(
        text(&output.stderr),
        "error: only root can install packages\nhint: run the command with sudo\n"
    );
}

fn a_dry_run_says_what_would_be(place: &Place) {
    let (code, stdout, stderr) = run(place, &[&["--dry-run", "x"], &PACKAGES[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    for line in stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert!(
            fields.len() == 5 && fields[3..].iter().all(|size| size.parse::<u64>().unwrap() > 0),
            "{line}"
        );
    }
    assert!(stdout.starts_with("cowsay\t") || stdout.contains("\ncowsay\t"), "{stdout}");
    assert!(stderr.contains(" packages: ") && stderr.contains(" to download, "), "{stderr}");
}

fn an_interrupt_leaves_nothing(place: &Place) {
    let mut command = from_packages(place, &[&["x"], &PACKAGES[..]].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // What is being made is seen in the temporary directory.
    let begun = Instant::now();
    let working = |place: &Place| {
        place
            .names("tmp")
            .iter()
            .any(|name| place.path("tmp").join(name).join("upper/var/lib/dpkg/updates").is_dir())
    };
    while !working(place) {
        assert!(
            child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60),
            "apt does nothing"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.ends_with("error: interrupted; nothing half-done is left behind\n"), "{stderr}");
    assert_eq!(place.names("tmp"), [""; 0]);
    assert_eq!(place.names(""), ["livekit", "tmp", "tree"]);
}

fn a_bundle_has_what_apt_installs(place: &Place) {
    let (code, stdout, stderr) = run(place, &[&["--no-recommends", "20-x"], &PACKAGES[..]].concat());
    assert_eq!((code, stdout.as_str()), (0, "20-x.sb\n"), "{stderr}");
    assert_eq!(place.livekit(&["bundle", "verify", "-q", "20-x.sb"]).0, 0);
    let list = place.run("unsquashfs", &["-l", "-d", "", "20-x.sb"]);
    let has = |path: &str| list.lines().any(|line| line == path);
    for path in [
        "/usr/games/cowsay",
        "/usr/sbin/dnsmasq",
        "/etc/dnsmasq.conf",
        "/etc/systemd/system/multi-user.target.wants/dnsmasq.service",
        "/usr/lib/sysusers.d/livekit-x.conf",
        "/usr/share/livekit/dpkg/status",
        "/var/lib/dpkg/info/cowsay.list",
    ] {
        assert!(has(path), "{path} is not in\n{list}");
    }
    for path in [
        "/etc/passwd",
        "/etc/ld.so.cache",
        "/var/lib/dpkg/status",
        "/var/lib/dpkg/lock",
        "/var/lib/dpkg/triggers",
        "/var/lib/apt",
        "/var/cache/apt",
        "/var/log/dpkg.log",
        "/usr/sbin/policy-rc.d",
        "/dev",
        "/run",
        "/tmp",
    ] {
        assert!(!has(path), "{path} is in\n{list}");
    }
}

/// Mounts of a namespace of its own, where paths of the machine's root have the bundle on top.
fn the_bundle_works_over_the_system(place: &Place) {
    for folder in ["bundle", "changes/upper", "changes/work", "union", "other"] {
        fs::create_dir_all(place.path(folder)).unwrap();
    }
    let device = LoopDevice::attach(&place.path("20-x.sb")).unwrap();
    let bundle = place.path("bundle");
    Mount::new("squashfs", &device.path().to_string_lossy()).read_only().at(&bundle).unwrap();
    let lowers = [bundle.clone(), "/".into()];
    let (changes, union) = (place.path("changes"), place.path("union"));
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    Overlay { source: "test", lowers: &lowers, upper: &upper, work: &work }.at(&union).unwrap();
    Mount::new("proc", "proc").at(union.join("proc")).unwrap();
    mount::bind("/dev", union.join("dev")).unwrap();
    let inside = |line: &str| {
        let output =
            Command::new("chroot").arg(&union).args(["sh", "-c", line]).env("LC_ALL", "C").output().unwrap();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let said = |line: &str| {
        let (done, said) = inside(line);
        assert!(done, "{line}: {said}");
        said
    };

    assert!(!inside("dpkg -s cowsay").0);
    let before = fs::read(union.join("var/lib/dpkg/status")).unwrap();
    let bundles: [(&str, &Path); 1] = [("20-x.sb", &bundle)];
    let changed = dpkg::converge(&union, &changes, &bundles).unwrap();
    assert!(changed.added.iter().any(|name| name == "dnsmasq"), "{changed:?}");

    assert!(said("dpkg -l cowsay dnsmasq | grep -c ^ii").starts_with('2'));
    assert!(said("dpkg -L cowsay").contains("/usr/games/cowsay\n"));
    assert!(said("dpkg -S /usr/sbin/dnsmasq").starts_with("dnsmasq"));
    assert_eq!(said("dpkg --verify cowsay dnsmasq"), "");
    assert_eq!(said("dpkg --audit"), "");
    said("apt-get check");
    // Perl warns of a locale that is not there.
    assert!(said("/usr/games/cowsay moo").contains("< moo >"));
    assert!(said("dnsmasq --test --conf-file=/etc/dnsmasq.conf").contains("syntax check OK"));

    // The account, with the number that files of the bundle have; this machine's are all there.
    let config = union.join("usr/lib/sysusers.d/livekit-x.conf");
    let line = fs::read_to_string(&config).unwrap();
    let uid = line.split_once("u dnsmasq ").unwrap().1.split(':').next().unwrap().to_owned();
    assert!(!said("cat /etc/passwd").contains("dnsmasq"));
    said("systemd-sysusers /usr/lib/sysusers.d/livekit-x.conf");
    assert_eq!(said("id -u dnsmasq").trim(), uid);

    // Without the bundle.
    let changed = dpkg::converge(&union, &changes, &[]).unwrap();
    assert!(changed.removed.iter().any(|name| name == "cowsay"), "{changed:?}");
    assert!(!inside("dpkg -s cowsay").0);
    assert!(fs::read(union.join("var/lib/dpkg/status")).unwrap() == before, "the database is not as it was");

    // With it, and the user at work: what dpkg writes anew is still the bundle's, what it removed stays away.
    dpkg::converge(&union, &changes, &bundles).unwrap();
    said("dpkg --purge cowsay");
    said("echo dnsmasq hold | dpkg --set-selections");
    assert_eq!(dpkg::converge(&union, &changes, &bundles).unwrap(), dpkg::Changed::default());
    assert!(!inside("dpkg -s cowsay").0);
    assert!(said("dpkg -l dnsmasq").contains("\nhi  dnsmasq "));
    let changed = dpkg::converge(&union, &changes, &[]).unwrap();
    assert!(changed.removed.iter().any(|name| name == "dnsmasq"), "{changed:?}");
    assert_eq!(dpkg::converge(&union, &changes, &bundles[..0]).unwrap(), dpkg::Changed::default());
    let changed = dpkg::converge(&union, &changes, &bundles).unwrap();
    assert!(!changed.added.iter().any(|name| name == "cowsay"), "{changed:?}");
    dpkg::converge(&union, &changes, &[]).unwrap();
    // dpkg has another order.
    let packages = |status: &[u8]| {
        let mut paragraphs: Vec<String> = text(status).split("\n\n").map(|p| p.trim().to_owned()).collect();
        paragraphs.sort();
        paragraphs
    };
    assert!(packages(&fs::read(union.join("var/lib/dpkg/status")).unwrap()) == packages(&before));
}
