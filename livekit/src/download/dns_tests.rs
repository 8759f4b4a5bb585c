use std::net::TcpListener;
use std::thread;

use super::*;

/// An answer to `question`: header flags, and records of kind and data, each named by a pointer to the question.
fn answer(question: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&flags);
    message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    for (kind, data) in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(*data);
    }
    message
}

fn resolver(server: SocketAddr) -> Resolver {
    Resolver {
        servers: vec![server],
        patience: Duration::from_millis(300),
        attempts: 1,
        ..Resolver::parse("")
    }
}

#[test]
fn resolv_conf() {
    let text = "# x\nnameserver 10.0.0.1\nnameserver fd00::1 ; y\nnameserver nonsense\nsearch a.org. b\n\
                options ndots:2 timeout:3 attempts:9 rotate\n";
    let expected = Resolver {
        servers: vec!["10.0.0.1:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()],
        search: vec!["a.org".into(), "b".into()],
        dots: 2,
        patience: Duration::from_secs(3),
        attempts: 5,
    };
    assert_eq!(Resolver::parse(text), expected);
    assert_eq!(Resolver::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
}

#[test]
fn names_that_may_be_meant() {
    let resolver = Resolver::parse("search a.org b");
    for (host, expected) in
        [("x", &["x.a.org", "x.b", "x"][..]), ("x.y", &["x.y", "x.y.a.org", "x.y.b"]), ("x.y.", &["x.y"])]
    {
        assert_eq!(resolver.candidates(host), expected, "{host}");
    }
}

#[test]
fn what_cannot_be_asked() {
    let long = "x".repeat(64);
    for name in ["", "a..b", &long, &"a.".repeat(200)] {
        assert_eq!(question(1, name, A), None, "{name}");
    }
}

#[test]
fn answers_of_all_kinds() {
    let ask = question(0x1234, "x.org", A).unwrap();
    let good = answer(&ask, [0x81, 0x80], &[(5, b"\x01y\xc0\x0e"), (A, &[10, 0, 0, 1]), (A, &[10, 0, 0, 2])]);
    let numbers = Answer::Numbers(vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]);
    assert_eq!(read(&ask, A, &good).unwrap().unwrap(), numbers);
    assert_eq!(read(&ask, A, &answer(&ask, [0x81, 0x83], &[])).unwrap().unwrap(), Answer::Nothing);
    assert_eq!(read(&ask, A, &answer(&ask, [0x83, 0x80], &[])).unwrap().unwrap(), Answer::Truncated);
    assert!(read(&ask, A, &answer(&ask, [0x81, 0x82], &[])).unwrap().is_err());
    // A number of the wrong length, and every way to be cut short.
    assert!(read(&ask, A, &answer(&ask, [0x81, 0x80], &[(A, &[1, 2, 3])])).unwrap().is_err());
    for length in 0..good.len() {
        assert!(read(&ask, A, &good[..length]).is_none_or(|answer| answer.is_err()), "{length}");
    }
    // Another number, another name, no answer at all.
    for other in [question(0x1235, "x.org", A).unwrap(), question(0x1234, "y.org", A).unwrap()] {
        assert!(read(&ask, A, &answer(&other, [0x81, 0x80], &[])).is_none());
    }
    assert!(read(&ask, A, &answer(&ask, [0x01, 0x80], &[])).is_none());
}

#[test]
fn a_server_is_asked() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    let listener = TcpListener::bind(server).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let ask = &buffer[..length];
            let kind = ask[length - 3];
            // Something forged comes first.
            let mut forged = answer(ask, [0x81, 0x80], &[(A, &[6, 6, 6, 6])]);
            forged[0] ^= 1;
            socket.send_to(&forged, client).unwrap();
            let said = match (ask[13], u16::from(kind)) {
                (b'n', _) => answer(ask, [0x81, 0x83], &[]),
                (b't', A) => answer(ask, [0x83, 0x80], &[]),
                (_, A) => answer(ask, [0x81, 0x80], &[(A, &[10, 0, 0, 1])]),
                _ => answer(ask, [0x81, 0x80], &[(AAAA, &Ipv6Addr::LOCALHOST.octets())]),
            };
            socket.send_to(&said, client).unwrap();
        }
    });
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut ask = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut ask).unwrap();
        let said = answer(&ask, [0x81, 0x80], &[(A, &[10, 0, 0, 9])]);
        stream.write_all(&u16::try_from(said.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&said).unwrap();
    });
    let resolver = resolver(server);
    for (name, expected) in
        [("yes.org", &["10.0.0.1", "::1"][..]), ("no.org", &[]), ("truncated.org", &["10.0.0.9", "::1"])]
    {
        let expected: Vec<IpAddr> = expected.iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(resolver.look_up(name).unwrap(), expected, "{name}");
    }
}

#[test]
fn silence_is_told() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let why = resolver(socket.local_addr().unwrap()).look_up("x.org").unwrap_err();
    assert_eq!(why, "the name server 127.0.0.1 does not answer");
}
