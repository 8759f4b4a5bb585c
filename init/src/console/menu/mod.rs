//! A numbered list, one of which is chosen.

use super::ask::{Dialog, Size};
use super::keys::Key;
use super::line::{Prompt, countdown, printable};

/// One of the things to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub label: String,
    /// What tells it from the others; may be empty.
    pub note: String,
}

/// Digits a number may have that someone types.
const DIGITS: usize = 6;

/// The list as it stands on one terminal: entries, a page of them at a time, and below them the prompt with the cursor.
/// Numbers and `n`, `p` work on a terminal that knows nothing but lines; arrows are sent by those that know more, and
/// answered with ANSI sequences (ECMA-48: CUU, CUD, CUF, EL).
#[derive(Debug)]
pub struct Menu {
    title: String,
    /// The entries as they are shown, without the marker.
    lines: Vec<String>,
    /// Entries on a page.
    page: usize,
    marked: usize,
    typed: String,
    complaint: String,
    columns: usize,
    left: Option<u64>,
    prompt: Prompt,
}

impl Menu {
    /// A menu of one entry or more, with the marker at `default`.
    pub fn new(title: &str, entries: &[Entry], default: usize, size: Size) -> Self {
        let title: Vec<String> = title.lines().map(printable).collect();
        let width = entries.iter().map(|e| e.label.chars().count()).max().unwrap_or(0).min(size.columns / 2);
        let digits = entries.len().to_string().len();
        let line = |(i, entry): (usize, &Entry)| {
            let (label, note) = (printable(&entry.label), printable(&entry.note));
            let line = format!(" {:>digits$}) {label:<width$}  {note}", i + 1);
            // The marker has the first column, and the last one stays free: some terminals wrap there.
            line.trim_end().chars().take(size.columns.saturating_sub(2)).collect()
        };
        // An empty line, the title, the line about pages, the prompt.
        let page = size.rows.saturating_sub(title.len() + 3).max(1);
        Self {
            title: title.join("\n"),
            lines: entries.iter().enumerate().map(line).collect(),
            page: page.min(entries.len()).max(1),
            marked: default.min(entries.len().saturating_sub(1)),
            typed: String::new(),
            complaint: String::new(),
            columns: size.columns,
            left: None,
            prompt: Prompt::default(),
        }
    }

    fn is_paged(&self) -> bool {
        self.lines.len() > self.page
    }

    /// Lines between the top of the page and the prompt.
    fn height(&self) -> usize {
        self.page + usize::from(self.is_paged())
    }

    /// Writes the page with the marker, each line followed by `end`.
    fn draw_page(&self, end: &str, out: &mut String) {
        let first = self.marked / self.page * self.page;
        for i in first..first + self.page {
            let marker = if i == self.marked { '>' } else { ' ' };
            match self.lines.get(i) {
                Some(line) => out.extend([&format!("{marker}{line}"), end]),
                None => out.push_str(end),
            }
        }
        if self.is_paged() {
            let last = (first + self.page).min(self.lines.len());
            let text = format!("   {} to {last} of {}; n: next, p: previous", first + 1, self.lines.len());
            out.extend(text.chars().take(self.columns.saturating_sub(1)));
            out.push_str(end);
        }
    }

    fn draw_prompt(&mut self, out: &mut String) {
        let left = countdown(self.left);
        let line = format!("{}Number, or Enter for {}{left}: ", self.complaint, self.marked + 1);
        // On a very narrow terminal the end counts: the number that was typed.
        let line = line + &self.typed;
        let over = line.chars().count().saturating_sub(self.columns.saturating_sub(1));
        let line: String = line.chars().skip(over).collect();
        self.prompt.draw(&line, out);
    }

    /// Writes everything below the cursor, with nothing but lines.
    fn draw_below(&mut self, out: &mut String) {
        self.draw_page("\n", out);
        self.prompt.forget();
        self.draw_prompt(out);
    }

    /// Moves the marker where it stands, with as few bytes as it takes.
    fn mark(&mut self, entry: usize, out: &mut String) {
        let before = std::mem::replace(&mut self.marked, entry);
        let height = self.height();
        let (old, new) = (before % self.page, entry % self.page);
        if before / self.page != entry / self.page {
            out.push_str(&format!("\x1b[{height}A\r"));
            self.draw_page("\x1b[K\n", out);
        } else if old != new {
            let (from, to) = (height - old, height - new);
            out.push_str(&format!("\x1b[{from}A\r \x1b[{from}B\r\x1b[{to}A>\x1b[{to}B\r"));
        } else {
            return;
        }
        out.push_str(&format!("\x1b[{}C", self.prompt.len()));
    }

    /// The page after or before this one, written below it.
    fn turn(&mut self, forward: bool, out: &mut String) {
        let page = self.marked / self.page;
        let to = if forward { Some(page + 1) } else { page.checked_sub(1) };
        if let Some(first) = to.map(|page| page * self.page).filter(|first| *first < self.lines.len()) {
            self.marked = first;
            out.push('\n');
            self.draw_below(out);
        }
    }

    /// What Enter means now.
    fn answer(&mut self) -> Option<usize> {
        let typed = std::mem::take(&mut self.typed);
        if typed.is_empty() {
            return Some(self.marked);
        }
        let number =
            typed.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|i| *i < self.lines.len());
        if number.is_none() {
            self.complaint = format!("There is no {typed}. ");
        }
        number
    }
}

impl Dialog for Menu {
    type Answer = usize;

    fn open(&mut self, left: Option<u64>, out: &mut String) {
        self.left = left;
        out.extend(["\n", &self.title, "\n"]);
        self.draw_below(out);
    }

    fn tick(&mut self, left: Option<u64>, out: &mut String) {
        self.left = left;
        self.draw_prompt(out);
    }

    fn key(&mut self, key: Key, out: &mut String) -> Option<usize> {
        let last = self.lines.len().saturating_sub(1);
        let to = match key {
            Key::Up => Some(self.marked.saturating_sub(1)),
            Key::Down => Some((self.marked + 1).min(last)),
            Key::PageUp => Some(self.marked.saturating_sub(self.page)),
            Key::PageDown => Some((self.marked + self.page).min(last)),
            Key::Home => Some(0),
            Key::End => Some(last),
            _ => None,
        };
        if key != Key::Enter {
            self.complaint.clear();
        }
        match key {
            Key::Enter => {
                if let Some(answer) = self.answer() {
                    return Some(answer);
                }
            }
            Key::Byte(byte @ b'0'..=b'9') if self.typed.len() < DIGITS => self.typed.push(char::from(byte)),
            Key::Byte(byte @ (b'n' | b'p')) => self.turn(byte == b'n', out),
            Key::Backspace => drop(self.typed.pop()),
            Key::EraseLine | Key::Interrupt => self.typed.clear(),
            Key::Redraw => {
                out.push('\n');
                self.draw_below(out);
            }
            _ => {}
        }
        if let Some(to) = to {
            self.typed.clear();
            self.mark(to, out);
        }
        self.draw_prompt(out);
        None
    }
}

#[cfg(test)]
mod tests;
