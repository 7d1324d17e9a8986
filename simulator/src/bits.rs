//! Sets of member numbers, one bit each: what is kept per pair of members must be small.

/// A set of member numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    words: Vec<u64>,
}

impl Members {
    /// Adds one; false when it was there.
    pub fn insert(&mut self, member: usize) -> bool {
        let (word, bit) = (member / 64, 1 << (member % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// Takes one out.
    pub fn remove(&mut self, member: usize) {
        if let Some(word) = self.words.get_mut(member / 64) {
            *word &= !(1 << (member % 64));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| i * 64 + bit)
        })
    }
}

impl FromIterator<usize> for Members {
    fn from_iter<T: IntoIterator<Item = usize>>(members: T) -> Self {
        let mut all = Self::default();
        for member in members {
            all.insert(member);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_was_put_in_once_and_in_order() {
        let mut set: Members = [700, 0, 63, 64, 3].into_iter().collect();
        assert!(!set.insert(64) && set.insert(65));
        set.remove(3);
        set.remove(9999);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 65, 700]);
        assert_eq!((set.len(), set.is_empty(), Members::default().is_empty()), (5, false, true));
    }
}
