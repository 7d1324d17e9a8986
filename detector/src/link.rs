//! Is this link worse than our others?

/// What became of the last 32 contacts over one link, or over many taken together: 8 bytes.
///
/// *Picture*: a teacher who finds that one pupil fails asks first whether the whole class failed.
///
/// *Rule*: [`surprise_beside`](Self::surprise_beside) is Fisher's exact test (1922) in decimal digits: given how
/// many of *all* contacts stayed unanswered, how improbable is it that so many of them fell on this link by
/// chance? Nothing is assumed about how much a healthy network loses; what our other links lose at the same time
/// says it. In a network that loses everything evenly the answer is "not surprising at all".
///
/// *Assumed*: that contacts fail independently of one another. They do not during an outage, so the caller takes
/// at most one sample per sign of life: an outage, however long, is one unanswered contact.
///
/// *Weak spot*: 32 contacts tell half from nothing, not 5 % from 1 %. And it takes at least [`ENOUGH`](Self::ENOUGH)
/// of the others to say anything, so in a cluster of two it never says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkRecord {
    /// One bit per contact, the newest lowest; set: unanswered.
    bits: u32,
    count: u8,
}

impl LinkRecord {
    /// Contacts remembered.
    pub const SPAN: u8 = 32;
    /// So many contacts with others have to be known before one link is compared with them. Honest guess: with
    /// fewer, one lost datagram among them decides.
    pub const ENOUGH: u8 = 16;

    /// A contact was answered.
    pub const fn answered(&mut self) {
        self.note(0);
    }

    /// A contact was not answered, though the peer was alive when it was made.
    pub const fn unanswered(&mut self) {
        self.note(1);
    }

    /// Contacts remembered so far, up to [`SPAN`](Self::SPAN).
    #[must_use]
    pub const fn contacts(&self) -> u8 {
        self.count
    }

    /// Those of them that stayed unanswered.
    #[must_use]
    pub const fn lost(&self) -> u8 {
        // At most 32 bits are set.
        self.bits.count_ones().to_le_bytes()[0]
    }

    /// How many of the newest were answered without a gap.
    #[must_use]
    pub fn answered_in_a_row(&self) -> u8 {
        self.count.min(self.bits.trailing_zeros().to_le_bytes()[0])
    }

    /// Whether, among the newest 12 contacts, it failed, worked, and then failed four times in a row. A link that loses
    /// much does that. One that is dead does not, nor one that was: what was lost last is known a little later than what
    /// was answered first, but those are few.
    #[must_use]
    pub const fn wavers(&self) -> bool {
        let newest = self.bits & 0xfff;
        let four = newest & (newest >> 1) & (newest >> 2) & (newest >> 3);
        let after_an_answer = four & (!newest >> 4) & 0xff;
        after_an_answer != 0 && newest >> (after_an_answer.trailing_zeros() + 5) != 0
    }

    /// φ: −log10 of the chance that, of all that was lost here and on the `others`, this link has at least what it
    /// has. From 0 to 18; 0 while too little is known of the others.
    #[must_use]
    pub fn surprise_beside(&self, others: &Self) -> f64 {
        let (here, there) = (f64::from(self.count), f64::from(others.count));
        let (lost_here, lost_there) = (f64::from(self.lost()), f64::from(others.lost()));
        if others.count < Self::ENOUGH || self.lost() == 0 {
            return 0.0;
        }
        let lost = lost_here + lost_there;
        // P(exactly k of the lost fell on this link), and all that is even less likely.
        let mut probability =
            choose(here, lost_here) * choose(there, lost_there) / choose(here + there, lost);
        let mut tail = probability;
        let mut k = lost_here;
        while k < here.min(lost) {
            probability *= (here - k) / (k + 1.0) * (lost - k) / (there - lost + k + 1.0);
            tail += probability;
            k += 1.0;
        }
        -libm::log10(tail.clamp(f64::MIN_POSITIVE, 1.0))
    }

    /// φ of one more unanswered contact, by what is remembered: −log10 of the share that was lost, counted as if one more
    /// had been lost and one more answered (Laplace's rule of succession). So a short record surprises little.
    #[must_use]
    pub fn surprise(&self) -> f64 {
        -libm::log10((f64::from(self.lost()) + 1.0) / (f64::from(self.count) + 2.0))
    }

    const fn note(&mut self, bit: u32) {
        self.bits = (self.bits << 1) | bit;
        if self.count < Self::SPAN {
            self.count += 1;
        }
    }
}

/// Ways to draw `k` of `n`; up to 64, so far within a double.
fn choose(n: f64, k: f64) -> f64 {
    let mut ways = 1.0;
    let mut i = 0.0;
    while i < k {
        ways *= (n - i) / (i + 1.0);
        i += 1.0;
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(contacts: u8, lost: u8) -> LinkRecord {
        let mut record = LinkRecord::default();
        (0..lost).for_each(|_| record.unanswered());
        (lost..contacts).for_each(|_| record.answered());
        record
    }

    #[test]
    fn a_link_that_loses_much_wavers_and_a_dead_one_does_not() {
        let link = |contacts: &str| {
            let mut record = LinkRecord::default();
            contacts.chars().for_each(|c| if c == '-' { record.unanswered() } else { record.answered() });
            record
        };
        assert!(link("----+----").wavers());
        assert!(link("--+----+-").wavers());
        assert!(!link("----+---").wavers(), "it may have come back");
        assert!(!link("-----+-+-++").wavers(), "dead, and whole again");
        assert!(!link("+-++------------").wavers(), "one was lost before it died");
        assert!(!link("++----").wavers() && !link("++++++++++++").wavers() && !link("").wavers());
    }

    #[test]
    fn the_surprise_is_fishers() {
        // Fisher's tea: 4 of 4 right by chance is one in seventy; here beside 16 others without a loss.
        let by_hand = -(1.0_f64 / 4845.0).log10();
        assert!((record(4, 4).surprise_beside(&record(16, 0)) - by_hand).abs() < 1e-9, "1 / C(20, 4)");
        // (C(16, 13) · C(32, 1) + C(16, 14)) / C(48, 14), in whole numbers: 3.740e-8.
        let phi = record(16, 13).surprise_beside(&record(32, 1));
        assert!((phi - 7.427_099_3).abs() < 1e-6, "{phi}");
    }

    #[test]
    fn a_network_that_loses_everywhere_accuses_no_link() {
        for lost in 0..=32 {
            assert!(record(32, lost).surprise_beside(&record(32, lost)) < 0.4, "{lost}");
        }
        assert!(record(32, 24).surprise_beside(&record(32, 16)) < 2.0);
    }

    #[test]
    fn more_lost_here_is_more_surprising_and_more_lost_elsewhere_is_less() {
        for lost in 1..32 {
            let others = record(32, 3);
            assert!(
                record(32, lost).surprise_beside(&others) < record(32, lost + 1).surprise_beside(&others)
            );
            let here = record(32, 20);
            assert!(here.surprise_beside(&record(32, lost)) < here.surprise_beside(&record(32, lost - 1)));
        }
    }

    #[test]
    fn without_others_to_compare_with_nothing_is_surprising() {
        assert!(record(32, 32).surprise_beside(&record(15, 0)).abs() < 1e-12);
        assert!(record(32, 32).surprise_beside(&LinkRecord::default()).abs() < 1e-12);
        assert!(record(32, 32).surprise_beside(&record(32, 0)) > 18.0);
    }

    #[test]
    fn only_the_last_thirty_two_contacts_are_remembered() {
        let mut record = record(32, 32);
        assert_eq!((record.contacts(), record.lost()), (32, 32));
        (0..32).for_each(|_| record.answered());
        assert_eq!((record.contacts(), record.lost(), record.answered_in_a_row()), (32, 0, 32));
    }
}
