//! A small client of QEMU's machine protocol: commands, and the events that came meanwhile.
//! Protocol: docs/interop/qmp-spec.rst of QEMU.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    line: String,
    events: Vec<Value>,
}

impl Qmp {
    /// Greets QEMU at its end of the socket.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut qmp = Self { reader: BufReader::new(stream), line: String::new(), events: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(20);
        if qmp.next(deadline)?.is_none_or(|greeting| greeting.get("QMP").is_none()) {
            return Err(io::Error::other("QEMU does not greet"));
        }
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives what it returns; QEMU's own words if it refuses.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.reader.get_mut(), "{request}")?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Some(message) = self.next(deadline)? {
            if let Some(value) = message.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = message.get("error") {
                return Err(io::Error::other(format!("QEMU refused {request}: {error}")));
            }
            self.events.push(message);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("QEMU ended during {request}")))
    }

    /// The data of the first event of this name that is accepted, past or to come. `None` when QEMU ends
    /// without it.
    pub fn event(
        &mut self,
        name: &str,
        accepted: impl Fn(&Value) -> bool,
        deadline: Instant,
    ) -> io::Result<Option<Value>> {
        let wanted = |message: &Value| message["event"] == name && accepted(&message["data"]);
        if let Some(place) = self.events.iter().position(wanted) {
            return Ok(Some(self.events.remove(place)["data"].clone()));
        }
        while let Some(message) = self.next(deadline)? {
            if wanted(&message) {
                return Ok(Some(message["data"].clone()));
            }
            self.events.push(message);
        }
        Ok(None)
    }

    /// The next message; `None` at the end of the connection.
    fn next(&mut self, deadline: Instant) -> io::Result<Option<Value>> {
        loop {
            match self.reader.read_line(&mut self.line) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    let message = serde_json::from_str(&self.line)?;
                    self.line.clear();
                    return Ok(Some(message));
                }
                // What was read of the line stays in the buffer.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU sent nothing that was waited for"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU of three lines: greeting, capabilities, and an event before the answer to the next command.
    fn qemu() -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        std::thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().expect("a second handle")).lines();
            let say = |text: &str| writeln!(&theirs, "{text}").expect("the client listens");
            say(r#"{"QMP": {"version": {}}}"#);
            commands.next();
            say(r#"{"return": {}}"#);
            commands.next();
            say(r#"{"event": "DEVICE_DELETED", "data": {"device": "stick"}}"#);
            say(r#"{"return": {"done": true}}"#);
        });
        ours
    }

    #[test]
    fn events_are_kept_while_a_command_runs() {
        let mut qmp = Qmp::new(qemu()).expect("a greeting");
        assert_eq!(qmp.execute("device_del", &json!({"id": "stick"})).expect("an answer")["done"], true);
        let deadline = Instant::now() + Duration::from_secs(5);
        let event = qmp.event("DEVICE_DELETED", |data| data["device"] == "stick", deadline);
        assert!(event.expect("no error").is_some());
        assert_eq!(qmp.event("SHUTDOWN", |_| true, deadline).expect("no error"), None);
    }
}
