//! From the bytes a terminal sends to the keys that were pressed.

/// A key, as far as questions tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Enter,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Backspace,
    /// Ctrl-U.
    EraseLine,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
    /// Ctrl-L.
    Redraw,
    /// A byte of text: of ASCII, or a part of a character in UTF-8.
    Byte(u8),
    /// Some key without a meaning here. Even that shows that someone is there.
    Other,
}

/// Where in an escape sequence the last byte was (ECMA-48, 5.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC O: one more byte, as keypads and some terminals' arrows send it.
    Single,
    /// After ESC [, with the first number as far as it has come.
    Control(u16),
    /// After ESC [ [: one more byte. The function keys F1 to F5 of the Linux console.
    LinuxFunction,
}

/// Takes bytes in pieces of any size: a slow line delivers an arrow key in three.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    after_return: bool,
}

impl Decoder {
    /// Takes the next byte. `None`: it is part of something longer.
    pub fn take(&mut self, byte: u8) -> Option<Key> {
        // CR LF is one Enter, also when the LF comes with the next read.
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        match (std::mem::take(&mut self.state), byte) {
            (State::Text, b'\n') if after_return => None,
            (State::Escape, b'[') => self.go_on(State::Control(0)),
            (State::Escape, b'O') => self.go_on(State::Single),
            (State::Control(0), b'[') => self.go_on(State::LinuxFunction),
            (State::Control(number), b'0'..=b'9') => {
                let digit = u16::from(byte - b'0');
                self.go_on(State::Control(number.saturating_mul(10).saturating_add(digit)))
            }
            (State::Control(number), b' '..=b'?') => self.go_on(State::Control(number)),
            (State::Control(number), b'@'..=b'~') => Some(named(number, byte)),
            (State::Single, b' '..=b'~') => Some(named(0, byte)),
            (State::LinuxFunction, b' '..=b'~') => Some(Key::Other),
            // Whatever cannot go on a sequence stands for itself; after ESC alone this is Alt with a key.
            (_, byte) => self.plain(byte),
        }
    }

    /// Forgets an escape sequence that was not gone on with: it was the Escape key.
    pub fn forget_escape(&mut self) {
        self.state = State::Text;
    }

    fn go_on(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            // A break on a serial line, or noise.
            0 => return None,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            b'\r' | b'\n' => Key::Enter,
            0x08 | 0x7f => Key::Backspace,
            0x03 => Key::Interrupt,
            0x04 => Key::EndOfInput,
            0x0c => Key::Redraw,
            0x15 => Key::EraseLine,
            0x01..0x20 => Key::Other,
            0x20.. => Key::Byte(byte),
        })
    }
}

/// The key of a sequence with this first number and last byte. VT, xterm and the Linux console differ in Home and End.
fn named(number: u16, last: u8) -> Key {
    match (last, number) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'H', _) | (b'~', 1 | 7) => Key::Home,
        (b'F', _) | (b'~', 4 | 8) => Key::End,
        (b'~', 5) => Key::PageUp,
        (b'~', 6) => Key::PageDown,
        (b'M', 0) => Key::Enter,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.take(*byte)).collect()
    }

    #[test]
    fn knows_the_keys_of_terminals() {
        let b = Key::Byte;
        let table: [(&[u8], &[Key]); 17] = [
            (b"1", &[b(b'1')]),
            ("é".as_bytes(), &[b(0xc3), b(0xa9)]),
            (b"\r", &[Key::Enter]),
            (b"\n", &[Key::Enter]),
            (b"\r\n", &[Key::Enter]),
            (b"\r\n\r\n", &[Key::Enter, Key::Enter]),
            (b"\n\n", &[Key::Enter, Key::Enter]),
            (b"\r\r", &[Key::Enter, Key::Enter]),
            (b"\x1b[A\x1b[B", &[Key::Up, Key::Down]),
            (b"\x1bOA\x1bOB\x1bOM", &[Key::Up, Key::Down, Key::Enter]),
            (b"\x1b[1;5A", &[Key::Up]),
            (
                b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~\x1b[H\x1b[F",
                &[Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Home, Key::End],
            ),
            (b"\x1b[[A\x1b[3~\x1b[200~", &[Key::Other, Key::Other, Key::Other]),
            (
                b"\x7f\x08\x15\x03\x04\x0c\t",
                &[
                    Key::Backspace,
                    Key::Backspace,
                    Key::EraseLine,
                    Key::Interrupt,
                    Key::EndOfInput,
                    Key::Redraw,
                    Key::Other,
                ],
            ),
            (b"\x1bx\x1b\x1b[A", &[b(b'x'), Key::Up]),
            // A sequence that breaks off does not swallow what ends it.
            (b"\x1b[1\r\x1b[\xc3\xa9", &[Key::Enter, b(0xc3), b(0xa9)]),
            (b"\0\x1b[99999999999999999999~", &[Key::Other]),
        ];
        for (bytes, expected) in table {
            assert_eq!(keys(bytes), expected, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn an_escape_key_is_forgotten() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.take(0x1b), None);
        decoder.forget_escape();
        assert_eq!(decoder.take(b'['), Some(Key::Byte(b'[')));
    }
}
