//! Which parts of a sparse file an archive has.

use super::pax::Records;

/// A stretch of a file that is in the archive; between them are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) struct Extent {
    pub(in crate::source) offset: u64,
    pub(in crate::source) length: u64,
}

/// How many stretches a file may have: more than a file of 64 GiB with every second 64 KiB a hole.
pub(super) const MOST: usize = 1 << 20;

/// Bytes a file may have: as many as ext4 has for one. An archive of a few bytes can say that it has more, and even holes
/// take room in a bundle.
pub(super) const LONGEST: u64 = 16 << 40;

/// Whether `extents` follow each other within `size` bytes and are `stored` bytes in all.
pub(super) fn check(extents: &[Extent], size: u64, stored: u64) -> Result<(), String> {
    if size > LONGEST {
        return Err(format!("a sparse file of {size} bytes"));
    }
    let (mut end, mut sum) = (0_u64, 0_u64);
    for extent in extents {
        let next = extent.offset.checked_add(extent.length).filter(|&next| next <= size);
        let next = next.filter(|_| extent.offset >= end);
        end = next.ok_or("its map of a sparse file is out of order or beyond the file")?;
        sum += extent.length;
    }
    if sum == stored {
        Ok(())
    } else {
        Err("its map of a sparse file is not of the bytes that follow".to_owned())
    }
}

/// The map in the records of an extended header: GNU tar's formats 0.0 and 0.1 (GNU tar manual, "Sparse Formats").
pub(super) fn of_records(records: &Records) -> Result<Option<Vec<Extent>>, String> {
    let mut numbers = Vec::new();
    if let Some(map) = records.get("GNU.sparse.map") {
        for number in map.split(|&b| b == b',') {
            numbers.push(decimal(number)?);
        }
    } else {
        for (key, value) in records.iter() {
            if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                numbers.push(decimal(value)?);
            }
        }
        if numbers.is_empty() && records.get("GNU.sparse.numblocks").is_none() {
            return Ok(None);
        }
    }
    pairs(&numbers).map(Some)
}

/// The map of format 1.0 that precedes the data: decimal numbers on lines of their own, the first how many pairs follow.
/// Reads it by blocks; returns it with its length in bytes.
pub(super) fn of_data(
    mut block: impl FnMut() -> Result<[u8; 512], String>,
) -> Result<(Vec<Extent>, u64), String> {
    let (mut blocks, mut line, mut numbers) = (0, Vec::new(), Vec::new());
    let mut expected = None;
    while expected.is_none_or(|expected| numbers.len() < expected) {
        let bytes = block()?;
        blocks += 1;
        for byte in bytes {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > 20 {
                    return Err("its map of a sparse file is no map".to_owned());
                }
                continue;
            }
            let number = decimal(&line)?;
            line.clear();
            match expected {
                None => {
                    let pairs = usize::try_from(number).ok().filter(|&pairs| pairs <= MOST);
                    expected = Some(2 * pairs.ok_or_else(too_many)?);
                }
                Some(_) => numbers.push(number),
            }
            if expected.is_some_and(|expected| numbers.len() == expected) {
                break;
            }
        }
    }
    Ok((pairs(&numbers)?, blocks * 512))
}

fn too_many() -> String {
    format!("a sparse file of more than {MOST} stretches")
}

fn pairs(numbers: &[u64]) -> Result<Vec<Extent>, String> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if pairs.len() > MOST {
        return Err(too_many());
    }
    if !rest.is_empty() {
        return Err("its map of a sparse file has an odd number".to_owned());
    }
    let extents = pairs.iter().map(|&[offset, length]| Extent { offset, length });
    Ok(extents.filter(|extent| extent.length > 0).collect())
}

fn decimal(text: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| "its map of a sparse file is no map".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let extent = |offset, length| Extent { offset, length };
        for (extents, size, stored, good) in [
            (vec![], 100, 0, true),
            (vec![extent(0, 10), extent(20, 10)], 100, 20, true),
            (vec![extent(90, 10)], 100, 10, true),
            (vec![extent(91, 10)], 100, 10, false),
            (vec![extent(20, 10), extent(0, 10)], 100, 20, false),
            (vec![extent(0, 10), extent(5, 10)], 100, 20, false),
            (vec![extent(0, 10)], 100, 11, false),
            (vec![extent(u64::MAX, 10)], 100, 10, false),
            (vec![], LONGEST, 0, true),
            (vec![], LONGEST + 1, 0, false),
        ] {
            assert_eq!(check(&extents, size, stored).is_ok(), good, "{extents:?}");
        }
    }

    #[test]
    fn a_map_in_blocks() {
        let read = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            let mut blocks = bytes.as_chunks::<512>().0.to_vec().into_iter();
            of_data(|| blocks.next().ok_or_else(|| "end".to_owned()))
        };
        assert_eq!(read("0\n"), Ok((vec![], 512)));
        assert_eq!(read("1\n5\n7\n"), Ok((vec![Extent { offset: 5, length: 7 }], 512)));
        let long: String = (0..100).map(|n| format!("{}\n1\n", n * 1_000_000)).collect();
        let (extents, bytes) = read(&format!("100\n{long}")).unwrap();
        assert_eq!((extents.len(), bytes), (100, 1536));
        for bad in ["2\n5\n7\n", "x\n", "99999999\n", "1\n-5\n7\n", "111111111111111111111111"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
