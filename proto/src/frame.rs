//! The envelope of a datagram: whose is it, is it whole, may its sender speak.
//!
//! A sealed envelope with the family crest on it. The crest (cluster tag) lets a
//! stranger's letter be set aside unread; the seal proves that the writer has the
//! family's ring. *Weak spot*: one ring for the whole family. Every holder of the key
//! can speak as any member, and the same letter can be delivered twice: its marks are old
//! then, and merging ignores them. *Road not taken*: AES-GCM with 96-bit
//! nonces, whose random nonces run out of safety when many hosts share one key for
//! years; 192 random bits never do.
//!
//! The crate's front page draws the layout.

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::error::DecodeError;
use crate::keyring::{Key, Keyring};

/// Version of the frame that this agent speaks, and the only one it accepts.
pub const VERSION: u8 = 1;
/// Bytes that a plain frame adds to its body: header and checksum.
pub const PLAIN_OVERHEAD: usize = HEADER_LENGTH + CHECKSUM_LENGTH;
/// Bytes that a sealed frame adds to its body: header, nonce and authentication tag.
pub const SEALED_OVERHEAD: usize = HEADER_LENGTH + NONCE_LENGTH + TAG_LENGTH;

/// Puts `body` into a frame of `cluster`, replacing what `out` held.
///
/// With a key in the keyring the frame is sealed by the first one, in place; otherwise
/// it is plain. `nonce` must be 24 fresh random bytes each time (it is ignored for a
/// plain frame): the same nonce twice under one key gives both bodies away.
pub fn seal(body: &[u8], cluster: &Cluster, keyring: &Keyring, nonce: [u8; NONCE_LENGTH], out: &mut Vec<u8>) {
    let key = keyring.primary();
    out.clear();
    // No byte to spare: what is exactly full becomes shared bytes as it is.
    out.reserve_exact(body.len() + if key.is_some() { SEALED_OVERHEAD } else { PLAIN_OVERHEAD });
    let header = header(key.map_or(KeyId::PLAIN, Key::id), cluster);
    out.extend_from_slice(&header);
    let Some(key) = key else {
        out.extend_from_slice(&checksum(cluster, &header, body));
        out.extend_from_slice(body);
        return;
    };
    out.extend_from_slice(&nonce);
    out.extend_from_slice(body);
    let (_, text) = out.split_at_mut(HEADER_LENGTH + NONCE_LENGTH);
    let associated = Associated::new(&header, cluster);
    #[expect(clippy::expect_used, reason = "the cipher's only failure is a body beyond 256 GiB")]
    let tag = XChaCha20Poly1305::new(key.bytes().into())
        .encrypt_inout_detached(&XNonce::from(nonce), associated.bytes(), text.into())
        .expect("a body in memory is shorter than 256 GiB");
    out.extend_from_slice(&tag);
}

/// Takes the body out of a frame, with the id of the key that sealed it
/// ([`KeyId::PLAIN`] without one).
///
/// `limit` is the longest datagram taken, in bytes. A sealed body is deciphered into
/// `scratch`, replacing what it held; a plain one is borrowed from the datagram. What
/// comes out is authentic (sealed) or whole (plain), but not yet a valid packet: see
/// [`decode_packet`](crate::decode_packet).
///
/// # Errors
/// One of the frame variants of [`DecodeError`]; the cheap checks come first, so that a
/// stranger's datagram costs no cryptography.
pub fn open<'a>(
    datagram: &'a [u8],
    cluster: &Cluster,
    keyring: &Keyring,
    limit: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<(&'a [u8], KeyId), DecodeError> {
    let length = datagram.len();
    if length > limit {
        return Err(DecodeError::Oversized { length, limit });
    }
    if !datagram.iter().zip(&MAGIC).all(|(found, magic)| found == magic) {
        return Err(DecodeError::NotOurs);
    }
    let cut = |least| DecodeError::Truncated { length, least };
    let (header, rest) = datagram.split_first_chunk::<HEADER_LENGTH>().ok_or(cut(PLAIN_OVERHEAD))?;
    let [_, _, version, id, tag @ ..] = *header;
    match version {
        VERSION => {}
        0 => return Err(DecodeError::NotOurs), // there never was a version 0
        _ => return Err(DecodeError::NewerVersion { version }),
    }
    if tag != cluster.tag {
        return Err(DecodeError::OtherCluster);
    }
    if id == KeyId::PLAIN.get() {
        if !keyring.is_empty() {
            return Err(DecodeError::PlainButKeyed);
        }
        let (sum, body) = rest.split_first_chunk::<CHECKSUM_LENGTH>().ok_or(cut(PLAIN_OVERHEAD))?;
        if *sum != checksum(cluster, header, body) {
            return Err(DecodeError::BadChecksum);
        }
        return Ok((body, KeyId::PLAIN));
    }
    if keyring.is_empty() {
        return Err(DecodeError::SealedButNoKey);
    }
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(cut(SEALED_OVERHEAD))?;
    let (text, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(cut(SEALED_OVERHEAD))?;
    let associated = Associated::new(header, cluster);
    let mut known = false;
    for key in keyring.keys().iter().filter(|key| key.id().get() == id) {
        known = true;
        scratch.clear();
        scratch.extend_from_slice(text);
        let opened = XChaCha20Poly1305::new(key.bytes().into()).decrypt_inout_detached(
            &XNonce::from(*nonce),
            associated.bytes(),
            scratch.as_mut_slice().into(),
            &Tag::from(*tag),
        );
        if opened.is_ok() {
            return Ok((scratch, key.id()));
        }
    }
    Err(if known { DecodeError::Unauthentic { id } } else { DecodeError::UnknownKey { id } })
}

/// The id of a cluster. Compulsory even without a key, so that two clusters never merge
/// because an address was used again.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    id: String,
    tag: [u8; CLUSTER_TAG_LENGTH],
}

impl Cluster {
    /// Reads a cluster id: 1..=64 bytes of UTF-8 without spaces or control characters.
    ///
    /// # Errors
    /// [`ClusterError`] says which of these it breaks. The operator's fault.
    pub fn new(id: impl Into<String>) -> Result<Self, ClusterError> {
        let id = id.into();
        if id.is_empty() || id.len() > CLUSTER_ID_MAX {
            return Err(ClusterError::Length { bytes: id.len() });
        }
        if !is_word(&id) {
            return Err(ClusterError::NotPrintable);
        }
        let digest = Sha256::new().chain_update(CLUSTER_DOMAIN).chain_update(id.as_bytes()).finalize();
        let mut tag = [0; CLUSTER_TAG_LENGTH];
        tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Ok(Self { id, tag })
    }

    /// The id as it was given.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Length in one byte (it is at most 64), then the id: what checksum and seal cover.
    fn prefixed(&self) -> ([u8; 1], &[u8]) {
        let [.., length] = self.id.len().to_be_bytes();
        ([length], self.id.as_bytes())
    }
}

impl std::str::FromStr for Cluster {
    type Err = ClusterError;

    fn from_str(id: &str) -> Result<Self, ClusterError> {
        Self::new(id)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({:?})", self.id)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// Why a text is no cluster id. The operator's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// Empty or too long.
    #[error("a cluster id has 1 to 64 bytes; this has {bytes}")]
    Length {
        /// Bytes found.
        bytes: usize,
    },
    /// A space or a control character in it.
    #[error("a cluster id has no spaces or control characters")]
    NotPrintable,
}

/// Which key sealed a datagram: 1..=255 derived from the key, or [`KeyId::PLAIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u8);

impl KeyId {
    /// No key: the frame is plain.
    pub const PLAIN: Self = Self(0);

    /// The id as it stands in the frame.
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_wire(id: u8) -> Self {
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("plain"),
            id => write!(f, "{id}"),
        }
    }
}

/// Whether a text is free of spaces and control characters, as names, keys and cluster
/// ids must be: they end up in tables, logs and shell commands.
#[must_use]
pub fn is_word(text: &str) -> bool {
    // Nearly all are plain, and of those a look at each byte is all that is to be done.
    text.bytes().all(|byte| byte.is_ascii_graphic())
        || !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn header(id: KeyId, cluster: &Cluster) -> [u8; HEADER_LENGTH] {
    let [m0, m1] = MAGIC;
    let [t0, t1, t2, t3] = cluster.tag;
    [m0, m1, VERSION, id.get(), t0, t1, t2, t3]
}

/// CRC-32 over the whole cluster id (its tag alone is short), the header and the body.
fn checksum(cluster: &Cluster, header: &[u8; HEADER_LENGTH], body: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let (length, id) = cluster.prefixed();
    let mut sum = crc32fast::Hasher::new();
    for part in [&length, id, header, body] {
        sum.update(part);
    }
    sum.finalize().to_be_bytes()
}

/// What a seal authenticates beside the body: the header, which has a fixed length, and
/// the whole cluster id. On the stack, since every datagram needs it.
struct Associated {
    bytes: [u8; HEADER_LENGTH + CLUSTER_ID_MAX],
    length: usize,
}

impl Associated {
    fn new(header: &[u8; HEADER_LENGTH], cluster: &Cluster) -> Self {
        let mut bytes = [0; HEADER_LENGTH + CLUSTER_ID_MAX];
        let parts = header.iter().chain(cluster.id.as_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Self { bytes, length: HEADER_LENGTH + cluster.id.len() }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

const MAGIC: [u8; 2] = *b"hs";
const HEADER_LENGTH: usize = 8;
const CHECKSUM_LENGTH: usize = 4;
/// Bytes of a nonce of XChaCha20-Poly1305.
pub const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
const CLUSTER_TAG_LENGTH: usize = 4;
/// Long enough for a host name or a UUID with a prefix; honest guess.
const CLUSTER_ID_MAX: usize = 64;
/// Separates this hash from every other use of SHA-256 on the same bytes.
const CLUSTER_DOMAIN: &[u8] = b"heartsay cluster id v1\0";
