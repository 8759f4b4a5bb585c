//! The power goes at moments that nobody chose: whatever was synced is there at the next boot, which needs no help.
//! The disk forgets then what it was not told to flush, or half of it.
//!
//! `LIVEKIT_POWER_CUTS=100` has as many cuts on each kind of medium; the moments are the same in every run.

use std::thread::sleep;
use std::time::Duration;

use tests::protocol::{KEPT, WROTE};
use tests::{Disk, Format, Guest, Kernel, Kit, Lot, Machine, WriteCache};

/// Cuts of a run in which nobody asks for more.
const CUTS: u64 = 4;
const FOLDER: &str = "/var/numbered";
/// Writes beside the files that are synced, so that there is always something to lose.
const CARELESS: &str = "mkdir -p /var/careless
    for what in writeback expire; do echo 50 > /proc/sys/vm/dirty_${what}_centisecs; done
    while sleep 0.1; do n=$((n % 4 + 1)); yes $n | head -c 100k > /var/careless/$n; done < /dev/null > /dev/null 2>&1 &";
const CHANGES: &str = "/run/initramfs/memory/changes";

fn wanted() -> u64 {
    std::env::var("LIVEKIT_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

/// The highest number that the writer called safe.
fn last_safe(serial: &str) -> Option<u64> {
    let said = serial.split(WROTE).skip(1);
    said.filter_map(|rest| rest.split_once('.')?.0.parse().ok()).max()
}

fn start(kit: &Kit, stick: &Disk, cache: &WriteCache, parameters: &str) -> Machine {
    kit.direct().append(parameters).virtio_noted("stick", stick, cache).start()
}

/// Types the passphrase of an encrypted session; that of a new one twice.
fn unlock(machine: &mut Machine, is_new: bool) {
    let questions: &[&str] =
        if is_new { &["New passphrase for", "once more"] } else { &["Passphrase of session 1"] };
    machine.answers(&questions.iter().map(|&question| (question, "open sesame\r")).collect::<Vec<_>>());
}

/// Everything that was safe is whole.
#[track_caller]
fn check(guest: &mut Guest, cut: u64, safe: u64) {
    assert_eq!(guest.report.mount(CHANGES).kind, "ext4", "after cut {cut}: {:#?}", guest.report.log);
    let (first, last) = ((1 + safe.saturating_sub(KEPT)).to_string(), safe.to_string());
    let said = guest.run(&["/sbin/init", "written", FOLDER, &first, &last]);
    let (highest, bad) = said.trim().split_once(' ').expect("two words");
    assert_eq!(bad, "[]", "after cut {cut}: of {first} to {last}, which were safe, these are not whole");
    assert!(highest.parse::<u64>().is_ok_and(|highest| highest >= safe), "after cut {cut}: {said}");
}

fn survives(format: Format, parameters: &str) {
    let kit = Kit::tiny(Kernel::V6_1);
    let stick = kit.medium().stick_with_room(format, 900);
    let encrypted = parameters.contains("encryption");
    let begin = format!("{CARELESS}\n/sbin/init writer {FOLDER} /dev/ttyS0 < /dev/null > /run/writer 2>&1 &");
    // What is lost depends on what was written: drawn apart, so that the moments do not.
    let (mut moments, mut lot) = (Lot::new(1), Lot::new(2));
    let (mut safe, mut lost) = (0, 0);
    for cut in 1..=wanted() {
        let cache = WriteCache::of(&stick);
        let mut machine = start(&kit, &stick, &cache, parameters);
        if encrypted {
            unlock(&mut machine, cut == 1);
        }
        // Some cuts come while it boots.
        if cut % 4 == 0 {
            sleep(Duration::from_millis(moments.draw(1000, 9000)));
            machine.cut();
        } else {
            let mut guest = machine.guest();
            check(&mut guest, cut - 1, safe);
            guest.shell(&begin);
            sleep(Duration::from_millis(moments.draw(100, 4000)));
            safe = last_safe(&machine.cut()).unwrap_or(safe);
        }
        let losses = cache.lose(&mut lot);
        println!("cut {cut}: {safe} files are safe, {} of {} late writes lost", losses.lost, losses.at_risk);
        lost += losses.lost;
    }
    assert!(safe > 0, "nothing was written");
    assert!(lost > 0, "no cut came before a flush");
    let mut machine = kit.direct().append(parameters).virtio("stick", &stick).start();
    if encrypted {
        unlock(&mut machine, false);
    }
    let mut guest = machine.guest();
    check(&mut guest, wanted(), safe);
    machine.power_off(guest);
    stick.is_clean();
}

#[test]
fn of_a_stick_with_ext4() {
    survives(Format::Ext4, "perch");
}

#[test]
fn of_a_stick_with_fat() {
    survives(Format::Fat32, "perch");
}

#[test]
fn of_a_stick_with_an_encrypted_session() {
    survives(Format::Fat32, "perch persistence-encryption=luks");
}
