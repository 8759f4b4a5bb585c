use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::server::{Server, field, ranged, send, whole};
use super::{Client, Patience, Target, bundle, client};

/// One that does not wait long, but for a server on a busy machine.
fn hasty() -> Client {
    let short = Duration::from_secs(3);
    let patience = Patience { answer: short, silence: short, attempts: 2, ..client().patience };
    Client { patience, ..client() }
}

#[test]
fn a_broken_connection_is_gone_on_with() {
    let server = Server::start(|number, request, stream| {
        ranged(stream, request, &bundle(), "\"1\"", if number < 2 { 300_000 } else { usize::MAX });
    });
    Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
    let requests = server.requests();
    let ranges: Vec<_> = requests.iter().map(|r| (field(r, "Range"), field(r, "If-Range"))).collect();
    assert_eq!(
        ranges,
        [(None, None), (Some("bytes=300000-"), Some("\"1\"")), (Some("bytes=600000-"), Some("\"1\"")),]
    );
}

#[test]
fn the_date_tells_versions_apart_as_well() {
    let date = "Thu, 26 Nov 2026 10:00:00 GMT";
    let server = Server::start(move |number, request, stream| {
        let bytes = bundle();
        let (from, status) = if number == 0 { (0, "200 OK") } else { (400_000, "206 Partial Content") };
        assert_eq!(field(request, "If-Range"), (number > 0).then_some(date));
        let fields = format!(
            "Last-Modified: {date}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/*\r\n",
            bytes.len() - from,
            bytes.len() - 1
        );
        send(stream, status, &fields, if number == 0 { &bytes[..400_000] } else { &bytes[from..] });
    });
    Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let server = Server::start(|number, _, stream| {
        let bytes = bundle();
        let fields = format!("Content-Length: {}\r\nETag: \"1\"\r\n", bytes.len());
        send(stream, "200 OK", &fields, if number == 0 { &bytes[..300_000] } else { &bytes });
    });
    Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
    assert_eq!(field(&server.requests()[1], "Range"), Some("bytes=300000-"));
}

#[test]
fn without_a_version_all_is_asked_for_again() {
    let server = Server::start(|number, _, stream| {
        let bytes = bundle();
        let fields = format!("Content-Length: {}\r\n", bytes.len());
        send(stream, "200 OK", &fields, if number == 0 { &bytes[..300_000] } else { &bytes });
    });
    Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
    assert_eq!(field(&server.requests()[1], "Range"), None);
}

#[test]
fn versions_are_never_mixed() {
    type Second = fn(&mut dyn super::server::Stream, &str);
    // What a server says to the second request when the file was replaced, well or badly.
    let table: [(Second, usize); 4] = [
        (|stream, request| ranged(stream, request, &bundle(), "\"2\"", usize::MAX), 2),
        // The rest of another version, in spite of If-Range.
        (
            |stream, _| {
                let rest = &bundle()[300_000..];
                let fields = format!(
                    "Content-Length: {}\r\nContent-Range: bytes 300000-{}/{}\r\nETag: \"2\"\r\n",
                    rest.len(),
                    bundle().len() - 1,
                    bundle().len()
                );
                send(stream, "206 Partial Content", &fields, rest);
            },
            3,
        ),
        // Another part than was asked for.
        (
            |stream, _| {
                let fields = "Content-Length: 5\r\nContent-Range: bytes 10-14/15\r\nETag: \"1\"\r\n";
                send(stream, "206 Partial Content", fields, b"12345");
            },
            3,
        ),
        (|stream, _| send(stream, "416 Range Not Satisfiable", "Content-Length: 0\r\n", b""), 3),
    ];
    for (second, requests) in table {
        let server = Server::start(move |number, request, stream| match number {
            0 => ranged(stream, request, &vec![7; 2_000_000], "\"1\"", 300_000),
            1 => second(stream, request),
            _ => whole(stream, &bundle()),
        });
        Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
        assert_eq!(server.requests().len(), requests);
    }
}

#[test]
fn a_wrong_length_is_not_believed() {
    let server = Server::start(|_, request, stream| {
        ranged(stream, request, &bundle(), "W/\"weak\"", 300_000);
    });
    let error = Target::new().fails(&client(), &server.url("x.sb"));
    assert!(
        error.message().contains("ended after 293.0 KiB, too early; given up after 3 attempts"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn passing_troubles_pass() {
    for status in
        ["500 Oops", "502 Bad Gateway", "503 Busy", "504 Slow", "429 Too Many Requests", "408 Timeout"]
    {
        let server = Server::start(move |number, _, stream| {
            if number < 2 {
                send(stream, status, "Content-Length: 0\r\n", b"");
            } else {
                whole(stream, &bundle());
            }
        });
        Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
        assert_eq!(server.requests().len(), 3, "{status}");
    }
}

#[test]
fn a_server_may_ask_for_time() {
    let server = Server::start(|number, _, stream| {
        if number == 0 {
            send(stream, "503 Busy", "Content-Length: 0\r\nRetry-After: 1\r\n", b"");
        } else {
            whole(stream, &bundle());
        }
    });
    let began = Instant::now();
    Target::new().gets(&client(), &server.url("x.sb"), "x.sb");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn slow_servers_are_given_up() {
    let server = Server::start(|_, request, stream| {
        let minute = |stream: &mut dyn super::server::Stream, bytes: &[u8]| {
            for byte in bytes.iter().cycle().take(3000) {
                if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
                    return;
                }
                sleep(Duration::from_millis(20));
            }
        };
        match request.split(' ').nth(1).unwrap() {
            "/silent.sb" => sleep(Duration::from_secs(60)),
            "/head-by-bytes.sb" => minute(stream, b"HTTP/1.1 200 OK\r\nX: "),
            "/stops.sb" => {
                send(stream, "200 OK", "Content-Length: 900000\r\n", &[0; 5000]);
                sleep(Duration::from_secs(60));
            }
            "/chunk-by-bytes.sb" => {
                send(stream, "200 OK", "Transfer-Encoding: chunked\r\n", b"");
                minute(stream, b"0");
            }
            _ => {
                send(stream, "200 OK", "Content-Length: 900000\r\n", b"");
                minute(stream, b"x");
            }
        }
    });
    let gives_up = |path: &str, part: &str| {
        let began = Instant::now();
        let error = Target::new().fails(&hasty(), &server.url(path));
        assert!(error.message().contains(part), "{path}: {error}");
        assert!(began.elapsed() < Duration::from_secs(40), "{path}: {:?}", began.elapsed());
    };
    thread::scope(|scope| {
        for (path, part) in [
            ("silent.sb", "did not answer within 3 s"),
            ("head-by-bytes.sb", "did not answer within 3 s"),
            ("stops.sb", "nothing came for 3 s"),
            ("chunk-by-bytes.sb", "nothing came for 3 s"),
            ("bytes.sb", "came within 3 s"),
        ] {
            scope.spawn(move || gives_up(path, part));
        }
    });
}

#[test]
fn what_is_not_http_is_told() {
    let server = Server::start(|_, _, stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
    });
    let error = Target::new().fails(&client(), &server.url("x.sb"));
    assert!(error.message().contains("does not speak HTTP"), "{error}");
    let closes = Server::start(|_, _, _| {});
    let error = Target::new().fails(&client(), &closes.url("x.sb"));
    assert!(error.message().contains("closed the connection without an answer"), "{error}");
}
