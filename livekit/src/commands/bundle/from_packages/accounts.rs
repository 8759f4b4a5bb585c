//! Users and groups that packages added, as a file for systemd-sysusers (sysusers.d(5)).
//!
//! /etc/passwd and its like are whole files: in a bundle they would hide those of the system.

use std::fs;
use std::path::Path;

use crate::error::{AtPath, Result};

/// Where systemd-sysusers looks.
const FOLDER: &str = "usr/lib/sysusers.d";

/// Compares the accounts of `base` with those of `union`, and writes a file into the union that makes the new ones.
pub fn write(base: &Path, union: &Path, title: &str) -> Result<()> {
    let read = |root: &Path, name: &str| -> Result<String> {
        let path = root.join("etc").join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).at("read", &path),
        }
    };
    let text = lines(
        (&read(base, "passwd")?, &read(base, "group")?),
        (&read(union, "passwd")?, &read(union, "group")?),
    );
    if text.is_empty() {
        return Ok(());
    }
    let folder = union.join(FOLDER);
    fs::create_dir_all(&folder).at("make the directory", &folder)?;
    let path = folder.join(format!("livekit-{title}.conf"));
    fs::write(&path, text).at("write", &path)
}

/// Lines that turn the first passwd and group into the second; what was taken away counts for nothing.
fn lines(before: (&str, &str), after: (&str, &str)) -> String {
    let mut text = String::new();
    for group in records(after.1) {
        if find(before.1, group[0]).is_none() {
            text.push_str(&format!("g {} {}\n", group[0], at(&group, 2)));
        }
    }
    for user in records(after.0) {
        if find(before.0, user[0]).is_none() {
            let [uid, gid, name, home, shell] = [2, 3, 4, 5, 6].map(|field| at(&user, field));
            let named = |text: &str| if text.is_empty() { "-".to_owned() } else { quoted(text) };
            text.push_str(&format!(
                "u {} {uid}:{gid} {} {} {}\n",
                user[0],
                named(name),
                named(home),
                named(shell)
            ));
        }
    }
    for group in records(after.1) {
        let members = find(before.1, group[0]).map(|group| at(&group, 3).to_owned()).unwrap_or_default();
        let was = |member: &str| members.split(',').any(|other| other == member);
        for member in at(&group, 3).split(',').filter(|member| !member.is_empty() && !was(member)) {
            text.push_str(&format!("m {member} {}\n", group[0]));
        }
    }
    text
}

/// Records of fields, as passwd(5) and group(5) have them.
fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4)
}

fn find<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    records(text).find(|fields| fields[0] == name)
}

fn at<'a>(fields: &[&'a str], number: usize) -> &'a str {
    fields.get(number).copied().unwrap_or_default()
}

/// A word of sysusers.d(5), where `%` begins a specifier.
fn quoted(text: &str) -> String {
    let text = text.replace('%', "%%");
    if text.contains([' ', '"', '\'', '\\', ';']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n";
        let group = "root:x:0:\nadm:x:4:a\n";
        for (passwd_after, group_after, expected) in [
            (passwd.to_owned(), group.to_owned(), ""),
            (
                format!(
                    "{passwd}web:x:101:103:Web \"1\" server:/var/www:/usr/sbin/nologin\nno:x:102:65534::/nonexistent:\n"
                ),
                format!("{group}web:x:103:\n"),
                "g web 103\nu web 101:103 \"Web \\\"1\\\" server\" /var/www /usr/sbin/nologin\nu no 102:65534 - /nonexistent -\n",
            ),
            (
                passwd.to_owned(),
                "root:x:0:\nadm:x:4:a,web\nlog:x:104:web\n".to_owned(),
                "g log 104\nm web adm\nm web log\n",
            ),
            ("bad line\n".to_owned(), "".to_owned(), ""),
        ] {
            assert_eq!(lines((passwd, group), (&passwd_after, &group_after)), expected);
        }
    }
}
