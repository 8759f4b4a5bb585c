//! A server of one connection after the other that does as a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// One that answers as a test says: given the number of the request, from 0, and its head, it writes an answer.
    pub fn start(answer: impl Fn(usize, &str, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::start_raw(move |number, request, stream| answer(number, request, stream))
    }

    /// The same, with the connection itself.
    pub fn start_raw(answer: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::listen(move |mut stream, seen| {
            if let Some((number, request)) = read(&mut stream, seen) {
                answer(number, &request, &mut stream);
            }
        })
    }

    /// The same, encrypted.
    pub fn secure(
        config: Arc<ServerConfig>,
        answer: impl Fn(usize, &str, &mut dyn Stream) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(move |stream, seen| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            if let Some((number, request)) = read(&mut stream, seen) {
                answer(number, &request, &mut stream);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        })
    }

    fn listen(serve: impl Fn(TcpStream, &Mutex<Vec<String>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, serve) = (requests.clone(), Arc::new(serve));
        // It ends with the tests.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, seen, serve) = (stream.unwrap(), seen.clone(), serve.clone());
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Server { port, requests }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A request's number and head; nothing of a client that has broken off the handshake.
fn read(stream: &mut impl Read, seen: &Mutex<Vec<String>>) -> Option<(usize, String)> {
    let mut request = String::new();
    let mut reader = BufReader::with_capacity(1, stream);
    while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
    if request.is_empty() {
        return None;
    }
    let mut seen = seen.lock().unwrap();
    seen.push(request.clone());
    Some((seen.len() - 1, request))
}

/// The value of a line of a request.
pub fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Writes a head and as much of the body. Clients that have gone are no matter.
pub fn send(stream: &mut dyn Stream, status: &str, fields: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{fields}\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let _ = stream.flush();
}

/// Sends all of a file.
pub fn whole(stream: &mut dyn Stream, bytes: &[u8]) {
    send(stream, "200 OK", &format!("Content-Length: {}\r\n", bytes.len()), bytes);
}

/// Sends a file of the version `tag`, as a good server does: the rest of it if that is asked for. After `most` bytes the
/// connection breaks.
pub fn ranged(stream: &mut dyn Stream, request: &str, bytes: &[u8], tag: &str, most: usize) {
    let range = field(request, "Range").filter(|_| field(request, "If-Range") == Some(tag));
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let rest = &bytes[from.unwrap_or(0)..];
    let mut fields = format!("Content-Length: {}\r\nETag: {tag}\r\n", rest.len());
    if let Some(from) = from {
        fields.push_str(&format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()));
    }
    let status = if from.is_some() { "206 Partial Content" } else { "200 OK" };
    send(stream, status, &fields, &rest[..most.min(rest.len())]);
}
