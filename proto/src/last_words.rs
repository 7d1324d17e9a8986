//! Last words: "the process that ran this life has ended", said by its host after it.
//!
//! A will with the notary. Each process draws a *secret* and shows the world only its *mark*, a hash of it, in the body
//! of its record. The secret is left with something that outlives the process, and is spoken when that has ended. No
//! other can speak it before, whatever keys it holds, and all can check it, also when it is passed on by others. So
//! this datagram is the one that needs no seal: what speaks it holds no key of the cluster.
//!
//! A copy of it proves what the first one proved, that this process has ended. The next process has another secret.
//! *Weak spot*: a machine that was copied while it ran has the secret too (docs/protocol.md, section 8).
//!
//! ```text
//!   0      2         3        5            13         29
//!   ┌──────┬─────────┬────────┬────────────┬──────────┐
//!   │ "hw" │ version │ told   │ name hash  │ secret   │
//!   └──────┴─────────┴────────┴────────────┴──────────┘
//! ```

use std::fmt;

use sha2::{Digest, Sha256};

/// What ends a process, once it is spoken. From the operating system's entropy; told to nobody before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastSecret([u8; LENGTH]);

/// What all may know of a [`LastSecret`]: the first 16 bytes of a SHA-256 over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LastMark([u8; LENGTH]);

impl LastSecret {
    /// These bytes as a secret.
    #[must_use]
    pub const fn new(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// As it travels, where a claim passes it on.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The mark that it fits.
    #[must_use]
    pub fn mark(&self) -> LastMark {
        let digest = Sha256::new().chain_update(DOMAIN).chain_update(self.0).finalize();
        let mut mark = [0; LENGTH];
        mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        LastMark(mark)
    }
}

impl TryFrom<&[u8]> for LastSecret {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl LastMark {
    /// The mark of a process that leaves no last words.
    pub const NONE: Self = Self([0; LENGTH]);

    /// As it travels in the body of a record.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl TryFrom<&[u8]> for LastMark {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

/// Says nothing of the secret.
impl fmt::Debug for LastSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastSecret")
    }
}

impl fmt::Debug for LastMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.iter().take(4).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        write!(f, "LastMark({word:08x})")
    }
}

/// A datagram of last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// Hash of the member's name.
    pub subject: u64,
    /// Proves it.
    pub secret: LastSecret,
    /// How many members are sent this datagram straight. Where that is all of them, none needs to pass it on.
    pub told: u16,
}

impl LastWords {
    /// The datagram.
    #[must_use]
    pub fn write(&self) -> [u8; DATAGRAM] {
        let mut datagram = [0; DATAGRAM];
        let head = MAGIC.into_iter().chain([VERSION]).chain(self.told.to_be_bytes());
        let parts = head.chain(self.subject.to_be_bytes()).chain(self.secret.0);
        datagram.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        datagram
    }

    /// Reads a datagram, if it is one of last words. Whether they are true only the mark says.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let [m0, m1, VERSION, t0, t1, s0, s1, s2, s3, s4, s5, s6, s7, secret @ ..] = datagram else {
            return None;
        };
        if [*m0, *m1] != MAGIC {
            return None;
        }
        Some(Self {
            subject: u64::from_be_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]),
            secret: secret.try_into().ok()?,
            told: u16::from_be_bytes([*t0, *t1]),
        })
    }
}

/// Bytes of a datagram of last words.
pub const DATAGRAM: usize = 29;
/// Bytes of secret and mark: nobody tries 2^128 of them.
const LENGTH: usize = 16;
const MAGIC: [u8; 2] = *b"hw";
const VERSION: u8 = 1;
/// Separates this hash from every other use of SHA-256 on the same bytes.
const DOMAIN: &[u8] = b"heartsay last words v1\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> LastWords {
        LastWords { subject: 0x0102_0304_0506_0708, secret: LastSecret::new([9; LENGTH]), told: 127 }
    }

    #[test]
    fn last_words_are_29_bytes_that_read_as_they_were_written() {
        let datagram = words().write();
        assert_eq!(datagram.len(), 29);
        assert_eq!(datagram.first_chunk(), Some(b"hw\x01\x00\x7f\x01\x02\x03\x04\x05\x06\x07\x08"));
        assert_eq!(LastWords::read(&datagram), Some(words()));
    }

    #[test]
    fn what_is_longer_shorter_or_of_another_kind_is_none() {
        let datagram = words().write();
        assert_eq!(LastWords::read(&datagram[..28]), None);
        assert_eq!(LastWords::read(&[&datagram[..], &[0]].concat()), None);
        for place in 0..3 {
            let mut other = datagram;
            other[place] ^= 1;
            assert_eq!(LastWords::read(&other), None, "{place}");
        }
        assert_eq!(LastWords::read(&[]), None);
    }

    #[test]
    fn a_secret_fits_its_own_mark_alone_and_is_not_printed() {
        let (one, other) = (LastSecret::new([1; LENGTH]), LastSecret::new([2; LENGTH]));
        assert_eq!(one.mark(), one.mark());
        assert_ne!(one.mark(), other.mark());
        assert_ne!(one.mark(), LastMark::NONE);
        assert_eq!(format!("{one:?}"), "LastSecret");
        // (printf 'heartsay last words v1\0'; head -c 16 /dev/zero | tr '\0' '\1') | sha256sum
        assert_eq!(format!("{:?}", one.mark()), "LastMark(68838d79)");
    }
}
