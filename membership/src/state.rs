//! The versioned key-value state that a member tells about itself.
//!
//! Picture: a notice board per member. Only its owner pins notes, each stamped
//! with the next number of one counter. Whoever knows the board up to number
//! 17 asks for "beyond 17" and gets the newer notes, oldest first, as many as
//! fit. (Scuttlebutt: van Renesse et al., "Efficient Reconciliation and Flow
//! Control for Anti-Entropy Protocols", 2008.)
//!
//! Weak spot: a deletion is a note too. It stays on the board, within the
//! limit of keys, so that readers who missed it cannot bring the key back.

use bytes::Bytes;
use smol_str::SmolStr;

use crate::identity::Version;

/// What one member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// By key, and no longer than need be: most members have a few, and there are thousands of members.
    entries: Vec<(SmolStr, Entry)>,
    version: Version,
}

/// One note on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None`: deleted.
    pub value: Option<Bytes>,
    /// Number of the change that made it so.
    pub version: Version,
}

/// Changes of a state after version `since`, up to and including `until`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The reader must know at least this version.
    pub since: Version,
    /// The version that the reader has afterwards.
    pub until: Version,
    /// Changes with versions in `since + 1 ..= until`.
    pub entries: Vec<(SmolStr, Entry)>,
}

impl State {
    /// Version of the newest change.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Value of `key`, unless deleted or never set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.entry(key)?.value.as_ref()
    }

    /// Keys with a value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries.iter().filter_map(|(k, e)| Some((k.as_str(), e.value.as_ref()?)))
    }

    /// Sets (or with `None` deletes) keys of our own state. All or nothing.
    /// Returns whether anything changed.
    ///
    /// # Errors
    /// A key or value over its limit, or too much in total.
    pub fn set(&mut self, changes: &[(String, Option<Vec<u8>>)]) -> Result<bool, StateError> {
        let mut next = self.clone();
        for (key, value) in changes {
            check_key(key)?;
            if let Some(value) = value
                && value.len() > MAX_VALUE
            {
                return Err(StateError::Value { key: key.clone(), bytes: value.len() });
            }
            let same = next.get(key).map(|v| v.as_ref()) == value.as_deref();
            if same {
                continue;
            }
            next.version += 1;
            let entry =
                Entry { value: value.as_ref().map(|v| Bytes::copy_from_slice(v)), version: next.version };
            next.put(SmolStr::new(key), entry);
        }
        next.drop_old_deletions();
        if next.entries.len() > MAX_KEYS {
            return Err(StateError::Keys { keys: next.entries.len() });
        }
        let bytes = next.bytes();
        if bytes > MAX_BYTES {
            return Err(StateError::Size { bytes });
        }
        let changed = next.version != self.version;
        *self = next;
        Ok(changed)
    }

    /// Everything after version `since`, oldest change first, as long as the
    /// encoded entries stay within `room` bytes.
    #[must_use]
    pub fn delta(&self, since: Version, room: usize) -> Delta {
        let mut newer: Vec<_> = self.entries.iter().filter(|(_, e)| e.version > since).collect();
        newer.sort_by_key(|(_, e)| e.version);
        let mut delta = Delta { since, until: self.version, entries: Vec::new() };
        let mut left = room;
        for (key, entry) in newer {
            let size = ENTRY_OVERHEAD + key.len() + entry.value.as_ref().map_or(0, Bytes::len);
            if size > left {
                // The reader is complete up to the change before this one.
                delta.until = entry.version - 1;
                break;
            }
            left -= size;
            delta.entries.push((key.clone(), entry.clone()));
        }
        delta
    }

    /// Takes what another side knows of this member's state. Returns whether
    /// anything changed. A delta with a gap before it changes nothing.
    ///
    /// # Errors
    /// A key or value over its limit: a peer's fault, nothing was changed.
    pub fn merge(&mut self, delta: &Delta) -> Result<bool, StateError> {
        if delta.since > self.version || delta.until <= self.version {
            return Ok(false);
        }
        for (key, entry) in &delta.entries {
            check_key(key)?;
            let bytes = entry.value.as_ref().map_or(0, Bytes::len);
            if bytes > MAX_VALUE {
                return Err(StateError::Value { key: key.to_string(), bytes });
            }
        }
        for (key, entry) in &delta.entries {
            let newer = self.entry(key).is_none_or(|mine| mine.version < entry.version);
            if newer && entry.version <= delta.until {
                self.put(key.clone(), entry.clone());
            }
        }
        self.version = delta.until;
        self.drop_old_deletions();
        // An honest owner keeps within the limits; a hostile one only loses its oldest keys.
        while self.entries.len() > MAX_KEYS || self.bytes() > MAX_BYTES {
            let Some(oldest) = self.oldest(|_| true) else { break };
            self.entries.remove(oldest);
        }
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|(k, e)| k.len() + e.value.as_ref().map_or(0, Bytes::len)).sum()
    }

    fn drop_old_deletions(&mut self) {
        while self.entries.len() > MAX_KEYS {
            let Some(oldest) = self.oldest(|e| e.value.is_none()) else { break };
            self.entries.remove(oldest);
        }
    }

    /// Where the oldest of those stands that are meant.
    fn oldest(&self, which: impl Fn(&Entry) -> bool) -> Option<usize> {
        let meant = self.entries.iter().enumerate().filter(|(_, (_, e))| which(e));
        meant.min_by_key(|(_, (_, e))| e.version).map(|(place, _)| place)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let place = self.find(key).ok()?;
        self.entries.get(place).map(|(_, entry)| entry)
    }

    fn put(&mut self, key: SmolStr, entry: Entry) {
        match self.find(&key) {
            Ok(place) => {
                if let Some((_, old)) = self.entries.get_mut(place) {
                    *old = entry;
                }
            }
            Err(place) => {
                self.entries.reserve_exact(1);
                self.entries.insert(place, (key, entry));
            }
        }
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(k, _)| k.as_str().cmp(key))
    }
}

/// Why a state change was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Keys are 1 to 64 bytes of printable text without spaces.
    #[error("key {key:?} must be 1 to 64 bytes of printable text without spaces")]
    Key {
        /// The offending key, shortened.
        key: String,
    },
    /// A value must fit one datagram with room to spare.
    #[error("value of {key:?} has {bytes} bytes; at most {MAX_VALUE} are allowed")]
    Value {
        /// Whose value.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// At most 64 keys.
    #[error("{keys} keys are too many; at most {MAX_KEYS} are allowed")]
    Keys {
        /// How many there would be.
        keys: usize,
    },
    /// At most 8 KiB over all keys and values.
    #[error("state of {bytes} bytes is too large; at most {MAX_BYTES} are allowed")]
    Size {
        /// How large it would be.
        bytes: usize,
    },
}

fn check_key(key: &str) -> Result<(), StateError> {
    let fine =
        !key.is_empty() && key.len() <= MAX_KEY && !key.chars().any(|c| c.is_control() || c.is_whitespace());
    if fine { Ok(()) } else { Err(StateError::Key { key: key.chars().take(80).collect() }) }
}

/// Longest key, in bytes.
const MAX_KEY: usize = 64;
/// Longest value: with its key it fits the default datagram beside an identity.
const MAX_VALUE: usize = 768;
/// Most keys of one member, recent deletions included.
const MAX_KEYS: usize = 64;
/// Most bytes of keys and values of one member.
const MAX_BYTES: usize = 8192;
/// Upper bound of what the encoding adds to key and value.
const ENTRY_OVERHEAD: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(state: &mut State, key: &str, value: &str) {
        state.set(&[(key.into(), Some(value.into()))]).unwrap();
    }

    #[test]
    fn a_reader_catches_up_in_pieces_that_fit() {
        let mut owner = State::default();
        for i in 0..20 {
            set(&mut owner, &format!("k{i}"), &"v".repeat(100));
        }
        set(&mut owner, "k3", "again");
        let mut reader = State::default();
        let mut rounds = 0;
        while reader.version() < owner.version() {
            let delta = owner.delta(reader.version(), 400);
            assert!(reader.merge(&delta).unwrap());
            rounds += 1;
            assert!(rounds < 20, "no progress");
        }
        assert_eq!(reader, owner);
        assert!(rounds > 3);
    }

    #[test]
    fn a_deletion_is_learnt_and_an_old_value_does_not_come_back() {
        let mut owner = State::default();
        set(&mut owner, "role", "web");
        let old = owner.delta(0, 1000);
        owner.set(&[("role".into(), None)]).unwrap();
        let mut reader = State::default();
        reader.merge(&old).unwrap();
        reader.merge(&owner.delta(1, 1000)).unwrap();
        assert_eq!(reader.get("role"), None);
        assert!(!reader.merge(&old).unwrap());
        assert_eq!(reader.get("role"), None);
    }

    #[test]
    fn a_delta_with_a_gap_before_it_is_not_taken() {
        let mut owner = State::default();
        set(&mut owner, "a", "1");
        set(&mut owner, "b", "2");
        let mut reader = State::default();
        assert!(!reader.merge(&owner.delta(1, 1000)).unwrap());
        assert_eq!(reader, State::default());
    }

    #[test]
    fn what_is_too_large_is_refused_whole() {
        let mut state = State::default();
        set(&mut state, "fine", "yes");
        let before = state.clone();
        let error = state
            .set(&[("other".into(), Some(b"x".to_vec())), ("big".into(), Some(vec![0; 769]))])
            .unwrap_err();
        assert_eq!(error, StateError::Value { key: "big".into(), bytes: 769 });
        assert_eq!(state, before);
        let many: Vec<_> = (0..65).map(|i| (format!("k{i}"), Some(vec![1]))).collect();
        assert_eq!(state.set(&many).unwrap_err(), StateError::Keys { keys: 66 });
        let large: Vec<_> = (0..12).map(|i| (format!("k{i}"), Some(vec![1; 768]))).collect();
        assert!(matches!(state.set(&large).unwrap_err(), StateError::Size { .. }));
        assert!(matches!(state.set(&[("a b".into(), None)]).unwrap_err(), StateError::Key { .. }));
    }

    #[test]
    fn setting_the_same_value_again_is_no_change() {
        let mut state = State::default();
        set(&mut state, "a", "1");
        assert!(!state.set(&[("a".into(), Some(b"1".to_vec())), ("b".into(), None)]).unwrap());
        assert_eq!(state.version(), 1);
    }

    #[test]
    fn old_deletions_make_room_for_new_keys() {
        let mut state = State::default();
        for i in 0..200 {
            let key = format!("k{i}");
            set(&mut state, &key, "v");
            state.set(&[(key, None)]).unwrap();
        }
        assert!(state.entries.len() <= MAX_KEYS);
        set(&mut state, "still", "works");
        assert_eq!(state.get("still").map(|v| v.as_ref()), Some(b"works".as_ref()));
    }
}
