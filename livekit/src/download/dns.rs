//! Asks name servers (RFC 1035) for the numbers of a name, as resolv.conf(5) says which.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;
/// "No such name", in the header's last four bits of flags.
const NAME_ERROR: u8 = 3;

/// Which servers are asked, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// Names with fewer dots are looked for in the search domains first.
    dots: usize,
    patience: Duration,
    attempts: u32,
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Numbers(Vec<IpAddr>),
    /// It did not fit into a datagram.
    Truncated,
    /// There is no such name.
    Nothing,
}

impl Resolver {
    /// Reads resolv.conf. Without a server in it, one of this machine is asked.
    pub fn parse(text: &str) -> Self {
        let mut resolver = Resolver {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            patience: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let number = words.next().and_then(|number| number.parse::<IpAddr>().ok());
                    resolver.servers.extend(number.map(|number| SocketAddr::new(number, 53)));
                }
                Some("search" | "domain") => {
                    resolver.search = words.map(|domain| domain.trim_end_matches('.').to_owned()).collect();
                }
                Some("options") => words.for_each(|option| resolver.option(option)),
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            resolver.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        resolver
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.dots = value.min(15) as usize,
            "timeout" => self.patience = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The numbers of a name, those of IPv4 first; none if there is no such name. The error says why nobody could tell.
    pub fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        for name in self.candidates(host) {
            let mut found = self.ask_all(&name, A)?;
            found.extend(self.ask_all(&name, AAAA)?);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The names that may be meant, in their order.
    fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let place = if host.matches('.').count() >= self.dots { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }

    fn ask_all(&self, name: &str, kind: u16) -> Result<Vec<IpAddr>, String> {
        let mut why = String::new();
        for server in (0..self.attempts).flat_map(|_| &self.servers) {
            match self.ask(*server, name, kind) {
                Ok(Answer::Numbers(numbers)) => return Ok(numbers),
                Ok(_) => return Ok(Vec::new()),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    why = format!("the name server {} does not answer", server.ip());
                }
                Err(e) => why = format!("the name server {}: {e}", server.ip()),
            }
        }
        Err(why)
    }

    fn ask(&self, server: SocketAddr, name: &str, kind: u16) -> io::Result<Answer> {
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        let question = question(u16::from_be_bytes(id), name, kind).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "it cannot be asked for such a name")
        })?;
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // From now on the kernel lets only the server's own datagrams through.
        socket.connect(server)?;
        socket.send(&question)?;
        let deadline = Instant::now() + self.patience;
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            let length = socket.recv(&mut buffer)?;
            // An answer to something else, as one that comes too late, or a forged one.
            let Some(answer) = read(&question, kind, &buffer[..length]) else { continue };
            return match answer? {
                Answer::Truncated => self.ask_again(server, &question, kind),
                answer => Ok(answer),
            };
        }
    }

    /// Asks over TCP, where answers have room.
    fn ask_again(&self, server: SocketAddr, question: &[u8], kind: u16) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&server, self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
        match read(question, kind, &answer) {
            Some(answer) => answer,
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "it answers something else")),
        }
    }
}

/// A question for one kind of number; nothing if the name cannot be asked for.
fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion is desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    (message.len() <= 12 + 255 + 4).then_some(message)
}

/// Reads an answer; nothing if it is not one to this question.
fn read(question: &[u8], kind: u16, message: &[u8]) -> Option<io::Result<Answer>> {
    let (asked, said) = (question.get(12..)?, message.get(12..question.len())?);
    let is_answer = message[2] & 0x80 != 0;
    if message[..2] != question[..2] || !is_answer || !asked.eq_ignore_ascii_case(said) {
        return None;
    }
    let (is_truncated, code) = (message[2] & 2 != 0, message[3] & 15);
    Some(match code {
        NAME_ERROR => Ok(Answer::Nothing),
        0 if is_truncated => Ok(Answer::Truncated),
        0 => {
            let count = u16::from_be_bytes([message[6], message[7]]);
            records(message, question.len(), count, kind)
                .map(Answer::Numbers)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer is malformed"))
        }
        code => Err(io::Error::other(format!("it could not tell (code {code})"))),
    })
}

/// The numbers of the records from `at` on. Records that lead to other names come with those of these names.
fn records(message: &[u8], mut at: usize, count: u16, kind: u16) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for _ in 0..count {
        at = after_name(message, at)?;
        let fixed: [u8; 10] = message.get(at..at + 10)?.try_into().ok()?;
        let (this, class) =
            (u16::from_be_bytes([fixed[0], fixed[1]]), u16::from_be_bytes([fixed[2], fixed[3]]));
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = message.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if (this, class) == (kind, INTERNET) {
            found.push(match kind {
                A => IpAddr::from(<[u8; 4]>::try_from(data).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
            });
        }
    }
    Some(found)
}

/// The place behind a name, whose rest may be a pointer to an earlier one.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length & 0xc0 == 0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
