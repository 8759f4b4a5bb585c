//! The rules of merging, as tables.

use super::merge::merge;
use super::*;

/// A paragraph as dpkg writes it.
pub(super) fn package(name: &str, version: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nMaintainer: Nobody <nobody@example.org>\n\
         Architecture: amd64\nVersion: {version}\nDescription: x\n y\n"
    )
}

/// A database of paragraphs: `a=1 b=2`.
pub(super) fn status(words: &str) -> String {
    words
        .split_whitespace()
        .map(|word| {
            let (name, version) = word.split_once('=').unwrap();
            package(name, version) + "\n"
        })
        .collect()
}

fn fragment(bundle: &str, text: &str) -> Fragment {
    Fragment { bundle: bundle.to_owned(), text: text.as_bytes().to_vec(), whole: false }
}

/// A database in the words of [`status`]; `!` before a package that is not installed.
pub(super) fn words(text: &[u8]) -> String {
    let pieces = Form::Paragraphs.pieces(text);
    let word = |piece: &Piece<'_>| {
        let value = |name| String::from_utf8_lossy(field(piece.text, name).unwrap_or_default()).into_owned();
        let mark = if is_installed(piece.text) { "" } else { "!" };
        format!("{mark}{}={}", value("Package"), value("Version"))
    };
    pieces.iter().filter(|piece| piece.id.is_some()).map(word).collect::<Vec<_>>().join(" ")
}

/// Active bundles, as `20:a=1,b=1 30:c=2`.
pub(super) fn active(text: &str) -> Vec<Fragment> {
    text.split_whitespace()
        .map(|bundle| {
            let (name, packages) = bundle.split_once(':').unwrap();
            fragment(name, &status(&packages.replace(',', " ")))
        })
        .collect()
}

pub(super) fn run(text: &[u8], fragments: &[Fragment], entries: &[Entry]) -> Merged {
    merge(Form::Paragraphs, text, fragments, Earlier { entries, ..Earlier::default() })
}

#[test]
fn rules() {
    // First with these bundles; the database is left so, or becomes that; then with those.
    for (base, first, merged, user, then, expected) in [
        ("a=1", "20:v=1", "a=1 v=1", None, "", "a=1"),
        ("a=1", "20:v=1", "a=1 v=1", None, "20:v=1", "a=1 v=1"),
        ("a=1", "", "a=1", None, "20:v=1,w=1", "a=1 v=1 w=1"),
        // What is there stays, whichever version.
        ("a=2", "20:a=1", "a=2", None, "", "a=2"),
        ("a=1", "20:a=2", "a=1", None, "", "a=1"),
        ("a=1", "20:a=1", "a=1", None, "", "a=1"),
        // Two bundles: shown once, as the higher has it, while one of them is active.
        ("a=1", "20:v=1 30:v=2", "a=1 v=2", None, "20:v=1", "a=1 v=1"),
        ("a=1", "20:v=1 30:v=2", "a=1 v=2", None, "30:v=2", "a=1 v=2"),
        ("a=1", "20:v=1", "a=1 v=1", None, "20:v=1 30:v=2,w=1", "a=1 v=2 w=1"),
        ("a=1", "20:v=1 30:v=1", "a=1 v=1", None, "30:v=1", "a=1 v=1"),
        // Upgraded, purged, removed by the user: his from then on.
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1 v=2"), "", "a=1 v=2"),
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1 v=2"), "20:v=1", "a=1 v=2"),
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1"), "20:v=1", "a=1"),
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1"), "20:v=1 30:v=2", "a=1"),
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1 !v=1"), "20:v=1", "a=1 !v=1"),
        ("a=1", "20:v=1", "a=1 v=1", Some("a=1 !v=1"), "", "a=1 !v=1"),
        // A package of the base, removed by the user, does not come back with a bundle that has it too.
        ("a=1 b=1", "20:b=1", "a=1 b=1", Some("a=1"), "20:b=1", "a=1"),
        // dpkg may write in another order.
        ("a=1 z=1", "20:v=1", "a=1 z=1 v=1", Some("a=1 v=1 z=1"), "", "a=1 z=1"),
    ] {
        let removed = |words: &str| {
            let text: Vec<String> = words
                .split_whitespace()
                .map(|word| match word.strip_prefix('!') {
                    Some(word) => status(word).replace("install ok installed", "deinstall ok config-files"),
                    None => status(word),
                })
                .collect();
            text.concat()
        };
        let one = run(status(base).as_bytes(), &active(first), &[]);
        assert_eq!(words(&one.text), merged, "{base} with {first}");
        let text = user.map_or(one.text.clone(), |user| removed(user).into_bytes());
        let two = run(&text, &active(then), &one.entries);
        assert_eq!(words(&two.text), expected, "{base} with {first}, {user:?}, then {then}");
        let again = run(&two.text, &active(then), &two.entries);
        assert_eq!(
            (&again.text, &again.entries),
            (&two.text, &two.entries),
            "a second call changes something"
        );
        assert!(again.added.is_empty() && again.removed.is_empty());
    }
}

#[test]
fn a_removal_is_remembered() {
    let merged = run(status("a=1").as_bytes(), &active("20:v=1"), &[]);
    let removed = run(status("a=1").as_bytes(), &active("20:v=1"), &merged.entries);
    assert_eq!(removed.entries[0].state, State::Removed);
    let gone = run(&removed.text, &[], &removed.entries);
    let back = run(&gone.text, &active("20:v=1"), &gone.entries);
    assert_eq!(words(&back.text), "a=1");
    // Until the user installs it.
    let installed = run(status("a=1 v=3").as_bytes(), &active("20:v=1"), &back.entries);
    assert_eq!((words(&installed.text).as_str(), installed.entries[0].state), ("a=1 v=3", State::Others));
}

#[test]
fn bytes_that_are_not_ours_stay() {
    for base in [
        "".to_owned(),
        "Package: a\n".to_owned(),
        status("a=1 b=2"),
        format!("\n\n{}\n\nrubbish: x\n\nPackage:\n\n{}", package("a", "1"), package("b", "1")),
        format!("{}no colon\n", package("a", "1")),
    ] {
        let one = run(base.as_bytes(), &active("20:v=1,w=1 30:x=1"), &[]);
        assert_eq!(one.added, ["v", "w", "x"]);
        let two = run(&one.text, &active("30:x=1"), &one.entries);
        assert_eq!(two.removed, ["v", "w"]);
        let three = run(&two.text, &[], &two.entries);
        assert_eq!(String::from_utf8(three.text).unwrap(), base);
        assert!(three.entries.is_empty());
    }
}

#[test]
fn architectures_are_packages_of_their_own() {
    let same = |architecture: &str, version: &str| {
        package("l", version).replace("amd64", &format!("{architecture}\nMulti-Arch: same")) + "\n"
    };
    let both = [same("amd64", "1"), same("i386", "1")].concat();
    for (base, brought, expected) in [
        (same("amd64", "1"), same("i386", "1"), "l=1 l=1"),
        (same("amd64", "1"), same("amd64", "2"), "l=1"),
        // dpkg refuses a database with two of these.
        (package("l", "1") + "\n", package("l", "2").replace("amd64", "i386"), "l=1"),
        (package("l", "1") + "\n", same("i386", "1"), "l=1"),
        (status("a=1"), both, "a=1 l=1 l=1"),
    ] {
        let merged = run(base.as_bytes(), &[fragment("20", &brought)], &[]);
        assert_eq!(words(&merged.text), expected, "{base}{brought}");
        assert_eq!(run(&merged.text, &[], &merged.entries).text, base.as_bytes());
    }
}

#[test]
fn an_upgrade_takes_the_place_of_what_it_was_made_on() {
    let upgrade = package("b", "2").replace("Version", "Livekit-Replaces: 1\nVersion");
    let bundle = [fragment("20", &upgrade)];
    for (base, merged) in
        [("a=1 b=1 c=1", "a=1 b=2 c=1"), ("a=1 b=3 c=1", "a=1 b=3 c=1"), ("a=1 c=1", "a=1 c=1 b=2")]
    {
        let one = run(status(base).as_bytes(), &bundle, &[]);
        assert_eq!(words(&one.text), merged);
        assert!(!one.text.windows(7).any(|w| w == b"Livekit"), "dpkg would warn of the field");
        let two = run(&one.text, &[], &one.entries);
        assert_eq!(two.text, status(base).as_bytes());
    }
    // A version the user goes back to is his.
    let one = run(status("b=1").as_bytes(), &bundle, &[]);
    let two = run(status("b=1").as_bytes(), &bundle, &one.entries);
    assert_eq!((words(&two.text).as_str(), two.entries[0].state), ("b=1", State::Others));
}

#[test]
fn any_order_ends_where_it_began() {
    let bundles = ["20:v=1,w=1,x=1", "30:w=2,y=1", "40:x=3,w=3,z=1,b=9"];
    let base = status("a=1 b=1 c=1");
    // All that a small generator can do to three bundles, in 200 runs.
    let mut seed = 1u64;
    for _ in 0..200 {
        let (mut text, mut entries, mut on) = (base.clone().into_bytes(), Vec::new(), [false; 3]);
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chosen = usize::try_from(seed >> 33).unwrap() % 3;
            on[chosen] = !on[chosen];
            let names: Vec<&str> =
                bundles.iter().zip(on).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
            let merged = run(&text, &active(&names.join(" ")), &entries);
            let highest = |package: &str| {
                names.iter().rev().find_map(|name| {
                    let (_, packages) = name.split_once(':').unwrap();
                    packages.split(',').find(|word| word.starts_with(package)).map(str::to_owned)
                })
            };
            let mut expected: Vec<String> = ["a=1", "b=1", "c=1"].map(str::to_owned).to_vec();
            expected.extend(["v", "w", "x", "y", "z"].iter().filter_map(|name| highest(name)));
            let shown = words(&merged.text);
            let mut shown: Vec<&str> = shown.split(' ').collect();
            shown.sort_unstable();
            assert_eq!(shown, expected, "{names:?}");
            (text, entries) = (merged.text, merged.entries);
        }
        let last = run(&text, &[], &entries);
        assert_eq!(String::from_utf8(last.text).unwrap(), base);
        assert!(last.entries.is_empty());
    }
}

/// Packages in words, as [`status`] has them, with marks: `-` in front for one that is to be away or is, `!` for one with
/// configuration files left, `/` before the version whose place is taken.
fn marked(words: &str) -> String {
    let paragraph = |word: &str| {
        let (word, replaces) =
            word.split_once('/').map_or((word, None), |(word, version)| (word, Some(version)));
        let name = word.trim_start_matches(['-', '!']);
        let (name, version) = name.split_once('=').unwrap_or((name, ""));
        let text = match &word[..1] {
            "-" => format!("Status: purge ok not-installed\nPackage: {name}\nArchitecture: amd64\n"),
            "!" => package(name, version).replace("install ok installed", "deinstall ok config-files"),
            _ => package(name, version),
        };
        text + &replaces.map_or_else(String::new, |version| format!("{REPLACES}: {version}\n"))
    };
    words.split_whitespace().map(paragraph).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_bundle_that_removes_keeps_away_what_it_hides() {
    let bundles =
        [("20", "v=1 b=2/1 x=1"), ("30", "w=1 x=2"), ("80", "-a/1 -b/1 -v/1 -x/1 !c=1/1 -none/1 -d/9")];
    let base = status("a=1 b=1 c=1 d=1");
    for (on, expected) in [
        ("20", "a=1 b=2 c=1 d=1 v=1 x=1"),
        ("80", "!c=1 d=1"),
        ("20 80", "!c=1 d=1"),
        // A version that the bundle does not hide.
        ("20 30 80", "!c=1 d=1 w=1 x=2"),
        ("30 80", "!c=1 d=1 w=1 x=2"),
        ("80 20", "!c=1 b=2 d=1 v=1 x=1"),
    ] {
        let fragments = |names: &[&str]| -> Vec<Fragment> {
            let of =
                |name: &str| fragment(name, &marked(bundles.iter().find(|(n, _)| *n == name).unwrap().1));
            names.iter().map(|name| of(name)).collect()
        };
        let on: Vec<&str> = on.split(' ').collect();
        let sorted = |text: &[u8]| {
            let words = words(text);
            let mut words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            words.sort();
            words.join(" ")
        };
        // At once; then each of them gone for a time, and all gone.
        let mut merged = run(base.as_bytes(), &fragments(&on), &[]);
        assert_eq!(sorted(&merged.text), expected, "{on:?}");
        for off in &on {
            let others: Vec<&str> = on.iter().copied().filter(|name| name != off).collect();
            let without = run(&merged.text, &fragments(&others), &merged.entries);
            let direct = run(base.as_bytes(), &fragments(&others), &[]);
            assert_eq!(sorted(&without.text), sorted(&direct.text), "{on:?} without {off}");
            merged = run(&without.text, &fragments(&on), &without.entries);
            assert_eq!(sorted(&merged.text), expected, "{on:?} after {off} was gone");
            let again = run(&merged.text, &fragments(&on), &merged.entries);
            assert_eq!((&again.text, &again.entries), (&merged.text, &merged.entries));
            assert!(again.added.is_empty() && again.removed.is_empty(), "{again:?}");
        }
        let last = run(&merged.text, &[], &merged.entries);
        assert_eq!(sorted(&last.text), sorted(base.as_bytes()), "{on:?}");
        assert!(last.entries.is_empty());
    }
    // The user installs it nevertheless.
    let bundle = [fragment("80", &marked("-a/1"))];
    let away = run(base.as_bytes(), &bundle, &[]);
    assert_eq!(away.removed, ["a"]);
    let back = run(base.as_bytes(), &bundle, &away.entries);
    assert_eq!((back.text.as_slice(), back.entries[0].state), (base.as_bytes(), State::Others));
}

#[test]
fn what_of_a_database_is_the_users() {
    // Of a base with these fragments, the database of the session, and what is the user's of it.
    for (base, active, session, expected) in [
        ("a=1", "", "a=1", ""),
        ("a=1 b=1", "", "a=1 b=2 n=1", "b=2/1 n=1"),
        ("a=1 b=1 c=1", "", "a=1 !c=1", "-b/1 !c=1/1"),
        ("!a=1 b=1", "", "a=1 b=1 !n=1", "a=1/1"),
        // What bundles brought is theirs, unless the user changed it.
        ("a=1", "20:v=1,w=1", "a=1 v=1 w=1", ""),
        ("a=1", "20:v=1,w=1", "a=1 n=1 v=2 w=1", "n=1 v=2"),
        ("a=1", "20:v=1,w=1", "a=1 !w=1", "-v/1 -w/1"),
        ("a=1", "20:b=2/1 80:-a/1", "", ""),
        ("a=1 b=1", "20:b=2/1", "a=1 b=2", ""),
        ("a=1 b=1", "20:b=2/1", "a=1 b=3", "b=3/1"),
        // Back to the base's own.
        ("a=1 b=1", "20:b=2/1", "a=1 b=1", "b=1/1"),
        ("a=1 b=1", "80:-a/1", "a=1 b=1", "a=1/1"),
        ("a=1 b=1", "80:-a/1", "b=1", ""),
        ("a=1 b=1", "20:b=2/1", "a=1", "-b/1"),
    ] {
        let fragments: Vec<Fragment> = active
            .split_whitespace()
            .map(|bundle| bundle.split_once(':').unwrap())
            .map(|(name, words)| fragment(name, &marked(&words.replace(',', " "))))
            .collect();
        let base = marked(base).into_bytes();
        let merged = run(&base, &fragments, &[]);
        let session =
            if active == "20:b=2/1 80:-a/1" { merged.text.clone() } else { marked(session).into_bytes() };
        // With the record of before the change, and with that of a switch after it.
        let switched = run(&session, &fragments, &merged.entries);
        let is_ambiguous = expected == "b=1/1";
        for entries in [&merged.entries, &switched.entries] {
            if is_ambiguous && entries == &switched.entries {
                continue;
            }
            let earlier = Earlier { entries, ..Earlier::default() };
            let found = own(Form::Paragraphs, &session, &base, earlier);
            let context = format!("{base:?} {active} {session:?}");
            assert_eq!(String::from_utf8_lossy(&found.text), marked(expected), "{context}");
            assert!(found.gone.is_empty() && found.unfinished.is_empty(), "{context}");
        }
    }
    // Held; and not installed to the end.
    let base = status("a=1 b=1");
    let session = status("a=1 b=1 c=1")
        .replacen("install ok", "hold ok", 1)
        .replace(&package("c", "1"), &package("c", "1").replace("ok installed", "ok half-configured"));
    let found = own(Form::Paragraphs, session.as_bytes(), base.as_bytes(), Earlier::default());
    let held = package("a", "1").replace("install ok", "hold ok") + "Livekit-Replaces: 1\n";
    assert_eq!(String::from_utf8_lossy(&found.text), held);
    assert_eq!(found.unfinished, ["c"]);
    let lines = own(Form::Lines(1), b"x\nn\n", b"x\ny\n", Earlier::default());
    assert_eq!((lines.text.as_slice(), lines.gone), (&b"n\n"[..], vec![b"y\n".to_vec()]));
}

#[test]
fn newer_saves_count_over_earlier_ones() {
    for (earlier, newer, expected) in [
        ("", "n=1", "n=1"),
        ("n=1", "", "n=1"),
        ("m=1 n=1", "n=2", "m=1 n=2"),
        ("b=2/1", "b=3/1", "b=3/1"),
        ("b=2/1", "b=3", "b=3/1"),
        ("-c/1", "c=1/1", "c=1/1"),
        ("b=2/1", "-b/2", "-b/1"),
        ("n=1", "-n/1", "-n/1"),
        ("-c/1 n=1", "m=1", "-c/1 n=1 m=1"),
    ] {
        let own = Own { text: marked(newer).into_bytes(), ..Own::default() };
        let found = laid_over(Form::Paragraphs, marked(earlier).as_bytes(), &own);
        assert_eq!(String::from_utf8_lossy(&found), marked(expected), "{earlier} {newer}");
    }
    let own = Own { text: b"n\n".to_vec(), gone: vec![b"y\n".to_vec()], unfinished: Vec::new() };
    assert_eq!(laid_over(Form::Lines(1), b"x\ny\n", &own), b"x\nn\n");
}
