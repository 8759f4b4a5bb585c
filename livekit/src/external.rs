//! Other programs: run to their end, their complaints kept for the error.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use crate::error::{Error, Result};

/// How many of a program's last lines an error repeats.
const TAIL: usize = 5;

/// A program under way, whose stderr is being read.
pub struct Running {
    name: String,
    child: Child,
    messages: JoinHandle<VecDeque<String>>,
}

impl Running {
    /// Starts `command`; `each_line` hears what it writes to stderr. `package` is what to install if it is missing.
    pub fn start(
        command: &mut Command,
        package: &str,
        mut each_line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.stderr(Stdio::piped()).spawn().map_err(|error| not_started(&name, package, &error))?;
        let stderr = child.stderr.take();
        let messages = std::thread::spawn(move || {
            let mut tail = VecDeque::new();
            for line in
                stderr.into_iter().flat_map(|pipe| BufReader::new(pipe).split(b'\n')).map_while(Result::ok)
            {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                each_line(&line);
                tail.push_back(line);
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            }
            tail
        });
        Ok(Running { name, child, messages })
    }

    /// Its standard input, once, if it was piped.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for its end; anything but success is an error that ends with what it said last.
    pub fn finish(mut self) -> Result<()> {
        let status = self
            .child
            .wait()
            .map_err(|error| Error::new(format!("cannot wait for {}: {error}", self.name)))?;
        let said = Vec::from(self.messages.join().unwrap_or_default()).join("\n  ");
        if status.success() {
            return Ok(());
        }
        let error = Error::new(match said.as_str() {
            "" => format!("{} failed ({status})", self.name),
            said => format!("{} failed ({status}):\n  {said}", self.name),
        });
        Err(if said.contains("No space left on device") {
            error.hint(crate::error::DISK_FULL)
        } else {
            error
        })
    }
}

fn not_started(name: &str, package: &str, error: &std::io::Error) -> Error {
    let failure = Error::new(format!("cannot run {name}: {error}"));
    if error.kind() == std::io::ErrorKind::NotFound {
        failure.hint(format!("install it (Debian: apt-get install {package})"))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_install() {
        let error = Running::start(&mut Command::new("no-such-program"), "nosuch", |_| ()).err().unwrap();
        assert_eq!(error.message(), "cannot run no-such-program: No such file or directory (os error 2)");
        assert_eq!(error.hint_text(), Some("install it (Debian: apt-get install nosuch)"));
    }

    #[test]
    fn a_failure_repeats_the_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3"]);
        let error = Running::start(&mut command, "dash", |_| ()).unwrap().finish().unwrap_err();
        let text = error.message();
        assert!(text.starts_with("sh failed (exit status: 3):\n  line 3\n"), "{text}");
        assert!(text.ends_with("line 7"), "{text}");
    }
}
