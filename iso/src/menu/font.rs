//! A part of GRUB's Unifont: the whole has 57 000 glyphs, and BIOSes read its 2.3 MB slowly.
//!
//! The format, PFF2, is described in GRUB's developer manual ("PFF2 format"): sections of a four-letter name, a
//! big-endian length and data. `CHIX` lists code points with the place of their glyph in the file, `DATA` has the glyphs
//! and ends the file.

use std::ops::RangeInclusive;

use crate::Error;

/// Latin, Greek and Cyrillic letters, punctuation, and what GRUB draws its menus with: arrows, lines, blocks, triangles.
const KEPT: &[RangeInclusive<u32>] =
    &[0x20..=0x24f, 0x370..=0x52f, 0x2010..=0x2027, 0x2190..=0x2199, 0x2500..=0x25ff, 0xfffd..=0xfffd];

/// Bytes of an entry of `CHIX`: code point, flags, place.
const INDEX_ENTRY: usize = 9;
/// Bytes of a glyph before its bitmap: width, height, two offsets, device width; 16 bits each.
const GLYPH_HEADER: usize = 10;

/// The glyphs of `font` that menus need, and those of the characters of `text`, as a font of the same name.
pub(super) fn subset(font: &[u8], text: &str) -> Result<Vec<u8>, Error> {
    try_subset(font, text).ok_or_else(|| Error::Layout {
        what: "the menu's font".to_owned(),
        reason: "unicode.pf2 is not a GRUB font".to_owned(),
    })
}

fn try_subset(font: &[u8], text: &str) -> Option<Vec<u8>> {
    let wanted = |code: u32| {
        KEPT.iter().any(|range| range.contains(&code))
            || text.chars().any(|character| u32::from(character) == code)
    };
    let mut out = Vec::new();
    let mut glyphs: Vec<(&[u8], &[u8])> = Vec::new();
    let mut rest = font;
    loop {
        let (name, length) = (rest.get(..4)?, be32(rest.get(4..8)?)?);
        if out.is_empty() && name != b"FILE" {
            return None;
        }
        if name == b"DATA" {
            break;
        }
        let data = rest.get(8..8 + length as usize)?;
        if name == b"CHIX" {
            for entry in data.chunks_exact(INDEX_ENTRY).filter(|entry| be32(entry).is_some_and(wanted)) {
                glyphs.push((entry, glyph(font, be32(&entry[5..])? as usize)?));
            }
        } else {
            out.extend_from_slice(&rest[..8 + data.len()]);
        }
        rest = &rest[8 + data.len()..];
    }
    out.extend_from_slice(b"CHIX");
    let index_length = glyphs.len() * INDEX_ENTRY;
    out.extend_from_slice(&u32::try_from(index_length).ok()?.to_be_bytes());
    let mut place = u32::try_from(out.len() + index_length + 8).ok()?;
    for (entry, glyph) in &glyphs {
        out.extend_from_slice(&entry[..5]);
        out.extend_from_slice(&place.to_be_bytes());
        place += u32::try_from(glyph.len()).ok()?;
    }
    out.extend_from_slice(b"DATA\xff\xff\xff\xff");
    for (_, glyph) in &glyphs {
        out.extend_from_slice(glyph);
    }
    (!glyphs.is_empty()).then_some(out)
}

/// The glyph at `place`: its header and its bitmap, of one bit a pixel, without gaps between rows.
fn glyph(font: &[u8], place: usize) -> Option<&[u8]> {
    let header = font.get(place..place + GLYPH_HEADER)?;
    let pixels = usize::from(be16(header)?) * usize::from(be16(&header[2..])?);
    font.get(place..place + GLYPH_HEADER + pixels.div_ceil(8))
}

fn be16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A font of glyphs as wide as their place in `codes` says, one pixel high.
    fn font(codes: &[(u32, u16)]) -> Vec<u8> {
        let mut font = b"FILE\0\0\0\x04PFF2NAME\0\0\0\x02u\0CHIX".to_vec();
        font.extend_from_slice(&u32::try_from(codes.len() * 9).unwrap().to_be_bytes());
        let mut place = font.len() + codes.len() * 9 + 8;
        for (code, width) in codes {
            font.extend_from_slice(&code.to_be_bytes());
            font.push(0);
            font.extend_from_slice(&u32::try_from(place).unwrap().to_be_bytes());
            place += 10 + usize::from(*width).div_ceil(8);
        }
        font.extend_from_slice(b"DATA\xff\xff\xff\xff");
        for (_, width) in codes {
            font.extend_from_slice(&width.to_be_bytes());
            font.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 8]);
            font.extend(std::iter::repeat_n(0xaa, usize::from(*width).div_ceil(8)));
        }
        font
    }

    #[test]
    fn keeps_glyphs_and_points_at_them() {
        let all = [(0x41, 8), (0x42, 16), (0x4e00, 16), (0x6000, 7), (0x25b2, 9)];
        let small = subset(&font(&all), "title in \u{4e00}").unwrap();
        assert_eq!(small, font(&[(0x41, 8), (0x42, 16), (0x4e00, 16), (0x25b2, 9)]));
        // Nothing left out, nothing changed.
        assert_eq!(subset(&small, "\u{4e00}").unwrap(), small);
    }

    #[test]
    fn other_files_are_refused() {
        let whole = font(&[(0x41, 8)]);
        for length in 0..whole.len() {
            assert!(subset(&whole[..length], "").is_err(), "{length}");
        }
        assert!(subset(b"\x89PNG\r\n\x1a\n and so on", "").is_err());
    }
}
