use super::*;

#[test]
fn requests() {
    let address = Address::parse("http://u:p@a:81/x y").unwrap();
    let proxy = Address::parse("http://v:w@proxy").unwrap();
    let rest = Rest { from: 5, of: "\"tag\"".into() };
    let direct = request(&address, None, Some(&rest));
    assert!(direct.starts_with("GET /x%20y HTTP/1.1\r\nHost: a:81\r\n"), "{direct}");
    for line in ["Range: bytes=5-\r\n", "If-Range: \"tag\"\r\n", "\r\nAuthorization: Basic dTpw\r\n"] {
        assert!(direct.contains(line), "{direct}");
    }
    assert!(direct.ends_with("\r\n\r\n") && !direct.contains("Proxy"), "{direct}");
    let by_proxy = request(&address, Some(&proxy), None);
    assert!(by_proxy.starts_with("GET http://a:81/x%20y HTTP/1.1\r\nHost: a:81\r\n"), "{by_proxy}");
    assert!(
        by_proxy.contains("Proxy-Authorization: Basic djp3\r\n") && !by_proxy.contains("Range"),
        "{by_proxy}"
    );
    // In a tunnel the server is spoken to; what is the proxy's stays outside.
    let secure = request(&Address::parse("https://a/x").unwrap(), Some(&proxy), None);
    assert!(secure.starts_with("GET /x HTTP/1.1\r\nHost: a\r\n") && !secure.contains("Proxy"), "{secure}");
}

#[test]
fn base64_of_rfc_4648() {
    for (bytes, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("??>", "Pz8+")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}

#[test]
fn heads() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not here\r\nETag:  \"a\" \r\nX: \u{fc}\r\nretry-after: 999\r\n\r\nrest";
    let mut reader = text.as_bytes();
    let head = Head::read(&mut reader).unwrap();
    assert_eq!((head.shown().as_str(), head.get("etag")), ("404 Not here", Some("\"a\"")));
    assert_eq!(head.wait(), Some(Duration::from_secs(60)));
    assert_eq!(reader, b"rest");
    assert_eq!(Head::read(&mut &b"HTTP/1.0 200\n\n"[..]).unwrap().shown(), "200");
    for (text, kind) in [
        ("", io::ErrorKind::UnexpectedEof),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", io::ErrorKind::UnexpectedEof),
        ("SSH-2.0-x\r\n\r\n", io::ErrorKind::InvalidData),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", io::ErrorKind::InvalidData),
        (&format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(HEAD)), io::ErrorKind::InvalidData),
        (&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(LINES + 1)), io::ErrorKind::InvalidData),
    ] {
        assert_eq!(Head::read(&mut text.as_bytes()).unwrap_err().kind(), kind, "{text:.40}");
    }
}

#[test]
fn lengths() {
    for (fields, expected) in [
        ("", Some(Length::ToTheEnd)),
        ("Content-Length: 5\r\n", Some(Length::Exactly(5))),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Some(Length::Exactly(5))),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
        ("Content-Length: -5\r\n", None),
        (
            "Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n",
            Some(Length::Chunked { left: 0, begun: false }),
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", None),
    ] {
        let head = Head::read(&mut format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).unwrap();
        assert_eq!(head.length().ok(), expected, "{fields}");
    }
}

#[test]
fn bodies() {
    let chunked = Length::Chunked { left: 0, begun: false };
    for (text, length, expected) in [
        ("abcdef", Length::Exactly(4), Ok("abcd")),
        ("abc", Length::Exactly(4), Err(io::ErrorKind::UnexpectedEof)),
        ("abc", Length::ToTheEnd, Ok("abc")),
        ("3\r\nabc\r\nA ; x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\nmore", chunked, Ok("abc0123456789")),
        ("0\r\n\r\n", chunked, Ok("")),
        ("3\r\nabc\r\n", chunked, Err(io::ErrorKind::UnexpectedEof)),
        ("3\r\nab", chunked, Err(io::ErrorKind::UnexpectedEof)),
        ("3\r\nabcd\r\n", chunked, Err(io::ErrorKind::InvalidData)),
        ("+3\r\nabc\r\n0\r\n\r\n", chunked, Err(io::ErrorKind::InvalidData)),
        ("\r\n", chunked, Err(io::ErrorKind::InvalidData)),
        ("fffffffffffffffff\r\n", chunked, Err(io::ErrorKind::InvalidData)),
    ] {
        let mut found = String::new();
        // A small buffer, so that chunks come in pieces.
        let reader = BufReader::with_capacity(2, text.as_bytes());
        let read =
            Body { reader, length }.read_to_string(&mut found).map(|_| found.as_str()).map_err(|e| e.kind());
        assert_eq!(read, expected, "{text:?}");
    }
}
