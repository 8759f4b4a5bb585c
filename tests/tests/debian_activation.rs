//! Bundles come and go under Debian with systemd, whose services have mount namespaces of their own, on a kernel that can
//! put a mount beneath another (6.12) and on one that cannot (6.1).

use std::process::Command;

use tests::programs::{command, output};
use tests::{Disk, Format, Guest, Kernel, Kit, Machine, Medium};

const OPTIONAL: &str = "/run/initramfs/memory/data/livekit/optional";

/// Services as distributions shut theirs off: name, properties.
const SERVICES: [(&str, &str); 5] = [
    ("plain", "PrivateTmp=no"),
    ("tmp", "PrivateTmp=yes"),
    ("full", "ProtectSystem=full ProtectHome=yes"),
    ("strict", "ProtectSystem=strict ReadWritePaths=/var/tmp ReadWritePaths=/run/watch PrivateDevices=yes"),
    ("paths", "ReadOnlyPaths=/usr/share InaccessiblePaths=/srv"),
];

/// Each looks whenever it is asked to, and says what it sees and whether it may write.
const WATCH: &str = "#!/bin/sh\nwhile :; do\n  if [ -e /run/watch/look ] && ! [ -e /run/watch/$1 ]; then\n    \
    { cat /usr/share/tool/data /etc/tool.conf /tools/new 2>&1; \
    touch /usr/bin/w-$1 2>/dev/null && rm /usr/bin/w-$1 && echo usr-writable; \
    touch /etc/w-$1 2>/dev/null && rm /etc/w-$1 && echo etc-writable; } > /run/watch/$1.partial\n    \
    mv /run/watch/$1.partial /run/watch/$1\n  fi\n  sleep 0.2\ndone\n";

const UNIT: &str = "[Unit]\nDescription=Of the bundle\n[Service]\nExecStart=/bin/sleep infinity\n";

/// A Debian package of one file.
fn package(folder: &Medium) -> std::path::PathBuf {
    let control = "Package: tiny-note\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@example.org>\n\
        Description: one file\n";
    let tree = Medium::empty().file("DEBIAN/control", control).file("usr/share/tiny-note/note", "from apt\n");
    let deb = folder.path("tiny-note.deb");
    let mut build: Command = command("dpkg-deb");
    output(build.args(["--root-owner-group", "--build"]).arg(tree.path("")).arg(&deb));
    deb
}

fn medium(kit: &Kit) -> Medium {
    let files: &[(&str, &str)] = &[
        ("usr/share/tool/data", "usr\n"),
        ("etc/tool.conf", "etc\n"),
        ("tools/new", "top\n"),
        ("opt/tool/x", "opt\n"),
        ("var/lib/tool/state", "var\n"),
        ("usr/lib/systemd/system/tool.service", UNIT),
    ];
    let folder = Medium::empty();
    let deb = package(&folder);
    let medium = kit.medium_with_probe().bundle("livekit/optional/20-tool.sb", files);
    let medium =
        medium.bundle("livekit/optional/30-more.sb", &[("usr/share/more", "more\n"), ("etc/more", "x\n")]);
    medium.copy_of("livekit/tiny-note.deb", &deb)
}

fn sh(guest: &mut Guest, script: &str) -> String {
    guest.run(&["/bin/sh", "-c", script])
}

#[track_caller]
fn livekit(guest: &mut Guest, words: &str) -> String {
    let line: Vec<&str> = ["/usr/bin/livekit"].into_iter().chain(words.split(' ')).collect();
    let ran = guest.try_run(&line);
    assert_eq!(ran.status, Some(0), "livekit {words}: {ran:#?}");
    ran.stdout + &ran.stderr
}

/// What every service sees now.
fn looks(guest: &mut Guest) -> Vec<(&'static str, String)> {
    sh(guest, "rm -f /run/watch/*; : > /run/watch/look");
    let wait = "i=0; while ! [ -e /run/watch/$0 ]; do sleep 0.2; i=$((i+1)); [ $i -lt 200 ] || exit 1; done; cat /run/watch/$0";
    let seen = SERVICES.map(|(name, _)| (name, guest.run(&["/bin/sh", "-c", wait, name])));
    sh(guest, "rm /run/watch/look");
    seen.into()
}

/// Places and names of all mounts, without the numbers of covers, which count on.
fn mounts(guest: &mut Guest) -> Vec<String> {
    let report = guest.report_now();
    let named = report.mounts.iter().map(|m| {
        let source =
            m.source.strip_prefix("lk:").and_then(|s| s.rsplit_once(':')).map_or(&*m.source, |(s, _)| s);
        format!("{} {} {source}", m.target, m.kind)
    });
    let mut all: Vec<_> = named.collect();
    all.sort();
    all
}

fn loops(guest: &mut Guest) -> usize {
    guest.report_now().loops.iter().filter(|l| l.backing_file.contains("/optional/")).count()
}

fn start_services(guest: &mut Guest) {
    guest.write("/usr/local/bin/watch.sh", WATCH);
    sh(guest, "chmod +x /usr/local/bin/watch.sh; mkdir -p /run/watch");
    for (name, properties) in SERVICES {
        let properties: Vec<String> = properties.split(' ').map(|p| format!("--property={p}")).collect();
        let unit = format!("--unit=watch-{name}");
        let mut line = vec!["systemd-run", "--quiet", unit.as_str(), "--property=TimeoutStopSec=2"];
        line.extend(properties.iter().map(String::as_str));
        line.extend(["/usr/local/bin/watch.sh", name]);
        guest.run(&line);
    }
}

fn services_follow(guest: &mut Guest) {
    start_services(guest);
    let before = looks(guest);
    let before_mounts = mounts(guest);
    for (name, seen) in &before {
        assert!(!seen.contains("usr\n"), "{name}: {seen}");
    }
    for round in 0..2 {
        livekit(guest, &format!("activate {OPTIONAL}/20-tool.sb"));
        for ((name, seen), (_, was)) in looks(guest).iter().zip(&before) {
            assert!(seen.starts_with("usr\netc\ntop\n"), "round {round}, {name}: {seen}");
            for right in ["usr-writable", "etc-writable"] {
                assert_eq!(
                    seen.contains(right),
                    was.contains(right),
                    "round {round}, {name}: {seen} was {was}"
                );
            }
        }
        sh(guest, "systemctl daemon-reload; systemctl start tool.service; systemctl is-active tool.service");
        sh(guest, "systemctl stop tool.service");
        let said = livekit(guest, "deactivate 20-tool.sb");
        for ((name, seen), (_, was)) in looks(guest).iter().zip(&before) {
            assert_eq!(seen, was, "round {round}, {name}");
        }
        // A `sleep` of the services may just have been started with it.
        let free = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            loops(guest) == 0
        });
        assert!(free, "the loop device is not freed: {said}");
        assert_eq!(mounts(guest), before_mounts);
    }
}

/// A process looks at files of the base about a thousand times a second during four switches a round.
fn nothing_goes_missing(guest: &mut Guest, rounds: u32) {
    sh(
        guest,
        "/usr/local/bin/probe hammer /run/end /usr/bin/dpkg /usr/lib/os-release /etc/passwd /usr/bin /etc/init.d \
         > /run/hammer </dev/null 2>&1 &",
    );
    for _ in 0..rounds {
        for words in [
            format!("activate {OPTIONAL}/20-tool.sb"),
            format!("activate {OPTIONAL}/30-more.sb"),
            "deactivate 20-tool.sb".to_owned(),
            "deactivate 30-more.sb".to_owned(),
        ] {
            livekit(guest, &format!("{words} --no-triggers"));
        }
    }
    sh(guest, ": > /run/end; sleep 1");
    let said = guest.read("/run/hammer");
    let looks: u64 = said.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(said.contains("trouble: {}") && looks > 1000, "{said}");
}

fn the_system_works_on(guest: &mut Guest) {
    livekit(guest, &format!("activate {OPTIONAL}/20-tool.sb {OPTIONAL}/30-more.sb"));
    sh(guest, "logger -t after-switch it-is-logged; journalctl --sync");
    let journal = guest.run(&["journalctl", "-b", "-t", "after-switch", "-o", "cat", "--no-pager"]);
    assert!(journal.contains("it-is-logged"), "{journal}");
    let install = "cp /run/initramfs/memory/data/livekit/tiny-note.deb /tmp && \
        apt-get install -y -qq -o APT::Sandbox::User=root /tmp/tiny-note.deb 2>&1";
    sh(guest, install);
    assert_eq!(guest.read("/usr/share/tiny-note/note"), "from apt\n");
    assert!(guest.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "tiny-note"]).contains("installed"));
    livekit(guest, "deactivate 30-more.sb");
    assert_eq!(guest.read("/usr/share/tiny-note/note"), "from apt\n");
    guest.write("/usr/share/tool/user", "of the user\n");
    let failed = guest.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]);
    assert_eq!(failed, "");
}

/// What was installed and written with bundles activated is there after the next boot, without them.
fn changes_are_kept(guest: &mut Guest) {
    assert_eq!(guest.read("/usr/share/tiny-note/note"), "from apt\n");
    assert!(guest.run(&["dpkg-query", "-W", "-f", "${db:Status-Status}", "tiny-note"]).contains("installed"));
    assert_eq!(guest.read("/usr/share/tool/user"), "of the user\n");
    assert!(!guest.exists("/usr/share/tool/data"), "the bundle was not to come back");
    let journal = guest.run(&["journalctl", "-b", "-1", "-t", "after-switch", "-o", "cat", "--no-pager"]);
    assert!(journal.contains("it-is-logged"), "{journal}");
    assert_eq!(sh(guest, "dpkg --audit; apt-get check -qq 2>&1"), "");
    let failed = guest.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]);
    assert_eq!(failed, "");
}

/// Ends the system, and judges what it left.
fn power_off(mut machine: Machine, guest: Guest, stick: &Disk) {
    machine.power_off(guest);
    stick.is_clean();
    let log = machine.serial_log();
    let bad: Vec<_> = log.lines().filter(|line| line.contains("cleanup: cannot")).collect();
    assert_eq!(bad, Vec::<&str>::new(), "with activated bundles the medium was not left clean");
}

fn boot(kit: &Kit, stick: &Disk, parameters: &str) -> (Machine, Guest) {
    let vm = kit.direct().append(parameters).memory(768).patience(480);
    let mut machine = vm.usb("stick", stick).start();
    let mut guest = machine.guest();
    guest.try_run(&["systemctl", "is-system-running", "--wait"]);
    (machine, guest)
}

fn activates(kernel: Kernel, format: Format, parameters: &str, rounds: u32) {
    let kit = Kit::debian(kernel);
    let stick = medium(&kit).stick(format);
    let (machine, mut guest) = boot(&kit, &stick, parameters);
    services_follow(&mut guest);
    nothing_goes_missing(&mut guest, rounds);
    the_system_works_on(&mut guest);
    power_off(machine, guest, &stick);
    if parameters.contains("perch") {
        let (machine, mut guest) = boot(&kit, &stick, parameters);
        changes_are_kept(&mut guest);
        power_off(machine, guest, &stick);
    }
}

#[test]
fn services_and_shutdown_with_the_kernel_of_debian_12() {
    activates(Kernel::V6_1, Format::Ext4, "perch", 25);
}

#[test]
fn services_and_shutdown_with_the_newer_kernel() {
    activates(Kernel::V6_12, Format::Fat32, "", 5);
}
