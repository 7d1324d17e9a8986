//! Keys of a cluster: send with one, accept several.
//!
//! A rotation is three edits, each rolled out to every host before the next: add the
//! new key at the end (all accept it), move it to the front (all send with it), drop
//! the old one. At no moment do two agents fail to understand one another.
//! From plain datagrams to sealed ones the same three edits lead, with the word `plain` in
//! the place of the old key. *Weak spot*: as long as it stands in the file, anybody can speak.

use std::fmt;

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::frame::KeyId;

/// 32 secret bytes that every member of a sealed cluster shares. Wiped when dropped,
/// hidden in `Debug`.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Key {
    bytes: [u8; KEY_LENGTH],
    #[zeroize(skip)]
    id: KeyId,
}

impl Key {
    /// A key of 32 bytes, which should come from the operating system's entropy.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        let id = derive_id(&bytes);
        Self { bytes, id }
    }

    /// Reads a key from base64 (standard alphabet, padded, 44 characters), in time that
    /// does not depend on the key.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong and never repeats the text.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        if text.len() != BASE64_LENGTH {
            return Err(KeyError::Length { characters: text.chars().count() });
        }
        match Base64::decode(text, bytes.as_mut()) {
            Ok(decoded) if decoded.len() == KEY_LENGTH => Ok(Self::from_bytes(*bytes)),
            Ok(_) | Err(_) => Err(KeyError::NotBase64),
        }
    }

    /// The key as base64, for the key file. Wiped when dropped; do not log it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(&self.bytes))
    }

    /// Which key this is, without saying the key: 1..=255, from a hash of it.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys of this agent, possibly none. The first one seals, all of them open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
    plain: Plain,
}

/// What an agent with a key makes of plain datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plain {
    /// It refuses them.
    #[default]
    Refused,
    /// It takes them, and sends sealed ones.
    Accepted,
    /// It sends them, and takes sealed ones too.
    Sent,
}

impl Keyring {
    /// No keys: datagrams are plain, checksummed but not protected.
    pub const fn empty() -> Self {
        Self { keys: Vec::new(), plain: Plain::Refused }
    }

    /// A keyring of these keys, in this order.
    pub const fn new(keys: Vec<Key>) -> Self {
        Self { keys, plain: Plain::Refused }
    }

    /// The same keys, and this about plain datagrams.
    #[must_use]
    pub fn with_plain(self, plain: Plain) -> Self {
        Self { keys: self.keys, plain }
    }

    /// Reads a key file: one base64 key per line, or the word `plain`: before all keys it means
    /// [`Plain::Sent`], after one [`Plain::Accepted`]. Blank lines and whatever follows a `#`
    /// are skipped. A text without keys is an empty keyring.
    ///
    /// # Errors
    /// [`KeyringError`] names the line and what is wrong with it, and never repeats what
    /// stands there.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        let (mut plain, mut plain_line) = (Plain::Refused, 0);
        for (number, line) in (1..).zip(text.lines()) {
            let entry = entry(line);
            if entry.is_empty() {
                continue;
            }
            if entry == PLAIN {
                if plain != Plain::Refused {
                    let problem = KeyError::Repeated { first: plain_line };
                    return Err(KeyringError { line: number, problem });
                }
                plain = if keys.is_empty() { Plain::Sent } else { Plain::Accepted };
                plain_line = number;
                continue;
            }
            let key = Key::from_base64(entry).map_err(|problem| KeyringError { line: number, problem })?;
            let known = keys.iter().zip(&lines).find(|(other, _)| other.bytes == key.bytes);
            if let Some((_, &first)) = known {
                return Err(KeyringError { line: number, problem: KeyError::Repeated { first } });
            }
            keys.push(key);
            lines.push(number);
        }
        Ok(Self { keys, plain })
    }

    /// The key that seals what we send; `None` when datagrams go plain.
    pub fn primary(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.plain != Plain::Sent)
    }

    /// Whether plain datagrams are taken.
    pub fn opens_plain(&self) -> bool {
        self.keys.is_empty() || self.plain != Plain::Refused
    }

    /// The ids of all that it opens, the one that it sends with first; 0 ([`KeyId::PLAIN`])
    /// for plain datagrams.
    pub fn ids(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(|key| key.id().get());
        let plain = |when| (self.plain == when).then_some(KeyId::PLAIN.get());
        plain(Plain::Sent).into_iter().chain(keys).chain(plain(Plain::Accepted)).collect()
    }

    /// All keys, the sealing one first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What is wrong with the text of one key. The operator's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not the length of 32 bytes in base64.
    #[error("a key is 32 bytes in base64, 44 characters; this has {characters}")]
    Length {
        /// Characters found.
        characters: usize,
    },
    /// The right length, but not base64 of 32 bytes.
    #[error("not base64 of 32 bytes (standard alphabet, padded)")]
    NotBase64,
    /// The same key a second time in one keyring.
    #[error("the same key as in line {first}")]
    Repeated {
        /// Line of its first appearance, from 1.
        first: usize,
    },
}

/// A key file that cannot be read. The operator's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct KeyringError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: KeyError,
}

/// An id has 255 values, so that two keys of a keyring may share one; the opener then
/// tries both. It tells an outsider nothing usable about a key of 256 random bits.
fn derive_id(bytes: &[u8; KEY_LENGTH]) -> KeyId {
    let digest = Sha256::new().chain_update(ID_DOMAIN).chain_update(bytes).finalize();
    let word = digest.iter().take(4).fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
    let [.., low] = (word % 255).to_be_bytes();
    KeyId::from_wire(low + 1)
}

/// What a line of a key file says, without its comment; empty if nothing.
pub fn entry(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before).trim()
}

/// The line of a key file that stands for no key.
pub const PLAIN: &str = "plain";
/// Bytes of a key, as XChaCha20-Poly1305 wants it.
pub const KEY_LENGTH: usize = 32;
/// Characters of 32 bytes in padded base64.
const BASE64_LENGTH: usize = 44;
/// Separates this hash from every other use of SHA-256 on the same bytes.
const ID_DOMAIN: &[u8] = b"heartsay key id v1\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_plain_stands_for_no_key_in_its_place() {
        let [one, two] = [1, 2].map(|fill| Key::from_bytes([fill; KEY_LENGTH]));
        let lines = |lines: &[&str]| Keyring::parse(&lines.join("\n")).unwrap();
        let (a, b) = (one.to_base64(), two.to_base64());
        let (sent, accepted) = (lines(&["plain # for now", &a]), lines(&[&a, "plain", &b]));
        assert_eq!((sent.primary(), sent.opens_plain()), (None, true));
        assert_eq!(sent.ids(), [0, one.id().get()]);
        assert_eq!((accepted.primary(), accepted.opens_plain()), (Some(&one), true));
        assert_eq!(accepted.ids(), [one.id().get(), two.id().get(), 0]);
        assert!(!lines(&[&a]).opens_plain() && Keyring::empty().opens_plain());
        let twice = Keyring::parse(&format!("plain\n{}\nplain", *a)).unwrap_err();
        assert_eq!((twice.line, twice.problem), (3, KeyError::Repeated { first: 1 }));
    }

    fn key(fill: u8) -> Key {
        Key::from_bytes([fill; KEY_LENGTH])
    }

    #[test]
    fn key_file_with_comments_gives_its_keys_in_order() {
        let (a, b) = (key(1).to_base64(), key(2).to_base64());
        let text = format!("# sealing key\n{}  # since spring\r\n\n   {}\n", *a, *b);
        let keyring = Keyring::parse(&text).unwrap();
        let bytes: Vec<_> = keyring.keys().iter().map(|key| *key.bytes()).collect();
        assert_eq!(bytes, [[1; KEY_LENGTH], [2; KEY_LENGTH]]);
        assert_eq!(keyring.primary().unwrap().id(), key(1).id());
    }

    #[test]
    fn key_file_of_comments_alone_is_an_empty_keyring() {
        assert!(Keyring::parse("# none yet\n\n").unwrap().is_empty());
        assert!(Keyring::parse("").unwrap().primary().is_none());
    }

    #[test]
    fn errors_name_the_line_and_keep_the_secret() {
        let good = key(1).to_base64();
        let short = "c2VjcmV0";
        let broken = good.replace('A', "!");
        let urlsafe = key(0xFB).to_base64().replace('+', "-");
        let cases = [
            (format!("\n{short}"), 2, KeyError::Length { characters: 8 }),
            (format!("{}\n{broken}", *good), 2, KeyError::NotBase64),
            (urlsafe, 1, KeyError::NotBase64),
            (format!("{}\n# x\n{}", *good, *good), 3, KeyError::Repeated { first: 1 }),
        ];
        for (text, line, problem) in cases {
            let error = Keyring::parse(&text).unwrap_err();
            assert_eq!(error, KeyringError { line, problem });
            let said = format!("{error} {error:?}");
            assert!(text.split_whitespace().filter(|word| word.len() > 4).all(|word| !said.contains(word)));
        }
    }

    #[test]
    fn base64_gives_back_the_key() {
        let key = key(0x5A);
        assert_eq!(Key::from_base64(&key.to_base64()).unwrap().bytes(), key.bytes());
    }

    #[test]
    fn debug_hides_the_key() {
        let said = format!("{:?}", Keyring::new(vec![key(7)]));
        assert_eq!(said, format!("Keyring {{ keys: [Key({})], plain: Refused }}", key(7).id()));
    }

    #[test]
    fn ids_avoid_the_plain_one_and_spread_over_the_others() {
        let ids: std::collections::BTreeSet<_> =
            (0..=255).map(key).map(|key| key.id()).inspect(|&id| assert_ne!(id, KeyId::PLAIN)).collect();
        assert!(ids.len() > 130, "{} different ids of 256 keys", ids.len());
    }
}
