//! What holds for every detector, every rhythm of heartbeats and every configuration.

use heartsay_detector::{Detector, DetectorConfig, FixedConfig, Instant, PhiAccrual, PhiConfig, Tail};
use proptest::prelude::*;
use std::f64::consts::LOG10_2;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

prop_compose! {
    fn phi_config()(
        tail in prop_oneof![Just(Tail::Normal), Just(Tail::Exponential)],
        threshold in 0.1..300.0,
        expected in 0..20_000_000_u64,
        min_deviation in 0..2_000_000_u64,
        acceptable_pause in 0..10_000_000_u64,
    ) -> PhiConfig {
        PhiConfig {
            tail,
            threshold,
            expected: Duration::from_micros(expected),
            min_deviation: Duration::from_micros(min_deviation),
            acceptable_pause: Duration::from_micros(acceptable_pause),
        }
    }
}

fn config() -> impl Strategy<Value = DetectorConfig> {
    let fixed = (0..20_000_000_u64, 0..20_u32, 0.1..300.0).prop_map(|(expected, missed, threshold)| {
        DetectorConfig::Fixed(FixedConfig { expected: Duration::from_micros(expected), missed, threshold })
    });
    prop_oneof![3 => phi_config().prop_map(DetectorConfig::Phi), 1 => fixed]
}

/// What may happen to a detector: time passes (or seems to go back), then a heartbeat or a stall of ours.
#[derive(Clone, Debug)]
enum Happening {
    Heartbeat { after: u64, steps: u64 },
    Backwards { by: u64 },
    Stall { length: u64 },
}

fn life() -> impl Strategy<Value = Vec<Happening>> {
    let after = prop_oneof![8 => 0..3_000_000_u64, 1 => 0..u64::MAX / 1_000];
    let steps = prop_oneof![8 => 1..4_u64, 1 => any::<u64>()];
    let happening = prop_oneof![
        20 => (after, steps).prop_map(|(after, steps)| Happening::Heartbeat { after, steps }),
        1 => (0..5_000_000_u64).prop_map(|by| Happening::Backwards { by }),
        1 => (0..5_000_000_u64).prop_map(|length| Happening::Stall { length }),
    ];
    prop::collection::vec(happening, 0..200)
}

/// A detector that has lived through `life`, and the time then.
fn lived(life: &[Happening], config: &DetectorConfig) -> (Detector, Instant) {
    let mut now = Instant::EPOCH + SECOND;
    let mut detector = Detector::new(now, config);
    for happening in life {
        match *happening {
            Happening::Heartbeat { after, steps } => {
                now += Duration::from_micros(after);
                detector.heartbeat(now, steps, config);
            }
            Happening::Backwards { by } => now = now - Duration::from_micros(by),
            Happening::Stall { length } => {
                now += Duration::from_micros(length);
                detector.shift(now, Duration::from_micros(length));
            }
        }
    }
    (detector, now)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn silence_never_lowers_phi(
        config in config(), life in life(), gaps in prop::collection::vec(0..2_000_000_u64, 1..50),
    ) {
        let (detector, mut now) = lived(&life, &config);
        let mut before = 0.0;
        for gap in gaps {
            now += Duration::from_micros(gap);
            let phi = detector.phi(now, &config);
            prop_assert!(phi >= before * (1.0 - 1e-12) - 1e-12, "{phi} after {before}");
            before = phi;
        }
    }

    #[test]
    fn phi_is_finite_and_not_negative_at_any_time(config in config(), life in life(), at in any::<u64>()) {
        let (detector, now) = lived(&life, &config);
        for at in [Instant::EPOCH, now, Instant::from_micros(at), Instant::NEVER] {
            let phi = detector.phi(at, &config);
            prop_assert!(phi.is_finite() && phi >= 0.0, "{phi} at {at:?}");
        }
    }

    #[test]
    fn a_heartbeat_resets_phi(config in config(), life in life(), gap in 0..100_000_000_u64, steps in 1..9_u64) {
        let (mut detector, mut now) = lived(&life, &config);
        now = now.max(detector.last()) + Duration::from_micros(gap);
        detector.heartbeat(now, steps, &config);
        prop_assert_eq!(detector.silence(now), Duration::ZERO);
        prop_assert!(detector.phi(now, &config) <= LOG10_2 + 1e-12);
    }

    #[test]
    fn predicted_moment_is_the_first_at_which_phi_reaches_the_threshold(
        config in config(), life in life(), threshold in prop_oneof![0.0..20.0, 0.0..1e6],
    ) {
        let (detector, _) = lived(&life, &config);
        let at = detector.time_at_phi(threshold, &config);
        prop_assert!(detector.phi(at, &config) >= threshold || at == Instant::NEVER);
        let before = at - Duration::from_micros(1);
        prop_assert!(at == detector.last() || detector.phi(before, &config) < threshold);
    }

    #[test]
    fn phi_stays_below_the_threshold_until_the_predicted_moment(config in config(), life in life(), part in 0.0..1.0_f64) {
        let (detector, _) = lived(&life, &config);
        let last = detector.last();
        let calm = detector.calm_until(config.pause_over(last));
        for until in [calm, detector.overdue_from(&config)] {
            let within = last + until.since(last).mul_f64(part);
            prop_assert!(within == last || detector.phi(within, &config) < config.threshold());
            let just_before = until - Duration::from_micros(1);
            prop_assert!(just_before <= last || detector.phi(just_before, &config) < config.threshold());
        }
    }

    #[test]
    fn a_shift_takes_off_our_absence_and_never_accuses(config in config(), life in life(), by in any::<u64>()) {
        let (mut detector, now) = lived(&life, &config);
        let (last, silence, phi) = (detector.last(), detector.silence(now), detector.phi(now, &config));
        let by = Duration::from_micros(by);
        detector.shift(now, by);
        prop_assert!(detector.last() <= last.max(now), "what has not begun is no silence");
        prop_assert_eq!(detector.silence(now), silence.saturating_sub(by));
        prop_assert!(detector.phi(now, &config) <= phi + 1e-12);
    }

    #[test]
    fn time_going_backwards_is_harmless(config in config(), life in life(), by in any::<u64>(), steps in 1..9_u64) {
        let (mut detector, now) = lived(&life, &config);
        let (last, earlier) = (detector.last(), now - Duration::from_micros(by));
        detector.shift(earlier, SECOND);
        prop_assert!(detector.last() >= last, "a shift moves no silence into the past");
        let last = detector.last();
        detector.heartbeat(earlier, steps, &config);
        prop_assert_eq!(detector.last(), last.max(earlier), "nor does a heartbeat");
    }

    #[test]
    fn a_counter_that_stands_still_is_no_sign_of_life(config in config(), life in life(), gap in any::<u64>()) {
        let (mut detector, now) = lived(&life, &config);
        let before = detector;
        detector.heartbeat(now + Duration::from_micros(gap), 0, &config);
        prop_assert_eq!(detector, before);
    }

    #[test]
    fn late_but_steady_is_fine(
        tail in prop_oneof![Just(Tail::Normal), Just(Tail::Exponential)],
        interval in 1_000_000..10_000_000_u64,
    ) {
        // The configuration expects a second; the member takes up to ten.
        let config = PhiConfig { tail, ..PhiConfig::default() };
        let mut now = Instant::EPOCH;
        let mut member = PhiAccrual::new(now, &config);
        for beat in 0..1_000 {
            now += Duration::from_micros(interval);
            prop_assert!(beat < 20 || member.phi(now, &config) < 1.0, "beat {beat}");
            member.heartbeat(now, 1, &config);
        }
        prop_assert!(member.mean().abs_diff(Duration::from_micros(interval)) < Duration::from_millis(1));
    }

    #[test]
    fn lossy_but_steady_is_fine_even_without_a_forgiven_pause(every in 2..6_u64) {
        // Only every second to fifth heartbeat gets through.
        let config = PhiConfig { acceptable_pause: Duration::ZERO, ..PhiConfig::default() };
        let mut now = Instant::EPOCH;
        let mut member = PhiAccrual::new(now, &config);
        for _ in 0..1_000 {
            now += Duration::from_secs(every);
            member.heartbeat(now, every, &config);
        }
        prop_assert!(member.mean().abs_diff(SECOND) < Duration::from_millis(1));
        prop_assert!(member.phi(now + Duration::from_secs(every), &config) < 2.0);
    }

    #[test]
    fn a_burst_of_late_heartbeats_does_not_quicken_the_rhythm(held_up in 1..20_u64, at_once in any::<bool>()) {
        let config = PhiConfig::default();
        let mut now = Instant::EPOCH;
        let mut member = PhiAccrual::new(now, &config);
        for _ in 0..500 {
            member.heartbeat(now, 1, &config);
            now += SECOND;
        }
        let before = member;
        now = before.last() + Duration::from_secs(held_up);
        if at_once {
            member.heartbeat(now, held_up, &config);
            prop_assert!(member.mean() >= SECOND);
        } else {
            // One by one within a moment: all their intervals count, so the long one outweighs the tiny ones.
            (0..held_up).for_each(|_| member.heartbeat(now, 1, &config));
            prop_assert!(member.mean() >= SECOND.mul_f64(0.97));
        }
        let patience = |member: &PhiAccrual| member.time_at_phi(8.0, &config).since(member.last());
        prop_assert!(patience(&member) >= patience(&before).mul_f64(0.99));
    }
}

#[test]
fn a_mean_of_minutes_is_not_rounded_beyond_the_silence_that_it_allows() {
    let config = PhiConfig {
        threshold: 140.0,
        expected: Duration::ZERO,
        min_deviation: Duration::ZERO,
        acceptable_pause: Duration::ZERO,
        ..PhiConfig::default()
    };
    for minutes in 1..400 {
        let interval = Duration::from_micros(minutes * 60_000_011);
        let mut member = PhiAccrual::new(Instant::EPOCH, &config);
        let mut now = Instant::EPOCH;
        for _ in 0..20 {
            now += interval;
            member.heartbeat(now, 1, &config);
        }
        let before = member.overdue_from(&config) - Duration::from_micros(1);
        assert!(member.phi(before, &config) < config.threshold, "{interval:?}");
    }
}

#[test]
fn exponential_doubts_earlier_and_normal_is_sure_earlier() {
    let normal = PhiConfig { acceptable_pause: Duration::ZERO, ..PhiConfig::default() };
    let exponential = PhiConfig { tail: Tail::Exponential, ..normal };
    let mut member = PhiAccrual::new(Instant::EPOCH, &normal);
    for beat in 0..1_000 {
        member.heartbeat(Instant::EPOCH + SECOND * beat, 1, &normal);
    }
    let at = |millis| member.last() + Duration::from_millis(millis);
    for millis in [100, 500, 900, 1_000] {
        assert!(member.phi(at(millis), &exponential) > member.phi(at(millis), &normal), "{millis} ms");
    }
    for millis in [1_200, 1_500, 3_000, 60_000] {
        assert!(member.phi(at(millis), &exponential) < member.phi(at(millis), &normal), "{millis} ms");
    }
    assert!(member.time_at_phi(8.0, &normal) < member.time_at_phi(8.0, &exponential));
}

#[test]
fn on_a_wide_area_link_a_higher_threshold_trades_detection_time_for_mistakes() {
    // After the paper's experiment: a heartbeat each 100 ms, some 0.4 % lost. The jitter here is uniform, ±25 ms.
    let mut seed = 2004_u64;
    println!("seed {seed}");
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let config = PhiConfig {
        expected: Duration::from_millis(100),
        min_deviation: Duration::from_millis(1),
        acceptable_pause: Duration::ZERO,
        ..PhiConfig::default()
    };
    let beats = 50_000;
    let mut curve = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0].map(|threshold| (threshold, 0_u32, Duration::ZERO));
    let mut member = PhiAccrual::new(Instant::EPOCH, &config);
    let mut steps = 0;
    for beat in 1..=beats {
        steps += 1;
        if random(1_000) < 4 {
            continue;
        }
        let now = Instant::from_micros(u64::from(beat) * 100_000 + random(50_000));
        for (threshold, mistakes, waited) in &mut curve {
            let suspected = member.time_at_phi(*threshold, &config);
            *mistakes += u32::from(suspected <= now);
            *waited += suspected.since(member.last()) / beats;
        }
        member.heartbeat(now, steps, &config);
        steps = 0;
    }
    for (threshold, mistakes, waited) in curve {
        println!("phi {threshold}: {mistakes} mistakes in {beats} heartbeats, {waited:?} after the last one");
    }
    assert!(curve.is_sorted_by(|a, b| a.1 >= b.1 && a.2 <= b.2));
    assert!(curve[0].1 > beats / 20, "phi 0.5 is nervous");
    assert!(curve[4].1 < beats / 200, "phi 8 errs on lost heartbeats at most");
    assert!(curve[4].2 < Duration::from_millis(300), "and still is fast");
}
