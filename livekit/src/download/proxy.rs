//! Which proxy a request goes through, by the variables that programs agree on: `http_proxy`, `https_proxy`, `all_proxy`,
//! `no_proxy`. In capitals they count as well, but for `HTTP_PROXY`, which a web server may have set from a request.

use std::net::IpAddr;

use super::address::Address;
use crate::error::{Error, Result};

/// The proxies of this environment.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none: Vec<String>,
}

impl Proxies {
    /// Reads the variables.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first =
            |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|v| !v.trim().is_empty()));
        let none = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Proxies {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            none: none.split([',', ' ']).filter(|n| !n.is_empty()).map(str::to_ascii_lowercase).collect(),
        }
    }

    /// The proxy for an address; nothing if it is asked directly.
    ///
    /// # Errors
    /// The variable names no HTTP proxy.
    pub fn for_address(&self, address: &Address) -> Result<Option<Address>> {
        let (value, name) =
            if address.is_https { (&self.https, "https_proxy") } else { (&self.http, "http_proxy") };
        let Some(value) = value.as_ref().filter(|_| !self.is_direct(address)) else { return Ok(None) };
        let value = value.trim();
        let typed = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        match Address::parse(&typed) {
            Ok(proxy) if !proxy.is_https => Ok(Some(proxy)),
            _ => Err(Error::new(format!("the variable {name} names no proxy that can be used"))
                .hint("it has to be http://SERVER:PORT; no_proxy names servers that need none")),
        }
    }

    fn is_direct(&self, address: &Address) -> bool {
        self.none.iter().any(|rule| matches(rule, address))
    }
}

/// Whether a word of `no_proxy` means a server: `*`, a name with all names below it, a number, or a range of numbers; with
/// or without a port.
fn matches(rule: &str, address: &Address) -> bool {
    if rule == "*" {
        return true;
    }
    let number: Option<IpAddr> = address.host.parse().ok();
    if let (Some((net, length)), Some(number)) = (rule.split_once('/'), number) {
        return is_within(net, length, number).unwrap_or(false);
    }
    let (rule, port) = match rule.rsplit_once(':') {
        // With more than one colon it is a number of IPv6, in which a port follows a bracket.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse::<u16>().ok()),
        _ => (rule, None),
    };
    let name = rule.trim_matches(['[', ']']).trim_start_matches("*.").trim_start_matches('.');
    let below = address.host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.is_empty() && below && port.is_none_or(|port| port == address.port)
}

fn is_within(net: &str, length: &str, number: IpAddr) -> Option<bool> {
    let length: u32 = length.parse().ok()?;
    match (net.parse().ok()?, number) {
        (IpAddr::V4(net), IpAddr::V4(number)) => {
            let differ = net.to_bits() ^ number.to_bits();
            Some(length <= 32 && differ.checked_shr(32 - length).unwrap_or(0) == 0)
        }
        (IpAddr::V6(net), IpAddr::V6(number)) => {
            let differ = net.to_bits() ^ number.to_bits();
            Some(length <= 128 && differ.checked_shr(128 - length).unwrap_or(0) == 0)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(pairs: &[(&str, &str)], url: &str) -> Result<Option<String>> {
        let variable = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let found = Proxies::of(variable).for_address(&Address::parse(url).unwrap())?;
        Ok(found.map(|proxy| proxy.server_and_port()))
    }

    #[test]
    fn variables_decide() {
        let p = "http://u:p@proxy:3128/";
        for (pairs, url, expected) in [
            (&[][..], "http://a/", None),
            (&[("http_proxy", p)], "http://a/", Some("proxy:3128")),
            (&[("http_proxy", p)], "https://a/", None),
            (&[("HTTP_PROXY", p)], "http://a/", None),
            (&[("HTTPS_PROXY", p)], "https://a/", Some("proxy:3128")),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "q")], "https://a/", Some("q:80")),
            (&[("all_proxy", "q:81")], "http://a/", Some("q:81")),
            (&[("http_proxy", p), ("no_proxy", "a")], "http://a/", None),
            (&[("http_proxy", p), ("no_proxy", "b, a")], "http://x.a/", None),
        ] {
            assert_eq!(proxy(pairs, url).unwrap().as_deref(), expected, "{pairs:?} {url}");
        }
        for value in ["socks5://q:81", "https://q", "http://u:secret@"] {
            let error = proxy(&[("http_proxy", value)], "http://a/").unwrap_err();
            assert!(error.hint_text().is_some() && !error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn servers_without_a_proxy() {
        for (rule, url, expected) in [
            ("*", "http://a/", true),
            ("a.org", "http://a.org/", true),
            ("a.org", "http://x.a.org/", true),
            ("a.org", "http://xa.org/", false),
            (".a.org", "http://x.a.org/", true),
            ("*.a.org", "http://x.a.org/", true),
            ("a.org:81", "http://a.org/", false),
            ("a.org:80", "http://a.org/", true),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("10.0.0.0/8", "http://10.org/", false),
            ("127.0.0.1", "http://127.0.0.1:8080/", true),
            ("::1", "http://[::1]/", true),
            ("[::1]:80", "http://[::1]/", true),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("10.0.0.0/99", "http://10.0.0.0/", false),
            (".", "http://a/", false),
        ] {
            assert_eq!(matches(rule, &Address::parse(url).unwrap()), expected, "{rule} {url}");
        }
    }
}
