use super::super::keys::Decoder;
use super::*;

/// As much of a terminal as menus need. It fails on what it does not know.
struct Screen {
    lines: Vec<Vec<char>>,
    size: Size,
    row: usize,
    column: usize,
    sequences: usize,
}

impl Screen {
    fn new(size: Size) -> Self {
        Self { lines: vec![Vec::new(); size.rows], size, row: 0, column: 0, sequences: 0 }
    }

    fn write(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '\n' if self.row + 1 == self.size.rows => {
                    self.lines.remove(0);
                    self.lines.push(Vec::new());
                    self.column = 0;
                }
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\r' => self.column = 0,
                '\x08' => self.column = self.column.checked_sub(1).expect("a backspace within the line"),
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['));
                    let sequence: String = sequence(&mut rest);
                    self.control(&sequence);
                }
                c => {
                    assert!(
                        !c.is_control() && self.column + 1 < self.size.columns,
                        "{c:?} in the last column"
                    );
                    let line = &mut self.lines[self.row];
                    line.resize(line.len().max(self.column + 1), ' ');
                    line[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }

    fn control(&mut self, sequence: &str) {
        self.sequences += 1;
        let (number, kind) = sequence.split_at(sequence.len() - 1);
        let number: usize = number.parse().unwrap_or(1);
        assert!(number > 0, "0 means 1");
        match kind {
            "A" => self.row = self.row.checked_sub(number).expect("up within the screen"),
            "B" => {
                self.row += number;
                assert!(self.row < self.size.rows);
            }
            "C" => self.column += number,
            "K" => self.lines[self.row].truncate(self.column),
            _ => panic!("unknown sequence {sequence:?}"),
        }
    }

    /// All that is to be seen, without the empty lines around it.
    fn text(&self) -> String {
        let lines: Vec<String> =
            self.lines.iter().map(|l| l.iter().collect::<String>().trim_end().to_owned()).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// Up to the letter that ends a control sequence.
fn sequence(rest: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while !text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        text.push(rest.next().expect("the sequence ends"));
    }
    text
}

fn entries(count: usize) -> Vec<Entry> {
    (1..=count).map(|i| Entry { label: format!("session {i}"), note: format!("note {i}") }).collect()
}

/// Types `bytes` at a menu of so many entries, the second being the default; gives the screen and the answer.
fn typed(count: usize, size: Size, bytes: &[u8]) -> (Screen, Option<usize>) {
    let mut menu = Menu::new("Which one?", &entries(count), 1, size);
    let (mut screen, mut decoder) = (Screen::new(size), Decoder::default());
    let mut out = String::new();
    menu.open(None, &mut out);
    let mut answer = None;
    for byte in bytes {
        if answer.is_none() {
            answer = decoder.take(*byte).and_then(|key| menu.key(key, &mut out));
        }
    }
    screen.write(&out);
    (screen, answer)
}

const USUAL: Size = Size { columns: 80, rows: 24 };

#[test]
fn answers() {
    let table: [(usize, &[u8], Option<usize>); 24] = [
        (3, b"", None),
        (3, b"\r", Some(1)),
        (3, b"\n", Some(1)),
        (3, b"1\r", Some(0)),
        (3, b"3\r\n", Some(2)),
        (3, b"003\r", Some(2)),
        (3, b"4\r", None),
        (3, b"0\r", None),
        (3, b"9999999999\r", None),
        (3, b"4\r3\r", Some(2)),
        (3, b"4\r\r", Some(1)),
        (3, b"13\x7f\r", Some(0)),
        (3, b"13\x153\r", Some(2)),
        (3, b"x3y\r", Some(2)),
        (3, b"\x1b[A\r", Some(0)),
        (3, b"\x1b[A\x1b[A\x1b[A\r", Some(0)),
        (3, b"\x1b[B\x1b[B\x1b[B\r", Some(2)),
        // An arrow starts over from a number that was begun.
        (3, b"1\x1bOB\r", Some(2)),
        (40, b"33\r", Some(32)),
        (40, b"n\r", Some(20)),
        (40, b"nnp\r", Some(0)),
        (40, b"\x1b[6~\x1b[B\r", Some(22)),
        (40, b"\x1b[F\x1b[5~\r", Some(19)),
        (1, b"\x1b[B\r", Some(0)),
    ];
    for (count, bytes, expected) in table {
        assert_eq!(typed(count, USUAL, bytes).1, expected, "{count} entries, {}", bytes.escape_ascii());
    }
}

#[test]
fn shows_the_marker_and_what_is_typed() {
    let list = |marked: usize, prompt: &str| {
        let line = |i| format!("{} {i}) session {i}  note {i}", if i == marked { '>' } else { ' ' });
        format!("Which one?\n{}\n{}\n{}\n{prompt}", line(1), line(2), line(3))
    };
    let table: [(&[u8], String); 7] = [
        (b"", list(2, "Number, or Enter for 2:")),
        (b"13", list(2, "Number, or Enter for 2: 13")),
        (b"13\x7f\x7f", list(2, "Number, or Enter for 2:")),
        (b"7\r", list(2, "There is no 7. Number, or Enter for 2:")),
        (b"7\r1", list(2, "Number, or Enter for 2: 1")),
        (b"\x1b[B", list(3, "Number, or Enter for 3:")),
        (b"1\x1b[B\x1b[A\x1b[A2", list(1, "Number, or Enter for 1: 2")),
    ];
    for (bytes, expected) in table {
        assert_eq!(typed(3, USUAL, bytes).0.text(), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn pages_fit_the_screen() {
    for size in [USUAL, Size { columns: 40, rows: 10 }, Size { columns: 20, rows: 6 }] {
        let page = size.rows - 4;
        let (screen, _) = typed(50, size, b"");
        assert_eq!(screen.lines[1].iter().collect::<String>(), "Which one?", "nothing has scrolled away");
        assert!(screen.text().contains(&format!("{page}) session {page}")), "{}", screen.text());
        // In place with arrows, to the last page, which is shorter, and back.
        let (screen, _) = typed(50, size, b"\x1b[F");
        assert!(screen.text().contains("> 50) session 50"), "{}", screen.text());
        assert!(!screen.text().contains(" 1) session 1"), "{}", screen.text());
        let (back, _) = typed(50, size, b"\x1b[F\x1b[H\x1b[B");
        assert_eq!(back.text(), typed(50, size, b"").0.text());
    }
}

#[test]
fn without_arrows_there_are_only_lines() {
    let (screen, answer) = typed(50, USUAL, b"nnpp77\r99\r\x7f1\x150\r\x0cn45\r");
    assert_eq!((screen.sequences, answer), (0, Some(44)));
}

#[test]
fn a_step_of_the_marker_is_cheap() {
    let mut menu = Menu::new("Which one?", &entries(15), 7, USUAL);
    let mut out = String::new();
    menu.open(None, &mut out);
    out.clear();
    menu.key(Key::Down, &mut out);
    assert!(out.len() < 50, "{} bytes", out.len());
    out.clear();
    menu.tick(Some(10), &mut out);
    out.clear();
    menu.tick(Some(9), &mut out);
    assert!(out.len() < 20, "{} bytes", out.len());
}

#[test]
fn labels_cannot_move_the_cursor() {
    let entry = Entry { label: "a\x1b[2J\nb".to_owned(), note: "x".repeat(200) };
    let mut menu = Menu::new("t\x07", &[entry], 5, USUAL);
    let mut out = String::new();
    menu.open(Some(3), &mut out);
    let mut screen = Screen::new(USUAL);
    screen.write(&out);
    assert_eq!(screen.sequences, 0);
    assert!(screen.text().starts_with("t?\n> 1) a?[2J?b  xxx"), "{}", screen.text());
    assert!(screen.text().ends_with("Number, or Enter for 1 (3 s):"), "{}", screen.text());
}
