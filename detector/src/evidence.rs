//! Adding up surprise.

use crate::Instant;

/// What one observer holds against one silent member, in one unit: φ, decimal digits of surprise.
///
/// *Picture*: a detective's notebook with a line per kind of clue. Clues of different kinds add up; ten
/// photographs of the same footprint are worth little more than three.
///
/// *Rule*: φ = −log10 of the probability of what we see if the member were fine. The probability of two
/// independent things is a product, so their φ add up:
///
/// ```text
/// φ = min(silence, 3) + min(direct, 16) + min(indirect, 16)          a refusal: 8, once
/// ```
///
/// | piece | φ | taken as independent of the others because | cap, and why |
/// |---|---|---|---|
/// | silence of its heartbeat | of the detector, over the merged view | it comes on other paths, through others | 3: beyond a thousand to one the tail is the curve's word, not the world's |
/// | direct contact unanswered | −log10 of the share of our contacts that stay unanswered; after another one, of those that follow a loss | its own two datagrams | 16: by then more of the same path says nothing new |
/// | helper's contact unanswered | −log10 of the share of those that follow a loss of ours | another path | 16 |
/// | refused | 8 | a kernel's answer, no loss explains it | counted once per observer: it would only repeat itself |
///
/// Contacts over one path do not fail independently: losses come in bursts. So the caller weighs each contact by those before it
/// ([`LossAfterLoss`](crate::LossAfterLoss)); and as that is learnt, and can be wrong, there are the caps, the acceptable pause
/// that has to pass beside any sum (no row of questions shortens it), and other observers: a verdict needs several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Case {
    silence: f64,
    /// Our own contacts that stayed unanswered.
    pub direct: Tally,
    /// Contacts that helpers made for us.
    pub indirect: Tally,
    /// When the kernel of its host first refused a datagram.
    pub refused: Option<Instant>,
    /// The path to it was dead while it lived.
    dead_path: bool,
}

/// Contacts of one kind that stayed unanswered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// How many.
    pub count: u32,
    /// What they are worth together, without the cap.
    pub phi: f64,
    /// When the first and the last of them were given up.
    pub first: Instant,
    /// See `first`.
    pub last: Instant,
}

impl Case {
    /// Heartbeat silence has reached `phi`; it never falls while a case is open.
    pub fn silent(&mut self, phi: f64) {
        self.silence = self.silence.max(phi);
    }

    /// A contact of ours stayed unanswered, which on our paths is worth `phi`.
    pub fn unanswered(&mut self, now: Instant, phi: f64) {
        self.direct.add(now, phi);
    }

    /// A helper had no answer either.
    pub fn unanswered_by_helper(&mut self, now: Instant, phi: f64) {
        self.indirect.add(now, phi);
    }

    /// Whether the path to it was dead while it lived. Then no contact says anything, our own or a helper's, which may
    /// have to take the same path. All that is left is the silence of its heartbeat, which goes beyond its cap.
    pub fn over_dead_path(&mut self, dead: bool) {
        self.dead_path = dead;
    }

    /// The kernel of its host refused a datagram.
    pub fn refuse(&mut self, now: Instant) {
        self.refused.get_or_insert(now);
    }

    /// What the silence of its heartbeat adds.
    #[must_use]
    pub const fn silence(&self) -> f64 {
        self.silence.clamp(0.0, if self.dead_path { MOST_BY_CONTACTS } else { MOST_BY_SILENCE })
    }

    /// What contacts without an answer add: our own, and those of helpers.
    #[must_use]
    pub const fn contacts(&self) -> (f64, f64) {
        if self.dead_path { (0.0, 0.0) } else { (self.direct.worth(), self.indirect.worth()) }
    }

    /// All of it together.
    #[must_use]
    pub fn phi(&self) -> f64 {
        let refused = if self.refused.is_some() { BY_REFUSAL } else { 0.0 };
        let (direct, indirect) = self.contacts();
        self.silence() + direct + indirect + refused
    }
}

impl Tally {
    /// Its φ within the cap.
    #[must_use]
    pub const fn worth(&self) -> f64 {
        self.phi.clamp(0.0, MOST_BY_CONTACTS)
    }

    fn add(&mut self, now: Instant, phi: f64) {
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(1);
        self.phi += phi;
        self.last = now;
    }
}

/// See the table above; all three are honest guesses.
const MOST_BY_SILENCE: f64 = 3.0;
const MOST_BY_CONTACTS: f64 = 16.0;
/// φ 8, as the field's detectors use it: enough to testify, on its own.
const BY_REFUSAL: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_dead_path_only_the_heartbeat_counts_and_without_its_cap() {
        let mut case = Case::default();
        case.unanswered(Instant::EPOCH, 9.0);
        case.unanswered_by_helper(Instant::EPOCH, 4.0);
        case.silent(7.0);
        assert!((case.phi() - 16.0).abs() < 1e-9);
        case.over_dead_path(true);
        assert!((case.phi() - 7.0).abs() < 1e-9);
    }

    #[test]
    fn pieces_of_different_kinds_add_up_and_each_has_its_cap() {
        let mut case = Case::default();
        case.silent(1.5);
        case.unanswered(Instant::from_micros(1), 1.7);
        case.unanswered(Instant::from_micros(2), 1.5);
        case.unanswered_by_helper(Instant::from_micros(3), 1.7);
        assert!((case.phi() - 6.4).abs() < 1e-9);
        assert_eq!(
            (case.direct.count, case.direct.first.as_micros(), case.direct.last.as_micros()),
            (2, 1, 2)
        );
        case.silent(300.0);
        case.silent(2.0);
        (0..100).for_each(|_| case.unanswered(Instant::from_micros(4), 1.7));
        (0..100).for_each(|_| case.unanswered_by_helper(Instant::from_micros(4), 1.7));
        assert!((case.phi() - 35.0).abs() < 1e-9, "3 + 16 + 16");
    }

    #[test]
    fn silence_alone_never_makes_a_case_and_a_refusal_does_once() {
        let mut case = Case::default();
        case.silent(f64::MAX);
        assert!((case.phi() - 3.0).abs() < 1e-9);
        let mut case = Case::default();
        case.refuse(Instant::from_micros(5));
        case.refuse(Instant::from_micros(9));
        assert!((case.phi() - 8.0).abs() < 1e-9);
        assert_eq!(case.refused, Some(Instant::from_micros(5)));
    }
}
