//! The envelope of a datagram: whose is it, is it whole, may its sender speak.
//!
//! A sealed envelope with the family crest on it. The crest (cluster tag) lets a
//! stranger's letter be set aside unread; the seal proves that the writer has the
//! family's ring. Each letter is numbered and sealed for one reader, so that a copy of it
//! opens nowhere else, and nowhere twice. *Weak spot*: one ring for the whole family. Every
//! holder of the key can speak as any member.
//!
//! **The nonce** costs its 24 bytes anyway, so they say something: the *number* of the
//! datagram, which grows from each to the next, the *mark* of its receiver, and a *hedge*:
//! 96 bits of a keyed hash over number, receiver and content. Two equal nonces therefore
//! mean two equal datagrams, even if a machine was copied while it ran and both copies
//! go on with the same number and the same secret. *Road not taken*: random nonces only, which
//! repeat in such copies and say nothing; AES-GCM, whose 96 bits are too few for this.
//!
//! The crate's front page draws the layout.

use std::fmt;
use std::hash::Hasher;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher24};
use thiserror::Error;

use crate::error::DecodeError;
use crate::keyring::{Key, Keyring};

/// Version of the frame that this agent speaks, and the only one it accepts.
pub const VERSION: u8 = 2;
/// Bytes that a plain frame adds to its body: header and checksum.
pub const PLAIN_OVERHEAD: usize = HEADER_LENGTH + CHECKSUM_LENGTH;
/// Bytes that a sealed frame adds to its body: header, nonce and authentication tag.
pub const SEALED_OVERHEAD: usize = HEADER_LENGTH + NONCE_LENGTH + TAG_LENGTH;
/// The receiver of a datagram that is sealed for no life in particular.
pub const ANYONE: u64 = 0;

/// What a seal says beside the body.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    /// Life tag of the only member that can open it, or [`ANYONE`].
    pub receiver: u64,
    /// Larger than in every earlier datagram of the sender.
    pub number: u64,
    /// Keys the hedge of the nonce. From the operating system's entropy, and told to nobody.
    pub secret: &'a [u8; SECRET_LENGTH],
}

impl fmt::Debug for Seal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({:016x}, {})", self.receiver, self.number)
    }
}

/// Puts `body` into a plain frame of `cluster`, replacing what `out` held. With a key in the
/// keyring it is sealed for [`ANYONE`] with this nonce, whose bytes 8 to 11, the mark of the
/// receiver, are set to 0. The same nonce twice under one key gives both bodies away.
pub fn seal(body: &[u8], cluster: &Cluster, keyring: &Keyring, nonce: [u8; NONCE_LENGTH], out: &mut Vec<u8>) {
    let [n0, n1, n2, n3, n4, n5, n6, n7, _, _, _, _, hedge @ ..] = nonce;
    match keyring.primary() {
        Some(key) => {
            let number = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
            seal_with(body, cluster, key, (ANYONE, number, hedge), out);
        }
        None => frame_plain(body, cluster, out),
    }
}

/// Puts `body` into a frame of `cluster`, replacing what `out` held.
///
/// With a key in the keyring the frame is sealed by the first one for `seal.receiver`;
/// otherwise it is plain, and `seal` is ignored.
pub fn seal_for(body: &[u8], cluster: &Cluster, keyring: &Keyring, seal: Seal<'_>, out: &mut Vec<u8>) {
    match keyring.primary() {
        Some(key) => {
            let stamp = (seal.receiver, seal.number, hedge(body, seal));
            seal_with(body, cluster, key, stamp, out);
        }
        None => frame_plain(body, cluster, out),
    }
}

fn frame_plain(body: &[u8], cluster: &Cluster, out: &mut Vec<u8>) {
    out.clear();
    // No byte to spare: what is exactly full becomes shared bytes as it is.
    out.reserve_exact(body.len() + PLAIN_OVERHEAD);
    let header = header(KeyId::PLAIN, cluster);
    out.extend_from_slice(&header);
    out.extend_from_slice(&checksum(cluster, &header, body));
    out.extend_from_slice(body);
}

fn seal_with(
    body: &[u8],
    cluster: &Cluster,
    key: &Key,
    (receiver, number, hedge): (u64, u64, [u8; HEDGE_LENGTH]),
    out: &mut Vec<u8>,
) {
    out.clear();
    out.reserve_exact(body.len() + SEALED_OVERHEAD);
    let header = header(key.id(), cluster);
    let mut nonce = [0; NONCE_LENGTH];
    let parts = number.to_be_bytes().into_iter().chain(mark(receiver)).chain(hedge);
    nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    out.extend_from_slice(&header);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(body);
    let (_, text) = out.split_at_mut(HEADER_LENGTH + NONCE_LENGTH);
    let associated = Associated::new(&header, receiver, cluster);
    #[expect(clippy::expect_used, reason = "the cipher's only failure is a body beyond 256 GiB")]
    let tag = XChaCha20Poly1305::new(key.bytes().into())
        .encrypt_inout_detached(&XNonce::from(nonce), associated.bytes(), text.into())
        .expect("a body in memory is shorter than 256 GiB");
    out.extend_from_slice(&tag);
}

/// The body of a frame, and what the frame says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Authentic (sealed) or whole (plain), but not yet a valid packet: see
    /// [`decode_packet`](crate::decode_packet).
    pub body: &'a [u8],
    /// The key that sealed it; [`KeyId::PLAIN`] without one.
    pub key: KeyId,
    /// For which life it was sealed, one of those asked for, and its number. `None`: it is plain.
    pub sealed: Option<(u64, u64)>,
}

/// Takes the body out of a frame that is plain, or sealed for [`ANYONE`], with the id of the
/// key that sealed it.
///
/// # Errors
/// As [`open_for`].
pub fn open<'a>(
    datagram: &'a [u8],
    cluster: &Cluster,
    keyring: &Keyring,
    limit: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<(&'a [u8], KeyId), DecodeError> {
    open_for(datagram, cluster, keyring, &[ANYONE], limit, scratch).map(|opened| (opened.body, opened.key))
}

/// Takes the body out of a frame.
///
/// `receivers` are the lives for which a sealed one may be, by their tags. `limit` is the longest datagram taken, in
/// bytes. A sealed body is deciphered into `scratch`, replacing what it held; a plain one
/// is borrowed from the datagram. Whether it was seen before is not looked at.
///
/// # Errors
/// One of the frame variants of [`DecodeError`]; the cheap checks come first, so that a
/// stranger's datagram, or one for another life, costs no cryptography.
pub fn open_for<'a>(
    datagram: &'a [u8],
    cluster: &Cluster,
    keyring: &Keyring,
    receivers: &[u64],
    limit: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<Opened<'a>, DecodeError> {
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
        older if older < VERSION => return Err(DecodeError::OlderVersion { version }),
        _ => return Err(DecodeError::NewerVersion { version }),
    }
    if tag != cluster.tag {
        return Err(DecodeError::OtherCluster);
    }
    if id != KeyId::PLAIN.get() {
        return open_sealed(header, rest, cluster, keyring, receivers, length, scratch);
    }
    if !keyring.opens_plain() {
        return Err(DecodeError::PlainButKeyed);
    }
    let (sum, body) = rest.split_first_chunk::<CHECKSUM_LENGTH>().ok_or(cut(PLAIN_OVERHEAD))?;
    if *sum != checksum(cluster, header, body) {
        return Err(DecodeError::BadChecksum);
    }
    Ok(Opened { body, key: KeyId::PLAIN, sealed: None })
}

fn open_sealed<'a>(
    header: &[u8; HEADER_LENGTH],
    rest: &[u8],
    cluster: &Cluster,
    keyring: &Keyring,
    receivers: &[u64],
    length: usize,
    scratch: &'a mut Vec<u8>,
) -> Result<Opened<'a>, DecodeError> {
    if keyring.is_empty() {
        return Err(DecodeError::SealedButNoKey);
    }
    let cut = DecodeError::Truncated { length, least: SEALED_OVERHEAD };
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(cut.clone())?;
    let (text, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(cut)?;
    let [_, _, _, id, ..] = *header;
    if !keyring.keys().iter().any(|key| key.id().get() == id) {
        return Err(DecodeError::UnknownKey { id });
    }
    let [n0, n1, n2, n3, n4, n5, n6, n7, found @ ..] = *nonce;
    let number = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let mut meant = receivers.iter().filter(|receiver| found.starts_with(&mark(**receiver))).peekable();
    if meant.peek().is_none() {
        return Err(DecodeError::OtherLife);
    }
    for receiver in meant {
        let associated = Associated::new(header, *receiver, cluster);
        for key in keyring.keys().iter().filter(|key| key.id().get() == id) {
            scratch.clear();
            scratch.extend_from_slice(text);
            let opened = XChaCha20Poly1305::new(key.bytes().into()).decrypt_inout_detached(
                &XNonce::from(*nonce),
                associated.bytes(),
                scratch.as_mut_slice().into(),
                &Tag::from(*tag),
            );
            if opened.is_ok() {
                return Ok(Opened { body: scratch, key: key.id(), sealed: Some((*receiver, number)) });
            }
        }
    }
    Err(DecodeError::Unauthentic { id })
}

/// The lower half of a life's tag, so that a datagram for another life is told without
/// deciphering it; 0 for no life.
fn mark(receiver: u64) -> [u8; MARK_LENGTH] {
    let [_, _, _, _, low @ ..] = receiver.to_be_bytes();
    // No life has the mark of no life, not even the one in four billion whose tag ends so.
    if receiver != ANYONE && low == [0; MARK_LENGTH] { [0xff; MARK_LENGTH] } else { low }
}

/// Depends on all that the nonce has to differ for. It cannot be guessed without the
/// secret.
fn hedge(body: &[u8], seal: Seal<'_>) -> [u8; HEDGE_LENGTH] {
    let mut hasher = SipHasher24::new_with_key(seal.secret);
    hasher.write_u64(seal.number);
    hasher.write_u64(seal.receiver);
    hasher.write(body);
    let [hedge @ .., _, _, _, _] = hasher.finish128().as_bytes();
    hedge
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

/// What a seal authenticates beside the body: the header and the receiver's tag, which have
/// a fixed length, and the whole cluster id. On the stack, since every datagram needs it.
struct Associated {
    bytes: [u8; HEADER_LENGTH + LIFE_LENGTH + CLUSTER_ID_MAX],
    length: usize,
}

impl Associated {
    fn new(header: &[u8; HEADER_LENGTH], receiver: u64, cluster: &Cluster) -> Self {
        let mut bytes = [0; HEADER_LENGTH + LIFE_LENGTH + CLUSTER_ID_MAX];
        let parts = header.iter().copied().chain(receiver.to_be_bytes()).chain(cluster.id.bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        Self { bytes, length: HEADER_LENGTH + LIFE_LENGTH + cluster.id.len() }
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
/// Bytes of the secret of a [`Seal`].
pub const SECRET_LENGTH: usize = 16;
const LIFE_LENGTH: usize = 8;
const MARK_LENGTH: usize = 4;
const HEDGE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;
const CLUSTER_TAG_LENGTH: usize = 4;
/// Long enough for a host name or a UUID with a prefix; honest guess.
const CLUSTER_ID_MAX: usize = 64;
/// Separates this hash from every other use of SHA-256 on the same bytes.
const CLUSTER_DOMAIN: &[u8] = b"heartsay cluster id v1\0";
