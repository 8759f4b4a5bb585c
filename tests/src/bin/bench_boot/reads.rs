//! What a boot reads from its medium, as QEMU counts it; and the order of files that spares reads.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::programs::{self, output};
use tests::qmp::Qmp;

use crate::boots;
use crate::kits::Kit;

/// What was read from a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub requests: u64,
    pub bytes: u64,
}

/// Asks a running QEMU for what its drive, the disc or the stick, has read. `None`: it has no drive.
pub fn read_by_now(monitor: &Path) -> Option<Read> {
    let stream = UnixStream::connect(monitor).unwrap_or_else(|error| panic!("no monitor: {error}"));
    let mut qmp = Qmp::new(stream).unwrap_or_else(|error| panic!("QEMU does not greet: {error}"));
    let answer = qmp.execute("query-blockstats", &json!({}));
    of_medium(&answer.unwrap_or_else(|error| panic!("QEMU tells no numbers: {error}")))
}

/// The numbers of the drive that has read anything: machines have empty ones, too.
fn of_medium(answer: &Value) -> Option<Read> {
    let statistics = answer.as_array()?.iter().map(|drive| &drive["stats"]);
    let read = |stats: &Value| {
        Some(Read { requests: stats["rd_operations"].as_u64()?, bytes: stats["rd_bytes"].as_u64()? })
    };
    statistics.filter_map(read).max_by_key(|read| read.bytes).filter(|read| read.bytes > 0)
}

/// Has livekit write down what a boot of this kit reads.
pub fn trace(kit: &Kit, order: &Path) {
    eprintln!("boot: {}, its reads recorded", kit.name);
    let _slot = tests::vm::free_slot();
    let mut livekit = Command::new(&programs::livekit().livekit);
    let memory = boots::MEMORY.to_string();
    livekit.args(["run", "--accel", "tcg", "--memory", &memory, "--append", &kit.append]);
    output(livekit.arg("--trace-boot").arg(order).arg(&kit.disc));
}

/// The cells of a kit's row.
pub fn row(name: &str, read: Option<Read>) -> [String; 4] {
    let Some(Read { requests, bytes }) = read else {
        return [name.into(), "–".into(), "–".into(), "–".into()];
    };
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let [mebibytes, each] = [bytes as f64 / f64::from(1 << 20), bytes as f64 / 1024.0 / requests as f64];
    [name.into(), requests.to_string(), format!("{mebibytes:.1}"), format!("{each:.1}")]
}

#[cfg(test)]
mod tests_of_numbers {
    use super::*;

    #[test]
    fn the_medium_is_what_was_read_from() {
        let drive =
            |requests: u64, bytes: u64| json!({"stats": {"rd_operations": requests, "rd_bytes": bytes}});
        for (answer, expected) in [
            (
                json!([drive(0, 0), drive(3, 6144), {"device": "floppy0"}]),
                Some(Read { requests: 3, bytes: 6144 }),
            ),
            (json!([drive(0, 0)]), None),
            (json!([]), None),
        ] {
            assert_eq!(of_medium(&answer), expected, "{answer}");
        }
        let read = Some(Read { requests: 4, bytes: 1 << 20 });
        assert_eq!(row("kit", read), ["kit", "4", "1.0", "256.0"]);
    }
}
