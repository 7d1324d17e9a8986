//! The versioned key-value state that a member tells about itself.
//!
//! Picture: a notice board per member. Only its owner pins notes, each stamped
//! with the next number of one counter. Whoever knows the board up to number
//! 17 asks for "beyond 17" and gets the newer notes, oldest first, as many as
//! fit. (Scuttlebutt: van Renesse et al., "Efficient Reconciliation and Flow
//! Control for Anti-Entropy Protocols", 2008.)
//!
//! A board is read now and then, changes seldom, and there are thousands of
//! them: so it is kept as one string of bytes, which a change writes anew.
//!
//! ```text
//!   version │ key length, key │ value length + 1, value │ version │ key length, …
//!           └────────────── one note; 0: deleted ───────────────┘   by key
//! ```
//!
//! Weak spot: a deletion is a note too. It stays on the board, within the
//! limit of keys, so that readers who missed it cannot bring the key back.

use bytes::Bytes;
use heartsay_proto::is_word;
use smol_str::SmolStr;
use triomphe::ThinArc;

use crate::identity::Version;

/// What one member says about itself. Clones share the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// As drawn above, numbers in groups of seven bits (LEB128). `None`: nothing was ever said.
    board: Option<ThinArc<(), u8>>,
}

/// One note, on the board or about to be pinned there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note<'a> {
    key: &'a str,
    /// `None`: deleted.
    value: Option<&'a [u8]>,
    /// Number of the change that made it so.
    version: Version,
}

/// What a key became.
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
        take_number(&mut self.board()).unwrap_or(0)
    }

    /// Value of `key`, unless deleted or never set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.notes().find(|note| note.key == key)?.value
    }

    /// Keys with a value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.notes().filter_map(|note| Some((note.key, note.value?)))
    }

    /// Sets (or with `None` deletes) keys of our own state. All or nothing.
    /// Returns whether anything changed.
    ///
    /// # Errors
    /// A key or value over its limit, or too much in total.
    pub fn set(&mut self, changes: &[(String, Option<Vec<u8>>)]) -> Result<bool, StateError> {
        let mut next: Vec<Note<'_>> = self.notes().collect();
        let mut version = self.version();
        for (key, value) in changes {
            check_key(key)?;
            check_value(key, value.as_deref())?;
            let value = value.as_deref();
            if find(&next, key).ok().and_then(|place| next.get(place)?.value) == value {
                continue;
            }
            version += 1;
            pin(&mut next, Note { key, value, version });
        }
        drop_old_deletions(&mut next);
        if next.len() > MAX_KEYS {
            return Err(StateError::Keys { keys: next.len() });
        }
        let bytes = size(&next);
        if bytes > MAX_BYTES {
            return Err(StateError::Size { bytes });
        }
        let changed = version != self.version();
        if changed {
            *self = Self::of(version, &next);
        }
        Ok(changed)
    }

    /// Everything after version `since`, oldest change first, as long as the
    /// encoded entries stay within `room` bytes.
    #[must_use]
    pub fn delta(&self, since: Version, room: usize) -> Delta {
        let mut newer: Vec<Note<'_>> = self.notes().filter(|note| note.version > since).collect();
        newer.sort_by_key(|note| note.version);
        let mut delta = Delta { since, until: self.version(), entries: Vec::new() };
        let mut left = room;
        for note in newer {
            let size = ENTRY_OVERHEAD + note.size();
            if size > left {
                // The reader is complete up to the change before this one.
                delta.until = note.version - 1;
                break;
            }
            left -= size;
            let entry = Entry { value: note.value.map(Bytes::copy_from_slice), version: note.version };
            delta.entries.push((SmolStr::new(note.key), entry));
        }
        delta
    }

    /// Takes what another side knows of this member's state. Returns whether
    /// anything changed. A delta with a gap before it changes nothing.
    ///
    /// # Errors
    /// A key or value over its limit: a peer's fault, nothing was changed.
    pub fn merge(&mut self, delta: &Delta) -> Result<bool, StateError> {
        if delta.since > self.version() || delta.until <= self.version() {
            return Ok(false);
        }
        for (key, entry) in &delta.entries {
            check_key(key)?;
            check_value(key, entry.value.as_deref())?;
        }
        let mut next: Vec<Note<'_>> = self.notes().collect();
        for (key, entry) in &delta.entries {
            let note = Note { key, value: entry.value.as_deref(), version: entry.version };
            let mine = find(&next, key).ok().and_then(|place| next.get(place));
            if mine.is_none_or(|mine| mine.version < note.version) && note.version <= delta.until {
                pin(&mut next, note);
            }
        }
        drop_old_deletions(&mut next);
        // An honest owner keeps within the limits; a hostile one only loses its oldest keys.
        while next.len() > MAX_KEYS || size(&next) > MAX_BYTES {
            let Some(oldest) = oldest(&next, |_| true) else { break };
            next.remove(oldest);
        }
        *self = Self::of(delta.until, &next);
        Ok(true)
    }

    /// The same state as `other`, so that one of the two can go.
    pub fn share(&mut self, other: &Self) -> bool {
        let same = self == other;
        if same {
            self.board.clone_from(&other.board);
        }
        same
    }

    fn of(version: Version, notes: &[Note<'_>]) -> Self {
        let mut board = Vec::with_capacity(LONGEST_NUMBER + notes.iter().map(Note::room).sum::<usize>());
        put_number(&mut board, version);
        for note in notes {
            put_bytes(&mut board, 0, note.key.as_bytes());
            match note.value {
                Some(value) => put_bytes(&mut board, 1, value),
                None => put_number(&mut board, 0),
            }
            put_number(&mut board, note.version);
        }
        Self { board: Some(ThinArc::from_header_and_slice((), &board)) }
    }

    fn board(&self) -> &[u8] {
        self.board.as_ref().map_or(&[], |board| &board.slice)
    }

    /// By key.
    fn notes(&self) -> impl Iterator<Item = Note<'_>> {
        let mut rest = self.board();
        let _ = take_number(&mut rest);
        core::iter::from_fn(move || {
            Some(Note {
                key: core::str::from_utf8(take_bytes(&mut rest, 0)??).ok()?,
                value: take_bytes(&mut rest, 1)?,
                version: take_number(&mut rest)?,
            })
        })
    }
}

impl Note<'_> {
    /// What counts of it towards [`MAX_BYTES`].
    fn size(&self) -> usize {
        self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// What it takes on a board, at most.
    fn room(&self) -> usize {
        self.size() + 3 * LONGEST_NUMBER
    }
}

/// Where the note of a key is, or where it would stand.
fn find(notes: &[Note<'_>], key: &str) -> Result<usize, usize> {
    notes.binary_search_by(|note| note.key.cmp(key))
}

fn pin<'a>(notes: &mut Vec<Note<'a>>, note: Note<'a>) {
    match find(notes, note.key) {
        Ok(place) => {
            if let Some(old) = notes.get_mut(place) {
                *old = note;
            }
        }
        Err(place) => notes.insert(place, note),
    }
}

fn size(notes: &[Note<'_>]) -> usize {
    notes.iter().map(Note::size).sum()
}

fn drop_old_deletions(notes: &mut Vec<Note<'_>>) {
    while notes.len() > MAX_KEYS {
        let Some(oldest) = oldest(notes, |note| note.value.is_none()) else { break };
        notes.remove(oldest);
    }
}

/// Where the oldest of those stands that are meant.
fn oldest(notes: &[Note<'_>], which: impl Fn(&Note<'_>) -> bool) -> Option<usize> {
    let meant = notes.iter().enumerate().filter(|(_, note)| which(note));
    meant.min_by_key(|(_, note)| note.version).map(|(place, _)| place)
}

fn put_number(board: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        board.push(if number == 0 { low & 0x7f } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn take_number(board: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = board.split_first()?;
        *board = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// `bytes`, and before them their length and `more`.
fn put_bytes(board: &mut Vec<u8>, more: u64, bytes: &[u8]) {
    put_number(board, bytes.len() as u64 + more);
    board.extend_from_slice(bytes);
}

/// What was put with the same `more`; inside, `None` where a number below it stands.
fn take_bytes<'a>(board: &mut &'a [u8], more: u64) -> Option<Option<&'a [u8]>> {
    let Some(length) = take_number(board)?.checked_sub(more) else { return Some(None) };
    let (bytes, rest) = board.split_at_checked(usize::try_from(length).ok()?)?;
    *board = rest;
    Some(Some(bytes))
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
    let fine = !key.is_empty() && key.len() <= MAX_KEY && is_word(key);
    if fine { Ok(()) } else { Err(StateError::Key { key: key.chars().take(80).collect() }) }
}

fn check_value(key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
    let bytes = value.map_or(0, <[u8]>::len);
    if bytes <= MAX_VALUE { Ok(()) } else { Err(StateError::Value { key: key.to_owned(), bytes }) }
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
/// Bytes of the largest number on a board.
const LONGEST_NUMBER: usize = 10;

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
    fn a_board_gives_back_what_was_pinned_and_little_is_added() {
        let mut state = State::default();
        let long = "x".repeat(300);
        for (key, value) in [("zone", "a"), ("empty", ""), ("long", &long), ("gone", "soon")] {
            set(&mut state, key, value);
        }
        state.set(&[("gone".into(), None)]).unwrap();
        assert_eq!(state.version(), 5);
        let told: Vec<_> = state.iter().collect();
        assert_eq!(told, [("empty", "".as_bytes()), ("long", long.as_bytes()), ("zone", b"a")]);
        let notes: Vec<_> = state.notes().collect();
        assert_eq!(notes[1], Note { key: "gone", value: None, version: 5 });
        assert_eq!(
            state.board().len(),
            size(&notes) + 4 * 3 + 1 + 1,
            "three bytes each, one more of the long one"
        );
        assert_eq!(State::of(u64::MAX, &notes).version(), u64::MAX);
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
        assert!(state.notes().count() <= MAX_KEYS);
        set(&mut state, "still", "works");
        assert_eq!(state.get("still"), Some(b"works".as_ref()));
    }
}
