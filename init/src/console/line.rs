//! One line that is typed, with or without being shown.

use super::ask::{Dialog, Size};
use super::keys::Key;
use super::secret::Secret;

/// The line the cursor is in. Only what differs is written again, with backspaces, which any terminal has.
#[derive(Debug, Default)]
pub struct Prompt {
    shown: Vec<char>,
}

impl Prompt {
    /// Makes the line read `text`, the cursor behind it.
    pub fn draw(&mut self, text: &str, out: &mut String) {
        let text: Vec<char> = text.chars().collect();
        let same = self.shown.iter().zip(&text).take_while(|(a, b)| a == b).count();
        let mut back = |count: usize| out.extend(std::iter::repeat_n('\x08', count));
        back(self.shown.len() - same);
        out.extend(&text[same..]);
        let over = self.shown.len().saturating_sub(text.len());
        out.extend(std::iter::repeat_n(' ', over));
        out.extend(std::iter::repeat_n('\x08', over));
        self.shown = text;
    }

    /// The cursor stands in an empty line now.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    /// Columns from the left to the cursor.
    pub fn len(&self) -> usize {
        self.shown.len()
    }
}

/// Seconds that are left, as they stand in a question.
pub fn countdown(left: Option<u64>) -> String {
    left.map_or_else(String::new, |seconds| format!(" ({seconds} s)"))
}

/// Text of others as it can be shown: what would move the cursor becomes a question mark.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// How the line under the cursor is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    Text,
    /// A star for each character. They give the length away to who looks on, but this early in the boot nobody knows
    /// whether the keyboard, or the line, works at all.
    Stars,
}

/// A question that is answered with a line. Its answer is `None` when the user gives up.
#[derive(Debug)]
pub struct LineEditor {
    question: String,
    columns: usize,
    echo: Echo,
    typed: Secret,
    left: Option<u64>,
    prompt: Prompt,
}

impl LineEditor {
    pub fn new(question: &str, echo: Echo, size: Size) -> Self {
        Self {
            question: printable(question),
            columns: size.columns,
            echo,
            typed: Secret::new(),
            left: None,
            prompt: Prompt::default(),
        }
    }

    fn draw(&mut self, out: &mut String) {
        let mut line = self.question.clone() + &countdown(self.left) + ": ";
        let count = characters(self.typed.bytes());
        // A line that wraps cannot be taken back with backspaces, so only its end is shown.
        let room = self.columns.saturating_sub(line.chars().count() + 1).max(1);
        match self.echo {
            Echo::Stars => line.extend(std::iter::repeat_n('*', count.min(room))),
            Echo::Text => {
                let text = printable(&String::from_utf8_lossy(self.typed.bytes()));
                line.extend(text.chars().skip(count.saturating_sub(room)));
            }
        }
        self.prompt.draw(&line, out);
    }
}

impl Dialog for LineEditor {
    type Answer = Option<Secret>;

    fn open(&mut self, left: Option<u64>, out: &mut String) {
        self.left = left;
        out.push('\n');
        self.prompt.forget();
        self.draw(out);
    }

    fn tick(&mut self, left: Option<u64>, out: &mut String) {
        self.left = left;
        self.draw(out);
    }

    fn key(&mut self, key: Key, out: &mut String) -> Option<Self::Answer> {
        let empty = self.typed.bytes().is_empty();
        match key {
            Key::Enter => return Some(Some(std::mem::replace(&mut self.typed, Secret::new()))),
            Key::Interrupt | Key::EndOfInput if empty => return Some(None),
            Key::Interrupt | Key::EraseLine => self.typed.clear(),
            Key::Backspace => self.typed.pop(),
            Key::Byte(byte) => self.typed.push(byte),
            Key::Redraw => {
                out.push('\n');
                self.prompt.forget();
            }
            _ => {}
        }
        self.draw(out);
        None
    }
}

/// Characters in these bytes; what is not, or not yet, UTF-8 counts as one.
fn characters(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().map(|c| c.valid().chars().count() + usize::from(!c.invalid().is_empty())).sum()
}

/// Bytes of the last character.
pub fn last_character(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().last().map_or(0, |chunk| match chunk.invalid().len() {
        0 => chunk.valid().chars().next_back().map_or(0, char::len_utf8),
        invalid => invalid,
    })
}

#[cfg(test)]
mod tests {
    use super::super::keys::Decoder;
    use super::*;

    /// What a terminal of one line shows after `out`.
    fn seen(out: &str) -> String {
        let (mut line, mut at) = (Vec::new(), 0);
        for c in out.chars() {
            match c {
                '\n' => (line, at) = (Vec::new(), 0),
                '\x08' => at -= 1,
                c => {
                    line.resize(line.len().max(at + 1), ' ');
                    line[at] = c;
                    at += 1;
                }
            }
        }
        assert!(line[at..].iter().all(|c| *c == ' '), "the cursor stands behind the text");
        line[..at].iter().collect()
    }

    /// What a line editor has answered so far.
    type Answered = Option<Option<Vec<u8>>>;

    /// Types `bytes`; gives the line as it is seen before the answer, and the answer.
    fn typed(echo: Echo, columns: usize, bytes: &[u8]) -> (String, Answered) {
        let mut editor = LineEditor::new("Word", echo, Size { columns, rows: 24 });
        let (mut out, mut decoder) = (String::new(), Decoder::default());
        editor.open(None, &mut out);
        for byte in bytes {
            let answer = decoder.take(*byte).and_then(|key| editor.key(key, &mut out));
            if let Some(answer) = answer {
                return (seen(&out), Some(answer.map(|secret| secret.bytes().to_vec())));
            }
        }
        (seen(&out), None)
    }

    #[test]
    fn edits_a_secret() {
        let answer = |bytes: &[u8]| Some(Some(bytes.to_vec()));
        let table: [(&[u8], &str, Answered); 18] = [
            (b"abc", "***", None),
            (b"abc\r", "***", answer(b"abc")),
            (b"abc\n", "***", answer(b"abc")),
            (b"\r", "", answer(b"")),
            (b"a b \r", "****", answer(b"a b ")),
            (b"abc\x7f\x08d\r", "**", answer(b"ad")),
            (b"\x7f\x7fa\r", "*", answer(b"a")),
            ("é€\r".as_bytes(), "**", answer("é€".as_bytes())),
            ("aé€\x7f\x7f\r".as_bytes(), "*", answer(b"a")),
            // Half a character, and bytes that are none.
            (b"a\xe2\x82", "**", None),
            (b"a\xe2\x82\x7f\r", "*", answer(b"a")),
            (b"\xff\xfe\x7f\r", "*", answer(b"\xff")),
            (b"abc\x15d\r", "*", answer(b"d")),
            (b"\x03", "", Some(None)),
            (b"\x04", "", Some(None)),
            (b"ab\x04c\x03d\r", "*", answer(b"d")),
            (b"a\x1b[Ab\x1b[3~\tc\r", "***", answer(b"abc")),
            // The rest of a paste is no part of the answer.
            (b"one\r\ntwo\r\n", "***", answer(b"one")),
        ];
        for (bytes, stars, expected) in table {
            let expected = (format!("Word: {stars}"), expected);
            assert_eq!(typed(Echo::Stars, 80, bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn shows_the_end_of_a_long_line() {
        assert_eq!(typed(Echo::Text, 12, b"12345678").0, "Word: 45678");
        assert_eq!(typed(Echo::Text, 12, b"12345678\x7f\x7f\x7f\x7f").0, "Word: 1234");
        assert_eq!(typed(Echo::Stars, 12, b"12345678").0, "Word: *****");
        assert_eq!(typed(Echo::Text, 80, "grün\x7f\x7f".as_bytes()).0, "Word: gr");
    }

    #[test]
    fn the_countdown_is_a_part_of_the_question() {
        let mut editor = LineEditor::new("Word", Echo::Stars, Size { columns: 80, rows: 24 });
        let mut out = String::new();
        editor.open(Some(10), &mut out);
        assert_eq!(seen(&out), "Word (10 s): ");
        editor.tick(Some(9), &mut out);
        assert_eq!(seen(&out), "Word (9 s): ");
        editor.tick(None, &mut out);
        assert_eq!(seen(&out), "Word: ");
    }

    #[test]
    fn counts_characters() {
        let table: [(&[u8], usize, usize); 6] = [
            (b"", 0, 0),
            (b"ab", 2, 1),
            ("a€".as_bytes(), 2, 3),
            (b"a\xe2\x82", 2, 2),
            (b"\xffa", 2, 1),
            (b"\xff", 1, 1),
        ];
        for (bytes, count, last) in table {
            assert_eq!((characters(bytes), last_character(bytes)), (count, last), "{}", bytes.escape_ascii());
        }
    }
}
