use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use super::server::{Server, field, send, whole};
use super::{Target, bundle, client, digest};
use crate::download::proxy::Proxies;

#[test]
fn a_bundle_comes() {
    let server = Server::start(|_, request, stream| {
        let bytes = bundle();
        match request.split(' ').nth(1).unwrap() {
            "/d/20-x.sb?token=1" | "/20%20x.sb" => whole(stream, &bytes),
            "/named" => {
                let fields = format!(
                    "Content-Length: {}\r\nContent-Disposition: attachment; filename=\"y.sb\"\r\n",
                    bytes.len()
                );
                send(stream, "200 OK", &fields, &bytes);
            }
            "/to-the-end.sb" => send(stream, "200 OK", "", &bytes),
            "/chunked.sb" => {
                let mut body = Vec::new();
                for chunk in bytes.chunks(70_000) {
                    body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    body.extend(chunk);
                    body.extend(b"\r\n");
                }
                body.extend(b"0\r\n\r\n");
                send(stream, "200 OK", "Transfer-Encoding: chunked\r\n", &body);
            }
            _ => send(stream, "404 Not Found", "", b""),
        }
    });
    for (path, name) in [
        ("d/20-x.sb?token=1", "20-x.sb"),
        ("20 x.sb", "20 x.sb"),
        ("named", "y.sb"),
        ("to-the-end.sb", "to-the-end.sb"),
        ("chunked.sb", "chunked.sb"),
    ] {
        Target::new().gets(&client(), &server.url(path), name);
    }
}

#[test]
fn what_is_no_bundle_goes_again() {
    let server = Server::start(|_, request, stream| match request.split(' ').nth(1).unwrap() {
        "/short.sb" => whole(stream, &bundle()[..600_000]),
        "/page.sb" => whole(stream, b"<html>Please log in</html>"),
        "/damaged.sb" => {
            let mut bytes = bundle();
            // In the table of inodes, whose place is in the superblock.
            let table = usize::try_from(u64::from_le_bytes(bytes[64..72].try_into().unwrap())).unwrap();
            bytes[table + 10] ^= 0xff;
            whole(stream, &bytes);
        }
        _ => whole(stream, &bundle()),
    });
    let target = Target::new();
    for (path, part) in [
        ("page.sb", "squashfs"),
        ("short.sb", "cannot read"),
        ("damaged.sb", "damaged"),
        ("x.squashfs", "name of a bundle"),
        ("", "name of a bundle"),
    ] {
        let error = target.fails(&client(), &server.url(path));
        assert!(error.message().contains(part) && error.hint_text().is_some(), "{path}: {error}");
    }
}

#[test]
fn the_expected_digest_decides() {
    let server = Server::start(|_, _, stream| whole(stream, &bundle()));
    let (url, target) = (server.url("x.sb"), Target::new());
    let error = target.fetch(&client(), &url, Some(&digest(b"another"))).unwrap_err();
    assert!(error.message().contains(&digest(&bundle()).to_string()), "{error}");
    assert!(target.names().is_empty());
    target.fetch(&client(), &url, Some(&digest(&bundle()))).unwrap();
    assert_eq!(target.names(), ["x.sb"]);
}

#[test]
fn nothing_is_replaced() {
    let server = Server::start(|_, _, stream| whole(stream, &bundle()));
    let target = Target::new();
    fs::write(target.path().join("x.sb"), "mine").unwrap();
    let error = target.fails(&client(), &server.url("x.sb"));
    assert!(error.message().contains("is there already"), "{error}");
    assert_eq!(fs::read(target.path().join("x.sb")).unwrap(), b"mine");
}

#[test]
fn refusals_are_final() {
    let server = Server::start(|_, request, stream| {
        let status = request.split(' ').nth(1).unwrap().trim_start_matches('/').trim_end_matches(".sb");
        send(stream, &format!("{status} So It Is"), "Content-Length: 0\r\n", b"");
    });
    let target = Target::new();
    for (number, (status, part)) in [
        (404, "there is no such file on the server (404 So It Is)"),
        (410, "there is no such file"),
        (401, "wants a name and a password"),
        (403, "does not let us have it"),
        (418, "answered 418 So It Is"),
        (206, "answered 206"),
        (301, "answered 301"),
    ]
    .into_iter()
    .enumerate()
    {
        let url = server.url(&format!("{status}.sb")).replace("//", "//me:secret@");
        let error = target.fails(&client(), &url);
        assert!(error.message().contains(part), "{error}");
        assert!(error.message().starts_with("cannot download http://127.0.0.1:"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(server.requests().len(), number + 1, "one request each");
    }
}

#[test]
fn redirections_are_followed() {
    let other = Server::start(|_, _, stream| whole(stream, &bundle()));
    let elsewhere = other.url("elsewhere.sb");
    let server = Server::start(move |_, request, stream| {
        let to = match request.split(' ').nth(1).unwrap() {
            "/d/x.sb" => "next",
            "/d/next" => "/download?x=1",
            "/download?x=1" => &elsewhere,
            _ => "/loop.sb",
        };
        send(stream, "302 Found", &format!("Location: {to}\r\n"), b"moved");
    });
    // The name is the one that was asked for; the password stays with the server it is for.
    let target = Target::new();
    target.gets(&client(), &server.url("d/x.sb").replace("//", "//me:secret@"), "x.sb");
    assert!(server.requests().iter().all(|r| field(r, "Authorization") == Some("Basic bWU6c2VjcmV0")));
    assert_eq!(other.requests().len(), 1);
    assert_eq!(field(&other.requests()[0], "Authorization"), None);
    let error = target.fails(&client(), &server.url("loop.sb"));
    assert!(error.message().contains("redirects more than 10 times"), "{error}");
}

#[test]
fn servers_that_are_not_there() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = Target::new();
    for (url, part) in [
        (
            format!("http://127.0.0.1:{port}/x.sb"),
            format!("no connection to 127.0.0.1 port {port}: Connection refused"),
        ),
        ("http://unknown.test/x.sb".into(), "no server is known by the name unknown.test".into()),
    ] {
        let error = target.fails(&client(), &url);
        assert!(error.message().contains(&part) && error.hint_text().is_some(), "{error}");
    }
    // Of a server's numbers one is enough.
    let server = Server::start(|_, _, stream| whole(stream, &bundle()));
    target.gets(&client(), &format!("http://dead.test:{}/x.sb", server.port()), "x.sb");
}

#[test]
fn what_does_not_fit_is_refused() {
    let server = Server::start(|_, request, stream| {
        if request.contains("/huge.sb") {
            send(stream, "200 OK", "Content-Length: 4000000000000000\r\n", b"x");
        } else {
            whole(stream, &bundle());
        }
    });
    let target = Target::new();
    let error = target.fails(&client(), &server.url("huge.sb"));
    assert!(error.message().contains("no room for it: it has 3638.0 TiB"), "{error}");
    // A disk that fills up while it is written to.
    symlink("/dev/full", target.path().join("x.sb.partial")).unwrap();
    let error = target.fetch(&client(), &server.url("x.sb"), None).unwrap_err();
    assert!(error.message().contains("no room for it") && error.hint_text().is_some(), "{error}");
    assert!(target.names().is_empty() && fs::metadata("/dev/full").is_ok());
    assert_eq!(server.requests().len(), 2, "neither is tried again");
}

#[test]
fn a_proxy_is_asked_instead() {
    let proxy = Server::start(|_, _, stream| whole(stream, &bundle()));
    let at = format!("http://me:secret@127.0.0.1:{}", proxy.port());
    let proxies = Proxies::of(|name| match name {
        "http_proxy" => Some(at.clone()),
        "no_proxy" => Some("near.test".into()),
        _ => None,
    });
    let client = super::Client { proxies, ..client() };
    // The proxy looks for the server, not we.
    Target::new().gets(&client, "http://unknown.test/d/x.sb", "x.sb");
    let request = &proxy.requests()[0];
    assert!(request.starts_with("GET http://unknown.test/d/x.sb HTTP/1.1\r\n"), "{request}");
    assert_eq!(field(request, "Proxy-Authorization"), Some("Basic bWU6c2VjcmV0"));
    let near = Server::start(|_, _, stream| whole(stream, &bundle()));
    Target::new().gets(&client, &format!("http://near.test:{}/x.sb", near.port()), "x.sb");
    assert_eq!((proxy.requests().len(), near.requests().len()), (1, 1));
}
