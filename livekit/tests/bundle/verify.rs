//! `livekit bundle verify` of whole and damaged bundles.

use std::fs;

use crate::place::Place;

#[test]
fn damage_is_named_with_its_place() {
    let place = Place::with_bundle();
    let (code, stdout, stderr) = place.livekit(&["bundle", "verify", "x.sb"]);
    assert_eq!((code, stdout.as_str()), (0, "x.sb: OK\n"), "{stderr}");

    let whole = fs::read(place.path("x.sb")).unwrap();
    // The tables are compressed: a flipped bit in the inodes is found by zstd.
    let inodes = usize::try_from(u64::from_le_bytes(whole[64..72].try_into().unwrap())).unwrap();
    let mut flipped = whole.clone();
    flipped[inodes + 40] ^= 0x10;
    place.write("flipped.sb", &flipped);
    place.write("cut.sb", &whole[..whole.len() - 4096]);
    place.write("text.sb", b"hello");
    let (code, stdout, stderr) =
        place.livekit(&["bundle", "verify", "text.sb", "cut.sb", "none.sb", "flipped.sb", "x.sb", "--quiet"]);
    assert_eq!(code, 1);
    let answers: Vec<&str> = stdout.lines().collect();
    assert!(answers[0].starts_with("flipped.sb: byte "), "{stdout}");
    assert_eq!(answers.last(), Some(&"x.sb: OK"), "{stdout}");
    for name in ["text.sb", "cut.sb", "none.sb"] {
        let line = stderr.lines().find(|line| line.contains(name));
        assert!(line.is_some_and(|line| line.starts_with("error: ")), "{name}: {stderr}");
    }
}
