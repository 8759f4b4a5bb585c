use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

use super::server::{Server, field, ranged, send, whole};
use super::{Client, Target, bundle, client};
use crate::download::proxy::Proxies;
use crate::download::tls;

/// A server's configuration with a certificate of its own making, and the certificate.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    (Arc::new(config), certificate)
}

/// A client that believes this certificate.
fn believing(certificate: CertificateDer<'static>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = client();
    assert!(client.tls.set(tls::with_roots(roots)).is_ok());
    client
}

fn url(server: &Server, path: &str) -> String {
    format!("https://server.test:{}/{path}", server.port())
}

#[test]
fn certificates_decide() {
    let (config, own) = certificate(|_| {});
    let server = Server::secure(config, |_, _, stream| whole(stream, &bundle()));
    let error = Target::new().fails(&client(), &url(&server, "x.sb"));
    assert!(error.message().contains("of no authority that this system knows"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("SSL_CERT_FILE")), "{error}");
    assert!(server.requests().is_empty(), "nothing is asked of a server that is not believed");
    Target::new().gets(&believing(own.clone()), &url(&server, "x.sb"), "x.sb");

    let other = url(&server, "x.sb").replace("server.test", "other.test");
    let error = Target::new().fails(&believing(own), &other);
    assert!(error.message().contains("is for another name"), "{error}");

    type Change = fn(&mut CertificateParams);
    let times: [(Change, &str); 2] = [
        (|params| params.not_after = date_time_ymd(2001, 1, 1), "has expired"),
        (|params| params.not_before = date_time_ymd(4000, 1, 1), "is not valid yet"),
    ];
    for (change, part) in times {
        let (config, own) = certificate(change);
        let server = Server::secure(config, |_, _, stream| whole(stream, &bundle()));
        let error = Target::new().fails(&believing(own), &url(&server, "x.sb"));
        assert!(error.message().contains(part), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("clock")), "{error}");
    }
}

#[test]
fn encrypted_ones_are_gone_on_with() {
    let (config, own) = certificate(|_| {});
    let server = Server::secure(config, |number, request, stream| {
        ranged(stream, request, &bundle(), "\"1\"", if number == 0 { 300_000 } else { usize::MAX });
    });
    Target::new().gets(&believing(own), &url(&server, "x.sb"), "x.sb");
    assert_eq!(field(&server.requests()[1], "Range"), Some("bytes=300000-"));
}

#[test]
fn encryption_is_not_given_up() {
    let plain = Server::start(|_, _, stream| whole(stream, &bundle()));
    let to = plain.url("x.sb");
    let (config, own) = certificate(|_| {});
    let server = Server::secure(config, move |_, _, stream| {
        send(stream, "302 Found", &format!("Location: {to}\r\nContent-Length: 0\r\n"), b"");
    });
    let client = believing(own);
    let error = Target::new().fails(&client, &url(&server, "x.sb"));
    assert!(error.message().contains("leads from https to http://127.0.0.1"), "{error}");
    assert!(plain.requests().is_empty());
    let (port, asked) = (not_encrypting(), url(&server, "x.sb"));
    let error = Target::new().fails(&client, &asked.replace(&server.port().to_string(), &port.to_string()));
    assert!(error.message().contains("does not speak TLS there"), "{error}");
}

/// The port of a server that takes the beginning of a handshake for a bad request, as web servers do.
fn not_encrypting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 5]);
            send(&mut stream, "400 Bad Request", "Content-Length: 0\r\n", b"");
            let _ = stream.shutdown(Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
        }
    });
    port
}

#[test]
fn a_proxy_makes_a_tunnel() {
    let (config, own) = certificate(|_| {});
    let server = Server::secure(config, |_, _, stream| whole(stream, &bundle()));
    let port = server.port();
    let proxy = Server::start_raw(move |number, _, stream| match number {
        0 => send(stream, "407 Proxy Authentication Required", "Content-Length: 0\r\n", b""),
        1 => send(stream, "403 Forbidden", "Content-Length: 0\r\n", b""),
        _ => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            relay(stream, &TcpStream::connect(("127.0.0.1", port)).unwrap());
        }
    });
    let at = format!("me:secret@127.0.0.1:{}", proxy.port());
    let proxies = Proxies::of(|name| (name == "https_proxy").then(|| at.clone()));
    let client = Client { proxies, ..believing(own) };
    for part in ["the proxy wants a name and a password", "refused a tunnel to server.test"] {
        let error = Target::new().fails(&client, &url(&server, "x.sb"));
        assert!(error.message().contains(part) && !error.to_string().contains("secret"), "{error}");
    }
    Target::new().gets(&client, &url(&server, "x.sb"), "x.sb");
    let request = &proxy.requests()[2];
    assert!(request.starts_with(&format!("CONNECT server.test:{port} HTTP/1.1\r\n")), "{request}");
    assert_eq!(field(request, "Proxy-Authorization"), Some("Basic bWU6c2VjcmV0"));
    let inside = &server.requests()[0];
    assert!(inside.starts_with("GET /x.sb HTTP/1.1\r\n") && !inside.contains("Proxy"), "{inside}");
}

/// Passes on what each side says until one has nothing more to say.
fn relay(client: &TcpStream, server: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(client, server));
        copy(server, client);
    });
}
