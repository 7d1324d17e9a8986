//! Phi accrual: surprise at silence, learnt from the member's own rhythm.

use core::f64::consts::{LN_10, LOG10_2, LOG10_E, PI};
use core::time::Duration;

use crate::Instant;
use crate::window::History;

/// Which curve the silences are assumed to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tail {
    /// A bell around the mean (Hayashibara 2004). Steep: doubt turns into near certainty within a few
    /// deviations, so phi 8 comes 5.6 deviations after the mean.
    #[default]
    Normal,
    /// Memoryless (Cassandra). Slow and steady: each mean interval of silence adds 0.43, so phi 8 comes after
    /// 18.4 means, whatever the deviation. For networks whose delays have a heavy tail.
    Exponential,
}

/// How [`PhiAccrual`] judges; one for all members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhiConfig {
    /// The assumed curve.
    pub tail: Tail,
    /// Phi from which a member is overdue. Default 8, as in Akka, Cassandra and chitchat; sane: 5 to 16. One
    /// more costs a fraction of a deviation of detection time and, on paper, makes a mistake ten times rarer.
    pub threshold: f64,
    /// The interval between heartbeats to believe in until some were heard. Default 1 s, the round.
    pub expected: Duration,
    /// Floor under the learnt deviation. Default 100 ms, as in Akka: above the timer noise of a busy host.
    /// Without it a very regular member would be overdue after one hiccup. At least 1 µs is used.
    pub min_deviation: Duration,
    /// The silence that is forgiven on top of the rhythm: it is **subtracted from the silence** before the
    /// curve is asked. For the normal curve this is Akka's `mean + acceptable pause`. Default 2 s: no
    /// detector can be faster than the pauses it must forgive, and most pauses of a virtual machine or a
    /// garbage collector are shorter (honest guess).
    pub acceptable_pause: Duration,
}

impl Default for PhiConfig {
    fn default() -> Self {
        Self {
            tail: Tail::Normal,
            threshold: 8.0,
            expected: Duration::from_secs(1),
            min_deviation: Duration::from_millis(100),
            acceptable_pause: Duration::from_secs(2),
        }
    }
}

impl PhiConfig {
    /// When the acceptable pause of those last heard at `last` is over. `None` if they may be overdue before.
    #[must_use]
    pub fn pause_over(&self, last: Instant) -> Option<Instant> {
        (self.threshold > BEFORE_THE_MEAN).then(|| last + self.acceptable_pause)
    }
}

/// The accrual detector of one member: 24 bytes.
///
/// *Rule*: [`phi`](Self::phi) is −log10 of the share of healthy silences that are longer than the present
/// one, less the acceptable pause.
///
/// *Samples are per heartbeat step, not per arrival*: when the counter advanced by `n`, one sample of
/// `elapsed / n` enters the mean. So heartbeats that were held up and arrive as one newer counter do not look
/// like a faster rhythm (akka.net #4849), nor do lost ones look like a slower. The deviation learns from the
/// whole `elapsed`, since a silence of `n` steps is what proved harmless; but from no more than the mean, the
/// acceptable pause and four deviations, so that one outage survived does not make us patient for minutes.
///
/// *Weak spot*: gossip delivers what others heard. A newer heartbeat says that the member lives, nothing
/// about the link from here to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhiAccrual {
    last: Instant,
    history: History,
    /// Whether the time since `last` is an interval of the member's, fit to be learnt.
    timed: bool,
}

impl PhiAccrual {
    /// Starts to wait at `now`, with the rhythm of `config` as prior (and a quarter of it as deviation, as in
    /// Akka). A member that is never heard becomes overdue like one that fell silent now.
    #[must_use]
    pub fn new(now: Instant, config: &PhiConfig) -> Self {
        let expected = config.expected.as_secs_f32();
        Self { last: now, history: History::new(expected, expected / 4.0), timed: false }
    }

    /// The member's counter was seen to have advanced by `steps` since last time. Zero steps are no news and
    /// change nothing. The first heartbeat, and the first after a [`shift`](Self::shift), only set the clock:
    /// what came before was no interval. A `now` before the last heartbeat counts as the same moment.
    pub fn heartbeat(&mut self, now: Instant, steps: u64, config: &PhiConfig) {
        if steps == 0 {
            return;
        }
        if self.timed {
            let elapsed = f32_of(now.micros_since(self.last)) * 1e-6;
            let plain = self.history.mean() + config.acceptable_pause.as_secs_f32();
            let silence = if elapsed <= plain { elapsed } else { self.harmless(elapsed, plain, config) };
            self.history.record(elapsed / f32_of(steps), silence);
        }
        self.timed = true;
        self.last = self.last.max(now);
    }

    /// What a silence teaches that was longer than `plain`, the mean and the pause, all in seconds.
    fn harmless(&self, elapsed: f32, plain: f32, config: &PhiConfig) -> f32 {
        let deviation = self.history.deviation().max(config.min_deviation.as_secs_f32());
        elapsed.min(plain + OUTLIER * deviation)
    }

    /// Surprise at the silence until `now`, in decimal digits: finite, never negative, never falling while
    /// the silence lasts (to within rounding, some 1e-12). Right after a heartbeat it is 0 or near it, at the
    /// most 0.302 for a member whose deviation dwarfs mean and pause.
    #[must_use]
    pub fn phi(&self, now: Instant, config: &PhiConfig) -> f64 {
        let late = f64_of(now.micros_since(self.last)) / 1e6 - config.acceptable_pause.as_secs_f64();
        match config.tail {
            Tail::Normal => normal_phi((late - self.mean_seconds()) / self.deviation_seconds(config)),
            Tail::Exponential => (late / self.mean_seconds()).max(0.0) * LOG10_E,
        }
    }

    /// Whether phi has reached the threshold of `config`.
    #[must_use]
    pub fn is_overdue(&self, now: Instant, config: &PhiConfig) -> bool {
        // A look at thousands of members a round should cost thousands of neither roots nor logarithms.
        let calm = config.pause_over(self.last).is_some_and(|over| now < self.calm_until(over));
        !calm && now >= self.overdue_from(config) && self.phi(now, config) >= config.threshold
    }

    /// Until then at least it is not overdue if nothing more is heard: pause and mean have to pass first. Costs next
    /// to nothing; [`overdue_from`](Self::overdue_from) is later and dearer. `pause_over`: when the pause since its last
    /// heartbeat [is over](PhiConfig::pause_over).
    #[must_use]
    pub fn calm_until(&self, pause_over: Instant) -> Instant {
        // For what rounding may have added: a microsecond, and the last bit of the mean.
        let mean = micros(self.history.mean());
        let mean = mean.saturating_sub(1 + (mean >> (f32::MANTISSA_DIGITS - 1)));
        Instant::from_micros(pause_over.as_micros().saturating_add(mean))
    }

    /// Before that moment it is not overdue if nothing more is heard, and soon after it is: a bound without a logarithm.
    #[must_use]
    pub fn overdue_from(&self, config: &PhiConfig) -> Instant {
        let Some(pause_over) = config.pause_over(self.last) else { return self.last };
        let beyond = match config.tail {
            Tail::Normal => self.deviation_seconds(config) * normal_z_at_least(config.threshold),
            Tail::Exponential => 0.0,
        };
        // A part in a billion and a microsecond for what rounding may have added.
        let beyond = Duration::try_from_secs_f64(beyond * (1.0 - 1e-9)).unwrap_or_default();
        self.calm_until(pause_over) + beyond.saturating_sub(Duration::from_micros(1))
    }

    /// The first moment at which [`phi`](Self::phi) is `threshold` or more, if nothing is heard until then;
    /// [`Instant::NEVER`] when it never is. About 25 evaluations of phi: ask when going to sleep, not per
    /// datagram.
    #[must_use]
    pub fn time_at_phi(&self, threshold: f64, config: &PhiConfig) -> Instant {
        let latest = match config.tail {
            // normal_phi(z) >= z² / 2 · log10(e), so this z is never too early.
            Tail::Normal => {
                (2.0 * LN_10 * threshold).sqrt() * self.deviation_seconds(config) + self.mean_seconds()
            }
            Tail::Exponential => LN_10 * threshold * self.mean_seconds(),
        };
        let latest = Duration::try_from_secs_f64(latest).unwrap_or(Duration::MAX);
        let latest = self.last + latest.saturating_add(config.acceptable_pause).saturating_add(ROUNDING);
        first_moment(self.last, latest, |at| self.phi(at, config) >= threshold)
    }

    /// We were away ourselves for `by`: silence in that time was ours, so it is taken off, though never
    /// beyond `now`. The next heartbeat will not be learnt from: we cannot tell when it would have come.
    pub fn shift(&mut self, now: Instant, by: Duration) {
        if !by.is_zero() {
            self.last = (self.last + by).min(now).max(self.last);
            self.timed = false;
        }
    }

    /// When the member was last heard (or first waited for), moved on by any [`shift`](Self::shift).
    #[must_use]
    pub const fn last(&self) -> Instant {
        self.last
    }

    /// How long nothing was heard; zero if `now` lies before the last heartbeat.
    #[must_use]
    pub const fn silence(&self, now: Instant) -> Duration {
        now.since(self.last)
    }

    /// Learnt mean interval per heartbeat.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::try_from_secs_f32(self.history.mean()).unwrap_or_default()
    }

    /// Learnt deviation, before the floor of the configuration.
    #[must_use]
    pub fn deviation(&self) -> Duration {
        Duration::try_from_secs_f32(self.history.deviation()).unwrap_or_default()
    }

    /// How many intervals were learnt from.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.history.samples()
    }

    fn mean_seconds(&self) -> f64 {
        f64::from(self.history.mean()).max(RESOLUTION)
    }

    fn deviation_seconds(&self, config: &PhiConfig) -> f64 {
        f64::from(self.history.deviation()).max(config.min_deviation.as_secs_f64()).max(RESOLUTION)
    }
}

/// As floats are made of signed numbers in one instruction, of others in ten.
fn f32_of(value: u64) -> f32 {
    i64::try_from(value).unwrap_or(i64::MAX) as f32
}

/// The same, for phi itself.
fn f64_of(value: u64) -> f64 {
    i64::try_from(value).unwrap_or(i64::MAX) as f64
}

/// Whole microseconds; saturates.
#[expect(clippy::cast_possible_truncation, reason = "fractions are cut off, and what is too long saturates")]
fn micros(seconds: f32) -> u64 {
    u64::try_from((seconds * 1e6) as i64).unwrap_or(0)
}

/// The first moment in `from..=latest` for which `reached` holds, given that it goes on holding; looks
/// further, up to the end of time, should rounding have made `latest` too early.
pub(crate) fn first_moment(from: Instant, latest: Instant, reached: impl Fn(Instant) -> bool) -> Instant {
    if reached(from) {
        return from;
    }
    let latest = if reached(latest) { latest } else { Instant::NEVER };
    let (mut before, mut after) = (from.as_micros(), latest.as_micros());
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if reached(Instant::from_micros(middle)) { after = middle } else { before = middle }
    }
    Instant::from_micros(after)
}

/// −log10 of the chance that a standard normal variable exceeds `z`.
///
/// In log space from the start, since `1 - cdf` is 0 from z = 8.3 (phi 16) on. Relative error below 1e-11 for
/// z from −8 to as far as `z²` is finite; below −8 the true value is less than 3e-16 and 0 is returned. By
/// `libm` rather than the platform, whose last digits differ: a verdict must fall the same everywhere, or a
/// seed of the simulator is no replay.
fn normal_phi(z: f64) -> f64 {
    if z < -8.0 {
        0.0
    } else if z < 0.0 {
        -libm::log1p(-libm::exp(-normal_phi(-z) * LN_10)) * LOG10_E
    } else if z < 3.5 {
        // Phi(z) - 1/2 = density · (z + z³/3 + z⁵/15 + ...): all terms positive, nothing cancels.
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > sum * f64::EPSILON {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        -libm::log10(0.5 - libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt() * sum)
    } else {
        // Laplace 1805: chance = density / (z + 1/(z + 2/(z + 3/(z + ...)))). So many steps give 1e-12. Each
        // is kept as a fraction of two numbers, as a division that waits for the one before takes longer than the rest.
        let steps = match z {
            ..5.0 => 22,
            ..7.0 => 14,
            ..9.0 => 9,
            ..12.0 => 7,
            ..16.0 => 6,
            ..25.0 => 5,
            ..FAR => 4,
            // The next would be lost in rounding, and powers of z would become infinite.
            _ => 1,
        };
        let (above, below) =
            (1..=steps).rev().fold((z, 1.0), |(above, below), k| (z * above + f64::from(k) * below, above));
        0.5 * z * z * LOG10_E + LOG10_ROOT_TAU + libm::log(above / below) * LOG10_E
    }
}

/// Deviations before which [`normal_phi`] does not reach `phi`, at least 0: the hazard of the normal distribution is at most
/// z + √(2/π), so its tail is at least exp(−z²/2 − z √(2/π)) / 2, and the rest is a quadratic equation.
fn normal_z_at_least(phi: f64) -> f64 {
    let slope = (2.0 / PI).sqrt();
    let z = (slope * slope + 2.0 * LN_10 * (phi - LOG10_2)).max(0.0).sqrt() - slope;
    z.max(0.0)
}

/// What phi does not exceed before mean and pause have passed: log10 2 by the normal curve, log10 e by the exponential.
const BEFORE_THE_MEAN: f64 = 0.5;

/// Deviations beyond the acceptable pause from which a silence is an outage rather than jitter. Honest guess:
/// a normal sample is that late once in 30,000; a network that turned worse still is learnt, as the bound
/// grows with the deviation.
const OUTLIER: f32 = 4.0;

/// log10 of the root of 2π, by which the density is divided.
const LOG10_ROOT_TAU: f64 = 0.399_089_934_179_057_5;

/// Smallest mean and deviation that are divided by, in seconds: the grain of [`Instant`].
const RESOLUTION: f64 = 1e-6;

/// Deviations from which the first step of Laplace's fraction is exact to the last digit.
const FAR: f64 = 1e5;

/// Added to a computed bound so that rounding does not bring it below the truth.
const ROUNDING: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// −log10(erfc(z / √2) / 2), computed with 40 digits (mpmath 1.3).
    const REFERENCE: [(f64, f64); 23] = [
        (-8.0, 2.701_728_849_543_921e-16),
        (-4.0, 1.375_486_338_109_944_7e-5),
        (-3.0, 5.866_493_137_900_667e-4),
        (-1.0, 0.075_026_012_957_818_02),
        (-0.5, 0.160_231_392_277_849_02),
        (0.0, LOG10_2),
        (0.5, 0.510_691_989_265_240_8),
        (1.0, 0.799_545_541_491_970_5),
        (2.0, 1.643_016_080_140_937),
        (3.0, 2.869_699_035_929_369),
        (3.9, 4.317_887_934_714_023),
        (4.0, 4.499_334_907_556_479),
        (4.1, 4.684_922_093_245_103),
        (5.0, 6.542_645_672_390_654),
        (5.6, 7.969_902_850_385_902),
        (8.0, 15.206_142_551_017_155),
        (10.0, 23.118_053_405_486_076),
        (20.0, 88.560_095_343_075_59),
        (37.0, 299.242_181_178_609_9),
        (38.0, 315.539_789_703_962_5),
        (50.0, 544.966_335_862_0),
        (100.0, 2_173.871_542_869_034_4),
        (1_000.0, 217_150.640_041_994_4),
    ];

    #[test]
    fn normal_tail_agrees_with_the_tables_from_minus_eight_to_a_thousand_deviations() {
        for (z, phi) in REFERENCE {
            assert!((normal_phi(z) / phi - 1.0).abs() < 1e-11, "z {z}: {} is not {phi}", normal_phi(z));
        }
    }

    #[test]
    fn the_bound_asked_first_is_never_beyond_the_curve_nor_far_before_it() {
        for i in 0..100_000 {
            let z = f64::from(i) / 1_000.0;
            let least = normal_z_at_least(normal_phi(z));
            assert!(least <= z * (1.0 + 1e-9) + 1e-9, "the bound {least} is beyond {z}");
            assert!(z - least < 0.8, "the bound {least} is far before {z}");
        }
    }

    #[test]
    fn normal_tail_rises_without_a_step_where_its_pieces_meet() {
        let mut before = 0.0;
        for i in -90_000..90_000 {
            let phi = normal_phi(f64::from(i) / 10_000.0);
            assert!(phi >= before - 1e-12, "falls at {i}");
            assert!(phi - before < 5e-4, "jumps at {i}");
            before = phi;
        }
        assert!(normal_phi(1e19).is_finite());
    }

    #[test]
    fn phi_of_a_learnt_rhythm_is_what_the_formula_says() {
        let config = PhiConfig { acceptable_pause: Duration::ZERO, ..PhiConfig::default() };
        let exponential = PhiConfig { tail: Tail::Exponential, ..config };
        let mut member = PhiAccrual::new(Instant::EPOCH, &config);
        let second = Duration::from_secs(1);
        for beat in 0..10_000 {
            member.heartbeat(Instant::EPOCH + second * beat, 1, &config);
        }
        assert_eq!((member.mean(), member.samples()), (second, 9_999));
        let at = |millis| member.last() + Duration::from_millis(millis);
        assert!((member.phi(at(1_000), &config) - LOG10_2).abs() < 1e-9);
        assert!(
            (member.phi(at(1_500), &config) - REFERENCE[13].1).abs() < 1e-9,
            "five floors of 100 ms late"
        );
        assert!((member.phi(at(10_000), &exponential) - 10.0 * LOG10_E).abs() < 1e-9);
        let forgiving = PhiConfig { acceptable_pause: second * 2, ..config };
        assert!((member.phi(at(3_500), &forgiving) - REFERENCE[13].1).abs() < 1e-9, "the pause is taken off");
    }

    #[test]
    fn first_heartbeat_sets_the_clock_only() {
        let config = PhiConfig::default();
        let mut member = PhiAccrual::new(Instant::EPOCH, &config);
        let now = Instant::EPOCH + Duration::from_secs(60);
        member.heartbeat(now, 1, &config);
        assert_eq!((member.samples(), member.mean(), member.last()), (0, config.expected, now));
    }

    #[test]
    fn our_own_stall_is_not_held_against_the_member_nor_learnt() {
        let config = PhiConfig::default();
        let mut member = PhiAccrual::new(Instant::EPOCH, &config);
        member.heartbeat(Instant::EPOCH, 1, &config);
        let now = Instant::EPOCH + Duration::from_secs(10);
        assert!(member.is_overdue(now, &config));
        member.shift(now, Duration::from_secs(9));
        assert_eq!(member.silence(now), Duration::from_secs(1));
        member.shift(now, Duration::from_secs(9));
        assert_eq!(member.silence(now), Duration::ZERO, "never past now");
        member.heartbeat(now, 10, &config);
        assert_eq!((member.samples(), member.mean()), (0, config.expected));
    }

    #[test]
    fn an_outage_survived_does_not_make_us_patient_for_minutes() {
        let config = PhiConfig::default();
        let mut member = PhiAccrual::new(Instant::EPOCH, &config);
        for second in 0..300 {
            member.heartbeat(Instant::EPOCH + Duration::from_secs(second), 1, &config);
        }
        let healed = member.last() + Duration::from_secs(60);
        member.heartbeat(healed, 60, &config);
        let overdue = member.time_at_phi(config.threshold, &config).since(healed);
        assert!(overdue < Duration::from_secs(5), "{overdue:?}");
    }

    #[test]
    fn it_takes_twenty_four_bytes() {
        assert_eq!(size_of::<PhiAccrual>(), 24);
    }
}
