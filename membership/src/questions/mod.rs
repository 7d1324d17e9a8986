//! Questions from member to member, and their answers: what one of them knows itself, told because a person wants to see
//! it.
//!
//! Picture: a notice board says who lives in which house. How well the cellar of one house is, only those who live there
//! know; whoever wants to know knocks and asks. Nobody knocks without a reason, so that at rest no one is disturbed.
//!
//! Rule: a question goes to an address that has proven to be that of its member, and is answered only to such an address.
//! It is asked twice, and then there is no answer. An answer counts once, if it carries the number of a question that is
//! still open, and comes from the member and from the address that was asked. Both sides have a budget.
//!
//! What an answer says is the word of its sender, for people to read: no status, claim or verdict depends on it, and that
//! none came blames no path.
//!
//! Weak spot: a member answers what it likes. So the reader is told whose words they are.

pub mod answering;
pub mod asking;

use crate::Instant;
use answering::Answering;
use asking::Asking;

/// Our questions to other members, and theirs to us.
#[derive(Debug)]
pub struct Questions {
    pub asking: Asking,
    pub answering: Answering,
}

impl Questions {
    pub fn new(now: Instant) -> Self {
        Self { asking: Asking::new(now), answering: Answering::new(now) }
    }
}

/// Text as it may be shown: one line, at most `most` bytes, and nothing in it that moves a cursor or turns the direction of
/// what is written.
pub fn cleaned(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for c in text.chars().map(|c| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER }) {
        if clean.len() + c.len_utf8() > most {
            break;
        }
        clean.push(c);
    }
    clean
}

fn is_shown(c: char) -> bool {
    !c.is_control() && !TURNING.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Bytes of a text: the first line of what a check says, and more than a screen shows of it. A short datagram cuts it.
pub const MOST_TEXT: usize = 512;
/// Marks of direction, and separators of lines and paragraphs, which are no control characters.
const TURNING: [(char, char); 4] =
    [('\u{61C}', '\u{61C}'), ('\u{200E}', '\u{200F}'), ('\u{2028}', '\u{202E}'), ('\u{2066}', '\u{2069}')];

#[cfg(test)]
mod tests;
