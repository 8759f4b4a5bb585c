//! Headers that are valid by their checksum and mean harm. What cryptsetup makes of good ones: live/tests/luks.rs.

use std::io::Cursor;

use serde_json::{Value, json};

use super::header::{FIELDS, MAGIC, checksum};
use super::{Cost, Failure, format, is_luks2, open};
use crate::luks::hash::Hash;

const SIZE: u64 = 2 << 20;

/// A container of ours, without its second copy.
fn container() -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE).unwrap();
    let mut count = 0u8;
    let mut bytes = |room: &mut [u8]| {
        for byte in room {
            count = count.wrapping_mul(5).wrapping_add(3);
            *byte = count;
        }
        Ok(())
    };
    format(&file, SIZE, b"right", &Cost { memory: 64, passes: 1 }, &mut bytes).unwrap();
    let mut all = super::read_at(&mut &file, 0, usize::try_from(SIZE).unwrap()).unwrap();
    all[16 << 10..32 << 10].fill(0);
    all
}

fn metadata(container: &[u8]) -> Value {
    let json = &container[FIELDS..16 << 10];
    serde_json::from_slice(&json[..json.iter().position(|&b| b == 0).unwrap()]).unwrap()
}

/// The container with other text for its JSON, under a checksum that is right.
fn with_text(container: &[u8], text: &[u8]) -> Vec<u8> {
    let mut changed = container.to_vec();
    let header = &mut changed[..16 << 10];
    header[FIELDS..].fill(0);
    header[FIELDS..][..text.len()].copy_from_slice(text);
    let sum = checksum(header, Hash::Sha256);
    header[448..][..sum.len()].copy_from_slice(&sum);
    changed
}

#[test]
fn valid_headers_with_nonsense_are_errors() {
    let container = container();
    let good = metadata(&container);
    assert!(open(&mut Cursor::new(with_text(&container, good.to_string().as_bytes())), b"right").is_ok());
    let damaged = |failure: &Failure| matches!(failure, Failure::Damaged(_));
    let unsupported = |failure: &Failure| matches!(failure, Failure::Unsupported(_));
    let memory = |failure: &Failure| matches!(failure, Failure::Memory { .. });
    type Judge<'a> = &'a dyn Fn(&Failure) -> bool;
    let kdf = "/keyslots/0/kdf";
    let mut integrity = good["segments"]["0"].clone();
    integrity["integrity"] = json!({"type": "hmac(sha256)"});
    let table: &[(&str, Value, Judge)] = &[
        ("/keyslots", json!([]), &damaged),
        ("/keyslots", json!({}), &unsupported),
        ("/keyslots/0", json!(null), &damaged),
        ("/keyslots/0/type", json!("reencrypt"), &unsupported),
        ("/keyslots/0/key_size", json!(0), &damaged),
        ("/keyslots/0/key_size", json!(65), &damaged),
        ("/keyslots/0/key_size", json!(u64::MAX), &damaged),
        ("/keyslots/0/key_size", json!(16), &|f| *f == Failure::WrongPassphrase),
        ("/keyslots/0/area/offset", json!("0"), &damaged),
        ("/keyslots/0/area/offset", json!("18446744073709551615"), &damaged),
        ("/keyslots/0/area/offset", json!("18446744073709551616"), &damaged),
        ("/keyslots/0/area/offset", json!("-1"), &damaged),
        ("/keyslots/0/area/offset", json!(32768), &damaged),
        ("/keyslots/0/area/offset", json!("1040000"), &damaged),
        ("/keyslots/0/area/size", json!("4096"), &damaged),
        ("/keyslots/0/area/size", json!("18446744073709551615"), &damaged),
        ("/keyslots/0/area/encryption", json!("cipher_null-ecb"), &unsupported),
        ("/keyslots/0/area/key_size", json!(48), &unsupported),
        ("/keyslots/0/af/stripes", json!(0), &unsupported),
        ("/keyslots/0/af/hash", json!("md5"), &unsupported),
        (kdf, json!("argon2id"), &damaged),
        ("/keyslots/0/kdf/type", json!("scrypt"), &unsupported),
        ("/keyslots/0/kdf/memory", json!(u32::MAX >> 5), &|f| memory(f) || *f == Failure::WrongPassphrase),
        ("/keyslots/0/kdf/memory", json!(u32::MAX), &unsupported),
        ("/keyslots/0/kdf/memory", json!(0), &damaged),
        ("/keyslots/0/kdf/time", json!(u32::MAX), &unsupported),
        ("/keyslots/0/kdf/time", json!(0), &damaged),
        ("/keyslots/0/kdf/cpus", json!(0), &damaged),
        ("/keyslots/0/kdf/cpus", json!(u32::MAX), &damaged),
        ("/keyslots/0/kdf/salt", json!(""), &damaged),
        ("/keyslots/0/kdf/salt", json!("%%%%"), &damaged),
        ("/keyslots/0/kdf/salt", json!("AAAA".repeat(1000)), &damaged),
        (
            kdf,
            json!({"type": "pbkdf2", "hash": "sha1", "iterations": u32::MAX, "salt": "AAAA"}),
            &unsupported,
        ),
        (kdf, json!({"type": "pbkdf2", "hash": "sha1", "iterations": 0, "salt": "AAAA"}), &damaged),
        (kdf, json!({"type": "pbkdf2", "hash": "none", "iterations": 1, "salt": "AAAA"}), &unsupported),
        ("/segments", json!({}), &unsupported),
        ("/segments", json!({"0": {}, "1": {}}), &unsupported),
        ("/segments/0/type", json!("linear"), &unsupported),
        ("/segments/0/encryption", json!("cipher_null-ecb"), &unsupported),
        ("/segments/0/encryption", json!("aes-xts-plain64 00 0 8:0 0"), &unsupported),
        ("/segments/0", integrity, &unsupported),
        ("/segments/0/offset", json!("4096"), &damaged),
        ("/segments/0/offset", json!("2097152"), &damaged),
        ("/segments/0/offset", json!("1048577"), &damaged),
        ("/segments/0/offset", json!("18446744073709551615"), &damaged),
        ("/segments/0/size", json!("18446744073709551615"), &damaged),
        ("/segments/0/size", json!("0"), &damaged),
        ("/segments/0/size", json!("1000"), &damaged),
        ("/segments/0/sector_size", json!(0), &unsupported),
        ("/segments/0/sector_size", json!(8192), &unsupported),
        ("/segments/0/iv_tweak", json!("many"), &damaged),
        ("/digests", json!({}), &damaged),
        ("/digests/0/type", json!("hkdf"), &unsupported),
        ("/digests/0/keyslots", json!(["7"]), &unsupported),
        ("/digests/0/segments", json!("0"), &damaged),
        ("/digests/0/iterations", json!(0), &damaged),
        ("/digests/0/iterations", json!(u32::MAX), &unsupported),
        ("/digests/0/digest", json!("AAAA"), &damaged),
        ("/digests/0/digest", json!("A".repeat(43) + "="), &|f| *f == Failure::WrongPassphrase),
        ("/config", json!({"requirements": {"mandatory": ["online-reencrypt"]}}), &unsupported),
        ("/config", json!({"requirements": {"mandatory": [7]}}), &unsupported),
        ("", json!(null), &damaged),
        ("", json!([[[1]]]), &damaged),
    ];
    for (place, value, judge) in table {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = value.clone();
        let bytes = with_text(&container, changed.to_string().as_bytes());
        let failure = open(&mut Cursor::new(bytes), b"right").expect_err(place);
        assert!(judge(&failure), "{place} = {value}: {failure:?}");
    }
}

#[test]
fn text_that_is_no_json_is_damage() {
    let container = container();
    let room = (16 << 10) - FIELDS;
    for text in [vec![], b"{".to_vec(), vec![b'['; room], vec![0xff; room], b"{\"a\":1e999999}".to_vec()] {
        let failure = open(&mut Cursor::new(with_text(&container, &text)), b"right").unwrap_err();
        assert!(matches!(failure, Failure::Damaged(_)), "{failure}");
    }
}

#[test]
fn the_work_of_all_keyslots_is_limited_together() {
    let container = container();
    let mut json = metadata(&container);
    let slot = json["keyslots"]["0"].clone();
    // Each alone is cheap enough.
    let costly = json!({"type": "pbkdf2", "hash": "sha1", "iterations": u32::MAX >> 4, "salt": "AAAA"});
    let mut budget = super::Budget::default();
    assert!((0..3).map(|_| budget.pay_pbkdf2(u32::MAX >> 4)).filter(Result::is_err).count() == 1);
    // A keyslot that cannot be used does not keep the next one from opening.
    json["keyslots"] = json!({"0": slot.clone(), "1": slot});
    json["digests"]["0"]["keyslots"] = json!(["0", "1"]);
    json["keyslots"]["0"]["kdf"] = costly;
    json["keyslots"]["0"]["kdf"]["iterations"] = json!(u32::MAX);
    let mut bytes = Cursor::new(with_text(&container, json.to_string().as_bytes()));
    assert!(open(&mut bytes, b"right").is_ok());
    assert!(matches!(open(&mut bytes, b"wrong"), Err(Failure::Unsupported(_))));
    // One that is preferred comes first, one that is to be ignored never.
    json["keyslots"]["1"]["priority"] = json!(0);
    let mut bytes = Cursor::new(with_text(&container, json.to_string().as_bytes()));
    assert!(matches!(open(&mut bytes, b"right"), Err(Failure::Unsupported(_))));
}

/// No byte of the header, whatever it is changed to, leads to a panic; the checksum is made right each time.
#[test]
fn any_byte_of_the_json_may_be_anything() {
    let container = container();
    let text = metadata(&container).to_string().into_bytes();
    for at in 0..text.len() {
        for new in [b'0', b'"', b'}', b',', 0x80, b'9'] {
            let mut text = text.clone();
            text[at] = new;
            // Without the JSON's values of time: what is derived is as cheap as before, or refused.
            let header = with_text(&container, &text);
            let parsed = super::header::read(&mut Cursor::new(&header))
                .and_then(|header| super::Metadata::parse(&header.json, header.size, SIZE));
            drop(parsed);
        }
    }
}

#[test]
fn starts_are_told_apart() {
    let table: [(&[u8], bool); 5] = [
        (b"LUKS\xba\xbe\0\x02rest", true),
        (b"LUKS\xba\xbe\0\x01", false),
        (b"SKUL\xba\xbe\0\x02", false),
        (MAGIC, false),
        (b"", false),
    ];
    for (start, expected) in table {
        assert_eq!(is_luks2(start), expected, "{start:?}");
    }
}
