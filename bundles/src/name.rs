//! What the file name of a bundle says.

use std::cmp::Ordering;
use std::fmt;

/// The file name of a bundle: `01-firmware.sb`. Sorts as bundles are stacked: by number, those without one on top of the
/// rest, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BundleName {
    name: String,
    order: Option<u64>,
}

impl BundleName {
    /// Reads a file name, without directories. Nothing if it does not end in `.sb`, or has nothing before it.
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".sb").filter(|stem| !stem.is_empty() && !stem.contains('/'))?;
        let digits = stem.len() - stem.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        // A number too large to count is none.
        let order = stem[..digits].parse().ok();
        Some(Self { name: file_name.to_owned(), order })
    }

    /// The number the name begins with: lower ones are further down in the union.
    pub fn order(&self) -> Option<u64> {
        self.order
    }

    /// The name without number and suffix: `firmware`. The number, if there is nothing else.
    pub fn title(&self) -> &str {
        let stem = self.name.trim_end_matches(".sb");
        let title =
            stem.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(['-', '_', '.', ' ']);
        if title.is_empty() { stem } else { title }
    }
}

impl Ord for BundleName {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |name: &Self| (name.order.is_none(), name.order);
        number(self).cmp(&number(other)).then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for BundleName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<str> for BundleName {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, order, title) in [
            ("01-firmware.sb", Some(1), "firmware"),
            ("00-core.sb", Some(0), "core"),
            ("5_xorg.sb", Some(5), "xorg"),
            ("100 my tools.sb", Some(100), "my tools"),
            ("07.sb", Some(7), "07"),
            ("tools.sb", None, "tools"),
            ("3dtools.sb", Some(3), "dtools"),
            ("99999999999999999999-far.sb", None, "far"),
            ("a.sb.sb", None, "a"),
        ] {
            let parsed = BundleName::parse(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((parsed.order(), parsed.title(), parsed.as_ref()), (order, title, name));
        }
        for name in ["", ".sb", "01-core.squashfs", "core", "a/b.sb", "01-core.sb.partial"] {
            assert_eq!(BundleName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn order_of_the_stack() {
        let stack =
            ["00-core.sb", "1-a.sb", "01-b.sb", "9-z.sb", "10-a.sb", "4294967295-x.sb", "a.sb", "b.sb"];
        let mut names: Vec<_> = stack.iter().rev().filter_map(|n| BundleName::parse(n)).collect();
        names.sort();
        let sorted: Vec<_> = names.iter().map(ToString::to_string).collect();
        let expected =
            ["00-core.sb", "01-b.sb", "1-a.sb", "9-z.sb", "10-a.sb", "4294967295-x.sb", "a.sb", "b.sb"];
        assert_eq!(sorted, expected);
    }
}
