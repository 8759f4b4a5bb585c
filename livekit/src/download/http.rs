//! HTTP/1.1 (RFC 9112), as far as a file is fetched by it: one request for each connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use super::address::Address;
use super::connect::{self, Connection};
use super::{Client, Failure};
use crate::error::Error;

/// Redirections that are followed for one request.
const REDIRECTIONS: usize = 10;

/// Bytes that a head may have, and lines of it.
const HEAD: usize = 64 << 10;
const LINES: usize = 128;

/// Bytes of a line between two chunks.
const CHUNK_LINE: u64 = 4096;

/// The longest that a server may ask us to wait.
const LONGEST_WAIT: u64 = 60;

/// The rest of a file that is wanted, if it is still the same file.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Bytes that are there already.
    pub from: u64,
    /// Its `ETag` or `Last-Modified`.
    pub of: String,
}

/// An answer under way.
pub struct Response {
    /// Whose answer it is, after redirections.
    pub address: Address,
    pub head: Head,
    pub body: Body<BufReader<Connection>>,
}

/// Asks for a file, and goes where the server sends us.
///
/// # Errors
/// As [`connect::open`]; and of redirections that never end, or lead to what cannot be used.
pub fn get(client: &Client, address: &Address, rest: Option<&Rest>) -> Result<Response, Failure> {
    let mut address = address.clone();
    for _ in 0..=REDIRECTIONS {
        let (head, body) = ask(client, &address, rest)?;
        let location = head.get("location").filter(|_| matches!(head.status, 301 | 302 | 303 | 307 | 308));
        match location {
            Some(location) => {
                let from = format!("{} redirects", address.server());
                address = address.follow(location).map_err(|e| Failure::Final(e.doing(from)))?;
            }
            None => return Ok(Response { address, head, body }),
        }
    }
    Err(Error::new(format!("the server redirects more than {REDIRECTIONS} times")).into())
}

fn ask(
    client: &Client,
    address: &Address,
    rest: Option<&Rest>,
) -> Result<(Head, Body<BufReader<Connection>>), Failure> {
    let proxy = client.proxies.for_address(address)?;
    let mut connection = connect::open(client, address, proxy.as_ref())?;
    let request = request(address, proxy.as_ref(), rest);
    let mut answer = || {
        connection.limit(client.patience.answer);
        connection.write_all(request.as_bytes())?;
        connection.flush()
    };
    answer().map_err(|e| connect::broken(client, &e))?;
    let mut reader = BufReader::with_capacity(256 << 10, connection);
    let mut read = || {
        let head = Head::read(&mut reader)?;
        let length = head.length()?;
        Ok((head, length))
    };
    let (head, length) = read().map_err(|e: io::Error| connect::broken(client, &e))?;
    if head.status == 407 && proxy.is_some() {
        return Err(wants_proxy_login().into());
    }
    Ok((head, Body { reader, length }))
}

fn request(address: &Address, proxy: Option<&Address>, rest: Option<&Rest>) -> String {
    // A proxy that makes no tunnel has to be told all of it.
    let by_proxy = proxy.filter(|_| !address.is_https);
    let target = if by_proxy.is_some() { address.to_string() } else { address.target.clone() };
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: livekit/{}\r\nAccept: */*\r\n\
         Accept-Encoding: identity\r\nConnection: close\r\n",
        address.server(),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(Rest { from, of }) = rest {
        request.push_str(&format!("Range: bytes={from}-\r\nIf-Range: {of}\r\n"));
    }
    request.extend(login_line("Authorization", address));
    request.extend(by_proxy.and_then(|proxy| login_line("Proxy-Authorization", proxy)));
    request.push_str("\r\n");
    request
}

/// The line of a request with name and password (RFC 7617), if the address has them.
pub fn login_line(name: &str, address: &Address) -> Option<String> {
    let (user, password) = address.login.as_ref()?;
    Some(format!("{name}: Basic {}\r\n", base64(format!("{user}:{password}").as_bytes())))
}

pub fn wants_proxy_login() -> Error {
    Error::new("the proxy wants a name and a password").hint("http_proxy=http://NAME:PASSWORD@SERVER:PORT")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    reason: String,
    /// Names in lower case.
    fields: Vec<(String, String)>,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// So many bytes are still to come.
    Exactly(u64),
    /// So many of this chunk are; then comes the next one's line. `begun` is whether there was one.
    Chunked { left: u64, begun: bool },
    /// By the end of the connection.
    ToTheEnd,
    /// It was read to its end.
    Over,
}

impl Head {
    /// Reads a head. What a server says beforehand (100 to 199) is passed over.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        loop {
            let head = Self::read_one(reader)?;
            if !(100..200).contains(&head.status) {
                return Ok(head);
            }
        }
    }

    fn read_one(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            let room = (HEAD - before) as u64;
            if reader.by_ref().take(room).read_until(b'\n', &mut bytes)? == 0 {
                return Err(if room == 0 {
                    malformed("its head is too long")
                } else {
                    io::ErrorKind::UnexpectedEof.into()
                });
            }
            if matches!(&bytes[before..], b"\r\n" | b"\n") && before > 0 {
                break;
            }
        }
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        let mut parsed = httparse::Response::new(&mut lines);
        parsed.parse(&bytes).map_err(|e| malformed(&e.to_string()))?;
        let fields = parsed.headers.iter().filter_map(|field| {
            let value = std::str::from_utf8(field.value).ok()?;
            Some((field.name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Head {
            status: parsed.code.ok_or_else(|| malformed("it has no status"))?,
            reason: parsed.reason.unwrap_or_default().trim().to_owned(),
            fields: fields.collect(),
        })
    }

    /// A field's value, if it is there and text. `name` is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Status and what the server calls it: `404 Not Found`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.status, self.reason).trim_end().to_owned()
    }

    /// How long the server asks us to wait, if it does, and not for longer than anyone would.
    pub fn wait(&self) -> Option<Duration> {
        let seconds: u64 = self.get("retry-after")?.parse().ok()?;
        Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
    }

    fn length(&self) -> io::Result<Length> {
        if let Some(coding) = self.get("transfer-encoding") {
            let known = coding.eq_ignore_ascii_case("chunked");
            return if known {
                Ok(Length::Chunked { left: 0, begun: false })
            } else {
                Err(malformed(&format!("it sends as {coding}")))
            };
        }
        let mut lengths =
            self.fields.iter().filter(|(name, _)| name == "content-length").map(|(_, value)| value);
        let Some(length) = lengths.next() else { return Ok(Length::ToTheEnd) };
        if lengths.any(|other| other != length) {
            return Err(malformed("it names two lengths"));
        }
        length.parse().map(Length::Exactly).map_err(|_| malformed("its Content-Length is no number"))
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What follows the head. Ends with an error where more should come.
pub struct Body<R> {
    reader: R,
    length: Length,
}

impl<R> Body<R> {
    /// Bytes that are to come, if that is known.
    pub fn announced(&self) -> Option<u64> {
        match self.length {
            Length::Exactly(length) => Some(length),
            _ => None,
        }
    }
}

impl Body<BufReader<Connection>> {
    /// As [`Connection::limit`].
    pub fn limit(&mut self, limit: Duration) {
        self.reader.get_mut().limit(limit);
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Length::Chunked { left: 0, begun } = self.length {
            self.length = next_chunk(&mut self.reader, begun)?;
        }
        let most = match self.length {
            Length::Exactly(0) | Length::Over => return Ok(0),
            Length::Exactly(left) | Length::Chunked { left, .. } => left,
            Length::ToTheEnd => u64::MAX,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        match &mut self.length {
            Length::Exactly(left) | Length::Chunked { left, .. } => {
                if read == 0 && most > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read as u64;
            }
            Length::ToTheEnd | Length::Over => {}
        }
        Ok(read)
    }
}

/// Reads the line before a chunk, and that which ends the one before it; after the last chunk, all that follows.
fn next_chunk(reader: &mut impl BufRead, begun: bool) -> io::Result<Length> {
    if begun && !line(reader)?.is_empty() {
        return Err(malformed("a chunk is longer than its length"));
    }
    let text = line(reader)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let left = u64::from_str_radix(digits, 16).ok().filter(|_| is_number);
    match left.ok_or_else(|| malformed("a chunk's length is no number"))? {
        0 => {
            let mut lines = 0;
            while !line(reader)?.is_empty() {
                lines += 1;
                if lines > LINES {
                    return Err(malformed("its end is too long"));
                }
            }
            Ok(Length::Over)
        }
        left => Ok(Length::Chunked { left, begun: true }),
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.by_ref().take(CHUNK_LINE).read_until(b'\n', &mut bytes)?;
    match bytes.strip_suffix(b"\n") {
        Some(line) => Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()),
        None if (bytes.len() as u64) < CHUNK_LINE => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(malformed("a line between chunks is too long")),
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
