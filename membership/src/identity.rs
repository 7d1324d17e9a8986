//! The identity of a member: its name, its host, and its incarnation.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use heartsay_proto::is_word;
use rand::{Rng, RngExt};
use smol_str::SmolStr;

/// The identity of a node at its start.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique in the cluster.
    pub name: Name,
    /// Made once per host and kept.
    pub host_id: HostId,
    /// Unix milliseconds at the start, above every earlier incarnation of the name.
    pub generation: Generation,
    /// Where others reach it. The unspecified address (`0.0.0.0`, `::`) means that it is not known yet: no peer accepts
    /// the member before [`Command::Readdress`](crate::Command::Readdress) sets it.
    pub address: SocketAddr,
    /// Its key-value state at the start.
    pub state: Vec<(String, Vec<u8>)>,
}

/// The name of a member, unique in its cluster and the key of every table.
///
/// 1 to 128 bytes of printable text without spaces. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

impl Name {
    /// Longest name, in bytes. In practice that holds a fully qualified host name, and several records fit one
    /// datagram.
    pub const MAX_BYTES: usize = 128;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// Empty, longer than [`Self::MAX_BYTES`], or with spaces or control characters.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if !is_word(text)
            && let Some(character) = text.chars().find(|c| c.is_control() || c.is_whitespace())
        {
            return Err(NameError::Character { character });
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// Why a text is not a name. The caller's or a peer's fault; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters at all.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`Name::MAX_BYTES`] bytes.
    #[error("a name of {bytes} bytes is too long; at most {} are allowed", Name::MAX_BYTES)]
    TooLong {
        /// Length of the refused text.
        bytes: usize,
    },
    /// Spaces and control characters would break tables and scripts.
    #[error("a name cannot contain {character:?}")]
    Character {
        /// The first offending character.
        character: char,
    },
}

/// 128 random bits that a host makes once and keeps; shown like a UUID.
///
/// Tells a restart (same host) from two hosts that claim one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Aligned like a number of half its size, so that a struct with one is not padded to 16 bytes.
#[repr(Rust, packed(8))]
pub struct HostId(pub u128);

impl HostId {
    /// A new id for the first start on a host. Keep it and use it for every later run.
    ///
    /// `rng` must be as good as the operating system's: two hosts with one id are taken for copies of each other.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(rng.random())
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            (v >> 80) & 0xffff,
            (v >> 64) & 0xffff,
            (v >> 48) & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of an incarnation: Unix milliseconds at its start, always above the incarnation before.
///
/// An incarnation is one run of a member's process, or a part of it: another one begins when the address changes, or when
/// others know a later one than the present.
pub type Generation = u64;

/// The generation of the next incarnation: the wall clock's time, and above the last generation that was kept.
///
/// Keep it before the node starts, and again whenever [`Event::GenerationRaised`](crate::Event::GenerationRaised),
/// [`Event::Readdressed`](crate::Event::Readdressed) or [`Event::GenerationReset`](crate::Event::GenerationReset)
/// reports another one.
#[must_use]
pub fn next_generation(kept: Option<Generation>, unix_ms: u64) -> Generation {
    kept.map_or(unix_ms, |kept| unix_ms.max(kept.saturating_add(1)))
}

/// Whether `address` can be a member's: one host, and a port.
#[must_use]
pub fn is_reachable(address: SocketAddr) -> bool {
    let one_host = match address.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    one_host && address.port() != 0
}

/// Raised by its owner once per round; evidence of life, and what refutes an accusation.
pub type Heartbeat = u64;

/// Stamp of a change in a member's own state; grows by one per change.
pub type Version = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_table_are_refused() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a b"), Err(NameError::Character { character: ' ' }));
        assert_eq!(Name::new("a\u{0}"), Err(NameError::Character { character: '\0' }));
        assert_eq!(Name::new(&"x".repeat(129)), Err(NameError::TooLong { bytes: 129 }));
        assert_eq!(Name::new("n-1.example").map(|n| n.to_string()).as_deref(), Ok("n-1.example"));
    }

    #[test]
    fn a_generation_is_above_the_last_one_whatever_the_clock_shows() {
        assert_eq!(next_generation(None, 5_000), 5_000);
        assert_eq!(next_generation(Some(5_000), 9_000), 9_000);
        assert_eq!(next_generation(Some(5_000), 100), 5_001);
        assert_eq!(next_generation(Some(u64::MAX), 100), u64::MAX);
    }

    #[test]
    fn a_member_is_at_one_host_and_a_port() {
        let reachable = |address: &str| is_reachable(address.parse().unwrap());
        assert!(["10.0.0.1:4327", "127.0.0.1:1", "[fd00::1]:4327", "[::1]:9"].iter().all(|a| reachable(a)));
        let nowhere =
            ["0.0.0.0:4327", "10.0.0.1:0", "224.0.0.1:4327", "255.255.255.255:4327", "[::]:1", "[ff02::1]:1"];
        assert!(!nowhere.iter().any(|a| reachable(a)));
    }

    #[test]
    fn a_host_id_reads_like_a_uuid() {
        assert_eq!(
            HostId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef).to_string(),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
    }
}
