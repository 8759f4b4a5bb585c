//! A disk whose cache forgets when the power goes, as real ones do: QEMU notes each write in a log, and of those that no
//! flush had made last, a lot decides.
//!
//! The log is that of QEMU's driver blklogwrites, in the format of the kernel's drivers/md/dm-log-writes.c.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::media::Disk;
use crate::programs::{command, output};

/// Of the log and of what a disk writes at once.
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;

/// The same row of numbers in every run with the same seed (splitmix64).
#[derive(Debug)]
pub struct Lot(u64);

impl Lot {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `least` up to, but not including, `most`.
    pub fn draw(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (mixed ^ mixed >> 31) % (most - least)
    }
}

/// What is known of a disk while a machine writes to it.
#[derive(Debug)]
pub struct WriteCache {
    disk: PathBuf,
    folder: TempDir,
}

/// What a power cut did to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Writes since the last flush
    pub at_risk: u64,
    /// Those of them that are gone, or of which the end is
    pub lost: u64,
}

impl WriteCache {
    /// For one run of a machine: the disk as it is now is what is written to.
    pub fn of(disk: &Disk) -> Self {
        assert!(disk.is_kept(), "nothing lasts on this disk anyway");
        let folder = TempDir::with_prefix("livekit-write-cache-").expect("a temporary folder");
        let cache = Self { disk: disk.path().into(), folder };
        copy(&cache.disk, &cache.before());
        File::create(cache.log()).expect("a temporary file");
        cache
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn before(&self) -> PathBuf {
        self.folder.path().join("before.img")
    }

    /// Loses what the power cut loses. QEMU has been killed.
    pub fn lose(self, lot: &mut Lot) -> Losses {
        let log = File::open(self.log()).expect("the log of a machine");
        let (writes, safe) = read(&log);
        copy(&self.before(), &self.disk);
        let disk = OpenOptions::new().write(true).open(&self.disk).expect("a writable disk");
        let mut losses = Losses::default();
        for (number, write) in writes.iter().enumerate() {
            let sectors = if number < safe || write.flags & FUA != 0 {
                write.sectors
            } else {
                losses.at_risk += 1;
                // None, all, or its beginning.
                let kept = [0, write.sectors, lot.draw(0, write.sectors)]
                    [usize::try_from(lot.draw(0, 3)).expect("small")];
                losses.lost += u64::from(kept < write.sectors);
                kept
            };
            let mut data = vec![0; usize::try_from(sectors * SECTOR).expect("a write fits into memory")];
            log.read_exact_at(&mut data, write.place).expect("a log with the data of its writes");
            disk.write_all_at(&data, write.sector * SECTOR).expect("room for what the guest wrote");
        }
        losses
    }
}

fn copy(from: &Path, to: &Path) {
    output(command("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to));
    assert!(fs::metadata(to).is_ok(), "no copy of the disk");
}

#[derive(Debug)]
struct Write {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Of the data in the log, in bytes
    place: u64,
}

/// The writes that were told to be done, and how many of them a flush made last.
fn read(log: &File) -> (Vec<Write>, usize) {
    let length = log.metadata().expect("an open file").len();
    let mut entries = BufReader::new(log);
    let mut place = SECTOR;
    let (mut writes, mut safe) = (Vec::new(), 0);
    while place + SECTOR <= length {
        let mut header = [0; 32];
        entries
            .seek(SeekFrom::Start(place))
            .and_then(|_| entries.read_exact(&mut header))
            .expect("an entry of the log");
        let field = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (sector, sectors, flags) = (field(0), field(8), field(16));
        // A write on whose log entry QEMU was at work.
        if sectors == 0 && flags == 0 {
            break;
        }
        place += SECTOR;
        assert!(flags & DISCARD == 0, "the disks of tests take no discards");
        if sectors > 0 {
            if place + sectors * SECTOR > length {
                break;
            }
            writes.push(Write { sector, sectors, flags, place });
            place += sectors * SECTOR;
        }
        if flags & FLUSH != 0 {
            safe = writes.len();
        }
    }
    (writes, safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry: flags, first sector, and as many sectors of this byte.
    fn entry(flags: u64, sector: u64, sectors: u64, byte: u8) -> Vec<u8> {
        let mut entry: Vec<u8> =
            [sector, sectors, flags, 0].iter().flat_map(|field| field.to_le_bytes()).collect();
        entry.resize(512, 0);
        entry.resize(512 + usize::try_from(sectors).expect("few") * 512, byte);
        entry
    }

    /// The first byte of each sector after a cut.
    fn after(log: &[Vec<u8>], seed: u64) -> (Vec<u8>, Losses) {
        let disk = Disk::blank(4 * SECTOR);
        let cache = WriteCache::of(&disk);
        // What QEMU has written by itself is on the disk whatever the log says.
        fs::write(disk.path(), [9; 2048]).expect("a writable disk");
        let super_block = vec![0; 512];
        fs::write(cache.log(), [&[super_block], log].concat().concat()).expect("a writable log");
        let losses = cache.lose(&mut Lot::new(seed));
        let content = fs::read(disk.path()).expect("the disk");
        (content.chunks(512).map(|sector| sector[0]).collect(), losses)
    }

    #[test]
    fn what_was_flushed_stays() {
        let log = [entry(0, 0, 2, 1), entry(FLUSH, 0, 0, 0), entry(FUA, 3, 1, 3)];
        assert_eq!(after(&log, 1), (vec![1, 1, 0, 3], Losses::default()));
    }

    #[test]
    fn what_was_not_flushed_is_lost_by_lot() {
        let log = [entry(0, 0, 1, 1), entry(FLUSH, 0, 0, 0), entry(0, 0, 3, 2)];
        let mut seen: Vec<_> = (0..40).map(|seed| after(&log, seed).0).collect();
        seen.sort();
        seen.dedup();
        let possible = [[1, 0, 0, 0], [2, 0, 0, 0], [2, 2, 0, 0], [2, 2, 2, 0]];
        assert_eq!(seen, possible, "all of it, none, or its beginning");
    }

    #[test]
    fn a_write_that_qemu_was_at_work_on_never_was() {
        let mut torn = entry(0, 1, 2, 2);
        torn.truncate(1024);
        let log = [entry(0, 0, 1, 1), entry(FLUSH, 0, 0, 0), torn];
        assert_eq!(after(&log, 1), (vec![1, 0, 0, 0], Losses::default()));
    }
}
