//! Quorum, measured: what members say of it, and whether they could have it.

use core::time::Duration;

use heartsay_membership::Instant;

use super::standing::Standing;
use crate::measure::QuorumFigures;
use crate::oracle::GRACE;

/// Figures in the making. It is told where members stand and what they say.
pub(super) struct QuorumMeter {
    figures: QuorumFigures,
    tracks: Vec<Track>,
    /// One that holds quorum without a majority within reach must say so within this.
    patience: Duration,
}

/// What is remembered about one member.
#[derive(Default)]
struct Track {
    standing: Standing,
    /// Since when it has stood so.
    since: Instant,
    held: bool,
    /// Its time is accounted for until then.
    accounted: Instant,
    /// It lost quorum although it was healthy, then.
    gap: Option<Instant>,
    /// It has held quorum without a majority within reach since then.
    overdue: Option<Instant>,
    /// It lost quorum as it had no majority within reach, and has not held it since.
    deprived: bool,
}

impl QuorumMeter {
    pub(super) fn new(patience: Duration) -> Self {
        Self { figures: QuorumFigures::default(), tracks: Vec::new(), patience }
    }

    /// One more member, which has not started.
    pub(super) fn add(&mut self) {
        self.tracks.push(Track::default());
    }

    /// `member` stands so from now on.
    pub(super) fn stands(&mut self, now: Instant, member: usize, standing: Standing) {
        let (figures, track) = (&mut self.figures, &mut self.tracks[member]);
        if track.standing == standing {
            return;
        }
        track.account(now, figures);
        if let Some(since) = track.overdue.take() {
            figures.never_lost += u64::from(now.since(since) >= self.patience);
        }
        if let Some(since) = track.gap.take() {
            figures.gaps.push(now.since(since).as_secs_f32());
        }
        let healed = track.deprived && track.standing == Standing::With;
        figures.never_regained += u64::from(healed && now.since(track.since) >= GRACE);
        match standing {
            Standing::Unjudged => track.deprived = false,
            Standing::Without => {
                track.overdue = (track.held && track.standing == Standing::With).then_some(now);
            }
            Standing::With => {}
        }
        (track.standing, track.since) = (standing, now);
    }

    /// `member` says that it holds quorum, or that it does not.
    pub(super) fn says(&mut self, now: Instant, member: usize, held: bool) {
        let (figures, track) = (&mut self.figures, &mut self.tracks[member]);
        if track.held == held {
            return;
        }
        track.account(now, figures);
        track.held = held;
        if held {
            if let Some(since) = track.gap.take() {
                figures.gaps.push(now.since(since).as_secs_f32());
            }
            if std::mem::take(&mut track.deprived) && track.standing == Standing::With {
                figures.to_regain.push(now.since(track.since).as_secs_f32());
            }
        } else if let Some(since) = track.overdue.take() {
            figures.to_lose.push(now.since(since).as_secs_f32());
            track.deprived = true;
        } else if track.is_healthy(now) {
            figures.losses += 1;
            track.gap = Some(now);
        }
    }

    /// The process of `member` ended: it says nothing any more.
    pub(super) fn ended(&mut self, now: Instant, member: usize) {
        self.stands(now, member, Standing::Unjudged);
        self.tracks[member].held = false;
    }

    pub(super) fn finish(mut self, now: Instant) -> QuorumFigures {
        for member in 0..self.tracks.len() {
            self.ended(now, member);
        }
        self.figures
    }
}

impl Track {
    fn is_healthy(&self, now: Instant) -> bool {
        self.standing == Standing::With && now.since(self.since) >= GRACE
    }

    /// Its standing and its word have been the same since it was last accounted for.
    fn account(&mut self, now: Instant, figures: &mut QuorumFigures) {
        if self.is_healthy(now) {
            let passed = now.since(self.accounted.max(self.since + GRACE)).as_secs_f64();
            figures.healthy += passed;
            figures.without += if self.held { 0.0 } else { passed };
        }
        self.accounted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    /// One member that has a majority within reach from the first second on, and holds quorum from the second.
    fn settled() -> QuorumMeter {
        let mut meter = QuorumMeter::new(Duration::from_secs(2));
        meter.add();
        meter.stands(at(1_000), 0, Standing::With);
        meter.says(at(2_000), 0, true);
        meter
    }

    #[test]
    fn a_healthy_member_that_loses_quorum_is_counted_and_its_time_without_is_added_up() {
        let mut meter = settled();
        meter.says(at(5_000), 0, false);
        meter.says(at(6_000), 0, true);
        meter.says(at(21_000), 0, false);
        meter.says(at(24_500), 0, true);
        let figures = meter.finish(at(31_000));
        assert_eq!(figures.losses, 1, "in its first ten seconds it is not healthy yet");
        assert_eq!((figures.healthy, figures.without), (20.0, 3.5));
        assert_eq!(figures.gaps, [3.5]);
        assert!(figures.to_lose.is_empty() && figures.to_regain.is_empty());
    }

    #[test]
    fn a_member_without_a_majority_is_timed_from_the_cut_and_from_the_heal() {
        let mut meter = settled();
        meter.stands(at(30_000), 0, Standing::Without);
        meter.says(at(31_250), 0, false);
        meter.stands(at(60_000), 0, Standing::With);
        meter.says(at(60_500), 0, true);
        let figures = meter.finish(at(61_000));
        assert_eq!((figures.to_lose, figures.to_regain), (vec![1.25], vec![0.5]));
        assert_eq!((figures.losses, figures.never_lost, figures.never_regained), (0, 0, 0));
        assert_eq!((figures.healthy, figures.without), (19.0, 0.0), "after the heal it gets its grace again");
    }

    #[test]
    fn what_never_came_is_counted_and_what_had_no_time_to_come_is_not() {
        let mut meter = settled();
        meter.stands(at(30_000), 0, Standing::Without);
        meter.stands(at(31_000), 0, Standing::With);
        meter.stands(at(40_000), 0, Standing::Without);
        meter.stands(at(45_000), 0, Standing::With);
        meter.stands(at(50_000), 0, Standing::Without);
        meter.says(at(51_000), 0, false);
        meter.stands(at(60_000), 0, Standing::With);
        meter.stands(at(65_000), 0, Standing::Without);
        meter.stands(at(70_000), 0, Standing::With);
        let figures = meter.finish(at(90_000));
        assert_eq!(figures.never_lost, 1, "a second is too short, five are not");
        assert_eq!((figures.to_lose, figures.to_regain.len()), (vec![1.0], 0));
        assert_eq!(figures.never_regained, 1, "five seconds are too short, twenty are not");
        assert_eq!(figures.without, 10.0, "from 80 s on it is healthy and without");
    }

    #[test]
    fn a_member_that_is_cut_off_while_it_is_in_trouble_is_not_timed() {
        let mut meter = settled();
        meter.stands(at(30_000), 0, Standing::Unjudged);
        meter.stands(at(31_000), 0, Standing::Without);
        meter.says(at(31_001), 0, false);
        let figures = meter.finish(at(40_000));
        assert_eq!(
            (figures.to_lose.len(), figures.never_lost),
            (0, 0),
            "it stood still, and could not say so before"
        );
    }

    #[test]
    fn a_member_in_trouble_or_gone_is_not_judged() {
        let mut meter = settled();
        meter.stands(at(30_000), 0, Standing::Unjudged);
        meter.says(at(31_000), 0, false);
        meter.stands(at(40_000), 0, Standing::With);
        meter.says(at(45_000), 0, true);
        meter.ended(at(60_000), 0);
        meter.stands(at(70_000), 0, Standing::With);
        let figures = meter.finish(at(90_000));
        assert_eq!((figures.losses, figures.never_regained, figures.to_regain.len()), (0, 0, 0));
        assert_eq!(
            (figures.healthy, figures.without),
            (19.0 + 10.0 + 10.0, 10.0),
            "a new life holds nothing"
        );
    }
}
