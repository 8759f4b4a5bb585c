//! The power button of a running machine, by QEMU's machine protocol (docs/interop/qmp-spec.rst of QEMU).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::error::{AtPath, Error, Result};

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Presses it. Done when QEMU has taken note; what the guest makes of it is its own affair.
pub fn press(monitor: &Path) -> Result<()> {
    let stream = UnixStream::connect(monitor).at("connect to QEMU's monitor", monitor)?;
    converse(&stream).map_err(|reason| Error::new(format!("cannot press the guest's power button: {reason}")))
}

fn converse(stream: &UnixStream) -> Result<(), String> {
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
    let mut answers = BufReader::new(stream);
    // The first word is QEMU's greeting. Before anything else the protocol wants to be agreed on.
    await_answer(&mut answers, "QMP")?;
    for command in ["qmp_capabilities", "system_powerdown"] {
        writeln!(&*stream, "{}", serde_json::json!({ "execute": command })).map_err(|e| e.to_string())?;
        await_answer(&mut answers, "return")?;
    }
    Ok(())
}

/// Reads up to a message that has this key, past events.
fn await_answer(answers: &mut impl BufRead, key: &str) -> Result<(), String> {
    let mut line = String::new();
    loop {
        line.clear();
        if answers.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
            return Err("QEMU has closed its monitor".into());
        }
        let message: Value = serde_json::from_str(&line).map_err(|e| format!("{e} in {}", line.trim()))?;
        if let Some(error) = message.get("error") {
            return Err(error["desc"].as_str().unwrap_or("QEMU refuses").to_owned());
        }
        if message.get(key).is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a QEMU that says this, line by line.
    fn heard(said: &str) -> Result<(), String> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(said.as_bytes()).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let result = converse(&ours);
        drop(theirs);
        result
    }

    #[test]
    fn answers_are_told_from_events() {
        let greeting = "{\"QMP\": {}}\r\n{\"return\": {}}\r\n";
        for (said, result) in [
            (format!("{greeting}{{\"event\": \"RTC_CHANGE\"}}\n{{\"return\": {{}}}}\n"), Ok(())),
            (
                format!("{greeting}{{\"error\": {{\"class\": \"x\", \"desc\": \"no button\"}}}}\n"),
                Err("no button".to_owned()),
            ),
            (greeting.to_owned(), Err("QEMU has closed its monitor".to_owned())),
        ] {
            assert_eq!(heard(&said), result, "{said}");
        }
    }
}
