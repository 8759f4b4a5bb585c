//! Huge pages for the tables of the compressors.
//!
//! zstd looks things up at random in more than a megabyte for each processor. With pages of 4 KiB a seventh of the time of
//! packing a Debian goes into finding the pages. glibc asks the kernel for huge ones (`glibc.malloc.hugetlb` in its manual,
//! "Memory Allocation Tunables") when the environment says so at the start of a process, and at no other time.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variable glibc reads, and what it is to say.
const VARIABLE: &str = "GLIBC_TUNABLES";
const ASKED: &str = "glibc.malloc.hugetlb=1";

/// Starts this program anew with huge pages, if that has a use and was not done. What cannot be is left as it is.
pub fn ask() {
    let mode = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if on_request(&mode) && std::env::var_os(VARIABLE).is_none() {
        let mut words = std::env::args_os();
        let mut again = Command::new("/proc/self/exe");
        again.arg0(words.next().unwrap_or_else(|| "livekit".into())).args(words).env(VARIABLE, ASKED);
        // It only returns with an error, and then the work is done a little slower.
        let _ = again.exec();
    }
}

/// Whether the kernel gives huge pages to those who ask, and to them alone.
fn on_request(mode: &str) -> bool {
    mode.contains("[madvise]")
}

/// Takes the wish back for a program that is to be started: it was for this one.
pub fn not_for(command: &mut Command) {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == ASKED) {
        command.env_remove(VARIABLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_asking_has_a_use() {
        for (mode, expected) in [
            ("always [madvise] never\n", true),
            ("[always] madvise never\n", false),
            ("always madvise [never]\n", false),
            ("", false),
        ] {
            assert_eq!(on_request(mode), expected, "{mode}");
        }
    }
}
