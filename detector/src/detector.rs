//! The detectors behind one interface.

use core::time::Duration;

use crate::{Fixed, FixedConfig, Instant, PhiAccrual, PhiConfig};

/// Which detector, and how it judges; one for all members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DetectorConfig {
    /// Learns each member's rhythm; the default.
    Phi(PhiConfig),
    /// So many heartbeats missed.
    Fixed(FixedConfig),
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self::Phi(PhiConfig::default())
    }
}

impl DetectorConfig {
    /// Phi from which a member is overdue.
    #[must_use]
    pub const fn threshold(&self) -> f64 {
        match self {
            Self::Phi(config) => config.threshold,
            Self::Fixed(config) => config.threshold,
        }
    }

    /// When the acceptable pause of those last heard at `last` is over; see [`PhiConfig::pause_over`].
    #[must_use]
    pub fn pause_over(&self, last: Instant) -> Option<Instant> {
        match self {
            Self::Phi(config) => config.pause_over(last),
            Self::Fixed(_) => None,
        }
    }
}

/// The detector of one life of one member: 24 bytes. A new generation gets a new one.
///
/// The configuration decides. Should it name another kind than the detector was made as (it was reloaded),
/// the detector goes on from its last heartbeat as that kind; nothing else is carried over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detector {
    /// Learns the member's rhythm.
    Phi(PhiAccrual),
    /// Counts missed heartbeats.
    Fixed(Fixed),
}

impl Detector {
    /// Starts to wait at `now`. A member that is never heard becomes overdue all the same.
    #[must_use]
    pub fn new(now: Instant, config: &DetectorConfig) -> Self {
        match config {
            DetectorConfig::Phi(config) => Self::Phi(PhiAccrual::new(now, config)),
            DetectorConfig::Fixed(_) => Self::Fixed(Fixed::new(now)),
        }
    }

    /// The member's counter was seen to have advanced by `steps` since last time; zero is no news.
    pub fn heartbeat(&mut self, now: Instant, steps: u64, config: &DetectorConfig) {
        match (&mut *self, config) {
            (Self::Phi(detector), DetectorConfig::Phi(config)) => detector.heartbeat(now, steps, config),
            (Self::Fixed(detector), DetectorConfig::Fixed(_)) => detector.heartbeat(now, steps),
            (Self::Phi(_), DetectorConfig::Fixed(_)) | (Self::Fixed(_), DetectorConfig::Phi(_)) => {
                self.change(now, steps, config);
            }
        }
    }

    /// Another kind of detector has been configured.
    #[cold]
    fn change(&mut self, now: Instant, steps: u64, config: &DetectorConfig) {
        *self = Self::new(self.last(), config);
        self.heartbeat(now, steps, config);
    }

    /// Surprise at the silence until `now`: finite, never negative, never falling while the silence lasts.
    /// See [`PhiAccrual::phi`] and [`Fixed::phi`].
    #[must_use]
    pub fn phi(&self, now: Instant, config: &DetectorConfig) -> f64 {
        match (self, config) {
            (Self::Phi(detector), DetectorConfig::Phi(config)) => detector.phi(now, config),
            (_, DetectorConfig::Phi(config)) => PhiAccrual::new(self.last(), config).phi(now, config),
            (_, DetectorConfig::Fixed(config)) => Fixed::new(self.last()).phi(now, config),
        }
    }

    /// Whether phi has reached the threshold of `config`.
    #[must_use]
    pub fn is_overdue(&self, now: Instant, config: &DetectorConfig) -> bool {
        match (self, config) {
            (Self::Phi(detector), DetectorConfig::Phi(config)) => detector.is_overdue(now, config),
            _ => self.phi(now, config) >= config.threshold(),
        }
    }

    /// Until then at least it is not overdue if nothing more is heard, given when its pause
    /// [is over](DetectorConfig::pause_over). For a page of members, of whom many were heard just now.
    #[must_use]
    pub fn calm_until(&self, pause_over: Option<Instant>) -> Instant {
        match (self, pause_over) {
            (Self::Phi(detector), Some(pause_over)) => detector.calm_until(pause_over),
            (Self::Fixed(_), _) | (_, None) => self.last(),
        }
    }

    /// Before that moment it is not overdue if nothing more is heard; see [`PhiAccrual::overdue_from`].
    #[must_use]
    pub fn overdue_from(&self, config: &DetectorConfig) -> Instant {
        match (self, config) {
            (Self::Phi(detector), DetectorConfig::Phi(config)) => detector.overdue_from(config),
            _ => self.last(),
        }
    }

    /// The first moment at which [`phi`](Self::phi) is `threshold` or more, if nothing is heard until then;
    /// [`Instant::NEVER`] when it never is.
    #[must_use]
    pub fn time_at_phi(&self, threshold: f64, config: &DetectorConfig) -> Instant {
        match (self, config) {
            (Self::Phi(detector), DetectorConfig::Phi(config)) => detector.time_at_phi(threshold, config),
            (_, DetectorConfig::Phi(config)) => {
                PhiAccrual::new(self.last(), config).time_at_phi(threshold, config)
            }
            (_, DetectorConfig::Fixed(config)) => Fixed::new(self.last()).time_at_phi(threshold, config),
        }
    }

    /// Takes our own absence of length `by` off the silence, though never beyond `now`.
    pub fn shift(&mut self, now: Instant, by: Duration) {
        match self {
            Self::Phi(detector) => detector.shift(now, by),
            Self::Fixed(detector) => detector.shift(now, by),
        }
    }

    /// When the member was last heard (or first waited for), moved on by any [`shift`](Self::shift).
    #[must_use]
    pub const fn last(&self) -> Instant {
        match self {
            Self::Phi(detector) => detector.last(),
            Self::Fixed(detector) => detector.last(),
        }
    }

    /// How long nothing was heard; zero if `now` lies before the last heartbeat.
    #[must_use]
    pub const fn silence(&self, now: Instant) -> Duration {
        now.since(self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_million_of_them_fit_in_memory() {
        assert_eq!(size_of::<Detector>(), 24);
    }

    #[test]
    fn a_reload_to_another_kind_goes_on_from_the_last_heartbeat() {
        let (phi, fixed) = (DetectorConfig::default(), DetectorConfig::Fixed(FixedConfig::default()));
        let heard = Instant::EPOCH + Duration::from_secs(9);
        let later = heard + Duration::from_secs(4);
        for (from, to) in [(phi, fixed), (fixed, phi)] {
            let mut member = Detector::new(heard, &from);
            assert_eq!(member.phi(later, &to), Detector::new(heard, &to).phi(later, &to));
            assert_eq!(member.time_at_phi(8.0, &to), Detector::new(heard, &to).time_at_phi(8.0, &to));
            member.heartbeat(later, 4, &to);
            let mut fresh = Detector::new(heard, &to);
            fresh.heartbeat(later, 4, &to);
            assert_eq!(member, fresh);
        }
    }
}
