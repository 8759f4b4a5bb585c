//! Tables in Markdown.

use std::fmt;

/// Rows of cells below a line of headings.
#[derive(Debug)]
pub struct Table {
    columns: usize,
    text: String,
}

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Self { columns: headings.len(), text: String::new() };
        table.line(headings.iter().map(ToString::to_string));
        table.line(headings.iter().map(|_| "---".into()));
        table
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.line(cells.into_iter());
    }

    fn line(&mut self, cells: impl Iterator<Item = String>) {
        let cells: Vec<String> = cells.collect();
        assert_eq!(cells.len(), self.columns, "cells without a heading: {cells:?}");
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Seconds with two decimals; a dash for what was not measured.
pub fn seconds(value: f64) -> String {
    if value.is_nan() { "–".into() } else { format!("{value:.2}") }
}

/// A whole number; a dash for what was not measured.
pub fn whole(value: f64) -> String {
    if value.is_nan() { "–".into() } else { format!("{value:.0}") }
}

/// Digits in groups of three.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests_of_cells {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (value, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (35_249_126, "35,249,126")] {
            assert_eq!(grouped(value), expected);
        }
        assert_eq!((seconds(1.799_4), whole(f64::NAN)), ("1.80".into(), "–".into()));
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["a", "b"]);
        table.row(["1".into(), "2".into()]);
        assert_eq!(table.to_string(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
