//! When a container grows, and by how much: before it is full, as long as the medium has room.

use std::time::Duration;

/// Free room that a container is kept at, in bytes: an eighth of its size, within these.
const AHEAD_LEAST: u64 = 128 << 20;
const AHEAD_MOST: u64 = 512 << 20;
/// With less than this, writers have to wait until there is more, and it is more at once.
const URGENT: u64 = 40 << 20;
const URGENT_STEP: u64 = 64 << 20;
/// How many times faster than zeros are written somebody else may write.
const FASTER: u64 = 4;
/// What a writer into memory may do in a second.
const FASTEST: u64 = 2 << 30;
/// Room that is always left on the medium: for the bundles and notes of its owner.
const LEFT_ON_MEDIUM: u64 = 64 << 20;

/// Room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The container's size now
    pub size: u64,
    /// Free in it
    pub free: u64,
    /// Free on the medium
    pub medium: u64,
    /// The most it may have
    pub limit: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is enough.
    None,
    /// Make it larger by so much.
    Grow(u64),
    /// The same, with writers stopped meanwhile.
    GrowFrozen(u64),
    /// It is as large as it may be.
    Full,
}

impl Room {
    /// Decides.
    pub fn step(self) -> Step {
        if self.free >= (self.size / 8).clamp(AHEAD_LEAST, AHEAD_MOST) {
            return Step::None;
        }
        let allowed = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.size));
        let there = self.medium.saturating_sub(LEFT_ON_MEDIUM);
        let is_urgent = self.free < URGENT;
        let wanted = if is_urgent { URGENT_STEP } else { (self.free - URGENT / 2) / FASTER };
        // Less than a MiB is not worth the work.
        match wanted.min(allowed).min(there) >> 20 << 20 {
            0 => Step::Full,
            more if is_urgent => Step::GrowFrozen(more),
            more => Step::Grow(more),
        }
    }

    /// How much can still be written, with all growing that is allowed.
    pub fn left(self) -> u64 {
        let allowed = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.size));
        self.free + self.medium.saturating_sub(LEFT_ON_MEDIUM).min(allowed)
    }

    /// How long nothing can happen: the time that the fastest writer takes for half of what is free.
    pub fn pause(self) -> Duration {
        let millis = self.free.saturating_sub(URGENT) / 2 * 1000 / FASTEST;
        Duration::from_millis(millis.clamp(10, 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    #[test]
    fn steps() {
        let base = Room { size: 64 * M, free: 200 * M, medium: 1000 * M, limit: None };
        for (room, expected) in [
            (base, Step::None),
            (Room { free: 127 * M, ..base }, Step::Grow(26 * M)),
            (Room { size: 2000 * M, ..base }, Step::Grow(45 * M)),
            (Room { size: 9000 * M, free: 513 * M, ..base }, Step::None),
            (Room { free: 40 * M, ..base }, Step::Grow(5 * M)),
            (Room { free: 10 * M, ..base }, Step::GrowFrozen(64 * M)),
            (Room { free: 10 * M, medium: 64 * M + 9 * M + 5, ..base }, Step::GrowFrozen(9 * M)),
            (Room { free: 10 * M, medium: 64 * M, ..base }, Step::Full),
            (Room { free: 10 * M, medium: 0, ..base }, Step::Full),
            (Room { free: 100 * M, limit: Some(70 * M), ..base }, Step::Grow(6 * M)),
            (Room { free: 100 * M, limit: Some(64 * M), ..base }, Step::Full),
            (Room { free: 100 * M, limit: Some(1), ..base }, Step::Full),
        ] {
            assert_eq!(room.step(), expected, "{room:?}");
        }
        assert_eq!(Room { free: 10 * M, ..base }.left(), (10 + 936) * M);
        assert_eq!(Room { free: 10 * M, limit: Some(65 * M), ..base }.left(), 11 * M);
    }

    #[test]
    fn the_less_is_free_the_sooner_it_is_looked_at() {
        let pause = |free| Room { size: 0, free, medium: 0, limit: None }.pause().as_millis();
        assert_eq!([pause(0), pause(URGENT), pause(168 * M), pause(64 << 30)], [10, 10, 31, 1000]);
    }
}
