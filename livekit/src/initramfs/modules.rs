//! The modules of the archive: read from the root, compressed on all processors.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use live::error::{AtPath, Error, Result};

use super::indices::stored_path;
use super::module_file;

/// Size of the dictionary in bytes. What it saves grows with it, but it is itself in the archive, and each byte of it in
/// memory at the start: for some 300 modules 112 KiB save 0.92 MB in all, 256 KiB 1.12 MB, 512 KiB 1.22 MB.
const DICTIONARY_SIZE: usize = 256 << 10;

/// What a dictionary is made from: this much of the beginning of a module, and modules in all.
const SAMPLE_SIZE: usize = 64 << 10;
const MOST_SAMPLES: usize = 512;

/// With fewer modules a dictionary is larger than what it saves.
const WORTH_A_DICTIONARY: usize = 64;

/// Modules as they go into the archive.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The zstd dictionary they are compressed with, if they are.
    pub(super) dictionary: Option<Vec<u8>>,
    /// In the order of their paths.
    pub(super) stored: Vec<Stored>,
}

/// One module, compressed.
#[derive(Debug)]
pub(super) struct Stored {
    /// Relative to the directory of the kernel's modules.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    /// Firmware it may ask for, relative to /lib/firmware.
    pub(super) firmware: Vec<String>,
}

impl Modules {
    /// Compresses the modules at these paths below `dir`.
    ///
    /// # Errors
    /// A module cannot be read.
    pub(super) fn compress(dir: &Path, paths: &[&Path]) -> Result<Self> {
        let dictionary = dictionary(dir, paths)?;
        let mut stored =
            in_parallel(paths, |path| store(dir, path, dictionary.as_deref().unwrap_or_default()))?;
        stored.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { dictionary, stored })
    }
}

/// What the modules have in common: symbol names, tables, the shape of an ELF file.
fn dictionary(dir: &Path, paths: &[&Path]) -> Result<Option<Vec<u8>>> {
    if paths.len() < WORTH_A_DICTIONARY {
        return Ok(None);
    }
    let sampled: Vec<&Path> = paths.iter().step_by(paths.len().div_ceil(MOST_SAMPLES)).copied().collect();
    let mut samples = in_parallel(&sampled, |path| {
        let mut sample = module_file::read(&dir.join(path))?;
        sample.truncate(SAMPLE_SIZE);
        Ok((path.to_owned(), sample))
    })?;
    samples.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let samples: Vec<&[u8]> = samples.iter().map(|(_, sample)| sample.as_slice()).collect();
    // Modules too small or too alike make no dictionary, and need none.
    Ok(zstd::dict::from_samples(&samples, DICTIONARY_SIZE).ok())
}

fn store(dir: &Path, path: &Path, dictionary: &[u8]) -> Result<Stored> {
    let from = dir.join(path);
    let plain = module_file::read(&from)?;
    let name = path.to_str().ok_or_else(|| Error::at("use", &from, "its name is not text"))?;
    let bytes = module_file::compress(&plain, dictionary).at("compress", &from)?;
    Ok(Stored { path: stored_path(name), bytes, firmware: module_file::firmware(&plain) })
}

/// Does the same for all paths, on all processors; the results come in no order. Ends early at the first error.
fn in_parallel<T: Send>(paths: &[&Path], work: impl Fn(&Path) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(path).inspect_err(|_| next.store(paths.len(), Ordering::Relaxed))?);
        }
        Ok(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Result<Vec<T>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    Ok(results.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Modules that share a table of symbols.
    fn modules(dir: &Path, count: usize) -> Vec<PathBuf> {
        let symbols: String = (0..400).map(|i| format!("symbol_{:x}\0", i * 7919_u32)).collect();
        let path = |i: usize| PathBuf::from(format!("m{i}.ko"));
        for i in 0..count {
            let own: String = (0..40).map(|j| format!("own_{:x}\0", (i * 104_729 + j) * 7919)).collect();
            let content = format!("firmware=f{i}\0{own}{}", &symbols[i * 10..]);
            std::fs::write(dir.join(path(i)), module_file::tests::module(content.as_bytes())).unwrap();
        }
        (0..count).map(path).collect()
    }

    fn compressed(dir: &Path, paths: &[PathBuf]) -> Modules {
        Modules::compress(dir, &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn many_modules_share_a_dictionary() {
        let dir = tempfile::tempdir().unwrap();
        let paths = modules(dir.path(), 80);
        let modules = compressed(dir.path(), &paths);
        let dictionary = modules.dictionary.unwrap();
        assert_eq!(modules.stored.len(), 80);
        let (mut with, mut without) = (0, 0);
        for stored in &modules.stored {
            let plain = std::fs::read(dir.path().join(stored.path.trim_end_matches(".zst"))).unwrap();
            let mut decompressor = zstd::bulk::Decompressor::with_dictionary(&dictionary).unwrap();
            assert_eq!(decompressor.decompress(&stored.bytes, plain.len()).unwrap(), plain);
            with += stored.bytes.len();
            without += module_file::compress(&plain, &[]).unwrap().len();
            assert_eq!(stored.firmware.len(), 1);
        }
        assert!(with * 2 < without, "{with} with the dictionary, {without} without");
        let again = compressed(dir.path(), &paths);
        assert!(again.dictionary == Some(dictionary), "differs");
        assert!(
            again.stored.iter().zip(&modules.stored).all(|(a, b)| a.path == b.path && a.bytes == b.bytes)
        );
    }

    #[test]
    fn few_modules_need_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = modules(dir.path(), WORTH_A_DICTIONARY - 1);
        let modules = compressed(dir.path(), &paths);
        assert_eq!((modules.dictionary, modules.stored.len()), (None, WORTH_A_DICTIONARY - 1));
        let none = compressed(dir.path(), &[]);
        assert!(none.dictionary.is_none() && none.stored.is_empty());
    }

    #[test]
    fn one_bad_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = modules(dir.path(), 70);
        paths.push("absent.ko".into());
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let error = Modules::compress(dir.path(), &paths).unwrap_err();
        assert!(error.message().ends_with("absent.ko: No such file or directory (os error 2)"), "{error}");
    }
}
