//! The measured parts of docs/performance.md: each between `<!-- measured: NAME -->` and `<!-- end -->`.

use std::fs;
use std::path::Path;

/// Replaces the part of this name.
pub fn write(path: &Path, name: &str, content: &str) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = replaced(&text, name, content)
        .unwrap_or_else(|| panic!("{} has no part `<!-- measured: {name} -->`", path.display()));
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn replaced(text: &str, name: &str, content: &str) -> Option<String> {
    let start = format!("<!-- measured: {name} -->\n");
    let (before, rest) = text.split_once(&start)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}{start}\n{}\n\n<!-- end -->{after}", content.trim()))
}

#[cfg(test)]
mod tests_of_parts {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let text = "# A\n<!-- measured: x -->\nold\n<!-- end -->\nB\n<!-- measured: y -->\n<!-- end -->\n";
        let new = replaced(text, "x", "new\n").expect("x is there");
        assert_eq!(new, text.replace("old\n", "\nnew\n\n"));
        assert_eq!(replaced(&new, "x", "new"), Some(new.clone()));
        assert_eq!(replaced(text, "z", ""), None);
    }
}
