//! What came is sent again, to its sender, to others, later, or nearly as it was.

use super::Liar;
use super::forgery::{Letter, body_of, framed};

impl Liar {
    pub(super) fn echo(&mut self) -> Vec<Letter> {
        let Some((from, bytes)) = self.memory.recall(&mut self.dice) else { return Vec::new() };
        vec![Letter { to: from, from: self.source(from), bytes }]
    }

    pub(super) fn replay(&mut self) -> Vec<Letter> {
        let Some((from, bytes)) = self.memory.recall(&mut self.dice) else { return Vec::new() };
        let source = if self.forges_sources { from } else { self.me };
        let letter = |to| Letter { to, from: source, bytes: bytes.clone() };
        self.some(from).into_iter().map(letter).collect()
    }

    /// Some bits of the content flip, or some bytes of it are gone; the checksum fits.
    pub(super) fn mutate(&mut self) -> Vec<Letter> {
        let Some((from, bytes)) = self.memory.recall(&mut self.dice) else { return Vec::new() };
        let Some(mut body) = body_of(&bytes, &self.config) else { return Vec::new() };
        for _ in 0..1 + self.dice.below(3) {
            let at = self.dice.below(body.len());
            let Some(byte) = body.get_mut(at) else { break };
            match self.dice.below(4) {
                0 => *byte = self.dice.word() as u8,
                1 => body.truncate(at),
                _ => *byte ^= 1 << self.dice.below(8),
            }
        }
        let Some(bytes) = framed(&body, &self.config) else { return Vec::new() };
        let source = self.source(from);
        let letter = |to| Letter { to, from: source, bytes: bytes.clone() };
        self.some(self.me).into_iter().map(letter).collect()
    }

    /// The liar itself, or another where sources are forged.
    fn source(&mut self, from: usize) -> usize {
        let other = self.some(from).first().copied();
        if self.forges_sources { other.unwrap_or(self.me) } else { self.me }
    }
}
