//! A small sorted table: as compact as a vector, found by halving. It takes no memory while it stays within its first room.

/// Entries by key, in order.
#[derive(Debug)]
pub struct Table<K, V> {
    entries: Vec<(K, V)>,
}

impl<K: Ord + Copy, V> Table<K, V> {
    pub fn new() -> Self {
        Self { entries: Vec::with_capacity(ROOM) }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key).ok()?;
        self.entries.get(place).map(|(_, value)| value)
    }

    /// The value of this key, made if there is none.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        let place = self.place(&key).unwrap_or_else(|place| {
            self.entries.insert(place, (key, make()));
            place
        });
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) {
        if let Ok(place) = self.place(key) {
            self.entries.remove(place);
        }
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.entries.retain_mut(|(_, value)| keep(value));
        self.entries.shrink_to(ROOM);
    }

    /// The key whose value is least by this measure.
    pub fn least<M: Ord>(&self, by: impl Fn(&V) -> M) -> Option<K> {
        self.entries.iter().min_by_key(|(_, value)| by(value)).map(|(key, _)| *key)
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by_key(key, |(key, _)| *key)
    }
}

/// As many entries as most clusters have members.
const ROOM: usize = 64;
