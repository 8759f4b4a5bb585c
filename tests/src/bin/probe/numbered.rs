//! Numbered files, each synced before the next: what a power cut may not take.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tests::protocol::{KEPT, WROTE};

/// Writes file after file to a folder, for ever, and says on a terminal when each is safe. The oldest go when there are
/// many.
pub fn write(words: &[String]) {
    let [folder, terminal] = words else { return };
    let folder = Path::new(folder);
    let work = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut terminal = File::options().append(true).open(terminal)?;
        for number in 1 + last_good(folder).. {
            let mut file = File::create(name(folder, number))?;
            file.write_all(&content(number))?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
            writeln!(terminal, "\n{WROTE}{number}.")?;
            if number > KEPT {
                fs::remove_file(name(folder, number - KEPT))?;
            }
        }
        Ok(())
    };
    if let Err(error) = work() {
        println!("{error}");
    }
}

/// Says the highest number of a whole file, and which of those from the second word to the third are not whole.
pub fn check(words: &[String]) {
    let [folder, first, last] = words else { return };
    let folder = Path::new(folder);
    let number = |text: &String| text.parse::<u64>().unwrap_or(0);
    let bad: Vec<u64> = (number(first)..=number(last)).filter(|&n| n > 0 && !is_good(folder, n)).collect();
    println!("{} {bad:?}", last_good(folder));
}

fn last_good(folder: &Path) -> u64 {
    numbers(folder).into_iter().rev().find(|&number| is_good(folder, number)).unwrap_or(0)
}

fn numbers(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn is_good(folder: &Path, number: u64) -> bool {
    fs::read(name(folder, number)).is_ok_and(|bytes| bytes == content(number))
}

fn name(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}

/// Small and large ones, so that folders, file systems and containers grow.
fn content(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(8) { 2 << 20 } else { number * 7919 % 40_000 };
    (0..length).map(|at| (at.wrapping_mul(31) ^ at >> 8 ^ number).to_le_bytes()[0]).collect()
}
