//! What pictures need and measures do not: who was believed to be what, and when.

use heartsay_membership::{Instant, Quorum, Status};

use crate::oracle::Belief;

/// Everything about one run that is drawn along its time. Recording changes nothing in the run.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// One lane per member.
    pub lanes: Vec<Lane>,
    /// Every cut of the network.
    pub cuts: Vec<CutBands>,
    /// The pair whose phi was sampled: (observer, subject).
    pub pair: Option<(usize, usize)>,
    /// Phi of the pair: (seconds, phi), every 100 ms while the observer runs and knows the subject.
    pub phi: Vec<(f32, f32)>,
    /// What the observer of the pair believed of its subject from then on.
    pub verdicts: Vec<(f32, Belief)>,
    /// The cuts, and what members said of quorum and of one another, in order.
    pub story: Vec<(Instant, Told)>,
}

/// One line of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The network is cut.
    Cut,
    /// A cut heals.
    Healed,
    /// A member says this of quorum.
    Quorum(usize, Quorum),
    /// This observer calls a member down.
    Down(usize),
}

/// One member over time.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// How many others believe what of it, from each moment on.
    pub beliefs: Vec<(f32, Tally)>,
    /// What was wrong with it, in order of its beginning.
    pub bands: Vec<Band>,
}

/// How many observers hold a member for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the statuses")]
pub struct Tally {
    pub alive: u32,
    pub suspect: u32,
    pub down: u32,
    pub left: u32,
}

/// One stretch of trouble.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// Kind, as in scenarios; `gone` while no process runs.
    pub what: String,
    /// Seconds at which it began.
    pub from: f32,
    /// Seconds at which it ended; infinite while it lasts.
    pub to: f32,
}

/// When one cut of the network was in force.
#[derive(Clone, Debug, Default)]
pub struct CutBands {
    /// Side of each member; 0: not concerned.
    pub side: Vec<u8>,
    /// The stretches.
    pub bands: Vec<Band>,
}

impl Tally {
    /// Observers that know the member at all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.alive + self.suspect + self.down + self.left
    }

    fn place(&mut self, belief: Belief) -> Option<&mut u32> {
        match belief {
            Belief::Unknown => None,
            Belief::Is(Status::Alive | Status::Restarting) => Some(&mut self.alive),
            Belief::Is(Status::Suspect) => Some(&mut self.suspect),
            Belief::Is(Status::Down) => Some(&mut self.down),
            Belief::Is(Status::Left) => Some(&mut self.left),
        }
    }
}

impl Recording {
    /// When the first trouble of any kind began; `None`: a quiet run.
    #[must_use]
    pub fn first_trouble(&self) -> Option<f32> {
        self.all_bands().map(|band| band.from).min_by(f32::total_cmp)
    }

    /// When the last trouble that ended did so, or the last that did not began.
    #[must_use]
    pub fn last_trouble(&self) -> Option<f32> {
        let end = |band: &Band| if band.to.is_finite() { band.to } else { band.from };
        self.all_bands().map(end).max_by(f32::total_cmp)
    }

    /// The pair that shows the trouble best: the first member struck, seen by the first that never was; or
    /// two across the first cut; or the first two.
    #[must_use]
    pub fn telling_pair(&self) -> Option<(usize, usize)> {
        let struck = |member: &usize| self.lanes[*member].bands.first().map(|band| band.from);
        let members = 0..self.lanes.len();
        let first = members.clone().filter(|m| struck(m).is_some()).min_by(|a, b| {
            struck(a).unwrap_or(f32::MAX).total_cmp(&struck(b).unwrap_or(f32::MAX)).then(a.cmp(b))
        });
        let across = |subject: usize| {
            let cut = self.cuts.first()?;
            let side = cut.side.get(subject)?;
            members.clone().find(|o| cut.side.get(*o).is_some_and(|s| s != side && *s != 0))
        };
        let subject = first.or_else(|| self.cuts.first()?.side.iter().position(|s| *s == 2)).unwrap_or(1);
        let healthy = |o: &usize| *o != subject && struck(o).is_none();
        let observer = if first.is_none() { across(subject) } else { None };
        let observer = observer.or_else(|| members.clone().find(healthy))?;
        (subject < self.lanes.len()).then_some((observer, subject))
    }

    pub(crate) fn add(&mut self) {
        self.lanes.push(Lane::default());
    }

    pub(crate) fn believes(
        &mut self,
        now: Instant,
        observer: usize,
        subject: usize,
        from: Belief,
        to: Belief,
    ) {
        let at = seconds(now);
        let beliefs = &mut self.lanes[subject].beliefs;
        let mut tally = beliefs.last().map_or_else(Tally::default, |(_, tally)| *tally);
        if let Some(count) = tally.place(from) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = tally.place(to) {
            *count += 1;
        }
        match beliefs.last_mut() {
            Some(last) if at - last.0 < GRAIN => last.1 = tally,
            _ => beliefs.push((at, tally)),
        }
        if self.pair == Some((observer, subject)) {
            self.verdicts.push((at, to));
        }
    }

    pub(crate) fn trouble(&mut self, now: Instant, member: usize, what: &str, on: bool) {
        if let Some(lane) = self.lanes.get_mut(member) {
            turn(&mut lane.bands, now, what, on);
        }
    }

    pub(crate) fn cut(&mut self, now: Instant, cut: usize, side: &[u8], on: bool) {
        if cut >= self.cuts.len() {
            self.cuts.resize_with(cut + 1, CutBands::default);
        }
        self.cuts[cut].side = side.to_vec();
        turn(&mut self.cuts[cut].bands, now, "cut", on);
        self.tell(now, if on { Told::Cut } else { Told::Healed });
    }

    pub(crate) fn tell(&mut self, now: Instant, line: Told) {
        self.story.push((now, line));
    }

    pub(crate) fn sample(&mut self, now: Instant, phi: f64) {
        self.phi.push((seconds(now), phi as f32));
    }

    fn all_bands(&self) -> impl Iterator<Item = &Band> {
        let cuts = self.cuts.iter().flat_map(|cut| &cut.bands);
        self.lanes.iter().flat_map(|lane| &lane.bands).chain(cuts)
    }
}

fn turn(bands: &mut Vec<Band>, now: Instant, what: &str, on: bool) {
    if on {
        bands.push(Band { what: what.to_owned(), from: seconds(now), to: f32::INFINITY });
    } else if let Some(band) = bands.iter_mut().rev().find(|b| b.what == what && b.to.is_infinite()) {
        band.to = seconds(now);
    }
}

fn seconds(at: Instant) -> f32 {
    at.since(Instant::EPOCH).as_secs_f32()
}

/// How often phi of the pair is looked at.
pub(crate) const LOOK: core::time::Duration = core::time::Duration::from_millis(100);
/// Changes of one member's standing within this many seconds are one step of its lane.
const GRAIN: f32 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_lane_counts_who_believes_what() {
        let (alive, down) = (Belief::Is(Status::Alive), Belief::Is(Status::Down));
        let mut film = Recording::default();
        for _ in 0..3 {
            film.add();
        }
        film.believes(at(0), 0, 2, Belief::Unknown, alive);
        film.believes(at(5), 1, 2, Belief::Unknown, alive);
        film.believes(at(900), 0, 2, alive, down);
        let tally = |alive, down| Tally { alive, down, ..Tally::default() };
        assert_eq!(film.lanes[2].beliefs, [(0.0, tally(2, 0)), (0.9, tally(1, 1))]);
        assert_eq!(film.lanes[2].beliefs[1].1.total(), 2);
    }

    #[test]
    fn the_pair_is_a_struck_member_and_a_healthy_one_or_two_across_a_cut() {
        let mut film = Recording::default();
        for _ in 0..4 {
            film.add();
        }
        assert_eq!((film.telling_pair(), film.first_trouble()), (Some((0, 1)), None));
        film.cut(at(1000), 0, &[1, 1, 2, 2], true);
        assert_eq!(film.telling_pair(), Some((0, 2)));
        film.trouble(at(2000), 0, "block", true);
        film.trouble(at(3000), 0, "block", false);
        assert_eq!(film.telling_pair(), Some((1, 0)));
        assert_eq!((film.first_trouble(), film.last_trouble()), (Some(1.0), Some(3.0)));
    }
}
