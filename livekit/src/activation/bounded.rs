//! Programs that are run beside the change itself: none may hold it up for ever, and what they say matters only when they
//! fail.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Lines of a failed program that are shown.
const TAIL: usize = 5;

/// Runs a program to its end, or to that of `limit`: then it is killed with all it has started. A failure is told in
/// words, with what the program said last.
pub fn run(command: &mut Command, limit: Duration) -> Result<(), String> {
    // A file and no pipe: a service that a script leaves behind would keep a pipe open.
    let said = tempfile::tempfile().map_err(|e| format!("cannot keep what it says: {e}"))?;
    let handle = || said.try_clone().map(Stdio::from).map_err(|e| e.to_string());
    command.stdin(Stdio::null()).stdout(handle()?).stderr(handle()?).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("cannot start it: {e}"))?;
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => sleep(pause),
            Ok(None) => {
                if let Ok(group) = i32::try_from(child.id())
                    && let Some(group) = Pid::from_raw(group)
                {
                    // It may have ended this moment.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                return Err(format!("it took more than {} s and was ended", limit.as_secs()));
            }
            Err(e) => return Err(format!("cannot wait for it: {e}")),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    if status.success() { Ok(()) } else { Err(format!("{status}{}", last_lines(said))) }
}

fn last_lines(mut said: File) -> String {
    let mut bytes = Vec::new();
    let read = said.seek(SeekFrom::Start(0)).and_then(|_| said.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match read {
        Ok(_) if !lines.is_empty() => {
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            format!(":\n  {}", tail.join("\n  "))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<(), String> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn ends_are_told() {
        let long = Duration::from_secs(20);
        assert_eq!(sh("echo fine", long), Ok(()));
        let failed = sh("for i in 1 2 3 4 5 6 7; do echo $i; done; echo why >&2; exit 3", long).unwrap_err();
        assert_eq!(failed, "exit status: 3:\n  4\n  5\n  6\n  7\n  why");
        assert_eq!(sh("exit 1", long).unwrap_err(), "exit status: 1");
        assert!(run(&mut Command::new("/no/such/program"), long).unwrap_err().contains("cannot start it"));
    }

    #[test]
    fn nothing_holds_the_change_up() {
        let began = Instant::now();
        let ended = sh("sleep 30 & sleep 30", Duration::from_millis(50)).unwrap_err();
        assert!(ended.contains("was ended"), "{ended}");
        // What a script leaves running is no reason to wait.
        assert_eq!(sh("sleep 30 & exit 0", Duration::from_secs(20)), Ok(()));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
