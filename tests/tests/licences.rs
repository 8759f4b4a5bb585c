//! Every crate that is linked in may be given away under the terms in deny.toml.

use std::process::Command;

use tests::programs::{output, workspace};

/// Whether an SPDX expression, or the older form with slashes, can be met by these.
fn may_be_used(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim().replace('/', " OR ");
    let all_of = |parts: &str| split(parts, " AND ").iter().all(|part| is_met(part.trim(), allowed));
    split(&expression, " OR ").iter().any(|alternative| all_of(alternative))
}

fn is_met(part: &str, allowed: &[String]) -> bool {
    match part.strip_prefix('(').and_then(|part| part.strip_suffix(')')) {
        Some(inner) => may_be_used(inner, allowed),
        None => allowed.iter().any(|one| part.split(" WITH ").next() == Some(one.as_str())),
    }
}

/// Splits at a word outside of parentheses.
fn split(expression: &str, word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for piece in expression.split_inclusive(word) {
        let part = parts.last_mut().expect("never empty");
        part.push_str(piece);
        let closed = part.matches('(').count() == part.matches(')').count();
        if closed && let Some(whole) = part.strip_suffix(word) {
            *part = whole.to_string();
            parts.push(String::new());
        }
    }
    parts
}

/// The quoted words of the list `allow`.
fn allowed(deny: &str) -> Vec<String> {
    let list =
        deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list of licences");
    list.split('"').skip(1).step_by(2).map(String::from).collect()
}

#[test]
fn every_crate_has_a_licence_of_the_list() {
    let deny = std::fs::read_to_string(workspace().join("deny.toml")).expect("deny.toml");
    let allowed = allowed(&deny);
    assert!(allowed.len() > 3, "{allowed:?}");
    let target = "x86_64-unknown-linux-gnu";
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target]);
    let metadata: serde_json::Value =
        serde_json::from_str(&output(cargo.current_dir(workspace()))).expect("cargo's metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 10, "only {} packages", packages.len());
    let refused: Vec<_> = packages
        .iter()
        .map(|package| {
            (package["name"].to_string(), package["license"].as_str().unwrap_or("none").to_string())
        })
        .filter(|(_, licence)| !may_be_used(licence, &allowed))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn expressions_are_met_by_one_side_of_an_or_and_all_of_an_and() {
    let allowed = ["MIT".to_string(), "Unicode-3.0".into()];
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-2.0 OR MIT", true),
        ("MIT AND Unicode-3.0", true),
        ("MIT AND GPL-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0", false),
        ("(GPL-2.0 AND MIT) OR (MIT AND Unicode-3.0)", true),
        ("GPL-3.0-only", false),
        ("none", false),
    ] {
        assert_eq!(may_be_used(expression, &allowed), expected, "{expression}");
    }
}
