//! Addresses of downloads: what of RFC 3986 an http:// or https:// address needs.

use std::fmt;

use crate::error::{Error, Result};

/// An address taken apart. Shown without name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the connection is encrypted.
    pub is_https: bool,
    /// Name or number of the server, in lower case and without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query as they are asked for, percent-encoded.
    pub target: String,
    /// Name and password, as they were before percent-encoding.
    pub login: Option<(String, String)>,
}

/// Whether the user typed an address rather than a file.
pub fn is_address(typed: &str) -> bool {
    scheme(typed).is_some()
}

/// What may be shown, and kept in records, of an address as it was typed: all but name and password.
pub fn shown(typed: &str) -> String {
    let Some((_, rest)) = scheme(typed) else { return typed.to_owned() };
    let begin = typed.len() - rest.len();
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => format!("{}{}", &typed[..begin], &rest[at + 1..]),
        None => typed.to_owned(),
    }
}

/// Whether it is https, and what follows the scheme.
fn scheme(typed: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = typed.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some((false, rest)),
        "https" => Some((true, rest)),
        _ => None,
    }
}

impl Address {
    /// Takes an address apart.
    ///
    /// # Errors
    /// It is neither http nor https, or has no server, or one that cannot be.
    pub fn parse(typed: &str) -> Result<Self> {
        let refused = |why: &str| Error::new(format!("cannot use the address {}: {why}", shown(typed)));
        let (is_https, rest) =
            scheme(typed.trim()).ok_or_else(|| refused("it is not http:// or https://"))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, server) = match authority.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, authority),
        };
        let (host, port) = split_port(server).ok_or_else(|| refused("its port is no number"))?;
        if !host.is_ascii() {
            return Err(refused("the server's name is not in ASCII").hint("write the name as xn--…"));
        }
        if !is_host(host) {
            return Err(refused("it names no server"));
        }
        let login = login.map(|login| {
            let (name, password) = login.split_once(':').unwrap_or((login, ""));
            (text(name), text(password))
        });
        Ok(Address {
            is_https,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
            target: encode(&if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }),
            login,
        })
    }

    /// Where a redirection from here leads to. Name and password go along only to the same server.
    ///
    /// # Errors
    /// As [`Address::parse`]; and if it leads from https to http.
    pub fn follow(&self, location: &str) -> Result<Self> {
        let location = location.trim();
        let scheme = if self.is_https { "https" } else { "http" };
        let absolute = if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else {
            format!("{scheme}://{}{}", self.server(), self.beside(location))
        };
        let mut next = Self::parse(&absolute)?;
        if self.is_https && !next.is_https {
            return Err(Error::new(format!("it leads from https to {next}, which is not encrypted"))
                .hint("if that may be, use the http:// address itself, with --sha256"));
        }
        if next.login.is_none()
            && (next.is_https, &next.host, next.port) == (self.is_https, &self.host, self.port)
        {
            next.login.clone_from(&self.login);
        }
        Ok(next)
    }

    /// The target that a relative reference means.
    fn beside(&self, reference: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let (way, query) = reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()));
        let whole = match way {
            "" => return format!("{path}{query}"),
            way if way.starts_with('/') => way.to_owned(),
            way => format!("{}/{way}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in whole.split('/').skip(1) {
            match part {
                ".." => drop(parts.pop()),
                "." => {}
                part => parts.push(part),
            }
        }
        if matches!(whole.rsplit('/').next(), Some("." | "..")) {
            parts.push("");
        }
        format!("/{}{query}", parts.join("/"))
    }

    /// Server and port as a request names them: the port only where it is not the usual one.
    pub fn server(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        if self.port == usual { self.bracketed() } else { format!("{}:{}", self.bracketed(), self.port) }
    }

    /// Server and port as a proxy is asked for them.
    pub fn server_and_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The file name that the path ends in, made safe; nothing if it ends in none.
    pub fn file_name(&self) -> Option<String> {
        let path = self.target.split('?').next().unwrap_or_default();
        safe_name(&String::from_utf8(decode(path.rsplit('/').next()?)).ok()?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.is_https { "https" } else { "http" }, self.server(), self.target)
    }
}

/// A password must not get into a log by way of an assertion either.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", if self.login.is_some() { " (with a password)" } else { "" })
    }
}

/// A name that makes no trouble as a file's: in one folder, visible, no flag, with room for a suffix.
pub fn safe_name(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or_default().trim();
    let name: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let name = name.trim_start_matches(['.', '-', ' ']);
    (!name.is_empty() && name.len() <= 240).then(|| name.to_owned())
}

fn split_port(server: &str) -> Option<(&str, Option<u16>)> {
    match server.rsplit_once(':') {
        Some((host, "")) if !host.is_empty() => Some((host, None)),
        Some((host, port)) if !port.contains(']') => Some((host, Some(port.parse().ok()?))),
        _ => Some((server, None)),
    }
}

/// Whether it is a name, or a number in brackets. No name begins with a hyphen: programs would take it for a flag.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(number) => number.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            (1..=253).contains(&host.len()) && !host.starts_with(['-', '.']) && host.bytes().all(known)
        }
    }
}

fn text(encoded: &str) -> String {
    String::from_utf8_lossy(&decode(encoded)).into_owned()
}

/// Undoes percent-encoding. What is none stays.
fn decode(encoded: &str) -> Vec<u8> {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits =
            bytes.get(at + 1..at + 3).filter(|d| byte == b'%' && d.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Percent-encodes what a request cannot hold: blanks, control characters, and all beyond ASCII.
fn encode(target: &str) -> String {
    let mut encoded = String::with_capacity(target.len());
    for byte in target.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        for (typed, host, port, target, login) in [
            ("http://a.org", "a.org", 80, "/", None),
            ("HTTPS://A.org/x.sb#part", "a.org", 443, "/x.sb", None),
            ("http://a:8080?q=1", "a", 8080, "/?q=1", None),
            ("http://a:/x", "a", 80, "/x", None),
            ("http://[::1]:81/x", "::1", 81, "/x", None),
            ("http://[::1]/", "::1", 80, "/", None),
            ("http://u:p%40%3a@a/x", "a", 80, "/x", Some(("u", "p@:"))),
            ("http://u@v:w@a/@", "a", 80, "/@", Some(("u@v", "w"))),
            ("http://u@a/", "a", 80, "/", Some(("u", ""))),
            ("http://a/b c\r\nHost: x/ü%20", "a", 80, "/b%20c%0D%0AHost:%20x/%C3%BC%20", None),
        ] {
            let address = Address::parse(typed).unwrap();
            let found = (address.host.as_str(), address.port, address.target.as_str());
            assert_eq!(found, (host, port, target), "{typed}");
            assert_eq!(address.login, login.map(|(a, b)| (a.to_owned(), b.to_owned())), "{typed}");
        }
        for typed in [
            "ftp://a/x",
            "a/x",
            "http://",
            "http:///x",
            "http://-a/",
            "http://a:x/",
            "http://a:99999/",
            "http://a b/",
            "http://[a]/",
            "http://ü.org/",
            "http://u:secret@a:x/",
            "http://[::1/",
            "http://../x",
        ] {
            let error = Address::parse(typed).unwrap_err();
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        for (typed, expected) in [
            ("https://u:secret@a/x.sb", "https://a/x.sb"),
            ("https://u:sec@ret@a/x@y", "https://a/x@y"),
            ("https://a/x@y", "https://a/x@y"),
            ("/some/u:p@file", "/some/u:p@file"),
        ] {
            assert_eq!(shown(typed), expected);
        }
        let address = Address::parse("https://u:secret@a/x.sb?q").unwrap();
        assert_eq!(format!("{address} {address:?}"), "https://a/x.sb?q https://a/x.sb?q (with a password)");
    }

    #[test]
    fn redirections_lead_somewhere() {
        for (from, location, expected) in [
            ("http://a/d/x?q", "y", "http://a/d/y"),
            ("http://a/d/x?q", "/y?z", "http://a/y?z"),
            ("http://a/d/x?q", "?z", "http://a/d/x?z"),
            ("http://a/d/e/x", "../y/./z", "http://a/d/y/z"),
            ("http://a/x", "../../y/..", "http://a/"),
            ("http://a:81/x", "y:z/", ""),
            ("http://a:81/x", "./y:z", "http://a:81/y:z"),
            ("http://a/x", "//b/y", "http://b/y"),
            ("http://a/x", "https://b/y", "https://b/y"),
            ("https://a/x", "https://b:4/y", "https://b:4/y"),
            ("https://a/x", "http://a/x", ""),
            ("http://a/x", "file:///etc/passwd", ""),
            ("http://[::1]:81/x", "y", "http://[::1]:81/y"),
        ] {
            let found = Address::parse(from).unwrap().follow(location).map(|a| a.to_string());
            assert_eq!(found.unwrap_or_default(), expected, "{from} {location}");
        }
    }

    #[test]
    fn passwords_go_to_their_server_alone() {
        let address = Address::parse("http://u:p@a/x").unwrap();
        for (location, kept) in [
            ("/y", true),
            ("http://a/y", true),
            ("http://a:81/y", false),
            ("http://b/y", false),
            ("https://a/y", false),
        ] {
            assert_eq!(address.follow(location).unwrap().login.is_some(), kept, "{location}");
        }
    }

    #[test]
    fn file_names_are_safe() {
        for (typed, expected) in [
            ("http://a/d/20-x.sb?token=1", Some("20-x.sb")),
            ("http://a/d/my%20b%C3%BCndel.sb", Some("my bündel.sb")),
            ("http://a/..%2f..%2fetc%2fpasswd", Some("passwd")),
            ("http://a/%2e%2e", None),
            ("http://a/--help.sb", Some("help.sb")),
            ("http://a/a%0Ab%00.sb", Some("a_b_.sb")),
            ("http://a/%ff.sb", None),
            ("http://a/100%.sb", Some("100%.sb")),
            ("http://a/", None),
            ("http://a", None),
        ] {
            assert_eq!(Address::parse(typed).unwrap().file_name().as_deref(), expected, "{typed}");
        }
        assert_eq!(safe_name(&"x".repeat(250)), None);
    }
}
