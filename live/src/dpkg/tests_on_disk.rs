//! Databases on disk, and what dpkg itself says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::tests::{active, run, status, words};
use super::*;

/// A root of its own, with changes and bundles.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("livekit-dpkg-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A bundle that brings the package, with its list and what it owns.
    fn bundle(&self, name: &str, packages: &str) {
        let words: Vec<&str> = packages.split_whitespace().collect();
        self.put(&format!("{name}/{FRAGMENTS}/status"), &status(packages));
        for word in words {
            let (package, _) = word.split_once('=').unwrap();
            self.put(
                &format!("root/var/lib/dpkg/info/{package}.list"),
                &format!("/.\n/usr\n/usr/{package}\n"),
            );
            let digest = "d41d8cd98f00b204e9800998ecf8427e";
            self.put(
                &format!("root/var/lib/dpkg/info/{package}.md5sums"),
                &format!("{digest}  usr/{package}\n"),
            );
            self.put(&format!("root/usr/{package}"), "");
        }
    }

    fn status(&self) -> Vec<u8> {
        fs::read(self.path("root/var/lib/dpkg/status")).unwrap()
    }

    /// As a union with these bundles; what is written to the root is in the changes too.
    fn converge(&self, bundles: &[(&str, &Path)]) -> Changed {
        let changed = converge(&self.path("root"), &self.path("changes"), bundles).unwrap();
        if changed != Changed::default() {
            for name in ["status", "diversions", "triggers/File"] {
                if let Ok(text) = fs::read_to_string(self.path("root/var/lib/dpkg").join(name)) {
                    self.put(&format!("changes/upper/var/lib/dpkg/{name}"), &text);
                }
            }
        }
        changed
    }

    fn dpkg(&self, program: &str, arguments: &[&str]) -> String {
        let root = self.path("root");
        let mut command = Command::new(program);
        command.arg(format!("--admindir={}", root.join(HOME).display())).args(arguments);
        if program == "dpkg" {
            command.arg(format!("--root={}", root.display())).arg("--force-not-root");
        }
        let output = command.env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn whole_databases_count_beyond_those_below() {
    let place = Place::new("whole");
    place.put("00/var/lib/dpkg/status", &status("a=1 b=1"));
    place.put("20/var/lib/dpkg/status", &status("a=2 b=1 v=1"));
    let (core, hand) = (place.path("00"), place.path("20"));
    assert_eq!(fragment_of("00", &core, &[]).unwrap(), None);
    let found = fragment_of("20", &hand, &[&core]).unwrap().unwrap();
    assert_eq!((words(&found.text).as_str(), found.whole), ("v=1", true));
    // The union shows it by itself, until the bundle is deactivated, whether somebody has written to the database or not.
    let bundles: [(&str, &Path); 2] = [("00-core.sb", &core), ("20-hand.sb", &hand)];
    for written in [true, false] {
        let _ = fs::remove_dir_all(place.path("changes"));
        place.put("root/var/lib/dpkg/status", &status("a=2 b=1 v=1"));
        let (root, changes) = (place.path("root"), place.path("changes"));
        assert_eq!(converge_at_boot(&root, &changes, &bundles).unwrap(), Changed::default());
        if written {
            place.put("changes/upper/var/lib/dpkg/status", "");
        }
        assert_eq!(place.converge(&bundles[..1]).removed, ["v"]);
        assert_eq!(words(&place.status()), "a=2 b=1");
        assert_eq!(place.converge(&bundles).added, ["v"]);
    }
    // A boot without it and without changes of dpkg's: the record of the one before does not count.
    let _ = fs::remove_dir_all(place.path("changes/upper"));
    place.put("root/var/lib/dpkg/status", &status("a=1 b=1"));
    let (root, changes) = (place.path("root"), place.path("changes"));
    assert_eq!(converge_at_boot(&root, &changes, &bundles[..1]).unwrap(), Changed::default());
    assert_eq!(place.converge(&bundles).added, ["v"]);
}

#[test]
fn dpkg_agrees() {
    let place = Place::new("real");
    place.put("root/var/lib/dpkg/status", &status("a=1 b=1"));
    for name in ["a", "b"] {
        place.put(&format!("root/var/lib/dpkg/info/{name}.list"), "/.\n");
        place.put(&format!("root/var/lib/dpkg/info/{name}.md5sums"), "");
    }
    let diversions = "/bin/x\n/bin/x.distrib\na\n";
    place.put("root/var/lib/dpkg/diversions", diversions);
    place.put("root/var/lib/dpkg/triggers/File", "/usr/share/a a\n");
    place.put("root/var/lib/dpkg/info/format", "1\n");
    place.bundle("20-v.sb", "v=1 w=1");
    place.bundle("30-w.sb", "w=2");
    place.put(&format!("20-v.sb/{FRAGMENTS}/diversions"), "/usr/y\n/usr/y.distrib\nv\n");
    place.put(&format!("20-v.sb/{FRAGMENTS}/triggers/File"), "/usr/share/v v/noawait\n");
    let path = place.path("root/var/lib/dpkg/status");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = place.status();
    let (v, w) = (place.path("20-v.sb"), place.path("30-w.sb"));
    let bundles: [(&str, &Path); 2] = [("20-v.sb", &v), ("30-w.sb", &w)];

    let changed = place.converge(&bundles);
    assert_eq!(changed.added, ["v", "w"]);
    let list = place.dpkg("dpkg-query", &["-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"]);
    assert_eq!(list, "a 1 ii \nb 1 ii \nv 1 ii \nw 2 ii \n");
    assert!(place.dpkg("dpkg-query", &["-l", "v"]).contains("ii  v "));
    assert!(place.dpkg("dpkg-query", &["-s", "w"]).contains("Version: 2\n"));
    assert_eq!(place.dpkg("dpkg-query", &["-L", "v"]), "/.\n/usr\n/usr/v\n");
    assert_eq!(place.dpkg("dpkg", &["--audit"]), "");
    assert_eq!(place.dpkg("dpkg", &["--verify"]), "");
    assert!(place.dpkg("dpkg-divert", &["--list"]).contains("diversion of /usr/y to /usr/y.distrib by v"));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    let record = fs::read_to_string(place.path("changes/livekit/dpkg")).unwrap();
    assert!(
        record.starts_with("livekit-dpkg 1\n") && record.contains("\nstatus merged 20-v.sb/30-w.sb\n"),
        "{record}"
    );

    // A second call writes nothing at all.
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(place.converge(&bundles), Changed::default());
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);

    // Held by the user: dpkg writes its database anew, and it is the bundle's all the same.
    let mut select = Command::new("dpkg");
    select.arg(format!("--admindir={}", place.path("root/var/lib/dpkg").display())).arg("--set-selections");
    let mut select = select.stdin(std::process::Stdio::piped()).spawn().unwrap();
    select.stdin.take().unwrap().write_all(b"v hold\n").unwrap();
    assert!(select.wait().unwrap().success());
    assert!(place.dpkg("dpkg-query", &["-l", "v"]).contains("hi  v "));

    assert_eq!(place.converge(&bundles[1..]).removed, ["v"]);
    let list = place.dpkg("dpkg-query", &["-W", "-f", "${Package} ${Version}\n"]);
    assert_eq!(list, "a 1\nb 1\nw 2\n");
    assert_eq!(fs::read_to_string(place.path("root/var/lib/dpkg/diversions")).unwrap(), diversions);
    place.converge(&[]);
    assert_eq!(words(&place.status()), words(&before));
    assert!(!place.path("changes/livekit/dpkg").exists());
    assert_eq!(place.dpkg("dpkg", &["--audit"]), "");
}

/// A power cut after any of the writes is put right by the next call.
#[test]
fn a_cut_between_the_writes_is_repaired() {
    let place = Place::new("cut");
    let base = status("a=1");
    place.put("root/var/lib/dpkg/status", &base);
    place.bundle("20-v.sb", "v=1");
    let v = place.path("20-v.sb");
    let bundles: [(&str, &Path); 1] = [("20-v.sb", &v)];
    let record = place.path("changes/livekit/dpkg");
    let merged = run(base.as_bytes(), &active("20-v.sb:v=1"), &[]);
    let next = Record { databases: [("status".to_owned(), merged.entries)].into(), pending: false };
    let none = Record::default();
    let with = String::from_utf8(merged.text).unwrap();
    // On the way there and back: the record says pending, and the database is written or not.
    for (from, to) in [(&none, &next), (&next, &none)] {
        for text in [&base, &with] {
            for (bundles, expected) in [(&bundles[..], &with), (&[], &base)] {
                place.put("root/var/lib/dpkg/status", text);
                place.put("changes/upper/var/lib/dpkg/status", text);
                fs::create_dir_all(record.parent().unwrap()).unwrap();
                fs::write(&record, from.towards(to).text()).unwrap();
                place.converge(bundles);
                assert_eq!(String::from_utf8(place.status()).unwrap(), *expected);
                let stored = Record::read(&record).unwrap();
                assert_eq!(stored.databases, if bundles.is_empty() { &none } else { &next }.databases);
                assert!(!stored.pending);
            }
        }
    }
}

#[test]
fn without_dpkg_nothing_is_made() {
    let place = Place::new("none");
    place.put("root/etc/hostname", "x");
    place.put(&format!("20-v.sb/{FRAGMENTS}/status"), &status("v=1"));
    let v = place.path("20-v.sb");
    assert_eq!(place.converge(&[("20-v.sb", &v)]), Changed::default());
    drop(Lock::take(&place.path("root"), Duration::ZERO).unwrap());
    assert!(!place.path("root/var").exists() && !place.path("changes").exists());
}

#[test]
fn dpkg_and_a_switch_keep_each_other_out() {
    let place = Place::new("lock");
    let root = place.path("root");
    place.put("root/var/lib/dpkg/status", &status("a=1"));
    for name in ["lock", "lock-frontend"] {
        place.put(&format!("root/var/lib/dpkg/{name}"), "");
    }
    // dpkg waits for nobody.
    let try_dpkg = || {
        let admin = format!("--admindir={}", root.join(HOME).display());
        let output =
            Command::new("dpkg").args([&admin, "--configure", "-a"]).env("LC_ALL", "C").output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let held = Lock::take(&root, Duration::ZERO).unwrap();
    let (done, said) = try_dpkg();
    assert!(!done && said.contains("lock") && said.contains(&std::process::id().to_string()), "{said}");
    drop(held);
    assert!(try_dpkg().0, "{}", try_dpkg().1);

    // Somebody else holds it: a program that takes locks as dpkg does.
    let script = "use Fcntl; open(my $f, '>>', $ARGV[0]) or die; \
        my $l = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die; $| = 1; print 'held'; sleep 60";
    let mut holder = Command::new("perl")
        .args(["-e", script])
        .arg(root.join(HOME).join("lock"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut told).unwrap();
    let error = Lock::take(&root, Duration::from_millis(150)).unwrap_err();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let expected = format!("packages are being installed by perl (process {})", holder.id());
    assert!(error.message().ends_with(&expected), "{error}");
    assert!(Lock::take(&root, Duration::ZERO).is_ok());
}
