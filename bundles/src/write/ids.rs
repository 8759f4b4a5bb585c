//! Owners and groups: inodes have 16 bits for the place of one in a table.

use std::collections::HashMap;

use crate::Error;
use crate::format::tables::ID_SIZE;

/// The numbers used, in the order of their first use.
#[derive(Debug, Default)]
pub(super) struct Ids {
    places: HashMap<u32, u16>,
    bytes: Vec<u8>,
}

impl Ids {
    /// Where `id` is in the table.
    pub(super) fn place(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(&place) = self.places.get(&id) {
            return Ok(place);
        }
        // The superblock counts them with 16 bits.
        let place = u16::try_from(self.places.len()).ok().filter(|&place| place < u16::MAX);
        let place = place.ok_or_else(|| {
            Error::Options(
                "the files have more than 65535 owners and groups, which no squashfs can have".into(),
            )
        })?;
        self.places.insert(id, place);
        self.bytes.extend(id.to_le_bytes());
        Ok(place)
    }

    /// How many there are, and the table.
    #[expect(clippy::cast_possible_truncation, reason = "counted above")]
    pub(super) fn finish(self) -> (u16, Vec<u8>) {
        debug_assert_eq!(self.bytes.len(), self.places.len() * ID_SIZE);
        (self.places.len() as u16, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_are_places() {
        let mut ids = Ids::default();
        for id in 0..65_535_u32 {
            assert_eq!(u32::from(ids.place(id * 3).unwrap()), id);
        }
        assert_eq!(ids.place(3).unwrap(), 1);
        assert!(ids.place(1).unwrap_err().to_string().contains("65535"));
        assert_eq!(ids.finish().0, 65_535);
    }
}
