//! What dpkg shows.

use tests::Guest;

use crate::{activate, livekit, sh, with};

#[test]
fn dpkg_shows_the_packages_of_whatever_is_active() {
    let paragraph = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n\n")
    };
    let (a, b, c) = (paragraph("a", "1"), paragraph("b", "1"), paragraph("c", "1"));
    let [x, y] = [a.clone() + &c, b.clone() + &c];
    let base = paragraph("base", "1");
    let fragment = "usr/share/livekit/dpkg/status";
    let mut nest = with(&[
        (
            "20-x.sb",
            &[(fragment, &x), ("var/lib/dpkg/info/a.list", "/a"), ("var/lib/dpkg/info/c.list", "/c")],
        ),
        (
            "30-y.sb",
            &[(fragment, &y), ("var/lib/dpkg/info/b.list", "/b"), ("var/lib/dpkg/info/c.list", "/c")],
        ),
    ])
    .medium(|medium| {
        medium.bundle(
            "livekit/modules/10-dpkg.sb",
            &[("var/lib/dpkg/status", &base), ("var/lib/dpkg/info/base.list", "/base")],
        )
    })
    .start();
    let guest = &mut nest.guest;
    let has = |guest: &mut Guest, expected: &[&str]| {
        let status = guest.read("/var/lib/dpkg/status");
        let mut found: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{status}");
        // dpkg asks for the list of files of every package.
        let lists: Vec<String> = expected.iter().map(|name| format!("{name}.list")).collect();
        assert_eq!(guest.list("/var/lib/dpkg/info"), lists);
    };
    has(guest, &["base"]);
    activate(guest, "20-x.sb");
    has(guest, &["a", "base", "c"]);
    activate(guest, "30-y.sb");
    has(guest, &["a", "b", "base", "c"]);
    livekit(guest, "deactivate 20-x.sb");
    has(guest, &["b", "base", "c"]);
    activate(guest, "20-x.sb");
    livekit(guest, "deactivate y");
    has(guest, &["a", "base", "c"]);
    livekit(guest, "deactivate x");
    has(guest, &["base"]);
    assert_eq!(guest.read("/var/lib/dpkg/status"), base);
}

/// Packages that came in a session, with another bundle's beside them: the save has the user's alone.
#[test]
fn a_saved_session_brings_its_packages_and_no_others() {
    let paragraph = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n\n")
    };
    let base = ["a", "b", "c"].map(|name| paragraph(name, "1")).concat();
    let theirs = paragraph("v", "1");
    let nest = || {
        with(&[(
            "20-v.sb",
            &[("usr/share/livekit/dpkg/status", &theirs), ("var/lib/dpkg/info/v.list", "/usr/share/v\n")],
        )])
        .medium(|medium| {
            let list =
                |name: &'static str| (format!("var/lib/dpkg/info/{name}.list"), format!("/usr/{name}\n"));
            let lists = ["a", "b", "c"].map(list);
            let mut files: Vec<(&str, &str)> = lists.iter().map(|(path, text)| (&**path, &**text)).collect();
            files.push(("var/lib/dpkg/status", &base));
            medium.bundle("livekit/modules/10-dpkg.sb", &files)
        })
    };
    // What dpkg itself, on this machine, says of the guest's database.
    let listed = |guest: &mut Guest| {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let put =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a new file");
        for name in ["info", "updates"] {
            std::fs::create_dir(folder.path().join(name)).expect("a new folder");
        }
        put("status", &guest.read("/var/lib/dpkg/status"));
        for name in guest.list("/var/lib/dpkg/info") {
            put(&format!("info/{name}"), &guest.read(&format!("/var/lib/dpkg/info/{name}")));
        }
        let mut query = tests::programs::command("dpkg-query");
        query.arg(format!("--admindir={}", folder.path().display())).args([
            "-W",
            "-f",
            "${Package}=${Version} ",
        ]);
        tests::programs::output(&mut query).trim().to_owned()
    };
    let changes = tempfile::TempDir::new().expect("a temporary folder");
    let mut nested = nest().changes_in(changes.path()).start();
    let guest = &mut nested.guest;
    activate(guest, "20-v.sb");
    assert_eq!(listed(guest), "a=1 b=1 c=1 v=1");
    // n comes, b is upgraded, c is purged; as dpkg writes it.
    let session =
        [("a", "1"), ("b", "2"), ("n", "1"), ("v", "1")].map(|(name, version)| paragraph(name, version));
    guest.write("/var/lib/dpkg/status", &session.concat());
    guest.write("/var/lib/dpkg/info/n.list", "/usr/n\n");
    guest.write("/usr/n", "n");
    sh(guest, "rm /var/lib/dpkg/info/c.list");
    assert_eq!(listed(guest), "a=1 b=2 n=1 v=1");
    livekit(guest, "savechanges /home/80-mine.sb");
    let saved = tempfile::TempDir::new().expect("a temporary folder");
    let file = saved.path().join("80-mine.sb");
    std::fs::copy(changes.path().join("upper/home/80-mine.sb"), &file).expect("the save");
    drop(nested);

    let mut nested = nest().medium(|medium| medium.copy_of("livekit/optional/80-mine.sb", &file)).start();
    let guest = &mut nested.guest;
    assert_eq!(listed(guest), "a=1 b=1 c=1");
    activate(guest, "80-mine.sb");
    assert_eq!(listed(guest), "a=1 b=2 n=1");
    assert_eq!(guest.read("/usr/n"), "n");
    activate(guest, "20-v.sb");
    assert_eq!(listed(guest), "a=1 b=2 n=1 v=1");
    livekit(guest, "deactivate mine");
    assert_eq!(listed(guest), "a=1 b=1 c=1 v=1");
    livekit(guest, "deactivate v");
    assert_eq!(listed(guest), "a=1 b=1 c=1");
}
