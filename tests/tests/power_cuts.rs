//! The power goes at moments that nobody chose: whatever was synced is there at the next boot, which needs no help.
//!
//! `LIVEKIT_POWER_CUTS=100` has as many cuts on each kind of medium; the moments are the same in every run.

use std::thread::sleep;
use std::time::Duration;

use tests::protocol::{KEPT, WROTE};
use tests::{Disk, Format, Guest, Kernel, Kit, Machine};

/// Cuts of a run in which nobody asks for more.
const CUTS: u64 = 4;
const FOLDER: &str = "/var/numbered";
const CHANGES: &str = "/run/initramfs/memory/changes";

fn wanted() -> u64 {
    std::env::var("LIVEKIT_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

/// The same row of numbers in every run (splitmix64).
struct Moments(u64);

impl Moments {
    fn next(&mut self, least: u64, most: u64) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(least + (mixed ^ mixed >> 31) % (most - least))
    }
}

/// The highest number that the writer called safe.
fn last_safe(serial: &str) -> Option<u64> {
    let said = serial.split(WROTE).skip(1);
    said.filter_map(|rest| rest.split_once('.')?.0.parse().ok()).max()
}

fn start(kit: &Kit, stick: &Disk, parameters: &str) -> Machine {
    kit.direct().append(parameters).virtio("stick", stick).start()
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
    let mut moments = Moments(1);
    let mut safe = 0;
    for cut in 1..=wanted() {
        let mut machine = start(&kit, &stick, parameters);
        if encrypted {
            unlock(&mut machine, cut == 1);
        }
        // Some cuts come while it boots.
        if cut % 4 == 0 {
            sleep(moments.next(1000, 9000));
            machine.cut();
            continue;
        }
        let mut guest = machine.guest();
        check(&mut guest, cut - 1, safe);
        let begin = format!("/sbin/init writer {FOLDER} /dev/ttyS0 < /dev/null > /run/writer 2>&1 &");
        guest.shell(&begin);
        sleep(moments.next(100, 4000));
        safe = last_safe(&machine.cut()).unwrap_or(safe);
    }
    assert!(safe > 0, "nothing was written");
    let mut machine = start(&kit, &stick, parameters);
    if encrypted {
        unlock(&mut machine, false);
    }
    let mut guest = machine.guest();
    check(&mut guest, wanted(), safe);
    machine.power_off(guest);
    stick.is_clean();
    println!("{} cuts, {safe} files", wanted());
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
