//! Bundles come and go while the system runs: in a nest, with this machine's kernel. tests/debian_activation.rs has the
//! same in machines, with systemd and older kernels.

mod content;
mod packages;
mod refusals;
mod sources;
mod switches;
mod users;

use tests::{Guest, Nest};

const OPTIONAL: &str = "/run/initramfs/memory/data/livekit/optional";

/// Adds bundles to optional/, each of these files.
fn with(bundles: &[(&str, &[(&str, &str)])]) -> Nest {
    Nest::new().medium(|medium| {
        bundles
            .iter()
            .fold(medium, |medium, (name, files)| medium.bundle(&format!("livekit/optional/{name}"), files))
    })
}

/// What the command says; it must succeed.
#[track_caller]
fn livekit(guest: &mut Guest, words: &str) -> String {
    let ran = guest.try_run(&words_of(words));
    assert_eq!(ran.status, Some(0), "livekit {words}: {ran:#?}");
    ran.stdout + &ran.stderr
}

/// What the command says when it refuses.
#[track_caller]
fn refused(guest: &mut Guest, words: &str) -> String {
    let ran = guest.try_run(&words_of(words));
    assert_eq!(ran.status, Some(1), "livekit {words} did not refuse: {ran:#?}");
    ran.stderr
}

fn words_of(words: &str) -> Vec<&str> {
    ["/usr/bin/livekit"].into_iter().chain(words.split(' ')).collect()
}

#[track_caller]
fn sh(guest: &mut Guest, script: &str) -> String {
    guest.run(&["/bin/sh", "-c", script])
}

fn activate(guest: &mut Guest, name: &str) -> String {
    livekit(guest, &format!("activate {OPTIONAL}/{name}"))
}

/// All that may leak: mounts, loop devices of bundles, workshops, as one text to compare.
fn traces(guest: &mut Guest) -> String {
    let report = guest.report_now();
    let mut mounts: Vec<String> = report
        .mounts
        .iter()
        .map(|m| {
            // Every new cover has another number.
            let source = m.source.rsplit_once(':').map_or(m.source.as_str(), |(place, _)| place);
            format!("{} {} {source} {}", m.target, m.kind, m.options.join(","))
        })
        .collect();
    mounts.sort();
    let loops = report.loops.iter().filter(|l| l.backing_file.starts_with("/run/initramfs/")).count();
    let work = sh(guest, "ls /run/initramfs/memory/changes/work | sed 's/[.].*//' | sort");
    format!("{}\nloops {loops}\nwork {work}", mounts.join("\n"))
}
