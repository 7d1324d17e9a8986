//! What share of contacts stays unanswered here anyway.

/// The learnt share of contacts, to whomever, that stay unanswered: what one more of them is worth.
///
/// *Picture*: who lives by the railway is not surprised when a sentence is lost.
///
/// *Rule*: the mean of the last contacts, some 64 of them. The prior counts like 16 contacts, so that a young node
/// learns within some tens of contacts that its network loses a third.
///
/// *Weak spot*: it takes failures for independent, and they come in bursts: what follows a loss is weighed by
/// [`LossAfterLoss`](crate::LossAfterLoss). It rises while much is dead, so that each
/// further unanswered contact surprises less: on a LAN 1.7 digits, then 1.5, 1.3, ...
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossShare {
    share: f32,
    /// How many contacts the share rests on, the prior included; from 16 to 64, and those of [`with_lost`](Self::with_lost).
    weight: f32,
}

impl LossShare {
    /// Nothing is known but `prior`, above 0 and up to 1.
    #[must_use]
    pub const fn new(prior: f32) -> Self {
        Self { share: prior, weight: PRIOR }
    }

    /// A contact was answered in time.
    pub fn answered(&mut self) {
        self.learn(0.0);
    }

    /// A contact was not answered in time. To judge it, ask for [`surprise`](Self::surprise) first.
    pub fn unanswered(&mut self) {
        self.learn(1.0);
    }

    /// From 0 to 1.
    #[must_use]
    pub const fn share(&self) -> f32 {
        self.share
    }

    /// What would be known if so many `more` contacts had stayed unanswered: by that the next one of a row is judged. A row of
    /// them says that the peer is gone, or that more is lost here than was known; a node that has seen little cannot tell
    /// which (Laplace's rule of succession).
    ///
    /// Four at most. A longer row says that the peer is gone: where three of ten are lost anyway, a node that is twenty seconds old would
    /// give its verdict after 7 s otherwise (`run crash-loss-30 --nodes 5 --set fault.0.at="20s" --seed 10`).
    #[must_use]
    pub fn with_lost(mut self, more: u32) -> Self {
        let more = more.min(LONGEST_ROW) as f32;
        self.share = (self.share * self.weight + more) / (self.weight + more);
        self.weight += more;
        self
    }

    /// What one more unanswered contact says against the peer, as phi: −log10 of the share. From 0 (nothing ever comes
    /// back here) to 3: however good the paths, one lost datagram never convicts.
    #[must_use]
    pub fn surprise(&self) -> f64 {
        surprise_at(self.share)
    }

    /// How unusual an unanswered contact is: the same up to one digit, so 1 where at most a tenth stays unanswered.
    #[must_use]
    pub fn unusual(&self) -> f32 {
        -libm::log10f(self.share.clamp(0.1, 1.0))
    }

    fn learn(&mut self, lost: f32) {
        self.weight = (self.weight + 1.0).min(MEMORY);
        self.share += (lost - self.share) / self.weight;
    }
}

/// What an unanswered contact is worth where this share of such contacts is.
pub(crate) fn surprise_at(share: f32) -> f64 {
    -libm::log10(f64::from(share.clamp(LEAST, 1.0)))
}

/// Contacts that are remembered. Honest guess: so many tell 2 % from 30 %, and a network that was bad for long is trusted
/// again after some 200 answered ones.
const MEMORY: f32 = 64.0;

/// Contacts that the prior is worth. Honest guess: with fewer, the first loss of a young node makes its next contacts say
/// little; with more, a node that begins in bad weather takes a minute to see it.
const PRIOR: f32 = 16.0;

/// Floor of the share in [`LossShare::surprise`]: 64 remembered contacts cannot tell rarer losses from none. Honest guess.
const LEAST: f32 = 0.001;

/// See [`LossShare::with_lost`].
pub const LONGEST_ROW: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_is_learnt_from_what_is_answered() {
        let (mut good, mut bad) = (LossShare::new(0.02), LossShare::new(0.02));
        assert!((good.surprise() - 1.699).abs() < 0.001);
        for contact in 0..10_000 {
            good.answered();
            if contact % 2 == 0 { bad.answered() } else { bad.unanswered() }
        }
        assert!((good.surprise() - 3.0).abs() < 1e-6);
        assert!((bad.surprise() - 0.3).abs() < 0.02);
        for _ in 0..100_000 {
            bad.unanswered();
        }
        assert!((0.0..1e-3).contains(&bad.surprise()));
        assert!((good.unusual() - 1.0).abs() < 1e-6 && bad.unusual() < 1e-3);
    }

    #[test]
    fn a_young_node_learns_within_tens_of_contacts() {
        let mut young = LossShare::new(0.02);
        for contact in 0..30 {
            if contact % 2 == 0 { young.answered() } else { young.unanswered() }
        }
        assert!(young.share() > 0.3, "{young:?}");
    }

    #[test]
    fn a_row_of_losses_says_less_to_a_node_that_has_seen_little() {
        let (young, mut old) = (LossShare::new(0.02), LossShare::new(0.02));
        (0..300).for_each(|_| old.answered());
        let row = |share: LossShare| (0..4).map(|before| share.with_lost(before).surprise()).sum::<f64>();
        assert_eq!(young.with_lost(0), young);
        let by_hand: f64 =
            [0.32 / 16.0, 1.32 / 17.0, 2.32 / 18.0, 3.32 / 19.0_f64].iter().map(|u| -u.log10()).sum();
        assert!((row(young) - by_hand).abs() < 1e-3, "{} {by_hand}", row(young));
        assert!(by_hand < 5.0 && row(old) > 7.0, "{}", row(old));
        let mut learnt = young;
        learnt.unanswered();
        assert!((learnt.share() - young.with_lost(1).share()).abs() < 1e-6, "as if it had been learnt");
    }

    #[test]
    fn surprise_wears_off_while_nothing_comes_back() {
        let mut share = LossShare::new(0.02);
        (0..1_000).for_each(|contact| if contact % 50 == 0 { share.unanswered() } else { share.answered() });
        let before = share.surprise();
        share.unanswered();
        assert!(share.surprise() < before - 0.2);
        (0..300).for_each(|_| share.answered());
        assert!(share.surprise() > 2.0, "trusted again");
    }
}
