//! Where bundles come from, and what they bring besides files.

use tests::{Guest, Medium, Nest};

use crate::{OPTIONAL, livekit, refused, sh, traces, with};

/// The loop device's file, of the bundle of that name.
fn file_of(guest: &mut Guest, name: &str) -> String {
    let report = guest.report_now();
    let device = report.loops.iter().find(|l| l.backing_file.ends_with(name));
    device.unwrap_or_else(|| panic!("no loop device has {name}: {:#?}", report.loops)).backing_file.clone()
}

#[test]
fn bundles_are_copied_where_they_may_go_away_and_kept_where_it_is_asked_for() {
    let mut nest =
        with(&[("20-x.sb", &[("usr/share/x", "x")]), ("30-y.sb", &[("usr/share/y", "y")])]).start();
    let guest = &mut nest.guest;
    let memory = "/run/initramfs/memory";
    // In the union itself: copied to memory, and the copy goes with the bundle.
    sh(guest, &format!("mkdir /home/me; cp {OPTIONAL}/20-x.sb /home/me/"));
    let said = livekit(guest, "activate /home/me/20-x");
    assert!(said.contains("it lies in the union itself"), "{said}");
    assert_eq!(file_of(guest, "20-x.sb"), format!("{memory}/activated/20-x.sb"));
    livekit(guest, "deactivate x");
    assert_eq!(guest.list(&format!("{memory}/activated")), Vec::<String>::new());
    // Kept: the medium is writable for as long as that takes.
    livekit(guest, "activate --keep /home/me/20-x.sb");
    let kept = format!("{memory}/data/livekit/modules/20-x.sb");
    assert_eq!(file_of(guest, "20-x.sb"), kept);
    assert!(guest.report_now().mount(&format!("{memory}/data")).options.contains(&"ro".into()));
    livekit(guest, "deactivate x");
    assert!(guest.exists(&kept));
    // One that is optional becomes part of every boot.
    livekit(guest, "activate --persist y");
    assert_eq!(file_of(guest, "30-y.sb"), format!("{memory}/data/livekit/modules/30-y.sb"));
    assert!(!guest.exists(&format!("{OPTIONAL}/30-y.sb")));
    assert_eq!(guest.read("/usr/share/y"), "y");
    // Another bundle of a name that is there is not written over.
    sh(guest, "cp /run/initramfs/memory/data/livekit/00-core.sb /home/me/20-x.sb");
    let said = refused(guest, "activate --keep /home/me/20-x.sb");
    assert!(said.contains("another bundle of that name is there"), "{said}");
    // What is in modules/ and not active is what refresh brings.
    let said = livekit(guest, "refresh");
    assert!(said.contains("Activated 20-x.sb") && !said.contains("30-y"), "{said}");
    guest.make_writable(&format!("{memory}/data"));
    sh(guest, &format!("rm {memory}/data/livekit/modules/30-y.sb"));
    let said = livekit(guest, "refresh");
    assert!(said.contains("Deactivated 30-y.sb"), "{said}");
    assert!(livekit(guest, "refresh").contains("Nothing on the medium has changed"));
}

#[test]
fn a_bundle_brings_what_it_requires_and_its_scripts_are_run() {
    let scripts: &[(&str, &str)] = &[
        ("run/requires", "# tools\ny, 40-z.sb\n"),
        ("run/activate.sh", "echo came $LIVEKIT_BUNDLE $(cat /usr/share/y) >> /home/log\n"),
        ("run/deactivate.sh", "echo goes $(cat /usr/share/x) >> /home/log\n"),
        ("usr/share/x", "x"),
    ];
    let mut nest = with(&[
        ("20-x.sb", scripts),
        ("30-y.sb", &[("usr/share/y", "y"), ("run/requires", "x")]),
        ("40-z.sb", &[("usr/share/z", "z"), ("usr/share/x", "z")]),
        ("50-w.sb", &[("run/requires", "nothing")]),
    ])
    .start();
    let guest = &mut nest.guest;
    let said = livekit(guest, "activate 20-x");
    assert!(said.contains("20-x.sb requires 30-y.sb") && said.contains("20-x.sb requires 40-z.sb"), "{said}");
    assert_eq!(guest.read("/usr/share/x"), "x", "what is required lies below");
    assert_eq!(guest.read("/home/log"), "came 20-x.sb y\n");
    let said = refused(guest, "deactivate 40-z.sb");
    assert!(said.contains("20-x.sb requires 40-z.sb"), "{said}");
    livekit(guest, "deactivate x y z");
    assert_eq!(guest.read("/home/log"), "came 20-x.sb y\ngoes x\n");
    let before = traces(guest);
    let said = refused(guest, "activate w");
    assert!(said.contains("50-w.sb requires nothing, which is neither active nor on the medium"), "{said}");
    assert_eq!(traces(guest), before);
}

/// Serves one file over HTTP to whoever asks, and gives its address.
fn server(content: Vec<u8>) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
    let port = listener.local_addr().expect("a bound socket").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut byte = [0; 1];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                request.push(byte[0]);
            }
            let found = request.starts_with(b"GET /60-net.sb ");
            let body: &[u8] = if found { &content } else { b"" };
            let status = if found { "200 OK" } else { "404 Not Found" };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn bundles_come_from_the_network() {
    let medium = Medium::empty().bundle("60-net.sb", &[("usr/share/net", "net")]);
    let content = std::fs::read(medium.path("60-net.sb")).expect("the bundle just made");
    let address = server(content.clone());
    let mut damaged = content;
    damaged.truncate(150);
    let bad = server(damaged);
    let mut nest = Nest::new().start();
    let guest = &mut nest.guest;
    let before = traces(guest);
    let memory = "/run/initramfs/memory/activated";
    for (words, part) in [
        (format!("activate {address}/61-other.sb"), "404"),
        (format!("activate {bad}/60-net.sb"), "60-net.sb"),
        (format!("activate --sha256 {} {address}/60-net.sb", "0".repeat(64)), "SHA-256"),
        // The second one does not exist: the first one does not stay either.
        (format!("activate {address}/60-net.sb /nothing.sb"), "no such file"),
    ] {
        let said = refused(guest, &words);
        assert!(said.contains(part), "{words}: {said}");
        assert_eq!(traces(guest), before, "{words}");
        assert_eq!(guest.list(memory), Vec::<String>::new(), "{words}");
    }
    livekit(guest, &format!("activate {address}/60-net.sb"));
    assert_eq!(guest.read("/usr/share/net"), "net");
    assert_eq!(file_of(guest, "60-net.sb"), format!("{memory}/60-net.sb"));
    livekit(guest, "deactivate net");
    assert_eq!(guest.list(memory), Vec::<String>::new());
    // Kept: it comes to the medium itself.
    livekit(guest, &format!("activate --keep {address}/60-net.sb"));
    assert_eq!(file_of(guest, "60-net.sb"), "/run/initramfs/memory/data/livekit/modules/60-net.sb");
}
