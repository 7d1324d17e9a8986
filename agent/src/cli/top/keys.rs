//! Keys: from the bytes of a terminal to what they mean here.

use super::facts::Wish;
use super::list::Pane;
use super::model::{Model, Over, Told};
use crate::escape::shows;

/// One stroke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Erase,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-U.
    Clear,
    /// Ctrl-L.
    Redraw,
}

/// What is left to do outside of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Quit,
    Redraw,
    Ask(Wish),
}

/// Reads keys from bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a sequence, or of a character, whose rest has not come yet.
    begun: Vec<u8>,
}

impl Decoder {
    /// The keys in these bytes. An escape character at their end is the key.
    pub(super) fn keys(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let (mut rest, mut keys) = (all.as_slice(), Vec::new());
        while !rest.is_empty() {
            match first(rest) {
                Some((key, length)) => {
                    keys.extend(key);
                    rest = rest.get(length..).unwrap_or_default();
                }
                None if rest.len() >= LONGEST => rest = &[],
                None => {
                    self.begun = rest.to_vec();
                    break;
                }
            }
        }
        keys
    }
}

/// The first key, if it is one of ours, and how many bytes it takes; `None` where more must come.
fn first(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match bytes {
        [0x1b] | [0x1b, 0x1b, ..] => Some((Some(Key::Escape), 1)),
        [0x1b, b'[', parameters @ ..] => {
            let end = parameters.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
            let (body, last) = (parameters.get(..end)?, parameters.get(end)?);
            Some((sequence(body, *last), end + 3))
        }
        [0x1b, b'O', last, ..] => Some((sequence(&[], *last), 3)),
        [0x1b, b'O'] => None,
        // With Alt, which means nothing here.
        [0x1b, rest @ ..] => first(rest).map(|(_, length)| (None, length + 1)),
        [b'\r' | b'\n', ..] => Some((Some(Key::Enter), 1)),
        [b'\t', ..] => Some((Some(Key::Tab), 1)),
        [0x7f | 0x08, ..] => Some((Some(Key::Erase), 1)),
        [0x03, ..] => Some((Some(Key::Interrupt), 1)),
        [0x0c, ..] => Some((Some(Key::Redraw), 1)),
        [0x15, ..] => Some((Some(Key::Clear), 1)),
        [0x00..0x20, ..] => Some((None, 1)),
        _ => character(bytes),
    }
}

fn sequence(body: &[u8], last: u8) -> Option<Key> {
    Some(match (body, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'C') => Key::Right,
        (_, b'D') => Key::Left,
        (_, b'H') | (b"1" | b"7", b'~') => Key::Home,
        (_, b'F') | (b"4" | b"8", b'~') => Key::End,
        (_, b'Z') => Key::BackTab,
        (b"5", b'~') => Key::PageUp,
        (b"6", b'~') => Key::PageDown,
        (_, b'M') => Key::Enter,
        _ => return None,
    })
}

fn character(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let piece = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let text = match str::from_utf8(piece) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            str::from_utf8(piece.get(..error.valid_up_to())?).unwrap_or_default()
        }
        Err(error) => return error.error_len().map(|length| (None, length)),
    };
    let c = text.chars().next()?;
    Some((shows(c).then_some(Key::Char(c)), c.len_utf8()))
}

impl Model {
    /// Does what the key means.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    pub(super) fn press(&mut self, key: Key, page: usize) -> Effect {
        match (key, &self.over) {
            (Key::Interrupt, _) => return Effect::Quit,
            (Key::Redraw, _) => return Effect::Redraw,
            (_, Over::Typing { .. }) => return self.type_in(key),
            (Key::Escape | Key::Left | Key::Char('q' | '?'), Over::Help)
            | (Key::Escape | Key::Left | Key::Enter | Key::Char('q'), Over::Case { .. }) => {
                let was_case = matches!(self.over, Over::Case { .. });
                self.over = Over::Nothing;
                return if was_case { Effect::Ask(Wish::NoCase) } else { Effect::Nothing };
            }
            (Key::Char('q'), Over::Nothing) => return Effect::Quit,
            _ => {}
        }
        let page = isize::try_from(page).unwrap_or(isize::MAX).max(1);
        match key {
            Key::Up | Key::Char('k') => self.go(-1),
            Key::Down | Key::Char('j') => self.go(1),
            Key::PageUp => self.go(-page),
            Key::PageDown | Key::Char(' ') => self.go(page),
            Key::Home | Key::Char('g') => self.go(isize::MIN),
            Key::End | Key::Char('G') => self.go(isize::MAX),
            Key::Char('r') => return Effect::Ask(Wish::Look),
            Key::Char('?') => self.over = Over::Help,
            _ if matches!(self.over, Over::Nothing) => return self.in_lists(key),
            _ => {}
        }
        Effect::Nothing
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    fn in_lists(&mut self, key: Key) -> Effect {
        match key {
            Key::Tab => self.pane = self.pane.step(1),
            Key::BackTab => self.pane = self.pane.step(-1),
            Key::Char(digit @ '1'..='5') => {
                let number = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(1);
                self.pane = Pane::ALL.get(number - 1).copied().unwrap_or_default();
            }
            Key::Char('/') => {
                self.over = Over::Typing { text: self.filter.text().to_owned(), error: None };
            }
            Key::Char('s') => {
                self.sort = self.sort.next();
                self.pane = Pane::Members;
                self.reorder();
            }
            Key::Enter | Key::Right => return self.open_case(),
            Key::Escape if !self.filter.is_empty() => {
                self.filter = Default::default();
                self.reorder();
            }
            _ => {}
        }
        Effect::Nothing
    }

    fn open_case(&mut self) -> Effect {
        let Some(name) = self.chosen_member() else { return Effect::Nothing };
        let spelt = self.facts.as_ref().and_then(|facts| facts.spelt.get(&name)).unwrap_or(&name).clone();
        self.over = Over::Case { name: name.clone(), told: Told::Asked, scrolled: 0 };
        Effect::Ask(Wish::Case(name, spelt))
    }

    fn go(&mut self, by: isize) {
        match &mut self.over {
            // Its end is known only where it is drawn.
            Over::Case { scrolled, .. } => *scrolled = scrolled.saturating_add_signed(by).min(MOST_SCROLLED),
            Over::Nothing => self.move_by(by),
            Over::Help | Over::Typing { .. } => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most keys mean nothing here")]
    fn type_in(&mut self, key: Key) -> Effect {
        let Over::Typing { text, error } = &mut self.over else { return Effect::Nothing };
        match key {
            Key::Char(c) if text.len() < LONGEST_FILTER => text.push(c),
            Key::Erase => {
                text.pop();
            }
            Key::Clear => text.clear(),
            Key::Escape => {
                self.over = Over::Nothing;
                return Effect::Nothing;
            }
            Key::Enter => {
                match text.parse() {
                    Ok(filter) => {
                        self.filter = filter;
                        self.over = Over::Nothing;
                        self.reorder();
                    }
                    Err(why) => *error = Some(why),
                }
                return Effect::Nothing;
            }
            _ => {}
        }
        *error = None;
        Effect::Nothing
    }
}

/// Bytes of a sequence: what is longer is none.
const LONGEST: usize = 32;
/// Bytes of a filter.
const LONGEST_FILTER: usize = 200;
/// Lines of a case: it has far fewer.
const MOST_SCROLLED: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::invented::cluster;
    use super::*;

    #[test]
    fn bytes_become_keys_also_in_pieces() {
        for (pieces, keys) in [
            (&[&b"jG"[..]][..], &[Key::Char('j'), Key::Char('G')][..]),
            (&[b"\x1b"], &[Key::Escape]),
            (&[b"\x1b[A\x1b[6~"], &[Key::Up, Key::PageDown]),
            (&[b"\x1b[", b"B"], &[Key::Down]),
            (&[b"\x1b[1;5C"], &[Key::Right]),
            (&[b"\x1bOH"], &[Key::Home]),
            (&[b"\x1b[999999;;;9~q"], &[Key::Char('q')]),
            (&[b"\xc3", b"\xa4"], &[Key::Char('ä')]),
            (&[b"\xff\xfeq"], &[Key::Char('q')]),
            (&[b"\x1bxq"], &[Key::Char('q')]),
            (&["\u{202e}q".as_bytes()], &[Key::Char('q')]),
            (&[b"\r\t\x1b[Z\x7f\x03"], &[Key::Enter, Key::Tab, Key::BackTab, Key::Erase, Key::Interrupt]),
        ] {
            let mut decoder = Decoder::default();
            let read: Vec<Key> = pieces.iter().flat_map(|piece| decoder.keys(piece)).collect();
            assert_eq!(read, keys, "{pieces:?}");
        }
        let mut decoder = Decoder::default();
        assert_eq!(decoder.keys(&[b"\x1b[".as_slice(), &[b'0'; 100]].concat()), []);
        assert_eq!(decoder.keys(b"q"), [Key::Char('q')], "no sequence is endless");
    }

    #[test]
    fn a_filter_is_typed_and_its_errors_are_told() {
        let mut model = cluster(128);
        let type_in = |model: &mut Model, text: &str| {
            for key in Decoder::default().keys(text.as_bytes()) {
                assert_eq!(model.press(key, 10), Effect::Nothing);
            }
        };
        type_in(&mut model, "/status=gone\r");
        assert!(matches!(&model.over, Over::Typing { error: Some(why), .. } if why.contains("gone")));
        type_in(&mut model, "\x15status=down q\r");
        assert!(matches!(model.over, Over::Nothing));
        assert_eq!(model.filter.text(), "status=down q", "q is a letter here");
        assert_eq!(model.lists.of(Pane::Members).order.len(), 0);
        type_in(&mut model, "\x1b");
        assert_eq!(model.lists.of(Pane::Members).order.len(), 128, "Escape shows all again");
    }

    #[test]
    fn a_member_is_opened_by_the_name_that_the_agent_knows_and_q_goes_back_first() {
        let mut model = cluster(5);
        let shown = model.chosen_member().unwrap();
        model.facts.as_mut().unwrap().spelt.insert(shown.clone(), "raw".to_owned());
        assert_eq!(model.press(Key::Enter, 10), Effect::Ask(Wish::Case(shown, "raw".to_owned())));
        assert_eq!(model.press(Key::Char('q'), 10), Effect::Ask(Wish::NoCase));
        assert_eq!(model.press(Key::Char('?'), 10), Effect::Nothing);
        assert_eq!(model.press(Key::Char('q'), 10), Effect::Nothing, "the help closes");
        assert_eq!(model.press(Key::Char('q'), 10), Effect::Quit);
    }

    #[test]
    fn panes_go_round_and_lists_end() {
        let mut model = cluster(5);
        model.press(Key::BackTab, 10);
        assert_eq!(model.pane, Pane::Problems);
        model.press(Key::Tab, 10);
        assert_eq!(model.pane, Pane::Members);
        model.press(Key::Char('4'), 10);
        assert_eq!(model.pane, Pane::Paths);
        model.press(Key::Char('1'), 10);
        model.press(Key::End, 10);
        assert_eq!(model.lists.of(Pane::Members).at, 4);
        model.press(Key::Down, 10);
        assert_eq!(model.lists.of(Pane::Members).at, 4);
        model.press(Key::Home, 10);
        assert_eq!(model.lists.of(Pane::Members).at, 0);
    }
}
