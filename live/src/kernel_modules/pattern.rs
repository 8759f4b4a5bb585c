//! Patterns of modules.alias: `fnmatch(3)` without flags, and `-` equal to `_`.

/// The one spelling of a byte in names of modules: `-` is `_`.
pub(super) fn normal(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// A module name as the kernel spells it.
pub(super) fn normal_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Whether `text` matches `pattern`. `*`, `?`, `[a-z]`, `[!x]` and a backslash before a literal byte are special.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a byte does not fit: behind the last `*`, which then takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        if let Some(length) = one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
            continue;
        }
        let Some((after_star, from)) = retry else { return false };
        p = after_star;
        t = from + 1;
        retry = Some((p, t));
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern's first element if it takes `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match bracket(pattern, byte) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        b'\\' if pattern.len() > 1 => (normal(pattern[1]) == normal(byte)).then_some(2),
        literal => (normal(literal) == normal(byte)).then_some(1),
    }
}

/// Whether a bracket expression takes `byte`, and its length; nothing if it is not closed.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let mut i = first;
    let mut found = false;
    loop {
        let low = *pattern.get(i)?;
        if low == b']' && i > first {
            return Some((found != negated, i + 1));
        }
        let (high, length) = match (pattern.get(i + 1), pattern.get(i + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => (high, 3),
            _ => (low, 1),
        };
        found |= (low..=high).contains(&byte) || (length == 1 && normal(low) == normal(byte));
        i += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("*", "", true),
            ("a", "", false),
            ("fs-ext4", "fs-ext4", true),
            ("fs-ext4", "fs_ext4", true),
            ("fs_ext4", "fs-ext4", true),
            ("fs-ext4", "fs-ext40", false),
            ("fs-ext4", "fs-ext", false),
            ("scsi:t-0x05*", "scsi:t-0x05", true),
            ("scsi:t-0x05*", "scsi:t-0x00", false),
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", true),
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i00", false),
            ("a*b*c", "abbcbc", true),
            ("a*b*c", "abbcbd", false),
            ("a**c", "ac", true),
            ("a*", "b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("v13FDp3940d0[0-2]*dc*", "v13FDp3940d0100dc00", true),
            ("v13FDp3940d0[0-2]*dc*", "v13FDp3940d0300dc00", false),
            ("[!a]", "b", true),
            ("[!a]", "a", false),
            ("[]x]", "]", true),
            ("[]x]", "x", true),
            ("[a-]", "-", true),
            ("[a-]", "b", false),
            ("[9A-F]*", "C0", true),
            ("[ab", "[ab", true),
            ("\\*x", "*x", true),
            ("\\*x", "ax", false),
            (
                "cpu:type:x86,ven*fam*mod*:feature:*0094*",
                "cpu:type:x86,ven0000fam0006mod003A:feature:,0091,0094,",
                true,
            ),
        ];
        for &(pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} against {text}");
        }
    }
}
