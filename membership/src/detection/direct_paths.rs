//! Direct paths that are down: members that live, as others know, and that do not answer us.
//!
//! Picture: a neighbour who never picks up when we ring, and whom the whole street has just talked to. He is well; the
//! line between the two houses is broken. So we ask the others to ask him: did you hear it ring? And ring back, please.
//!
//! Rule: a path is *down* when our own questions to a member stayed unanswered, one after the other, for an acceptable
//! pause and for φ 8, although the member was alive when they were asked. It is *up* again after three answers in a
//! row, or more if it has been down lately. Each question is worth −log10 of the share of our contacts that stay
//! unanswered anyway, as in `probe.rs`. A question counts only when a later heartbeat, or a helper that heard the
//! member after it, shows that the member was alive when asked, and at most [`PER_SIGN`] questions count per sign of
//! life. So a dead member has no path that is down, nor has one that stands still for a while.
//!
//! A path in doubt gets questions of its own, so that it need not wait for its turn; where nothing is in doubt, nothing
//! is sent. After a few of them helpers ask the member when it last heard us. The member answers, and asks us in turn,
//! so that the other end of a broken path doubts it too. That tells the *direction* that fails:
//!
//! | | its own datagrams arrive here | they do not |
//! |---|---|---|
//! | it heard us since | (loss: not known) | in |
//! | it did not | out | both |
//!
//! It changes no status and no claim: others reach the member, so it lives.
//!
//! Weak spot: members with earlier software do not say when they heard us; then out is told only from what arrives, and
//! in only when the member must have called us by itself.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;
use crate::config::Config;
use crate::core::Core;
use crate::detection::Detection;
use crate::detection::probe::TESTIFY;
use crate::identity::{Generation, Heartbeat, Name};
use crate::io::Event;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::peers::is_other;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// Whether a member answers us directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Nothing has passed yet.
    Unknown,
    /// Nothing speaks against it.
    Up,
    /// It does not answer us although it lives.
    Down,
}

impl PathState {
    /// Short stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which direction of a path is known to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It cannot be told, or not yet.
    Unknown,
    /// What we send does not arrive there; what it sends arrives here.
    Out,
    /// What it sends does not arrive here; what we send arrives there, or that is not known.
    In,
    /// Neither arrives.
    Both,
}

impl Direction {
    /// Short stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The direct path to a member at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// Whether it works.
    pub state: PathState,
    /// Down: since when nothing was answered. Up: since when it works again, if it was down lately.
    pub since: Option<Instant>,
    /// While down: which direction fails.
    pub direction: Option<Direction>,
    /// Our questions without an answer since then; also before it is down.
    pub unanswered: u32,
    /// The helpers that last reached the member while this path was in doubt, and when; the latest first.
    pub through: Vec<(Name, Instant)>,
}

/// A direct path went down, or works again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// The member at the other end.
    pub name: Name,
    /// Its incarnation.
    pub generation: Generation,
    /// `Up` or `Down`.
    pub state: PathState,
    /// With `Down`: which direction fails, as far as it is known by now.
    pub direction: Option<Direction>,
    /// With `Down`: since when nothing was answered. With `Up`: since when it had been down.
    pub since: Instant,
    /// The helpers that last reached the member.
    pub through: Vec<Name>,
}

/// The paths with something to tell: at most [`MOST`].
#[derive(Debug, Default)]
pub struct DirectPaths {
    records: BTreeMap<u64, PathRecord>,
}

/// What we know of the path to one incarnation.
#[derive(Clone, Debug)]
struct PathRecord {
    tag: u64,
    phase: Phase,
    /// When the first question left that stayed unanswered. If mended: when it was found to be.
    since: Instant,
    /// Questions that stayed unanswered since.
    unanswered: u32,
    evidence: Evidence,
    /// Since when the evidence has sufficed.
    sufficed: Option<Instant>,
    /// Answers in a row while it is down, and when the last of them counted.
    answered_in_a_row: u32,
    answered_at: Instant,
    /// How often it has been down lately.
    downs: u32,
    /// When we ask again ourselves, and through helpers.
    next: Instant,
    helpers_at: Instant,
    helper_calls: u32,
    /// Helpers that reached it, the latest first; hash 0: none.
    through: [(u64, Instant); THROUGH],
    /// What it says of our datagrams.
    said: Option<Said>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Doubted,
    Down,
    /// Up again, and remembered for a while.
    Mended,
}

/// Unanswered questions, as φ.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    /// Of questions at which the member was alive.
    proven: f64,
    /// Of questions of which that is not known yet: their sum, their number, when the last of them left, and the
    /// heartbeat above which any later one shows it.
    pending: f64,
    count: u32,
    asked: Instant,
    basis: Heartbeat,
}

impl Evidence {
    fn unanswered(&mut self, sent: Instant, basis: Heartbeat, worth: f64) {
        if self.count < PER_SIGN {
            self.pending += worth;
            self.count += 1;
            (self.asked, self.basis) = (self.asked.max(sent), self.basis.max(basis));
        }
    }

    /// The member was alive after the last of those questions.
    fn lives(&mut self) {
        self.proven += core::mem::take(&mut self.pending);
        self.count = 0;
    }

    /// The same, if this heartbeat shows it.
    fn hear(&mut self, heartbeat: Heartbeat) {
        if self.count > 0 && heartbeat > self.basis {
            self.lives();
        }
    }
}

/// When the member last heard us, as it says through helpers.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// When it first said something of it since the doubt began. It has asked us itself since then.
    first: Instant,
    /// The earliest and the latest moment that this can have been; `None`: it never heard us.
    heard: Option<(Instant, Instant)>,
}

impl PathRecord {
    fn new(now: Instant, tag: u64, since: Instant, interval: Duration) -> Self {
        Self {
            tag,
            phase: Phase::Doubted,
            since,
            unanswered: 0,
            evidence: Evidence::default(),
            sufficed: None,
            answered_in_a_row: 0,
            answered_at: Instant::EPOCH,
            downs: 0,
            // Most doubts end with an answer before that, and cost nothing.
            next: now + interval,
            helpers_at: now,
            helper_calls: 0,
            through: [(0, Instant::EPOCH); THROUGH],
            said: None,
        }
    }

    fn reached_by(&mut self, helper: u64, now: Instant) {
        let known = self.through.iter().position(|(known, _)| *known == helper);
        if let Some(span) = self.through.get_mut(..=known.unwrap_or(THROUGH - 1)) {
            span.rotate_right(1);
        }
        if let Some(newest) = self.through.first_mut() {
            *newest = (helper, now);
        }
    }

    fn through(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.through.iter().copied().filter(|(helper, _)| *helper != 0)
    }

    /// Which direction fails. `turn`: within this time it calls us by itself.
    fn direction(&self, now: Instant, last_direct: Instant, turn: Duration) -> Direction {
        let arrives = last_direct > self.since && now.since(last_direct) <= turn + BY_REQUEST;
        let said = self.said.as_ref();
        let heard = said.and_then(|said| said.heard);
        let hears = heard.is_some_and(|(earliest, _)| earliest > self.since);
        let hears_not = said.is_some() && heard.is_none_or(|(_, latest)| latest < self.since);
        let asked_back = said.is_some_and(|said| now.since(said.first) >= ASKS_BACK);
        let silent = asked_back || now.since(last_direct.max(self.since)) >= turn * 2;
        match (arrives, hears) {
            // Both ways lose much, and not all.
            (true, true) => Direction::Unknown,
            (true, false) => Direction::Out,
            (false, true) => Direction::In,
            (false, false) if silent && hears_not => Direction::Both,
            (false, false) if silent => Direction::In,
            (false, false) => Direction::Unknown,
        }
    }

    /// Answers in a row after which it is up again.
    fn answers_to_mend(&self) -> u32 {
        ANSWERS << self.downs.saturating_sub(1).min(3)
    }
}

impl DirectPaths {
    /// When the next question is due.
    pub fn next(&self) -> Instant {
        let asked = self.records.values().filter(|record| record.phase != Phase::Mended);
        asked.map(|record| record.next).min().unwrap_or(Instant::NEVER)
    }

    /// We were away: that time does not count.
    pub fn shift(&mut self, by: Duration) {
        for record in self.records.values_mut() {
            record.since += by;
            record.next += by;
        }
    }

    /// An incarnation has ended, and with it the path to it.
    pub fn forget(&mut self, subject: u64) {
        self.records.remove(&subject);
    }

    /// Others have shown that the member lives, and it has not answered us: ask at once.
    pub fn look_soon(&mut self, now: Instant, subject: u64) {
        if let Some(record) = self.records.get_mut(&subject).filter(|record| record.phase == Phase::Doubted) {
            record.next = record.next.min(now);
        }
    }

    pub fn is_down(&self, subject: u64) -> bool {
        self.records.get(&subject).is_some_and(|record| record.phase == Phase::Down)
    }

    pub fn count_down(&self) -> usize {
        self.records.values().filter(|record| record.phase == Phase::Down).count()
    }

    /// The paths that are down, or on their way there.
    fn count_dead(&self) -> usize {
        let doubted =
            |record: &PathRecord| record.phase == Phase::Doubted && record.unanswered >= BEFORE_HELPERS;
        self.records.values().filter(|record| record.phase == Phase::Down || doubted(record)).count()
    }

    /// How much slower each path is asked because so many are.
    fn crowd(&self) -> u32 {
        let asked = self.records.values().filter(|record| record.phase != Phase::Mended).count();
        u32::try_from(asked / AT_FULL_PACE).unwrap_or(u32::MAX).max(1)
    }
}

impl Detection {
    /// A question of ours to a member itself stayed unanswered.
    pub fn path_unanswered(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, request: &Request) {
        let Some(member) = ctx.roster.get(subject).filter(|m| is_other(m, ctx.core.me)) else { return };
        if now < ctx.core.recovering_until || ctx.roster.is_leaving() {
            return;
        }
        let tag = member.tag();
        let basis = ctx.core.heartbeat_by(ctx.roster, member, request.sent);
        let heartbeat = member.heartbeat;
        let worth = ctx.core.loss.surprise().min(self.damping.loss_surprise());
        let records = &mut self.direct_paths.records;
        if records.get(&subject).is_none_or(|record| record.tag != tag) {
            records.remove(&subject);
            // A helper has no question of its own to the member, or one doubt would begin three more.
            if matches!(request.kind, RequestKind::OnBehalf { .. }) {
                return;
            }
            if records.len() >= MOST {
                ctx.core.stats.paths_unwatched += 1;
                return;
            }
        }
        // Other questions may have been answered while this one waited.
        let waits = matches!(request.kind, RequestKind::LinkProbe | RequestKind::ReachProbe);
        let since = if waits { now } else { request.sent };
        let fresh = PathRecord::new(now, tag, since, ctx.core.config.interval);
        let record = records.entry(subject).or_insert_with(|| fresh.clone());
        match record.phase {
            Phase::Doubted => {}
            Phase::Down => record.answered_in_a_row = 0,
            Phase::Mended => *record = PathRecord { downs: record.downs, ..fresh },
        }
        record.unanswered = record.unanswered.saturating_add(1);
        record.evidence.hear(heartbeat);
        record.evidence.unanswered(request.sent, basis, worth);
    }

    /// A member has answered us.
    pub fn path_answered(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(record) = self.direct_paths.records.get_mut(&subject) else { return };
        match record.phase {
            Phase::Doubted if record.downs == 0 => {
                self.direct_paths.records.remove(&subject);
            }
            Phase::Doubted => (record.phase, record.since) = (Phase::Mended, now),
            // Answers that come at the same moment say the same thing.
            Phase::Down if now.since(record.answered_at) < STEP / 2 => {}
            Phase::Down => {
                record.answered_in_a_row += 1;
                record.answered_at = now;
                record.next = record.next.min(now + STEP);
                if record.answered_in_a_row >= record.answers_to_mend() {
                    self.tell_of_path(now, ctx, subject, PathState::Up);
                }
            }
            Phase::Mended => {}
        }
    }

    /// A helper that we asked at `asked` has reached a member. `heard_ms`: when the member last heard us, as it is
    /// written on the wire.
    pub fn reached_through(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        helper: u64,
        subject: u64,
        asked: Instant,
        heard_ms: u32,
    ) {
        let Some(record) = self.direct_paths.records.get_mut(&subject) else { return };
        if record.phase == Phase::Mended {
            return;
        }
        record.reached_by(helper, now);
        if asked >= record.evidence.asked {
            record.evidence.lives();
        }
        if let Some(ago) = heard_ms.checked_sub(1) {
            let ago = (heard_ms != NEVER).then(|| Duration::from_millis(ago.into()));
            let heard = ago.map(|ago| (asked - (ago + Duration::from_millis(1)), now - ago));
            let first = record.said.map_or(now, |said| said.first);
            record.said = Some(Said { first, heard });
        }
        self.judge_path(now, ctx, subject);
    }

    /// A helper asks on behalf of `asker`, which is in doubt about its path to us: when did we last hear it? We ask it in
    /// turn, so that it learns whether our datagrams arrive, and we whether its answers do.
    pub fn asked_for(&mut self, now: Instant, ctx: &mut Context<'_>, asker: u64) -> u32 {
        let Some(member) = ctx.roster.get(asker).filter(|m| is_other(m, ctx.core.me)) else { return 0 };
        let (to, last) = (member.incarnation.address(), member.path.last_direct());
        if !ctx.transport.requests.is_open_to(to)
            && !ctx.roster.is_leaving()
            && self.probe_budget.take(now, 1)
        {
            ctx.ping(now, asker, to, RequestKind::ReachProbe);
        }
        if last == Instant::EPOCH {
            return NEVER;
        }
        u32::try_from(now.since(last).as_millis()).unwrap_or(NEVER).saturating_add(1).min(NEVER - 1)
    }

    /// Asks over the paths in doubt whose time has come.
    pub fn step_paths(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let due = |record: &PathRecord| record.phase != Phase::Mended && record.next <= now;
        let records = self.direct_paths.records.iter();
        let subjects: Vec<u64> = records.filter(|(_, r)| due(r)).map(|(subject, _)| *subject).collect();
        for subject in subjects {
            self.step_path(now, ctx, subject);
            self.judge_path(now, ctx, subject);
        }
    }

    fn step_path(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let crowd = self.direct_paths.crowd();
        let Some(record) = self.direct_paths.records.get_mut(&subject) else { return };
        let Some(member) = ctx.roster.get(subject).filter(|m| m.is_present() && m.tag() == record.tag) else {
            self.direct_paths.forget(subject);
            return;
        };
        let to = member.incarnation.address();
        let in_doubt = record.phase == Phase::Doubted || record.answered_in_a_row > 0;
        record.next = now + if in_doubt { STEP } else { DOWN_STEP } * crowd;
        // A single answer is lost every other moment somewhere.
        if record.phase == Phase::Doubted && record.unanswered < IN_DOUBT {
            return;
        }
        // The probe of a member asks more often, and its questions count here too. Half of the budget is left to those on
        // which verdicts wait.
        let ample = self.probe_budget.available(now) >= self.probe_budget.size() / 2;
        if self.probes.contains_key(&subject) || now < ctx.core.recovering_until || !ample {
            return;
        }
        if self.probe_budget.take(now, 1) {
            ctx.ping(now, subject, to, RequestKind::ReachProbe);
        }
        let helpers = ctx.core.config.helpers;
        if record.unanswered >= BEFORE_HELPERS
            && now >= record.helpers_at
            && self.probe_budget.take(now, helpers)
        {
            record.helper_calls = record.helper_calls.saturating_add(1);
            let pause = if record.helper_calls < QUICK_CALLS { QUICK_CALL } else { SLOW_CALL };
            record.helpers_at = now + pause * crowd;
            let helpers = ctx.core.config.helpers;
            self.ask_helpers(now, ctx, subject, to, helpers, true);
        }
    }

    /// Whether a path in doubt is down.
    fn judge_path(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let turn = turn(&ctx.core.config, ctx.roster);
        let Some(record) = self.direct_paths.records.get_mut(&subject) else { return };
        let Some(member) = ctx.roster.get(subject).filter(|_| record.phase == Phase::Doubted) else { return };
        record.evidence.hear(member.heartbeat);
        let pause = ctx.core.config.acceptable_pause;
        let enough = record.evidence.proven >= TESTIFY
            && record.unanswered >= FEWEST
            && now.since(record.since) >= pause
            && now >= ctx.core.recovering_until;
        if !enough {
            return;
        }
        // The direction takes a moment longer. It is told with the path, if it can be known soon.
        let sufficed = *record.sufficed.get_or_insert(now);
        let direction = record.direction(now, member.path.last_direct(), turn);
        if direction != Direction::Unknown || now.since(sufficed) >= pause {
            self.tell_of_path(now, ctx, subject, PathState::Down);
        }
    }

    fn tell_of_path(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, state: PathState) {
        let turn = turn(&ctx.core.config, ctx.roster);
        let Some(record) = self.direct_paths.records.get_mut(&subject) else { return };
        let Some(member) = ctx.roster.get(subject) else { return };
        let through: Vec<u64> = record.through().map(|(helper, _)| helper).collect();
        let down = state == PathState::Down;
        let event = LinkEvent {
            name: member.incarnation.name.clone(),
            generation: member.incarnation.generation,
            state,
            direction: down.then(|| record.direction(now, member.path.last_direct(), turn)),
            since: record.since,
            through: if down { ctx.roster.names(&through) } else { Vec::new() },
        };
        if down {
            record.phase = Phase::Down;
            record.answered_in_a_row = 0;
            record.downs = record.downs.saturating_add(1);
            ctx.core.stats.path_downs += 1;
        } else {
            (record.phase, record.since) = (Phase::Mended, now);
            ctx.core.stats.path_ups += 1;
        }
        tracing::debug!(name = %event.name, %state, "direct path");
        ctx.emit(Event::Link(event));
    }

    /// Once per round: drops what is known of paths that have mended long ago, or whose member has gone.
    pub fn review_paths(&mut self, now: Instant, ctx: &mut Context<'_>) {
        if self.direct_paths.count_dead() >= A_CUT {
            ctx.core.joints.renew(now);
        }
        self.direct_paths.records.retain(|subject, record| {
            let here = ctx.roster.get(*subject).is_some_and(|m| m.is_present() && m.tag() == record.tag);
            here && (record.phase != Phase::Mended || now.since(record.since) < REMEMBERED)
        });
    }

    /// The direct path to a member, for people.
    pub fn path_view(&self, now: Instant, core: &Core, roster: &Roster, member: &Member) -> PathView {
        let record = self.direct_paths.records.get(&member.hash()).filter(|r| r.tag == member.tag());
        let last_direct = member.path.last_direct();
        let seen =
            member.path.reachable.is_some() || last_direct != Instant::EPOCH || member.hash() == core.me;
        let up = if seen { PathState::Up } else { PathState::Unknown };
        let Some(record) = record else {
            return PathView { state: up, since: None, direction: None, unanswered: 0, through: Vec::new() };
        };
        let down = record.phase == Phase::Down;
        let turn = turn(&core.config, roster);
        let named = |(helper, at): (u64, Instant)| Some((roster.get(helper)?.incarnation.name.clone(), at));
        PathView {
            state: if down { PathState::Down } else { up },
            since: (record.phase != Phase::Doubted).then_some(record.since),
            direction: down.then(|| record.direction(now, last_direct, turn)),
            unanswered: if record.phase == Phase::Mended { 0 } else { record.unanswered },
            through: record.through().filter_map(named).collect(),
        }
    }
}

/// Within this time each member calls each other one by itself (`roster/peers.rs`).
fn turn(config: &Config, roster: &Roster) -> Duration {
    let others = u32::try_from(roster.len()).unwrap_or(u32::MAX).saturating_sub(1);
    config.interval * others.saturating_mul(2).saturating_add(1)
}

/// So many dead paths are no fault of a single link.
const A_CUT: usize = 2;
/// Paths that are followed at a time.
const MOST: usize = 256;
/// Unanswered questions that a path is down after, at the least, however rare they are otherwise.
const FEWEST: u32 = 3;
/// Unanswered questions that count per sign of life. A member that stands still, for however long, leaves so many
/// behind, which is worth φ 5 at the most.
const PER_SIGN: u32 = 3;
/// Between two questions of ours over a path in doubt, and over one that is down.
const STEP: Duration = Duration::from_millis(500);
const DOWN_STEP: Duration = Duration::from_secs(1);
/// So many paths are asked at that pace; with more of them each is asked more seldom, so that all together get at most
/// twice as many questions a second, of the fifty that `probe_rate` allows.
const AT_FULL_PACE: usize = 8;
/// Unanswered questions from which on we ask about the path.
const IN_DOUBT: u32 = 2;
/// Our own unanswered questions before helpers are asked about the path, and how often they are: quickly at first, and
/// later to tell through whom the member is reached.
const BEFORE_HELPERS: u32 = 3;
const QUICK_CALLS: u32 = 4;
const QUICK_CALL: Duration = Duration::from_secs(2);
const SLOW_CALL: Duration = Duration::from_secs(10);
/// After this long a member that has been asked about us has asked us several times itself.
const ASKS_BACK: Duration = Duration::from_secs(3);
/// Longest time between two questions of a member that helpers ask about us.
const BY_REQUEST: Duration = Duration::from_secs(11);
/// Answers in a row, at different moments, after which a path is up again. Of a path that loses half of all answers one row in eight is as long;
/// each further time within [`REMEMBERED`] asks for twice as many, up to 24.
const ANSWERS: u32 = 3;
const REMEMBERED: Duration = Duration::from_secs(600);
/// Helpers whose names are kept.
const THROUGH: usize = 3;
/// On the wire: it never heard us.
const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn doubt() -> PathRecord {
        PathRecord::new(at(1000), 7, at(1000), Duration::from_secs(1))
    }

    #[test]
    fn questions_count_only_when_the_member_was_alive_after_them() {
        let mut evidence = Evidence::default();
        (0..2).for_each(|i| evidence.unanswered(at(i * 500), 20, 1.5));
        evidence.hear(20);
        assert!(evidence.proven < 0.1, "a heartbeat from before proves nothing");
        evidence.hear(21);
        assert!((evidence.proven - 3.0).abs() < 1e-9);
        // It stands still for a minute.
        (0..120).for_each(|i| evidence.unanswered(at(2000 + i * 500), 21 + i / 2, 1.5));
        evidence.hear(200);
        assert!((evidence.proven - 7.5).abs() < 1e-9, "{evidence:?}");
    }

    #[test]
    fn the_direction_follows_from_what_arrives_here_and_there() {
        let turn = Duration::from_secs(5);
        let (before, since) = (at(500), at(4000));
        let said = |heard: Option<(Instant, Instant)>| Some(Said { first: at(2000), heard });
        let hears = said(Some((at(4500), at(4510))));
        let heard_before = said(Some((at(400), at(900))));
        let near = said(Some((at(900), at(1100))));
        for (last_direct, said, direction) in [
            (since, None, Direction::Out),
            (since, heard_before, Direction::Out),
            (since, hears, Direction::Unknown),
            (before, None, Direction::Unknown),
            (before, hears, Direction::In),
            (before, heard_before, Direction::Both),
            (before, said(None), Direction::Both),
            (before, near, Direction::In),
        ] {
            let record = PathRecord { said, ..doubt() };
            assert_eq!(record.direction(at(5000), last_direct, turn), direction, "{last_direct:?} {said:?}");
        }
        let record = PathRecord { said: Some(Said { first: at(4000), heard: None }), ..doubt() };
        assert_eq!(
            record.direction(at(5000), before, turn),
            Direction::Unknown,
            "it has not had time to ask us"
        );
        assert_eq!(
            doubt().direction(at(12_000), before, turn),
            Direction::In,
            "it should have called us by now"
        );
        let record = PathRecord { said: heard_before, ..doubt() };
        assert_eq!(record.direction(at(60_000), since, turn), Direction::Both, "nothing arrives any more");
    }

    #[test]
    fn the_last_helpers_are_named_once_each() {
        let mut record = doubt();
        for (helper, ms) in [(1, 10), (2, 20), (3, 30), (1, 40), (4, 50), (4, 60)] {
            record.reached_by(helper, at(ms));
        }
        assert_eq!(record.through().collect::<Vec<_>>(), [(4, at(60)), (1, at(40)), (3, at(30))]);
    }

    #[test]
    fn of_too_many_paths_each_is_asked_more_seldom() {
        let mut paths = DirectPaths::default();
        let mut pace = |count| {
            paths.records = (0..count).map(|i| (i, doubt())).collect();
            paths.crowd()
        };
        assert_eq!((pace(1), pace(8), pace(16), pace(256)), (1, 1, 2, 32));
    }
}
