//! Somebody did not answer: gather proof, at once.
//!
//! One unanswered contact is no verdict. It makes us ask again, directly and
//! through helpers, and count surprise: each contact that stays unanswered is
//! worth −log10 of how often our contacts stay unanswered anyway. Five digits
//! accuse; eight, and a silence longer than the acceptable pause, testify. So
//! a lossy network asks for more proof by itself.
//!
//! An accusation is *as of a heartbeat*: the highest that the accused can have
//! had when the silence began. Heartbeats still under way from before do not
//! refute it; any later one does.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_detector::Case;
use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::detection::indirect_probe::{NACK_REFUSED, NACK_SILENT};
use crate::identity::Heartbeat;
use crate::node::Node;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::standing::{Evidence, Status};
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::Detail;

/// What we have gathered about one silent member.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Which life.
    tag: u64,
    /// When the first contact left that stayed unanswered.
    pub(crate) began: Instant,
    /// Any heartbeat above this ends it.
    pub(crate) basis: Heartbeat,
    /// What we have against it.
    pub(crate) case: Case,
    /// The last helpers that heard nothing either, the newest first; 0: none.
    pub(crate) helpers: [u64; HELPERS_NAMED],
    attempts: u32,
    next: Instant,
    /// The strongest accusation made of it, and when it was last told.
    pub(crate) raised: Option<Evidence>,
    pub(crate) told: Instant,
    /// There is testimony that the witnesses have not been told.
    pub(crate) to_tell: bool,
    /// When the kernel of its host first refused us; of the case once it is believed, see refusals.rs.
    refused: Option<Instant>,
    /// Helpers that were refused since.
    helpers_refused: u32,
}

impl Probe {
    pub fn next(&self) -> Instant {
        self.next
    }

    /// We were away: that time was not its silence.
    pub fn shift(&mut self, by: Duration) {
        self.began += by;
        self.next += by;
    }

    /// Keeps the names of the last few helpers.
    pub fn helped_by(&mut self, helper: u64) {
        if !self.helpers.contains(&helper) {
            self.helpers.rotate_right(1);
            if let Some(newest) = self.helpers.first_mut() {
                *newest = helper;
            }
        }
    }

    fn evidence(&self, now: Instant, acceptable_pause: Duration) -> Option<Evidence> {
        if self.case.refused.is_some() {
            Some(Evidence::Refused)
        } else if self.case.phi() >= TESTIFY && now.since(self.began) >= acceptable_pause {
            Some(Evidence::Proven)
        } else if self.case.phi() >= ACCUSE {
            Some(Evidence::Silent)
        } else {
            None
        }
    }
}

impl Node {
    /// An answer came from `sender`: measure the path, and end what the silence began. Of another life than the one that
    /// was asked it is no answer: whoever has come to the address of the dead, under its name or another, must not keep it alive.
    pub(crate) fn answered(&mut self, now: Instant, seq: u32, sender: Option<u64>) -> Option<Request> {
        let asked = self.transport.requests.get(seq)?;
        if asked.subject.is_some() && asked.subject != sender || asked.kind == RequestKind::CloneProbe {
            return None;
        }
        let request = self.transport.requests.answered(seq)?;
        self.note_passage(now, seq, &request);
        self.detection.footing.answered(now);
        let rtt = now.since(request.sent);
        let Some(subject) = request.subject else { return Some(request) };
        if matches!(
            request.kind,
            RequestKind::Exchange
                | RequestKind::ExtraProbe
                | RequestKind::Probe
                | RequestKind::LinkProbe
                | RequestKind::Lease
                | RequestKind::OnBehalf { .. }
                | RequestKind::Leave
        ) {
            self.core.paths.sample(rtt);
            if request.kind == RequestKind::LinkProbe {
                self.look_answered(now, subject);
            }
            if request.kind.is_first() {
                self.note_outcome(subject, true);
                self.core.paths.answered();
                self.core.health.probe_answered(now);
            }
            if let Some(mut member) = self.roster.get_mut(subject) {
                let path = &mut member.path;
                path.rtt.sample(rtt);
                path.rtt.answered();
                path.reachable = Some(true);
            }
            if self.detection.probes.get(&subject).is_some_and(|probe| request.sent >= probe.began) {
                self.close_probe(now, subject);
            }
        }
        Some(request)
    }

    /// Questions whose time is up.
    pub(crate) fn expire_requests(&mut self, now: Instant) {
        for request in self.transport.requests.expired(now) {
            self.detection.footing.unanswered();
            self.stays_unanswered(now, &request);
        }
    }

    fn stays_unanswered(&mut self, now: Instant, request: &Request) {
        match (request.kind, request.subject) {
            (RequestKind::Exchange | RequestKind::ExtraProbe | RequestKind::Probe, Some(subject)) => {
                self.unanswered(now, subject, request);
            }
            (RequestKind::LinkProbe, Some(subject)) => self.look_unanswered(now, subject, request.sent),
            (RequestKind::OnBehalf { asker, seq }, Some(subject)) => {
                self.report_on_behalf(now, asker, seq, subject, NACK_SILENT);
            }
            (RequestKind::Indirect { helper }, _) => {
                let alive = self.roster.get(helper).is_some_and(|m| m.status == Status::Alive);
                if alive && !self.is_doubted(helper) {
                    self.core.health.nack_missing(now, self.core.paths.failure_rate());
                }
                if let Some(subject) = request.subject {
                    self.believe_refusal(now, subject);
                }
            }
            (RequestKind::Pull { part, .. }, _) => {
                self.doubt_answers(now, request.to);
                self.pull_unanswered(now, part);
            }
            (RequestKind::PathProbe { long: true }, _) => self.path_probe_lost(now, request.to),
            (RequestKind::CloneProbe, _) => self.clone_unanswered(now),
            // Electors are asked again by the lease itself.
            (
                RequestKind::Exchange
                | RequestKind::ExtraProbe
                | RequestKind::Probe
                | RequestKind::LinkProbe
                | RequestKind::OnBehalf { .. },
                None,
            )
            | (
                RequestKind::Leave
                | RequestKind::Dial
                | RequestKind::Lease
                | RequestKind::PathProbe { long: false },
                _,
            ) => {}
        }
    }

    /// The kernel of the host at `to` says that nobody listens there.
    pub(crate) fn on_refused(&mut self, now: Instant, to: SocketAddr) {
        self.core.stats.refusals += 1;
        for request in self.transport.requests.refused(to) {
            // What a helper's host refuses says nothing of the member that it was asked about.
            let asked = request.subject.filter(|_| !matches!(request.kind, RequestKind::Indirect { .. }));
            let incarnation = asked.and_then(|subject| self.roster.get(subject)).map(Member::tag);
            if incarnation.is_some_and(|tag| self.detection.refusals.says_nothing(now, tag)) {
                self.stays_unanswered(now, &request);
                continue;
            }
            match (request.kind, request.subject) {
                (RequestKind::OnBehalf { asker, seq }, Some(subject)) => {
                    self.report_on_behalf(now, asker, seq, subject, NACK_REFUSED);
                    self.refused_by(now, subject, request.sent);
                }
                (
                    RequestKind::Exchange
                    | RequestKind::ExtraProbe
                    | RequestKind::Probe
                    | RequestKind::LinkProbe
                    | RequestKind::Lease,
                    Some(subject),
                ) => {
                    self.refused_by(now, subject, request.sent);
                }
                (RequestKind::PathProbe { long: true }, _) => self.path_probe_lost(now, to),
                (RequestKind::CloneProbe, _) => self.clone_is_past(now),
                // Dials come again in their time, and a good-bye is for whoever is there.
                _ => {}
            }
        }
    }

    /// Everybody whose silence has become surprising is looked at directly.
    pub(crate) fn look_at_silence(&mut self, now: Instant) {
        if now < self.core.recovering_until {
            return;
        }
        for subject in self.roster.overdue(now, &self.core.config.detector) {
            self.begin_probe(now, subject, now, None);
        }
        let silent = self.silent_members();
        if silent >= SEVERAL && silent.saturating_mul(8) > self.roster.census().alive {
            self.detection.look_until = now + LOOK_ON;
        }
        if now < self.detection.look_until {
            self.look_around(now);
        }
    }

    /// While many look silent and for some time after, a few of those not heard of lately are asked
    /// without waiting for their turn, so that a cut shows whole and soon, and whoever should
    /// have called a silent one is not missed for being silent too.
    fn look_around(&mut self, now: Instant) {
        let me = self.core.me;
        let quiet =
            |m: &Member| m.status == Status::Alive && m.hash() != me && m.detector.silence(now) >= UNHEARD;
        let some: Vec<u64> = peers::sample(&self.roster, &mut self.core.rng, LOOKS, quiet)
            .into_iter()
            .map(Member::hash)
            .collect();
        for subject in some {
            self.begin_probe(now, subject, now, None);
        }
    }

    /// The next step of each probe that is due.
    pub(crate) fn step_probes(&mut self, now: Instant) {
        let due: Vec<u64> =
            self.detection.probes.iter().filter(|(_, p)| p.next <= now).map(|(s, _)| *s).collect();
        for subject in due {
            self.step_probe(now, subject);
        }
    }

    /// A heartbeat above the basis came in, by whatever way: the member lives,
    /// though perhaps we cannot reach it.
    pub(crate) fn close_refuted_probe(&mut self, now: Instant, subject: u64) {
        let Some(probe) = self.detection.probes.get(&subject) else { return };
        let Some(mut member) = self.roster.get_mut(subject) else { return };
        if member.heartbeat > probe.basis {
            let path = &mut member.path;
            if path.last_direct() < probe.began {
                path.reachable = Some(false);
            }
            tracing::debug!(name = %member.incarnation.name, at = ?now, "refuted");
            drop(member);
            self.close_probe(now, subject);
        }
    }

    /// It lives.
    fn close_probe(&mut self, now: Instant, subject: u64) {
        if let Some(probe) = self.detection.probes.remove(&subject)
            && probe.refused.is_some()
        {
            self.detection.refusals.disprove(now, probe.tag);
        }
    }

    fn unanswered(&mut self, now: Instant, subject: u64, request: &Request) {
        let doubted = self.is_doubted(subject);
        let Some(mut member) = self.roster.get_mut(subject) else { return };
        if !member.is_present() {
            return;
        }
        // Whom we accuse ourselves, if only weakly, teaches us nothing more about ourselves: else the dead would keep us
        // in doubt, and the doubt the dead alive.
        let first = request.kind.is_first() && member.status == Status::Alive && !doubted;
        let path = &mut member.path;
        let beyond_reach = path.reachable == Some(false);
        path.rtt.unanswered();
        drop(member);
        self.core.stats.probes_unanswered += 1;
        let surprise = self.core.paths.surprise();
        if first {
            // Learnt from first contacts only: a dead member would teach us that answers are rare.
            self.note_outcome(subject, false);
            self.core.health.probe_unanswered(now, self.core.paths.failure_rate());
            self.core.paths.unanswered();
        }
        if let Some(probe) = self.detection.probes.get_mut(&subject) {
            probe.case.unanswered(now, surprise);
            self.rescore(now, subject);
        } else if first && !beyond_reach && now >= self.core.recovering_until {
            self.begin_probe(now, subject, request.sent, None);
            if let Some(probe) = self.detection.probes.get_mut(&subject) {
                probe.case.unanswered(now, surprise);
            }
        }
    }

    fn refused_by(&mut self, now: Instant, subject: u64, sent: Instant) {
        if self.gossip.leave.is_some() {
            return;
        }
        let known = self.detection.probes.get(&subject).is_some_and(|probe| probe.refused.is_none());
        self.begin_probe(now, subject, sent, None);
        if let Some(probe) = self.detection.probes.get_mut(&subject) {
            // One observer's refusals count once.
            probe.refused.get_or_insert(now);
        }
        // With a new case the helpers are asked anyway.
        if known
            && self.detection.probe_budget.take(now, self.core.config.helpers)
            && let Some(to) = self.roster.get(subject).map(|member| member.incarnation.address())
        {
            self.ask_helpers(now, subject, to);
        }
        self.believe_refusal(now, subject);
    }

    /// A refusal counts when two helpers were refused too, or none of them has heard the member in time.
    pub(crate) fn believe_refusal(&mut self, now: Instant, subject: u64) {
        let waits = self.transport.requests.waits_for_helpers(subject);
        let Some(probe) = self.detection.probes.get_mut(&subject) else { return };
        if probe.refused.is_some()
            && probe.case.refused.is_none()
            && (!waits || probe.helpers_refused >= HELPERS_REFUSED)
        {
            probe.case.refuse(now);
            self.rescore(now, subject);
        }
    }

    /// A helper asked at `asked` was refused too.
    pub(crate) fn helper_refused(&mut self, asked: Instant, subject: u64) {
        let probe = self.detection.probes.get_mut(&subject);
        if let Some(probe) = probe.filter(|probe| probe.refused.is_some_and(|at| asked >= at)) {
            probe.helpers_refused += 1;
        }
    }

    /// A helper asked at `asked` has heard it: it lives, and the silence, or the refusal, is the path's.
    pub(crate) fn helper_heard(&mut self, now: Instant, asked: Instant, subject: u64) {
        let since = self.detection.probes.get(&subject).map(|probe| probe.refused.unwrap_or(probe.began));
        if since.is_none_or(|since| asked < since) {
            return;
        }
        // No suspicion, and yet a reason to look at its link (flap_damping.rs).
        self.note_trouble(now, subject, Status::Suspect);
        if let Some(mut member) = self.roster.get_mut(subject) {
            member.path.reachable = Some(false);
        }
        self.close_probe(now, subject);
    }

    pub(crate) fn begin_probe(
        &mut self,
        now: Instant,
        subject: u64,
        began: Instant,
        basis: Option<Heartbeat>,
    ) {
        let me = self.core.me;
        let Some(member) = self.roster.get(subject).filter(|m| is_other(m, me)) else { return };
        if self.detection.probes.contains_key(&subject) || self.gossip.leave.is_some() {
            return;
        }
        let basis = basis.unwrap_or(0).max(self.core.heartbeat_by(&self.roster, member, began));
        self.detection.probes.insert(
            subject,
            Probe {
                tag: member.tag(),
                began,
                basis,
                case: Case::default(),
                helpers: [0; HELPERS_NAMED],
                attempts: 0,
                next: now,
                raised: None,
                told: Instant::EPOCH,
                to_tell: false,
                refused: None,
                helpers_refused: 0,
            },
        );
        self.step_probe(now, subject);
    }

    /// Asks again, and now and then through helpers.
    fn step_probe(&mut self, now: Instant, subject: u64) {
        let Some(probe) = self.detection.probes.get(&subject).copied() else { return };
        let Some(member) = self.roster.get(subject).filter(|m| m.is_present() && m.tag() == probe.tag) else {
            self.detection.probes.remove(&subject);
            return;
        };
        let to = member.incarnation.address();
        // Enough is known: only look now and then whether it is back.
        let enough = probe.case.phi() >= TESTIFY || probe.raised == Some(Evidence::Proven);
        let pause = match enough {
            true => SLOW_STEP,
            false => self.core.patience(Some(member)).clamp(SHORTEST_STEP, LONGEST_STEP),
        };
        // A refusal needs no repetition, and beyond the budget everybody waits a turn.
        let ask = probe.case.refused.is_none() && self.detection.probe_budget.take(now, 1);
        if ask {
            self.ping(now, subject, to, RequestKind::Probe);
            let helpers = self.core.config.helpers;
            if !enough
                && probe.attempts.is_multiple_of(HELPERS_EVERY)
                && self.detection.probe_budget.take(now, helpers)
            {
                self.ask_helpers(now, subject, to);
            }
        }
        if let Some(probe) = self.detection.probes.get_mut(&subject) {
            probe.attempts += u32::from(ask);
            // The pause's end is when silence becomes proof: look at it then.
            let proof = probe.began + self.core.config.acceptable_pause;
            probe.next = if now < proof { (now + pause).min(proof) } else { now + pause };
        }
        self.rescore(now, subject);
    }

    /// A ping that tells the subject what it is accused of, so that it can refute in its answer.
    pub(crate) fn ping(&mut self, now: Instant, subject: u64, to: SocketAddr, kind: RequestKind) {
        // A pause that we forgive is no bad link.
        let look = kind == RequestKind::LinkProbe;
        let patience = if look {
            self.core.config.acceptable_pause
        } else {
            self.core.patience(self.roster.get(subject))
        };
        let deadline = now + patience;
        let request = Request { subject: Some(subject), to, sent: now, deadline, kind };
        let seq = self.transport.requests.open(request);
        let about =
            if kind == RequestKind::Lease { self.quorum.ask_about(&mut self.core.rng) } else { Vec::new() };
        let body = Body::Ping(gossip::Ping { subject, about, ..Default::default() });
        let Some(mut filler) = self.filler(to, seq, Some(body)) else { return };
        if let Some(member) = self.roster.get(subject)
            && member.is_marked()
        {
            // Beside a question to an elector it may have no room; probes say it.
            let _ = filler.try_claim(self.claim(now, to, member, Detail::Thin));
        }
        self.core.stats.probes += 1;
        self.send(to, &filler.finish());
    }

    /// Does what we have amount to more than what we have said?
    pub(crate) fn rescore(&mut self, now: Instant, subject: u64) {
        if now < self.core.recovering_until {
            return;
        }
        let config = &self.core.config.detector;
        let silence = self.roster.get(subject).map_or(0.0, |m| m.detector.phi(now, config));
        let Some(probe) = self.detection.probes.get_mut(&subject) else { return };
        probe.case.silent(silence);
        let probe = *probe;
        let evidence = probe.evidence(now, self.core.config.acceptable_pause);
        if evidence > probe.raised {
            self.accuse(now, subject, evidence);
        } else if probe.raised.is_some() && now.since(probe.told) >= TELL_AGAIN {
            // Said again, and without the doubt if that has gone by now.
            self.accuse(now, subject, probe.raised);
        }
        self.judge(now, subject);
    }
}

/// Surprise that accuses: one in 100,000 such silences is innocent.
pub const ACCUSE: f64 = 5.0;
/// Surprise that testifies: φ 8, as the field's detectors use it.
pub const TESTIFY: f64 = 8.0;
/// Bounds on the time from one question to the next: often enough to have
/// eight answers missing within the acceptable pause, seldom enough to bound a storm.
const SHORTEST_STEP: Duration = Duration::from_millis(100);
const LONGEST_STEP: Duration = Duration::from_millis(250);
/// With enough evidence at hand the questions only look for a return.
const SLOW_STEP: Duration = Duration::from_millis(500);
/// How many are looked at in a round while many look silent, and from which
/// silence on: beyond the usual time between two heartbeats of any member.
const LOOKS: usize = 5;
pub const UNHEARD: Duration = Duration::from_millis(2500);
/// So many at least, and an eighth of the cluster, are many; and how long after the last look at them others may still
/// show: what the callers of five slots in a row could have seen.
const SEVERAL: u32 = 2;
const LOOK_ON: Duration = Duration::from_secs(5);
/// Helpers are asked at the first question and at each fourth after it.
const HELPERS_EVERY: u32 = 4;
/// Refused helpers that confirm a refusal, without waiting for the others: the filter of one of them is not the member's.
const HELPERS_REFUSED: u32 = 2;
/// Helpers of whom a case keeps the names.
pub const HELPERS_NAMED: usize = 4;
/// Testimony is repeated to the witnesses while the case is open.
const TELL_AGAIN: Duration = Duration::from_millis(500);
