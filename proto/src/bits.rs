//! Bits in and out of bytes, most significant first, over a 64-bit word.

use crate::error::DecodeError;

/// Bits into bytes, most significant first.
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The last `held` bits that are not in `out` yet.
    word: u64,
    /// Below 32 between calls.
    held: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, word: 0, held: 0 }
    }

    /// Writes the low `count` bits of `value`, which has no others; at most 32.
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        self.word = self.word << count | value;
        self.held += count;
        if self.held >= 32 {
            self.held -= 32;
            let [.., a, b, c, d] = (self.word >> self.held).to_be_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
        }
    }

    /// Zero bits up to a whole byte.
    pub(crate) fn finish(self) {
        let [.., a, b, c, d] = (self.word << (32 - self.held)).to_be_bytes();
        self.out.extend([a, b, c, d].iter().take(self.held.div_ceil(8) as usize));
    }
}

/// Bits out of bytes, most significant first.
pub(crate) struct BitReader<'a> {
    rest: &'a [u8],
    /// The next bits, at the top; zeros after the end of the bytes.
    word: u64,
    /// How many of them were taken out of `rest`.
    held: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, word: 0, held: 0 }
    }

    /// The next bits at the top of a word: 32 at the least, then zeros after the end.
    pub(crate) fn window(&mut self) -> u64 {
        if self.held < 32 {
            if let Some((bytes, rest)) = self.rest.split_first_chunk::<4>() {
                self.word |= u64::from(u32::from_be_bytes(*bytes)) << (32 - self.held);
                self.held += 32;
                self.rest = rest;
            } else {
                while let Some((byte, rest)) = self.rest.split_first() {
                    self.word |= u64::from(*byte) << (56 - self.held);
                    self.held += 8;
                    self.rest = rest;
                }
            }
        }
        self.word
    }

    /// Reads `count` bits, at most 32.
    pub(crate) fn take(&mut self, count: u32) -> Result<u64, DecodeError> {
        let value = self.window().checked_shr(u64::BITS - count).unwrap_or_default();
        self.skip(count)?;
        Ok(value)
    }

    pub(crate) fn skip(&mut self, count: u32) -> Result<(), DecodeError> {
        self.held = self.held.checked_sub(count).ok_or(DecodeError::AgesTruncated)?;
        self.word <<= count;
        Ok(())
    }

    /// Only zero bits up to a whole byte may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() && self.held < 8 && self.word == 0 {
            Ok(())
        } else {
            Err(DecodeError::AgesTrailing)
        }
    }
}

/// The number of `count` ones, at most 63.
pub(crate) const fn ones(count: u32) -> u64 {
    (1 << count) - 1
}
