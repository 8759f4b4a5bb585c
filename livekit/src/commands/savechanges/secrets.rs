//! What of the changes is secret: by its path, as patterns in the syntax of .gitignore, and by how it begins.
//!
//! docs/changes.md shows this table; a test keeps it true. Only files with something in them are secret, not links or
//! marks of removed files.

use std::io::{self, Read};

use super::left_out::Entry;

const HASHES: &str = "password hashes";
const KEY: &str = "private key";
const NETWORK: &str = "network passwords";
const COOKIES: &str = "cookies";
const LOGINS: &str = "saved passwords";
const HISTORY: &str = "history";
const MACHINE: &str = "machine id";
const SEED: &str = "random seed";
const CREDENTIALS: &str = "credentials";

/// Left out of every save, by path.
pub const SECRETS: &[Entry] = &[
    ("/etc/shadow", HASHES),
    ("/etc/shadow-", HASHES),
    ("/etc/gshadow", HASHES),
    ("/etc/gshadow-", HASHES),
    ("/etc/security/opasswd", HASHES),
    ("/var/lib/samba/private/**", HASHES),
    ("/etc/ssh/ssh_host_*_key", KEY),
    ("/etc/ssl/private/**", KEY),
    ("/etc/wireguard/**", KEY),
    ("**/.ssh/id_*", KEY),
    ("!**/.ssh/id_*.pub", "public keys, which stay"),
    ("**/.gnupg/private-keys-v1.d/**", KEY),
    ("**/.gnupg/secring.gpg", KEY),
    ("*.ppk", KEY),
    ("*.p12", KEY),
    ("*.pfx", KEY),
    ("*.keytab", KEY),
    ("/var/lib/bluetooth/**", KEY),
    ("/var/lib/NetworkManager/secret_key", KEY),
    ("/var/lib/systemd/credential.secret", KEY),
    ("/etc/NetworkManager/system-connections/**", NETWORK),
    ("/etc/wpa_supplicant.conf", NETWORK),
    ("/etc/wpa_supplicant/*.conf", NETWORK),
    ("/var/lib/iwd/**", NETWORK),
    ("/etc/ppp/*-secrets", NETWORK),
    ("/etc/ipsec.secrets", NETWORK),
    ("cookies.sqlite*", COOKIES),
    ("**/.config/**/Cookies*", COOKIES),
    ("sessionstore.jsonlz4", COOKIES),
    ("**/sessionstore-backups/**", COOKIES),
    ("key3.db", LOGINS),
    ("key4.db", LOGINS),
    ("logins.json", LOGINS),
    ("logins-backup.json", LOGINS),
    ("signons.sqlite", LOGINS),
    ("**/.config/**/Login Data*", LOGINS),
    ("**/.config/**/Web Data*", LOGINS),
    ("**/.local/share/keyrings/**", LOGINS),
    ("**/.local/share/kwalletd/**", LOGINS),
    ("*.kdbx", LOGINS),
    (".*_history", HISTORY),
    (".*-history", HISTORY),
    (".histfile", HISTORY),
    (".lesshst", HISTORY),
    (".viminfo", HISTORY),
    ("**/.local/share/fish/fish_history", HISTORY),
    ("**/.local/state/**/*history", HISTORY),
    ("recently-used.xbel", HISTORY),
    ("places.sqlite*", HISTORY),
    ("**/.config/**/History*", HISTORY),
    ("/etc/machine-id", MACHINE),
    ("/var/lib/dbus/machine-id", MACHINE),
    ("/var/lib/systemd/random-seed", SEED),
    ("/var/lib/urandom/random-seed", SEED),
    ("/var/lib/random-seed", SEED),
    ("**/.gnupg/random_seed", SEED),
    (".netrc", CREDENTIALS),
    (".git-credentials", CREDENTIALS),
    (".smbcredentials", CREDENTIALS),
    (".pgpass", CREDENTIALS),
    (".my.cnf", CREDENTIALS),
    (".npmrc", CREDENTIALS),
    (".pypirc", CREDENTIALS),
    (".vault-token", CREDENTIALS),
    ("**/.aws/credentials", CREDENTIALS),
    ("**/.azure/**", CREDENTIALS),
    ("**/.config/gcloud/**", CREDENTIALS),
    ("**/.config/gh/hosts.yml", CREDENTIALS),
    ("**/.config/rclone/rclone.conf", CREDENTIALS),
    ("**/.cargo/credentials*", CREDENTIALS),
    ("**/.docker/config.json", CREDENTIALS),
    ("**/.kube/config", CREDENTIALS),
];

/// What the entry of that pattern matches.
pub fn kind(pattern: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == pattern).map_or("secret", |(_, kind)| kind)
}

/// Larger files are no keys that somebody exported, and are not looked into.
pub const LARGEST: u64 = 1 << 20;

/// How far a file that begins like a chain of certificates is looked through for the key that may follow them.
const CHAIN: u64 = 64 << 10;

/// How keys begin that are not in PEM's form: of PuTTY, of SSH's first protocol, of age.
const BEGINNINGS: &[&[u8]] =
    &[b"PuTTY-User-Key-File-", b"SSH PRIVATE KEY FILE FORMAT", b"AGE-SECRET-KEY-", b"# created: "];

/// What a file is that is secret by how it begins: a private key in PEM's form (which OpenSSH and PGP have as well), or
/// of PuTTY, SSH 1 or age.
pub fn by_content(file: impl Read) -> io::Result<Option<&'static str>> {
    let mut head = Vec::new();
    let mut file = file.take(CHAIN);
    file.by_ref().take(64).read_to_end(&mut head)?;
    let begins = |with: &[u8]| head.trim_ascii_start().starts_with(with);
    if begins(b"# created: ") {
        file.by_ref().take(1024).read_to_end(&mut head)?;
        return Ok(contains(&head, b"AGE-SECRET-KEY-").then_some(KEY));
    }
    if BEGINNINGS.iter().any(|with| begins(with)) {
        return Ok(Some(KEY));
    }
    if !begins(b"-----BEGIN ") && !begins(b"Bag Attributes") {
        return Ok(None);
    }
    file.read_to_end(&mut head)?;
    let is_key = head
        .split(|&byte| byte == b'\n')
        .any(|line| line.trim_ascii().starts_with(b"-----BEGIN ") && contains(line, b"PRIVATE KEY"));
    Ok(is_key.then_some(KEY))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_pattern() {
        let text = include_str!("../../../../docs/changes.md");
        for (pattern, kind) in SECRETS {
            assert!(text.contains(&format!("`{pattern}`")), "docs/changes.md does not have {pattern}");
            assert!(text.contains(kind), "docs/changes.md does not have {kind}");
        }
    }

    #[test]
    fn keys_are_known_by_how_they_begin() {
        let chain =
            ["-----BEGIN CERTIFICATE-----\n", &"A".repeat(5000), "\n-----BEGIN EC PRIVATE KEY-----\n"]
                .concat();
        for (text, secret) in [
            ("-----BEGIN RSA PRIVATE KEY-----\nabc", true),
            ("-----BEGIN PRIVATE KEY-----", true),
            ("\n -----BEGIN ENCRYPTED PRIVATE KEY-----\r\n", true),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", true),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", true),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", true),
            ("AGE-SECRET-KEY-1QQQ", true),
            ("# created: 2026-01-01\n# public key: age1\nAGE-SECRET-KEY-1QQQ", true),
            ("# created: 2026-01-01\nby hand", false),
            ("Bag Attributes\n  x\n-----BEGIN PRIVATE KEY-----", true),
            (chain.as_str(), true),
            ("-----BEGIN CERTIFICATE-----\nA\n", false),
            ("-----BEGIN PGP PUBLIC KEY BLOCK-----\nA\n", false),
            ("How to: put -----BEGIN PRIVATE KEY----- first", false),
            ("", false),
            ("\0\u{1}ELF", false),
        ] {
            assert_eq!(by_content(text.as_bytes()).unwrap().is_some(), secret, "{text:.60}");
        }
    }
}
