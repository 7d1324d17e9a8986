//! How long a suspicion waits for a refutation.

use core::time::Duration;

use heartsay_membership::Instant;

use crate::models::INTERVAL;

#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) since: Instant,
    pub(super) accusers: Vec<usize>,
    pub(super) deadline: Instant,
}

/// How long a suspicion lasts after so many confirmations.
pub(super) fn patience(lifeguard: bool, nodes: usize, confirmed: usize) -> Duration {
    let least = memberlist_suspicion(nodes);
    let most = confirmations(lifeguard, nodes);
    if most == 0 {
        return least;
    }
    let longest = least * SUSPICION_LONGEST;
    let share = libm::log(confirmed as f64 + 1.0) / libm::log(most as f64 + 1.0);
    longest.saturating_sub((longest - least).mul_f64(share.min(1.0))).max(least)
}

pub(super) fn confirmations(lifeguard: bool, nodes: usize) -> usize {
    let wanted = SUSPICION as usize - 2;
    if lifeguard && nodes.saturating_sub(2) >= wanted { wanted } else { 0 }
}

/// memberlist's suspicion time-out without Lifeguard: `4 · max(1, log10(N)) · 1 s`.
#[must_use]
pub fn memberlist_suspicion(nodes: usize) -> Duration {
    INTERVAL.mul_f64(SUSPICION * libm::log10(nodes.max(1) as f64).max(1.0))
}

const SUSPICION: f64 = 4.0;
const SUSPICION_LONGEST: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_a_suspicion_along_lifeguards_curve() {
        // N = 128, alpha 4, beta 6, K 2: from 50.57 s over 21.9 s (log 2 / log 3 of the way) to 8.43 s.
        let seconds = |c| patience(true, 128, c).as_secs_f64();
        let least = 4.0 * 128f64.log10();
        assert!((seconds(0) - 6.0 * least).abs() < 1e-6);
        assert!((seconds(1) - (6.0 * least - 5.0 * least * 2f64.ln() / 3f64.ln())).abs() < 1e-6);
        assert!((seconds(2) - least).abs() < 1e-6 && (seconds(9) - least).abs() < 1e-6);
        assert_eq!(
            patience(false, 128, 0),
            memberlist_suspicion(128),
            "plain SWIM waits for no confirmation"
        );
    }
}
