//! The way to a server: directly or through a proxy, plain or encrypted.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::address::Address;
use super::http::{self, Head};
use super::{Client, Failure, tls};
use crate::error::Error;

/// A connection whose reads end in time.
pub struct Tcp {
    stream: TcpStream,
    silence: Duration,
    deadline: Instant,
}

impl Tcp {
    /// All that is read from now on has to come within `limit`, and no read may wait longer than the usual time.
    fn limit(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }
}

impl Read for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left.min(self.silence)))?;
        self.stream.read(buffer)
    }
}

impl Write for Tcp {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection that requests go over.
pub enum Connection {
    Plain(Tcp),
    Secure(Box<StreamOwned<ClientConnection, Tcp>>),
}

impl Connection {
    /// As [`Tcp::limit`].
    pub fn limit(&mut self, limit: Duration) {
        match self {
            Connection::Plain(tcp) => tcp.limit(limit),
            Connection::Secure(stream) => stream.sock.limit(limit),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(tcp) => tcp.read(buffer),
            Connection::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(tcp) => tcp.write(buffer),
            Connection::Secure(stream) => stream.write(buffer),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(tcp) => tcp.flush(),
            Connection::Secure(stream) => stream.flush(),
        }
    }
}

/// Opens a connection for requests to `address`. An encrypted one goes through a proxy by a tunnel; requests of others
/// are given to the proxy itself.
pub fn open(client: &Client, address: &Address, proxy: Option<&Address>) -> Result<Connection, Failure> {
    let mut tcp = connect(client, proxy.unwrap_or(address)).map_err(|failure| match (failure, proxy) {
        (Failure::Passing(why, wait), Some(_)) => Failure::Passing(format!("the proxy: {why}"), wait),
        (Failure::Unknown(error), Some(_)) => Failure::Unknown(error.doing("the proxy")),
        (failure, _) => failure,
    })?;
    if !address.is_https {
        return Ok(Connection::Plain(tcp));
    }
    if let Some(proxy) = proxy {
        tunnel(client, &mut tcp, address, proxy)?;
    }
    encrypt(client, tcp, address)
}

/// Tries a server's numbers one after the other.
fn connect(client: &Client, server: &Address) -> Result<Tcp, Failure> {
    let numbers = (client.look_up)(&server.host).map_err(|why| {
        let hint = format!("is the network up? `getent ahosts {}` asks as this program does", server.host);
        Failure::Unknown(Error::new(why).hint(hint))
    })?;
    let mut why = String::new();
    for number in numbers {
        match TcpStream::connect_timeout(&SocketAddr::new(number, server.port), client.patience.connect) {
            Ok(stream) => return prepare(client, stream).map_err(|e| broken(client, &e)),
            Err(e) => why = format!("no connection to {number} port {}: {e}", server.port),
        }
    }
    Err(Failure::Passing(why, None))
}

fn prepare(client: &Client, stream: TcpStream) -> io::Result<Tcp> {
    let silence = client.patience.silence;
    stream.set_write_timeout(Some(silence))?;
    Ok(Tcp { stream, silence, deadline: Instant::now() + client.patience.answer })
}

/// Has a proxy connect us with the server.
fn tunnel(client: &Client, tcp: &mut Tcp, address: &Address, proxy: &Address) -> Result<(), Failure> {
    let place = address.server_and_port();
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    request.extend(http::login_line("Proxy-Authorization", proxy));
    request.push_str("\r\n");
    let mut answer = || {
        tcp.write_all(request.as_bytes())?;
        // What follows the head is the server's and begins only when it was spoken to.
        Head::read(&mut BufReader::with_capacity(1, &mut *tcp))
    };
    let head = answer().map_err(|e| broken(client, &e))?;
    match head.status {
        200..=299 => Ok(()),
        407 => Err(http::wants_proxy_login().into()),
        // What the proxy could not reach may be back later.
        502..=504 => Err(Failure::Passing(format!("the proxy answered {}", head.shown()), None)),
        _ => Err(Error::new(format!("the proxy refused a tunnel to {place}: {}", head.shown())).into()),
    }
}

fn encrypt(client: &Client, tcp: Tcp, address: &Address) -> Result<Connection, Failure> {
    let config = client.tls.get_or_init(tls::config).clone();
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| Error::new(format!("no certificate can be for the name {}", address.host)))?;
    let connection = ClientConnection::new(config, name)
        .map_err(|e| Error::new(format!("cannot begin an encrypted connection: {e}")))?;
    let mut stream = Box::new(StreamOwned::new(connection, tcp));
    while stream.conn.is_handshaking() {
        if let Err(e) = stream.conn.complete_io(&mut stream.sock) {
            return Err(tls::refusal(&e).map_or_else(|| broken(client, &e), Failure::Final));
        }
    }
    Ok(Connection::Secure(stream))
}

/// A connection that broke before the answer was there.
pub fn broken(client: &Client, error: &io::Error) -> Failure {
    use io::ErrorKind::{InvalidData, TimedOut, UnexpectedEof, WouldBlock};
    match error.kind() {
        WouldBlock | TimedOut => {
            let seconds = client.patience.silence.max(client.patience.answer).as_secs();
            Failure::Passing(format!("the server did not answer within {seconds} s"), None)
        }
        UnexpectedEof => Failure::Passing("the server closed the connection without an answer".into(), None),
        InvalidData => Failure::Final(Error::new(format!("the server does not speak HTTP: {error}"))),
        _ => Failure::Passing(format!("the connection broke: {error}"), None),
    }
}
