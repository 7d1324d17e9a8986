//! The versioned key-value state that a member publishes about itself.
//!
//! Picture: a notice board per member. Only its owner pins notes on it, each stamped with the next number of one
//! counter. A reader that knows the board up to number 17 asks for "beyond 17" and gets the newer notes, oldest first,
//! as many as fit. (Scuttlebutt: van Renesse et al., "Efficient Reconciliation and Flow Control for Anti-Entropy
//! Protocols", 2008.)
//!
//! A state is read now and then, changes seldom, and there are thousands of them. So it is kept as one string of bytes,
//! which a change writes anew.
//!
//! ```text
//!   version │ key length, key │ value length + 1, value │ version │ key length, …
//!           └────────────── one note; 0: deleted ───────────────┘   by key
//! ```
//!
//! A deletion is a note too, so that a reader that missed it learns of it. But the notes of deletions are bounded, and
//! deletions are not. So a delta with gaps between its versions also lists the live keys, and the reader drops the
//! others. No deletion is lost, however many there are.
//!
//! Weak spot: the live keys are listed by five bytes of their hashes. A deleted key stays if one in a million millions
//! coincides.

use bytes::Bytes;
use heartsay_proto::is_word;
use smol_str::SmolStr;
use triomphe::ThinArc;

use crate::identity::Version;
use crate::roster::fingerprint;

/// What one member publishes about itself. Clones share the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// As drawn above, numbers in groups of seven bits (LEB128). `None`: nothing was ever set.
    board: Option<ThinArc<(), u8>>,
}

/// One note, on the board or about to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note<'a> {
    key: &'a str,
    /// `None`: deleted.
    value: Option<&'a [u8]>,
    /// Version of the change that made it so.
    version: Version,
}

/// The new value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None`: deleted.
    pub value: Option<Bytes>,
    /// Version of the change that made it so.
    pub version: Version,
}

/// Changes of a state after version `since`, up to and including `until`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The reader must know at least this version.
    pub since: Version,
    /// The version that the reader has afterwards.
    pub until: Version,
    /// The version that the sender has.
    pub newest: Version,
    /// Changes with versions in `since + 1 ..= until`, and some beyond that, sent ahead of their turn.
    pub entries: Vec<(SmolStr, Entry)>,
    /// Marks of the live keys that are not among the entries: other keys up to `until` are deleted. `None`: not said.
    pub kept: Option<Bytes>,
}

/// A key whose value has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key; the state shows whether it still exists.
    pub key: String,
    /// Its value before; `None`: it had none.
    pub before: Option<Vec<u8>>,
}

/// The result of merging a delta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// A newer version is known now.
    pub advanced: bool,
    /// Values that have changed.
    pub changes: Vec<KeyChange>,
}

/// How much of a state one datagram can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Longest key and value together.
    pub entry: usize,
    /// Bytes of the datagram, for people.
    pub datagram: usize,
}

impl Capacity {
    /// Whether it holds the largest entry that any member may set.
    pub fn is_ample(self) -> bool {
        self.entry >= MAX_KEY + MAX_VALUE
    }
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

    /// Sets (or with `None` deletes) keys of our own state. All or nothing. Returns what has changed.
    ///
    /// # Errors
    /// A key or value over its limit, or too much in total.
    pub fn set(
        &mut self,
        changes: &[(String, Option<Vec<u8>>)],
        capacity: Capacity,
    ) -> Result<Vec<KeyChange>, StateError> {
        let mut next: Vec<Note<'_>> = self.notes().collect();
        let mut version = self.version();
        for (key, value) in changes {
            check_key(key)?;
            check_value(key, value.as_deref())?;
            let value = value.as_deref();
            check_fit(key, value, capacity)?;
            if find(&next, key).ok().and_then(|place| next.get(place)?.value) == value {
                continue;
            }
            version += 1;
            pin(&mut next, Note { key, value, version });
        }
        let living = || next.iter().filter(|note| note.value.is_some());
        let (keys, bytes) = (living().count(), living().map(Note::size).sum());
        if keys > MAX_KEYS {
            return Err(StateError::Keys { keys });
        }
        if bytes > MAX_BYTES {
            return Err(StateError::Size { bytes });
        }
        if version == self.version() {
            return Ok(Vec::new());
        }
        drop_old_deletions(&mut next);
        let next = Self::of(version, &next);
        let changes = self.changes_to(&next);
        *self = next;
        Ok(changes)
    }

    /// All changes after version `since`, oldest first, as long as they fit `room` bytes.
    ///
    /// A change too long to fit even by itself does not hide those after it: they are sent ahead of their turn.
    #[must_use]
    pub fn delta(&self, since: Version, room: usize) -> Delta {
        let newest = self.version();
        let mut newer: Vec<Note<'_>> = self.notes().filter(|note| note.version > since).collect();
        newer.sort_by_key(|note| note.version);
        let mut delta = Delta { since, until: since.min(newest), newest, ..Delta::default() };
        let marks = if since == 0 { 0 } else { self.room_for_marks() };
        // Whether all changes so far were included, and whether versions are missing in between.
        let (mut whole, mut gaps) = (since < newest, false);
        let mut left = room;
        for note in &newer {
            if whole && note.version > newest {
                // Ahead of its turn here too.
                whole = bridge(&mut gaps, delta.until < newest, &mut left, marks);
                delta.until = if whole { newest } else { delta.until };
                whole = false;
            }
            if whole {
                whole = bridge(&mut gaps, note.version > delta.until + 1, &mut left, marks);
                if !whole {
                    break;
                }
            }
            let size = note.told();
            let fits = size <= left;
            if whole {
                // A change that does not fit ends the complete part.
                delta.until = if fits { note.version } else { note.version - 1 };
                whole = fits;
            }
            if fits {
                left -= size;
                let entry = Entry { value: note.value.map(Bytes::copy_from_slice), version: note.version };
                delta.entries.push((SmolStr::new(note.key), entry));
            } else if size <= room {
                // The next delta begins with it.
                break;
            }
        }
        if whole && bridge(&mut gaps, delta.until < newest, &mut left, marks) {
            delta.until = newest;
        }
        if gaps && (since > 0 || delta.until == newest) {
            delta.kept = Some(self.marks_beside(&delta.entries));
        }
        delta
    }

    /// Whether a reader with everything up to `since` lacks nothing.
    #[must_use]
    pub fn is_known_to(&self, since: Version) -> bool {
        self.version() <= since && self.notes().all(|note| note.version <= since)
    }

    /// The newest changes that fit `room` bytes, for readers that have all before them.
    #[must_use]
    pub fn latest(&self, room: usize) -> Delta {
        let mut notes: Vec<Note<'_>> = self.notes().collect();
        notes.sort_by_key(|note| core::cmp::Reverse(note.version));
        if notes.iter().map(Note::told).sum::<usize>() <= room {
            return self.delta(0, room);
        }
        let mut left = room.saturating_sub(self.room_for_marks());
        let old = notes.iter().find(|note| match left.checked_sub(note.told()) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        self.delta(old.map_or(0, |note| note.version), room)
    }

    /// How many values are too long to be passed on.
    #[must_use]
    pub fn too_long(&self, capacity: Capacity) -> usize {
        self.notes().filter(|note| note.size() > capacity.entry).count()
    }

    /// Merges what another member knows of this state. A delta with a gap before it does not advance the version.
    ///
    /// # Errors
    /// A key or value over its limit: a peer's fault, nothing was changed.
    pub fn merge(&mut self, delta: &Delta) -> Result<Merged, StateError> {
        let known = self.version();
        let forward = delta.since <= known && delta.until > known;
        let news = |entry: &Entry| entry.version > known;
        if !forward && !delta.entries.iter().any(|(_, entry)| news(entry)) {
            return Ok(Merged::default());
        }
        for (key, entry) in &delta.entries {
            check_key(key)?;
            check_value(key, entry.value.as_deref())?;
        }
        let mut next: Vec<Note<'_>> = self.notes().collect();
        // It starts from zero and is not complete: useful only to a reader that has nothing.
        let fresh = delta.since == 0 && delta.kept.is_none() && delta.has_gaps();
        let until = if forward && (!fresh || known == 0) { delta.until } else { known };
        if until > known && (fresh || delta.kept.is_some()) {
            let kept = delta.kept.as_deref().unwrap_or_default();
            let told = |note: &Note<'_>| delta.entries.iter().any(|(key, _)| key == note.key);
            let lives = |note: &Note<'_>| note.version > until || told(note) || is_kept(kept, note.key);
            next.retain(|note| note.value.is_none() || lives(note));
        }
        for (key, entry) in &delta.entries {
            let note = Note { key, value: entry.value.as_deref(), version: entry.version };
            let mine = find(&next, key).ok().and_then(|place| next.get(place));
            if news(entry) && mine.is_none_or(|mine| mine.version < note.version) {
                pin(&mut next, note);
            }
        }
        drop_old_deletions(&mut next);
        keep_bounds(&mut next, until);
        let next = Self::of(until, &next);
        let changes = self.changes_to(&next);
        *self = next;
        Ok(Merged { advanced: until > known, changes })
    }

    /// Whether a claim about this state, our own, says what it never was: a version that we have not reached, or another
    /// change than ours of the same version.
    #[must_use]
    pub fn is_forged_by(&self, delta: &Delta) -> bool {
        let version = self.version();
        let never_was = |(key, entry): &(SmolStr, Entry)| {
            entry.version > version
                || self.notes().any(|note| {
                    let (same_key, same_value) = (note.key == *key, note.value == entry.value.as_deref());
                    match note.version == entry.version {
                        true => !same_key || !same_value,
                        false => same_key && note.version < entry.version,
                    }
                })
        };
        delta.highest() > version || delta.entries.iter().any(never_was)
    }

    /// Makes all of it newer than `version`, and than it was. A reader with anything up to that version drops the keys
    /// that are not ours, because the versions have a gap.
    pub fn renew_above(&mut self, version: Version) {
        self.renumber(version.max(self.version()).saturating_add(1));
    }

    /// Numbers all of it anew, from the version after `above` on, for readers that do not have it.
    pub fn renumber(&mut self, above: Version) {
        let mut notes: Vec<Note<'_>> = self.notes().filter(|note| note.value.is_some()).collect();
        notes.sort_by_key(|note| note.version);
        let mut newest = above;
        for note in &mut notes {
            newest = newest.saturating_add(1);
            note.version = newest;
        }
        notes.sort_by_key(|note| note.key);
        *self = Self::of(newest, &notes);
    }

    /// Shares the bytes of `other` if the two are equal. Returns whether they are.
    pub fn share(&mut self, other: &Self) -> bool {
        let same = self == other;
        if same {
            self.board.clone_from(&other.board);
        }
        same
    }

    /// The keys whose values differ in `next`.
    fn changes_to(&self, next: &Self) -> Vec<KeyChange> {
        let change = |key: &str, before: Option<&[u8]>| KeyChange {
            key: key.to_owned(),
            before: before.map(<[u8]>::to_vec),
        };
        let gone = self.iter().filter(|(key, _)| next.get(key).is_none());
        let gone = gone.map(|(key, value)| change(key, Some(value)));
        let new = next.iter().map(|(key, value)| (key, value, self.get(key)));
        let new = new.filter(|(_, value, before)| Some(*value) != *before);
        let mut changes: Vec<KeyChange> =
            gone.chain(new.map(|(key, _, before)| change(key, before))).collect();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    /// Most bytes that the marks of all live keys take.
    fn room_for_marks(&self) -> usize {
        MARKS_OVERHEAD + MARK * self.iter().count()
    }

    /// Marks of the live keys that are not among `entries`.
    fn marks_beside(&self, entries: &[(SmolStr, Entry)]) -> Bytes {
        let mut marks = Vec::new();
        for (key, _) in self.iter().filter(|(key, _)| entries.iter().all(|(told, _)| told != key)) {
            marks.extend_from_slice(&mark(key));
        }
        marks.into()
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

    /// All notes, sorted by key.
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

impl Delta {
    /// The highest version that it speaks of.
    #[must_use]
    pub fn highest(&self) -> Version {
        let entries = self.entries.iter().map(|(_, entry)| entry.version);
        entries.fold(self.until.max(self.newest), Version::max)
    }

    /// Whether a version between its ends is not among the entries: changed again later, or deleted and forgotten.
    fn has_gaps(&self) -> bool {
        let within = |entry: &Entry| self.since < entry.version && entry.version <= self.until;
        let told = self.entries.iter().filter(|(_, entry)| within(entry)).count() as u64;
        told < self.until.saturating_sub(self.since)
    }
}

impl Note<'_> {
    /// Its share of [`MAX_BYTES`].
    fn size(&self) -> usize {
        self.key.len() + self.value.map_or(0, <[u8]>::len)
    }

    /// Most bytes that it takes in a datagram.
    fn told(&self) -> usize {
        ENTRY_OVERHEAD + self.size()
    }

    /// Most bytes that it takes on a board.
    fn room(&self) -> usize {
        self.size() + 3 * LONGEST_NUMBER
    }
}

/// The place of a key's note, or the place where it would be inserted.
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

/// Reserves the room for marks before the first gap. Without that room nothing beyond the gap can be sent.
fn bridge(gaps: &mut bool, gap: bool, left: &mut usize, marks: usize) -> bool {
    if !gap || *gaps {
        return true;
    }
    let rest = left.checked_sub(marks);
    *left = rest.unwrap_or(*left);
    *gaps = rest.is_some();
    *gaps
}

/// The bytes of a key's hash that mark it as live.
fn mark(key: &str) -> [u8; MARK] {
    let [_, _, _, mark @ ..] = fingerprint::of_key(key).to_be_bytes();
    mark
}

fn is_kept(kept: &[u8], key: &str) -> bool {
    let mark = mark(key);
    kept.chunks_exact(MARK).any(|kept| kept == mark)
}

fn size(notes: &[Note<'_>]) -> usize {
    notes.iter().map(Note::size).sum()
}

/// Deletions are remembered, as far as there is room, for readers that know nothing of them yet.
fn drop_old_deletions(notes: &mut Vec<Note<'_>>) {
    let deletions = |notes: &[Note<'_>]| notes.iter().filter(|note| note.value.is_none()).count();
    while deletions(notes) > MAX_DELETIONS || size(notes) > MAX_BYTES {
        let Some(oldest) = oldest(notes, |note| note.value.is_none()) else { break };
        notes.remove(oldest);
    }
}

/// An honest owner keeps within the limits, and a reader that has yet to drop keys needs at most twice as much. Beyond
/// that, entries ahead of their turn are dropped first, because they come again; then, from a hostile peer, the oldest.
fn keep_bounds(notes: &mut Vec<Note<'_>>, version: Version) {
    while notes.len() > 2 * MAX_KEYS + MAX_DELETIONS || size(notes) > 2 * MAX_BYTES {
        let ahead = notes.iter().enumerate().max_by_key(|(_, note)| note.version);
        let ahead = ahead.filter(|(_, note)| note.version > version).map(|(place, _)| place);
        let Some(place) = ahead.or_else(|| oldest(notes, |_| true)) else { break };
        notes.remove(place);
    }
}

/// The place of the oldest note that satisfies `which`.
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

/// Appends the length of `bytes` plus `more`, and then `bytes`.
fn put_bytes(board: &mut Vec<u8>, more: u64, bytes: &[u8]) {
    put_number(board, bytes.len() as u64 + more);
    board.extend_from_slice(bytes);
}

/// Reads what was put with the same `more`; the inner `None` stands for a number below it.
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
        /// The key of the value.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// A key and its value must fit one datagram of the configured size.
    #[error(
        "key {key:?} and its value have {bytes} bytes; datagrams of {datagram} bytes take at most {most}; make it shorter, or datagram_size larger on all members"
    )]
    Fit {
        /// The key of the value.
        key: String,
        /// Size of both.
        bytes: usize,
        /// The most that fits.
        most: usize,
        /// The configured size of datagrams.
        datagram: usize,
    },
    /// A key that is reserved for the protocol.
    #[error("key {key:?} is the protocol's own; another name, perhaps with a prefix, is free")]
    Reserved {
        /// The key.
        key: String,
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

fn check_fit(key: &str, value: Option<&[u8]>, capacity: Capacity) -> Result<(), StateError> {
    let Capacity { entry: most, datagram } = capacity;
    let bytes = key.len() + value.map_or(0, <[u8]>::len);
    if bytes <= most { Ok(()) } else { Err(StateError::Fit { key: key.to_owned(), bytes, most, datagram }) }
}

/// Whether the protocol itself keeps this key, so that users neither set it nor hear of it.
pub fn is_reserved(key: &str) -> bool {
    matches!(key, KEYS_KEY | QUORUM_KEY | BEACON_KEY)
}

/// Longest key, in bytes.
const MAX_KEY: usize = 64;
/// Longest value: with its key it fits the default datagram beside an identity.
const MAX_VALUE: usize = 768;
/// Most keys of one member.
const MAX_KEYS: usize = 64;
/// Most deletions that are remembered: as many as one change can make.
const MAX_DELETIONS: usize = MAX_KEYS;
/// Bytes of a mark: among 64 keys and 64 deletions, two coincide once in 270 million times.
const MARK: usize = 5;
/// Upper bound of what the encoding adds to all marks.
const MARKS_OVERHEAD: usize = 3;
/// Most bytes of keys and values of one member.
const MAX_BYTES: usize = 8192;
/// Upper bound of what the encoding adds to key and value.
pub const ENTRY_OVERHEAD: usize = 22;
/// Bytes of the largest number on a board.
const LONGEST_NUMBER: usize = 10;

/// Key that the protocol keeps in the record of a member with cluster keys: the ids of all that it opens, in decimal,
/// with commas between them, the one that it sends with first; 0 for plain datagrams.
pub const KEYS_KEY: &str = "keys";
/// Key that the protocol keeps in the record of a member that has lost quorum, until it holds it again.
pub const QUORUM_KEY: &str = "quorum";
/// Key that the protocol keeps in the record of a member that writes beacons: the cluster's time of the latest, in decimal.
pub const BEACON_KEY: &str = "beacon";
/// Value of [`QUORUM_KEY`] while no majority is in two-way contact.
pub const QUORUM_LOST: &[u8] = b"lost";
/// Its value while that is so and heartbeats of a majority come all the same, through others.
pub const QUORUM_HEARING: &[u8] = b"hearing";
/// Its value when a majority is in two-way contact again. Quorum is held when that has lasted.
pub const QUORUM_SETTLING: &[u8] = b"settling";

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: Capacity = Capacity { entry: 900, datagram: 1200 };

    fn set(state: &mut State, key: &str, value: &str) {
        state.set(&[(key.into(), Some(value.into()))], AMPLE).unwrap();
    }

    fn delete(state: &mut State, keys: &[&str]) {
        let changes: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), None)).collect();
        state.set(&changes, AMPLE).unwrap();
    }

    fn tags(state: &State) -> Vec<(&str, &[u8])> {
        state.iter().collect()
    }

    fn catch_up(reader: &mut State, owner: &State, room: usize) -> usize {
        let mut rounds = 0;
        while reader.version() < owner.version() {
            let before = reader.version();
            reader.merge(&owner.delta(before, room)).unwrap();
            assert!(reader.version() > before, "no progress from {before} in {room} bytes");
            rounds += 1;
        }
        assert_eq!(tags(reader), tags(owner));
        rounds
    }

    #[test]
    fn a_reader_catches_up_in_pieces_that_fit() {
        let mut owner = State::default();
        for i in 0..20 {
            set(&mut owner, &format!("k{i}"), &"v".repeat(100));
        }
        set(&mut owner, "k3", "again");
        let mut reader = State::default();
        assert!(catch_up(&mut reader, &owner, 400) > 3);
        assert_eq!(reader, owner);
    }

    #[test]
    fn a_deletion_is_learnt_and_an_old_value_does_not_come_back() {
        let mut owner = State::default();
        set(&mut owner, "role", "web");
        let old = owner.delta(0, 1000);
        delete(&mut owner, &["role"]);
        let mut reader = State::default();
        reader.merge(&old).unwrap();
        let merged = reader.merge(&owner.delta(1, 1000)).unwrap();
        let change = KeyChange { key: "role".into(), before: Some(b"web".to_vec()) };
        assert_eq!(merged, Merged { advanced: true, changes: vec![change] });
        assert_eq!(reader.get("role"), None);
        assert_eq!(reader.merge(&old).unwrap(), Merged::default());
        assert_eq!(reader.get("role"), None);
    }

    #[test]
    fn a_delta_with_a_gap_before_it_is_true_but_advances_no_reader() {
        let mut owner = State::default();
        set(&mut owner, "a", "1");
        set(&mut owner, "b", "2");
        let mut reader = State::default();
        assert!(!reader.merge(&owner.delta(1, 1000)).unwrap().advanced);
        assert_eq!((reader.version(), tags(&reader)), (0, vec![("b", b"2".as_ref())]));
        assert_eq!(reader.merge(&owner.delta(0, 1000)).unwrap().changes.len(), 1, "b is known already");
        assert_eq!(reader, owner);
    }

    #[test]
    fn no_deletion_is_lost_however_many_there_are_and_however_small_the_pieces() {
        for (old, room) in [(33, 1000), (64, 1000), (64, 345), (64, 350)] {
            let mut owner = State::default();
            for i in 0..old {
                set(&mut owner, &format!("k{i}"), "v");
            }
            let mut behind = State::default();
            catch_up(&mut behind, &owner, room);
            let mut early = behind.clone();
            // Renamed at once, three times over: far more than is remembered.
            for round in 0..3 {
                let gone: Vec<String> = owner.iter().map(|(key, _)| key.to_owned()).collect();
                let gone = gone.into_iter().map(|key| (key, None));
                let new = (0..old).map(|i| (format!("r{round}-{i}"), Some(b"v".to_vec())));
                owner.set(&gone.chain(new).collect::<Vec<_>>(), AMPLE).unwrap();
            }
            catch_up(&mut behind, &owner, room);
            // Through a reader that has learnt it in pieces, and by a broadcast.
            let mut third = early.clone();
            catch_up(&mut third, &behind, room);
            early.merge(&owner.latest(room)).unwrap();
            catch_up(&mut early, &behind, room);
        }
    }

    #[test]
    fn a_key_rewritten_while_others_are_deleted_does_not_vanish_in_between() {
        let mut owner = State::default();
        for i in 0..40 {
            set(&mut owner, &format!("k{i}"), &"v".repeat(100));
        }
        let mut reader = State::default();
        catch_up(&mut reader, &owner, 1000);
        for _ in 0..80 {
            set(&mut owner, "job", "runs");
            delete(&mut owner, &["job"]);
        }
        for i in 0..40 {
            set(&mut owner, &format!("k{i}"), &"w".repeat(100));
        }
        while reader.version() < owner.version() {
            let changes = reader.merge(&owner.delta(reader.version(), 600)).unwrap().changes;
            assert_eq!(reader.iter().count(), 40, "{changes:?}");
        }
        assert_eq!(tags(&reader), tags(&owner));
    }

    #[test]
    fn a_new_reader_is_told_from_the_beginning_and_another_is_not_misled() {
        let mut owner = State::default();
        for i in 0..20 {
            set(&mut owner, &format!("k{i}"), &"v".repeat(100));
        }
        let mut reader = State::default();
        catch_up(&mut reader, &owner, 1000);
        delete(&mut owner, &["k3"]);
        for _ in 0..70 {
            set(&mut owner, "a", "1");
            delete(&mut owner, &["a"]);
        }
        // A part of it from zero says nothing about deletions.
        let part = owner.delta(0, 1000);
        assert!(part.until < owner.version() && part.kept.is_none());
        let whole = State { board: reader.board.clone() };
        assert!(!reader.merge(&part).unwrap().advanced);
        assert_eq!(reader, whole);
        catch_up(&mut reader, &owner, 1000);
        catch_up(&mut State::default(), &owner, 1000);
    }

    #[test]
    fn a_value_too_long_for_our_datagrams_hides_none_after_it() {
        let mut owner = State::default();
        set(&mut owner, "a", "1");
        set(&mut owner, "long", &"x".repeat(700));
        set(&mut owner, "zzz", "2");
        let mut reader = State::default();
        reader.merge(&owner.delta(0, 350)).unwrap();
        assert_eq!(reader.version(), 1);
        assert_eq!(tags(&reader), [("a", b"1".as_ref()), ("zzz", b"2")]);
        assert_eq!(owner.too_long(Capacity { entry: 300, datagram: 512 }), 1);
        // A sender with room for all of it then sends it.
        catch_up(&mut reader, &owner, 1000);
    }

    #[test]
    fn of_a_long_state_the_newest_change_arrives_at_once() {
        let mut owner = State::default();
        for i in 0..60 {
            set(&mut owner, &format!("k{i}"), &"v".repeat(100));
        }
        let mut reader = State::default();
        catch_up(&mut reader, &owner, 1000);
        set(&mut owner, "k7", "new");
        let merged = reader.merge(&owner.latest(1000)).unwrap();
        assert!(merged.advanced && merged.changes.len() == 1);
        assert_eq!(tags(&reader), tags(&owner));
    }

    #[test]
    fn an_entry_too_long_for_a_datagram_is_refused_with_its_size() {
        let mut state = State::default();
        let small = Capacity { entry: 300, datagram: 512 };
        let error = state.set(&[("tag/a".into(), Some(vec![b'x'; 296]))], small).unwrap_err();
        assert!(
            error.to_string().contains("have 301 bytes; datagrams of 512 bytes take at most 300"),
            "{error}"
        );
        state.set(&[("tag/a".into(), Some(vec![b'x'; 295]))], small).unwrap();
    }

    #[test]
    fn entries_ahead_of_their_turn_are_dropped_first_when_a_peer_sends_too_much() {
        let mut reader = State::default();
        let entries = |keys: core::ops::Range<u64>, by: u64| {
            let entry = |i: u64| Entry { value: Some(Bytes::from_static(&[b'v'; 700])), version: i + by };
            keys.map(|i| (SmolStr::new(format!("k{i}")), entry(i))).collect()
        };
        let honest = Delta { until: 11, newest: 11, entries: entries(1..12, 0), ..Delta::default() };
        reader.merge(&honest).unwrap();
        let ahead = Delta { since: 500, until: 600, entries: entries(20..120, 500), ..Delta::default() };
        reader.merge(&ahead).unwrap();
        let notes: Vec<_> = reader.notes().collect();
        assert!(size(&notes) <= 2 * MAX_BYTES);
        assert!((1..12).all(|i| reader.get(&format!("k{i}")).is_some()), "what was known stays");
    }

    #[test]
    fn a_change_over_a_limit_is_refused_whole() {
        let mut state = State::default();
        set(&mut state, "fine", "yes");
        let before = state.clone();
        let mut refused = |changes: &[(String, Option<Vec<u8>>)]| state.set(changes, AMPLE).unwrap_err();
        let error = refused(&[("other".into(), Some(b"x".to_vec())), ("big".into(), Some(vec![0; 769]))]);
        assert_eq!(error, StateError::Value { key: "big".into(), bytes: 769 });
        let many: Vec<_> = (0..65).map(|i| (format!("k{i}"), Some(vec![1]))).collect();
        assert_eq!(refused(&many), StateError::Keys { keys: 66 });
        let large: Vec<_> = (0..12).map(|i| (format!("k{i}"), Some(vec![1; 768]))).collect();
        assert!(matches!(refused(&large), StateError::Size { .. }));
        assert!(matches!(refused(&[("a b".into(), None)]), StateError::Key { .. }));
        assert_eq!(state, before);
    }

    #[test]
    fn a_board_returns_what_was_set_with_little_overhead() {
        let mut state = State::default();
        let long = "x".repeat(300);
        for (key, value) in [("zone", "a"), ("empty", ""), ("long", &long), ("gone", "soon")] {
            set(&mut state, key, value);
        }
        delete(&mut state, &["gone"]);
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
        let same = [("a".into(), Some(b"1".to_vec())), ("b".into(), None)];
        assert_eq!(state.set(&same, AMPLE).unwrap(), []);
        assert_eq!(state.version(), 1);
    }

    #[test]
    fn old_deletions_make_room_for_new_keys() {
        let mut state = State::default();
        for i in 0..200 {
            let key = format!("k{i}");
            set(&mut state, &key, "v");
            delete(&mut state, &[&key]);
        }
        assert!(state.notes().count() <= MAX_DELETIONS);
        set(&mut state, "still", "works");
        assert_eq!(state.get("still"), Some(b"works".as_ref()));
    }

    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Any deltas of an owner's history, in any order, any number of times, with any room: no reader is misled, and
        /// a reader at the owner's version has what the owner has.
        #[test]
        fn any_order_of_deltas_ends_in_the_same_state(
            history in vec(vec((0_usize..70, any::<bool>(), 0_usize..60), 1..30), 1..12),
            told in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 330_usize..1100, any::<bool>()), 0..60),
        ) {
            let mut owners = vec![State::default()];
            for changes in history {
                let mut owner = owners.last().unwrap().clone();
                let change = |(key, lives, length): (usize, bool, usize)| {
                    (format!("key{key}"), lives.then(|| vec![b'v'; length]))
                };
                // A change over a limit is refused whole.
                let _ = owner.set(&changes.into_iter().map(change).collect::<Vec<_>>(), AMPLE);
                owners.push(owner);
            }
            let mut reader = State::default();
            for (owner, since, room, latest) in told {
                let owner = owner.get(&owners);
                let since = since.get(&owners).version();
                let delta = if latest { owner.latest(room) } else { owner.delta(since, room) };
                let before = reader.version();
                reader.merge(&delta).unwrap();
                prop_assert!(reader.version() >= before);
                prop_assert_eq!(reader.merge(&delta).unwrap(), Merged::default(), "twice is once");
                if let Some(owner) = owners.iter().find(|owner| owner.version() == reader.version()) {
                    let now = owners.last().unwrap();
                    for (key, value) in owner.iter() {
                        // A key that was changed again since may be missing, or be newer.
                        let same = reader.get(key) == Some(value);
                        prop_assert!(same || now.get(key) != Some(value) || owner.version() < now.version());
                    }
                    let ahead = |key: &str| reader.notes().any(|n| n.key == key && n.version > owner.version());
                    let later = |key: &str| now.notes().any(|n| n.key == key && n.version > owner.version());
                    for (key, _) in reader.iter() {
                        prop_assert!(owner.get(key).is_some() || ahead(key) || later(key), "{} was deleted", key);
                    }
                }
            }
            catch_up(&mut reader, owners.last().unwrap(), 1000);
        }
    }
}
