//! The records of extended headers (POSIX.1-2001, pax, "Extended Header").

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::Xattr;

/// Keys and values, in the order they were given.
#[derive(Debug, Default, Clone)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Takes apart `LENGTH KEY=VALUE\n`, where the length counts itself and the values may have any bytes. None if it is
    /// not that.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        while bytes.first().is_some_and(|&b| b != 0) {
            let space = bytes.iter().take(20).position(|&b| b == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&b| b == b'=')?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            bytes = &bytes[length..];
        }
        Some(Self(records))
    }

    /// Puts `later` records behind these.
    pub(super) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The last value of a key; none if it is empty, which takes an earlier one back.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let last = self.iter().rev().find(|(k, _)| *k == key.as_bytes());
        last.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// The last value of a key as a number.
    pub(super) fn number(&self, key: &str) -> Option<Result<u64, String>> {
        let value = self.get(key)?;
        let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        Some(number.ok_or_else(|| format!("{key} is not a number in its extended header")))
    }

    /// The whole seconds of the time of the last change; times before 1970 are rounded to the earlier second.
    pub(super) fn mtime(&self) -> Option<i64> {
        let text = std::str::from_utf8(self.get("mtime")?).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = whole.parse().ok()?;
        let part = fraction.bytes().any(|b| b != b'0');
        Some(if whole.starts_with('-') && part { seconds.checked_sub(1)? } else { seconds })
    }

    /// The extended attributes, as star, GNU tar and libarchive write them. Sorted by name.
    pub(super) fn xattrs(&self) -> Vec<Xattr> {
        let mut xattrs: Vec<Xattr> = Vec::new();
        let mut put = |name: Vec<u8>, value: Vec<u8>| {
            let name = OsString::from_vec(name);
            xattrs.retain(|xattr| xattr.name != name);
            xattrs.push(Xattr { name, value });
        };
        // libarchive writes both forms; the plain one is as good.
        for (key, value) in self.iter() {
            if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.")
                && let Some(value) = base64(value)
            {
                put(percent(name, |_| true), value);
            }
        }
        for (key, value) in self.iter() {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                // GNU tar writes only these two so.
                put(percent(name, |byte| matches!(byte, b'=' | b'%')), value.to_vec());
            } else if key == b"RHT.security.selinux" {
                put(b"security.selinux".to_vec(), value.to_vec());
            }
        }
        xattrs.sort();
        xattrs
    }

    /// What an access control list, which is written as text, says beyond the mode.
    pub(super) fn acl(&self) -> Option<AccessList> {
        let entries =
            |key| self.get(key).into_iter().flat_map(|list| list.split(|&b| b == b',' || b == b'\n'));
        let mut list = AccessList { group: 0o7, mask: 0o7 };
        // The three entries of a mode say nothing new.
        let mut more = self.get("SCHILY.acl.default").is_some() || self.get("SCHILY.acl.ace").is_some();
        for entry in entries("SCHILY.acl.access").map(<[u8]>::trim_ascii) {
            if let Some(bits) = entry.strip_prefix(b"group::").and_then(permissions) {
                list.group = bits;
            } else if let Some(bits) = entry.strip_prefix(b"mask::").and_then(permissions) {
                (list.mask, more) = (bits, true);
            } else if !entry.starts_with(b"user::") && !entry.starts_with(b"other::") {
                more |= !entry.is_empty();
            }
        }
        more.then_some(list)
    }
}

/// An access control list, as far as a mode can say it (acl(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AccessList {
    /// What the owning group may do.
    group: u16,
    /// What anyone but the owner and the others may do at most.
    mask: u16,
}

impl AccessList {
    /// The mode of the file without the list: where the mask was, what the owning group may do.
    pub(super) fn apply(self, mode: u16) -> u16 {
        mode & !0o070 | (mode & 0o070 & ((self.group & self.mask) << 3))
    }
}

/// The bits of `rwx`.
fn permissions(text: &[u8]) -> Option<u16> {
    let [read, write, execute, ..] = text else { return None };
    let bit = |byte: u8, letter, bit| if byte == letter { Some(bit) } else { (byte == b'-').then_some(0) };
    Some(bit(*read, b'r', 4)? | bit(*write, b'w', 2)? | bit(*execute, b'x', 1)?)
}

/// Replaces `%XX` by the byte, where that is one that `meant` says is written so.
fn percent(name: &[u8], meant: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut at = 0;
    while at < name.len() {
        let byte = name.get(at + 1..at + 3).filter(|_| name[at] == b'%');
        let byte = byte.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte.filter(|&byte| meant(byte)) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(name[at]);
                at += 1;
            }
        }
    }
    plain
}

/// What base64 (RFC 4648) with or without its padding stands for.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for &character in text.iter().filter(|c| !matches!(c, b'=' | b'\n' | b'\r')) {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &[u8])]) -> Records {
        let mut bytes = Vec::new();
        for (key, value) in pairs {
            let rest = key.len() + value.len() + 3;
            let digits = if rest + 2 > 99 {
                3
            } else if rest + 1 > 9 {
                2
            } else {
                1
            };
            bytes.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        Records::parse(&bytes).unwrap()
    }

    #[test]
    fn values_of_any_bytes() {
        let value = b"1\n2\0=\xff3\n\n";
        let records = records(&[
            ("SCHILY.xattr.user.a", value),
            ("size", b"123"),
            ("uid", b"7"),
            ("uid", b"9"),
            ("gid", b"5"),
            ("gid", b""),
        ]);
        assert_eq!(records.xattrs(), [Xattr { name: "user.a".into(), value: value.to_vec() }]);
        assert_eq!(records.number("size"), Some(Ok(123)));
        assert_eq!((records.number("uid"), records.number("gid")), (Some(Ok(9)), None));
    }

    #[test]
    fn what_is_no_record() {
        for bad in [&b"x a=b\n"[..], b"7 a=bcd\n", b"6 a=b", b"99 a=b\n", b"6 abc\n", b"1 \n", b"0 a=b\n"] {
            assert!(Records::parse(bad).is_none(), "{bad:?}");
        }
        // Padding behind the records.
        assert_eq!(Records::parse(b"6 a=b\n\0\0\0").unwrap().iter().count(), 1);
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("1234567890", Some(1_234_567_890)),
            ("1234567890.9", Some(1_234_567_890)),
            ("-1", Some(-1)),
            ("-1.0", Some(-1)),
            ("-1.5", Some(-2)),
            ("-0.5", Some(-1)),
            ("0.5", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(records(&[("mtime", text.as_bytes())]).mtime(), expected, "{text}");
        }
    }

    #[test]
    fn attributes_of_three_writers() {
        let xattrs = records(&[
            ("LIBARCHIVE.xattr.user.%C3%A4%3d", b"AAEC"),
            ("LIBARCHIVE.xattr.user.both", b"AAEC"),
            ("SCHILY.xattr.user.both", b"\0\x01\x02"),
            ("SCHILY.xattr.user.%3Da%25%41", b"x"),
            ("RHT.security.selinux", b"system_u:o:s"),
        ])
        .xattrs();
        let names: Vec<_> = xattrs.iter().map(|x| x.name.to_str().unwrap()).collect();
        assert_eq!(names, ["security.selinux", "user.=a%%41", "user.both", "user.\u{e4}="]);
        assert!(xattrs[2..].iter().all(|xattr| xattr.value == [0, 1, 2]));
    }

    #[test]
    fn lists_that_say_more_than_a_mode() {
        for (key, list, expected) in [
            ("SCHILY.acl.access", "user::rw-,group::r--,other::r--", None),
            ("SCHILY.acl.access", "user::rw-,user:a:rwx:5,group::r-x,mask::rw-,other::r--", Some(0o644)),
            ("SCHILY.acl.access", "user::rw-\nuser:a:rw-\ngroup::---\nmask::rw-\nother::r--\n", Some(0o604)),
            ("SCHILY.acl.default", "user::rw-,group::r--,other::r--", Some(0o664)),
            ("comment", "a,b,c,d", None),
        ] {
            let acl = records(&[(key, list.as_bytes())]).acl();
            assert_eq!(acl.map(|acl| acl.apply(0o664)), expected, "{list}");
        }
    }

    #[test]
    fn base64_of_every_length() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("Zg", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("/+8", Some(b"\xff\xef")),
            ("a!", None),
        ] {
            assert_eq!(base64(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }
}
