//! Names of servers become numbers. A static program cannot use glibc's own way (docs/decisions/0004), so the system's
//! `getent` is asked, which knows all that nsswitch.conf says; where there is none, /etc/hosts and the name servers are.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::dns::Resolver;

/// How long getent may take: what the C library allows three servers of which none answers.
const LIMIT: Duration = Duration::from_secs(35);

const PROGRAMS: [&str; 3] = ["/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"];

/// The numbers of a server, the best first; the error says why there are none.
pub fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(number) = host.parse() {
        return Ok(vec![number]);
    }
    let getent = PROGRAMS.iter().map(PathBuf::from).find(|path| path.is_file());
    match getent.and_then(|getent| ask(&getent, host)) {
        Some(answer) => answer,
        None => by_ourselves(host, Path::new("/etc/hosts"), Path::new("/etc/resolv.conf")),
    }
}

fn unknown(host: &str) -> String {
    format!("no server is known by the name {host}")
}

/// Asks getent; nothing if it cannot tell.
fn ask(getent: &Path, host: &str) -> Option<Result<Vec<IpAddr>, String>> {
    let mut command = Command::new(getent);
    command.args(["ahosts", host]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + LIMIT;
    // A server has a few numbers: they fit into the pipe, and nobody need read before the end.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Some(Err(format!("no name server answered within {} s", LIMIT.as_secs())));
            }
        }
    };
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    match (status.code()?, numbers(&text)) {
        (0, numbers) if !numbers.is_empty() => Some(Ok(numbers)),
        // getent(1): "One or more supplied key could not be found".
        (0 | 2, _) => Some(Err(unknown(host))),
        _ => None,
    }
}

/// The first word of each line, each number once.
fn numbers(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for number in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&number) {
            found.push(number);
        }
    }
    found
}

fn by_ourselves(host: &str, hosts: &Path, resolv_conf: &Path) -> Result<Vec<IpAddr>, String> {
    let listed = in_hosts(&fs::read_to_string(hosts).unwrap_or_default(), host);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let found = Resolver::parse(&fs::read_to_string(resolv_conf).unwrap_or_default()).look_up(host)?;
    if found.is_empty() { Err(unknown(host)) } else { Ok(found) }
}

/// The numbers that the lines of hosts(5) give a name.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let number = words.next().and_then(|number| number.parse::<IpAddr>().ok());
        if let Some(number) = number.filter(|_| words.any(|name| name.eq_ignore_ascii_case(host))) {
            found.push(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            let found = look_up(host).unwrap();
            assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{host}: {found:?}");
        }
    }

    #[test]
    fn what_getent_says() {
        let folder = tempfile::tempdir().unwrap();
        let program = |script: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join("getent");
            let _ = fs::remove_file(&path);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let numbers = "echo '10.0.0.1  STREAM x'; echo '10.0.0.1  DGRAM'; echo 'fe80::1%eth0 STREAM'; echo 'fd00::1 RAW'";
        let found = ask(&program(numbers), "x").unwrap().unwrap();
        assert_eq!(found, ["10.0.0.1", "fd00::1"].map(|n| n.parse::<IpAddr>().unwrap()));
        assert_eq!(ask(&program("exit 2"), "x"), Some(Err("no server is known by the name x".to_owned())));
        assert_eq!(ask(&program("exit 127"), "x"), None);
        assert_eq!(ask(Path::new("/no/such/getent"), "x"), None);
    }

    #[test]
    fn lines_of_hosts() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 a\n10.0.0.1 b A.example a # x\nfd00::1\ta\nnonsense a\n";
        for (host, expected) in
            [("a", &["10.0.0.1", "fd00::1"][..]), ("a.example", &["10.0.0.1"]), ("x", &[]), ("10.0.0.1", &[])]
        {
            let expected: Vec<IpAddr> = expected.iter().map(|n| n.parse().unwrap()).collect();
            assert_eq!(in_hosts(text, host), expected, "{host}");
        }
    }
}
