//! `make bench-activation`: what one more bundle costs while the system runs, with few and with many active, beside
//! `systemd-sysext merge` of the same images on the same guest. In QEMU's virtual time: milliseconds are millions of
//! instructions.

use tests::{Format, Guest, Kernel, Kit, Machine, Medium};

/// Bundles and images there are.
const IMAGES: usize = 17;
/// How many are active before one more comes.
const ACTIVE: [usize; 4] = [0, 1, 4, 16];
/// Runs of each figure; the first one is not counted, for it reads from the disk.
const RUNS: usize = 6;
const OPTIONAL: &str = "/run/initramfs/memory/data/livekit/optional";

fn main() {
    for kernel in [Kernel::V6_1, Kernel::V6_12] {
        let kit = Kit::debian(kernel);
        let stick = medium(&kit).stick(Format::Ext4);
        let start = || -> (Machine, Guest) {
            let mut machine =
                kit.direct().virtual_time().memory(1024).patience(900).usb("stick", &stick).start();
            let mut guest = machine.guest();
            guest.try_run(&["systemctl", "is-system-running", "--wait"]);
            (machine, guest)
        };
        println!("kernel {}", kernel.unpacked().release);
        let (mut machine, mut guest) = start();
        activation(&mut guest);
        machine.quit();
        let (mut machine, mut guest) = start();
        sysext(&mut guest);
        machine.quit();
    }
}

/// Bundles that each bring a program, a library and a little more to /usr, which is what a system extension may.
fn medium(kit: &Kit) -> Medium {
    (0..IMAGES).fold(kit.medium_with_probe(), |medium, number| {
        let release = format!("usr/lib/extension-release.d/extension-release.x{number:02}");
        let file = |name: &str| format!("usr/{name}{number:02}");
        let content = "x".repeat(20_000);
        let files = [
            (release, "ID=_any\n"),
            (file("bin/tool"), content.as_str()),
            (file("lib/libtool.so."), content.as_str()),
            (file("share/doc/tool/readme"), "x"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        medium.bundle(&format!("livekit/optional/x{number:02}.sb"), &files)
    })
}

/// The whole command, and of it the part in which the union changes.
fn activation(guest: &mut Guest) {
    let mut active = 0;
    for number in ACTIVE {
        while active < number {
            livekit(guest, &format!("activate {OPTIONAL}/x{active:02}.sb"));
            active += 1;
        }
        let (mut adding, mut switching, mut removing) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (seconds, said) = livekit(guest, &format!("activate {OPTIONAL}/x{number:02}.sb"));
            adding.push(seconds * 1000.0);
            switching.extend(
                said.lines().find_map(|line| line.strip_prefix("1 bundle in ")).and_then(milliseconds),
            );
            removing.push(livekit(guest, &format!("deactivate x{number:02}.sb")).0 * 1000.0);
        }
        println!(
            "livekit, {number} active: one more {} ms, of which the switch {} ms; one less {} ms",
            median(&adding),
            median(&switching),
            median(&removing)
        );
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    text.strip_suffix(" ms")?.parse().ok()
}

#[track_caller]
fn livekit(guest: &mut Guest, words: &str) -> (f64, String) {
    let line: Vec<&str> =
        ["/usr/bin/livekit"].into_iter().chain(words.split(' ')).chain(["--no-triggers"]).collect();
    let ran = guest.try_run(&line);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    (ran.seconds, ran.stderr)
}

/// The same images, all of them anew each time, as the command does it.
fn sysext(guest: &mut Guest) {
    guest.run(&["/bin/sh", "-c", "mkdir -p /run/extensions"]);
    for number in [1, 4, 16] {
        for image in 0..number {
            let from = format!("{OPTIONAL}/x{image:02}.sb");
            let to = format!("/run/extensions/x{image:02}.raw");
            guest.run(&["cp", &from, &to]);
        }
        let (mut merging, mut unmerging) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            for (verb, figures) in [("merge", &mut merging), ("unmerge", &mut unmerging)] {
                let ran = guest.try_run(&["systemd-sysext", verb]);
                assert_eq!(ran.status, Some(0), "{ran:#?}");
                figures.push(ran.seconds * 1000.0);
            }
        }
        println!(
            "systemd-sysext, {number} images: merge {} ms, unmerge {} ms",
            median(&merging),
            median(&unmerging)
        );
    }
}

/// Median, least and most of all runs but the first.
fn median(figures: &[f64]) -> String {
    let mut sorted: Vec<f64> = figures.iter().skip(1).copied().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted[..] {
        [] => "-".into(),
        ref all => format!("{:.1} ({:.1} to {:.1})", all[all.len() / 2], all[0], all[all.len() - 1]),
    }
}
