//! The failure detection alone: the test lets questions stay unanswered, and does what a node would about statuses.

use core::time::Duration;
use std::collections::BTreeSet;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::detection::deaf::Deaf;
use crate::detection::flap_damping::RAISED_BY;
use crate::detection::indirect_probe::ProbeOutcome;
use crate::detection::outside::OutsideReason;
use crate::detection::verdict::SuspectShare;
use crate::detection::witnesses;
use crate::detection::{Backing, Detection};
use crate::effect::Effect;
use crate::identity::{Generation, Heartbeat};
use crate::io::Event;
use crate::roster::standing::{Accusation, Evidence, Marks, Status};
use crate::roster::state::{Delta, QUORUM_KEY};
use crate::testing::{Bench, Sent, address, claim, hash, incarnation, value};
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// The detection of `n0` and what it is called with.
struct Watch {
    bench: Bench,
    detection: Detection,
}

impl Watch {
    /// The others have beaten once in each of twelve slots; the thirteenth has begun.
    fn new(members: usize) -> Self {
        Self::with_helpers(members, 3)
    }

    /// The same with so many helpers to a probe.
    fn with_helpers(members: usize, helpers: usize) -> Self {
        let bench = Bench::of(0, 1..members, |config| config.helpers = helpers);
        let detection = Detection::new(bench.now, &bench.core.config);
        let mut watch = Self { bench, detection };
        watch.bench.pass(MIDDLE);
        for heartbeat in 1..=12 {
            watch.bench.pass(SLOT);
            (1..members).for_each(|i| watch.bench.hear(i, heartbeat));
        }
        assert_eq!(watch.slot(), 12);
        watch
    }

    /// Answers come within a millisecond here: a question is given up after 50 ms, and asked again each 100 ms.
    fn near(mut self) -> Self {
        (0..100).for_each(|_| self.bench.core.paths.sample(Duration::from_millis(1)));
        assert_eq!(self.bench.core.patience(None), STEP);
        self
    }

    /// Nothing has been lost here for minutes.
    fn old(mut self) -> Self {
        (0..300).for_each(|_| self.bench.core.loss.answered());
        self
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Detection, Instant, &mut Context<'_>) -> T) -> T {
        let now = self.bench.now;
        call(&mut self.detection, now, &mut self.bench.context())
    }

    fn slot(&self) -> u64 {
        self.bench.core.slot_clock.slot(self.bench.now)
    }

    /// The exchange of a round with `n{i}` begins, and stays unanswered.
    fn exchange_in_vain(&mut self, i: usize) {
        let (sent, to, kind) = (self.bench.now, address(i), RequestKind::Exchange);
        let deadline = sent + self.bench.core.patience(None);
        self.bench.transport.requests.open(Request { subject: Some(hash(i)), to, sent, deadline, kind });
        self.bench.pass(deadline.since(sent));
        self.give_up_questions();
    }

    /// Ends the questions whose time is up, except those to helpers.
    fn give_up_questions(&mut self) {
        for (request, _) in self.bench.transport.requests.expired(self.bench.now) {
            if request.kind.is_first() || matches!(request.kind, RequestKind::Probe { .. }) {
                let subject = request.subject.unwrap();
                self.call(|detection, now, ctx| detection.on_silence(now, ctx, subject, &request));
            }
        }
    }

    /// Probes go on for so long, and no answer comes.
    fn probe_in_vain(&mut self, time: Duration) {
        let end = self.bench.now + time;
        while self.bench.now < end {
            self.bench.pass(STEP);
            self.give_up_questions();
            for subject in self.detection.due(self.bench.now) {
                self.call(|detection, now, ctx| detection.step_probe(now, ctx, subject));
            }
            self.settle();
        }
    }

    /// A request to `n1` that left at `sent` is refused.
    fn refused(&mut self, sent: Instant) {
        self.call(|detection, now, ctx| detection.refused_by(now, ctx, hash(1), sent));
    }

    /// The helpers report this outcome, and of which generation of `n1`.
    fn report(&mut self, requests: &[Sent], outcome: ProbeOutcome, generation: Generation) {
        let report = gossip::ProbeReport { subject: hash(1), outcome: outcome as u32, heard_ms: 0 };
        for request in requests {
            let (seq, told) = (request.packet.seq, Some((hash(1), generation)));
            self.call(|detection, now, ctx| detection.on_probe_report(now, ctx, seq, told, &report)).unwrap();
        }
    }

    /// Brings the statuses in line with the claims. Returns the members whose claims have changed.
    fn settle(&mut self) -> Vec<u64> {
        let mut changed = Vec::new();
        for effect in self.bench.take_effects() {
            if let Effect::Refresh { subject, .. } = effect {
                let status = self.bench.roster.get(subject).unwrap().standing();
                self.bench.roster.set_status(self.bench.now, subject, status);
                changed.push(subject);
            }
        }
        changed
    }

    /// These members accuse `n1`, each as of a heartbeat. What they saw begins now.
    fn accused(&mut self, kind: Evidence, by: &[(usize, Heartbeat)]) {
        let began = self.bench.now;
        let accusation = |(by, basis): &(usize, Heartbeat)| {
            let by = hash(*by);
            Accusation { by, basis: *basis, kind, weak: false, began, source: None }
        };
        self.bench.mark(1, &Marks { accusations: by.iter().map(accusation).collect(), ..Marks::default() });
        let status = self.bench.member(1).standing();
        self.bench.roster.set_status(began, hash(1), status);
    }

    /// Judges `n1`. Returns the heartbeat of the verdict, if there is one.
    fn judge(&mut self) -> Option<Heartbeat> {
        self.call(|detection, now, ctx| detection.judge(now, ctx, hash(1)));
        self.bench.member(1).marks().down
    }

    fn accusations(&self) -> &[Accusation] {
        &self.bench.member(1).marks().accusations
    }
}

/// The requests to helpers among what has left.
fn requests(sent: Vec<Sent>) -> Vec<Sent> {
    let asks_helper = |sent: &Sent| matches!(sent.packet.body, Some(Body::ProbeRequest(_)));
    sent.into_iter().filter(asks_helper).collect()
}

#[test]
fn an_unanswered_exchange_begins_a_probe_and_asks_helpers() {
    let mut watch = Watch::new(8);
    watch.exchange_in_vain(1);
    assert!(watch.detection.is_probing(hash(1)));
    let sent = watch.bench.sent();
    let pings = sent.iter().filter(|sent| matches!(sent.packet.body, Some(Body::Ping(_))));
    assert_eq!(pings.map(|sent| sent.to).collect::<Vec<_>>(), [address(1)]);
    let helpers: BTreeSet<_> = requests(sent).iter().map(|sent| sent.to).collect();
    assert_eq!(helpers.len(), 3);
    assert_eq!(watch.settle(), [], "one contact is no accusation");
}

#[test]
fn a_silent_member_helps_in_no_probe() {
    let mut watch = Watch::new(5);
    (0..20).for_each(|_| watch.bench.core.loss.answered());
    watch.exchange_in_vain(1);
    let helpers: BTreeSet<_> = requests(watch.bench.sent()).iter().map(|sent| sent.to).collect();
    assert_eq!(helpers, BTreeSet::from([2, 3, 4].map(address)));
    watch.detection.probes.get_mut(&hash(1)).unwrap().raised = Some(Evidence::Silent);
    watch.exchange_in_vain(2);
    let asks_about_another = |sent: &Sent| match &sent.packet.body {
        Some(Body::ProbeRequest(request)) => request.subject == hash(2),
        _ => false,
    };
    let sent = watch.bench.sent();
    let helpers: BTreeSet<_> =
        sent.iter().filter(|sent| asks_about_another(sent)).map(|sent| sent.to).collect();
    assert_eq!(helpers, BTreeSet::from([3, 4].map(address)), "we accuse n1");
}

#[test]
fn silence_alone_accuses_no_member() {
    let mut watch = Watch::new(4);
    watch.bench.pass(SLOT * 60);
    (2..4).for_each(|i| watch.bench.hear(i, 72));
    let surprising = watch.call(|detection, now, ctx| detection.surprising(now, ctx));
    assert_eq!(surprising, [hash(1)]);
    watch.call(|detection, now, ctx| detection.ask_after(now, ctx, hash(1)));
    for _ in 0..100 {
        // Questions leave, and it is not known yet that they stay unanswered.
        watch.bench.pass(SLOT);
        watch.call(|detection, now, ctx| detection.step_probe(now, ctx, hash(1)));
    }
    assert_eq!(watch.settle(), []);
    let phi = watch.detection.probes[&hash(1)].case.phi();
    assert!((2.9..=3.0).contains(&phi), "{phi}");
}

#[test]
fn enough_unanswered_pings_accuse_as_of_the_heartbeat_that_was_due() {
    let mut watch = Watch::with_helpers(8, 0).old();
    watch.bench.pass(SLOT);
    let began = watch.bench.now;
    assert_eq!(watch.slot(), 13);
    watch.exchange_in_vain(1);
    watch.bench.core.last_heard = watch.bench.now;
    watch.probe_in_vain(Duration::from_millis(700));
    assert_eq!(watch.accusations(), [], "the exchange and a ping are worth 4.8");
    watch.probe_in_vain(STEP);
    let (by, kind) = (hash(0), Evidence::Silent);
    assert_eq!(watch.accusations(), [Accusation { by, basis: 13, kind, weak: false, began, source: None }]);
    assert_eq!(watch.bench.member(1).status, Status::Suspect);
    // Beyond the acceptable pause it is proven.
    watch.probe_in_vain(Duration::from_millis(1600));
    assert_eq!(watch.accusations()[0].kind, Evidence::Proven);
}

#[test]
fn in_a_burst_questions_over_one_path_are_no_row_of_surprises() {
    let accused = |bursts: bool| {
        let mut watch = Watch::with_helpers(8, 0).near();
        let core = &mut watch.bench.core;
        for contact in 0..200 {
            match contact % 6 {
                0 => core.loss.unanswered(),
                _ => core.loss.answered(),
            }
            for lag in [STEP, STEP * 2] {
                core.loss_again.learn(lag, bursts && contact % 3 != 0);
            }
        }
        watch.exchange_in_vain(1);
        watch.probe_in_vain(SLOT);
        !watch.accusations().is_empty()
    };
    assert!(accused(false), "ten losses that come alone, 0.8 digits each");
    assert!(!accused(true), "the first, and ten that were to be expected after it");
}

#[test]
fn a_member_that_lives_teaches_how_long_losses_last_and_a_dead_one_nothing() {
    let lost_again = |lives: bool| {
        let mut watch = Watch::with_helpers(8, 0).near();
        watch.exchange_in_vain(1);
        watch.probe_in_vain(SLOT * 3);
        if lives {
            watch.bench.hear(1, 30);
            watch.call(|detection, now, ctx| detection.close_refuted_probe(now, ctx, hash(1)));
        } else {
            watch.call(|detection, _, _| detection.forget(hash(1)));
        }
        assert!(!watch.detection.is_probing(hash(1)));
        watch.bench.core.loss_again.share(STEP * 2, 0.0, 0)
    };
    assert_eq!(lost_again(false), 0.0);
    let share = lost_again(true);
    assert!((0.27..0.28).contains(&share), "{share}: three of 11, however long it stood still");
}

#[test]
fn helpers_that_heard_nothing_of_a_member_that_lives_are_believed_less() {
    let mut watch = Watch::new(8);
    watch.exchange_in_vain(1);
    let helpers = requests(watch.bench.sent());
    watch.report(&helpers[..2], ProbeOutcome::Silent, 1);
    let (first, second) = (watch.detection.probes[&hash(1)].case.indirect, Duration::from_millis(1));
    assert!(first.phi > 1.7, "{first:?}");
    watch.report(&helpers[2..], ProbeOutcome::Answered, 1);
    assert!(!watch.detection.is_probing(hash(1)));
    let patience = watch.bench.core.patience(None);
    let share = watch.bench.core.loss_of_helper.share(patience + second, 0.02, 0);
    assert!((0.15..0.25).contains(&share), "{share}: two of three, beside what was to be expected");
}

#[test]
fn where_losses_are_nothing_unusual_one_helper_is_asked_first_and_more_when_it_does_not_hear() {
    let mut watch = Watch::new(12);
    (0..100).for_each(|contact| {
        let loss = &mut watch.bench.core.loss;
        if contact % 5 == 0 { loss.unanswered() } else { loss.answered() }
    });
    watch.exchange_in_vain(1);
    assert_eq!(requests(watch.bench.sent()).len(), 1);
    let mut asked = Vec::new();
    while asked.len() < 3 {
        watch.probe_in_vain(STEP);
        asked.extend(Some(requests(watch.bench.sent()).len()).filter(|count| *count > 0));
    }
    assert_eq!(asked, [2, 3, 3]);
}

#[test]
fn helpers_are_asked_at_each_step_until_there_is_enough_evidence() {
    let mut watch = Watch::new(12).near();
    (0..100).for_each(|_| watch.bench.core.loss.answered());
    watch.exchange_in_vain(1);
    let first = requests(watch.bench.sent());
    watch.probe_in_vain(STEP * 2);
    let second = requests(watch.bench.sent());
    assert_eq!((first.len(), second.len()), (3, 3), "n1 is not accused yet");
    watch.report(&first, ProbeOutcome::Silent, 1);
    watch.report(&second, ProbeOutcome::Silent, 1);
    assert!(watch.detection.probes[&hash(1)].case.phi() >= 8.0);
    watch.probe_in_vain(SLOT);
    assert_eq!(requests(watch.bench.sent()).len(), 0);
}

#[test]
fn a_node_that_has_seen_little_takes_a_row_of_losses_for_the_weather_at_first() {
    // How many questions n1 has left unanswered when it is accused.
    let accused_after = |answered: usize| {
        let mut watch = Watch::with_helpers(8, 0).near();
        (0..answered).for_each(|_| watch.bench.core.loss.answered());
        watch.exchange_in_vain(1);
        while watch.accusations().is_empty() {
            watch.bench.core.last_heard = watch.bench.now;
            watch.probe_in_vain(STEP);
        }
        watch.detection.probes[&hash(1)].case.direct.count
    };
    assert_eq!(accused_after(300), 3, "nothing is ever lost here");
    assert_eq!(accused_after(0), 8);
}

#[test]
fn a_node_that_hears_nobody_asks_little_and_repeats_no_testimony() {
    let second_second = |silent: usize, heard: bool| {
        let mut watch = Watch::new(20).near();
        (0..300).for_each(|_| watch.bench.core.loss.answered());
        (1..=silent).for_each(|i| watch.exchange_in_vain(i));
        watch.bench.core.last_heard = if heard { watch.bench.now } else { Instant::EPOCH };
        watch.probe_in_vain(SLOT);
        watch.detection.testify_at = Instant::NEVER;
        watch.bench.sent();
        watch.probe_in_vain(SLOT);
        let sent = watch.bench.sent();
        (sent.len(), requests(sent).len(), watch.detection.testify_at != Instant::NEVER)
    };
    let (sent, to_helpers, tells) = second_second(9, false);
    assert!(sent <= 6 && to_helpers == 0 && !tells, "{sent}, {to_helpers}");
    let (sent, _, tells) = second_second(9, true);
    assert!(sent > 6 && tells, "{sent}");
    let (sent, _, tells) = second_second(3, false);
    assert!(sent > 5 && tells, "few may be dead: {sent}");
}

#[test]
fn a_newer_heartbeat_ends_the_probe_and_voids_the_accusation() {
    let mut watch = Watch::with_helpers(8, 0).old();
    watch.bench.pass(SLOT);
    watch.exchange_in_vain(1);
    watch.bench.core.last_heard = watch.bench.now;
    watch.probe_in_vain(SLOT);
    watch.bench.hear(1, 13);
    watch.call(|detection, now, ctx| detection.close_refuted_probe(now, ctx, hash(1)));
    assert!(watch.detection.is_probing(hash(1)) && watch.accusations().len() == 1, "it was under way");
    watch.bench.hear(1, 14);
    watch.call(|detection, now, ctx| detection.close_refuted_probe(now, ctx, hash(1)));
    assert!(!watch.detection.is_probing(hash(1)));
    assert_eq!(watch.accusations(), []);
    assert_eq!(watch.bench.member(1).path.reachable, Some(false), "though not by us");
}

#[test]
fn an_answer_of_the_member_ends_the_probe() {
    let mut watch = Watch::new(8);
    watch.exchange_in_vain(1);
    let (subject, to, sent) = (Some(hash(1)), address(1), watch.bench.now);
    let earlier = Request {
        subject,
        to,
        sent: Instant::EPOCH,
        deadline: sent,
        kind: RequestKind::Probe { after: None },
    };
    watch.call(|detection, now, ctx| detection.on_answer(now, ctx, &earlier));
    assert!(watch.detection.is_probing(hash(1)), "asked before the silence began");
    watch.call(|detection, now, ctx| detection.on_answer(now, ctx, &Request { sent, ..earlier }));
    assert!(!watch.detection.is_probing(hash(1)));
}

#[test]
fn a_verdict_needs_the_quorum_of_witnesses() {
    let mut watch = Watch::new(8);
    watch.accused(Evidence::Proven, &[(2, 30), (3, 31)]);
    watch.bench.pass(SLOT * 10);
    assert_eq!(watch.judge(), None, "two of five");
    watch.accused(Evidence::Silent, &[(4, 32)]);
    assert_eq!(watch.judge(), None, "the third has no proof");
    watch.accused(Evidence::Proven, &[(4, 32)]);
    assert_eq!(watch.judge(), Some(30), "the heartbeat that three reach");
    assert_eq!(watch.settle(), [hash(1)]);
    assert_eq!(watch.bench.member(1).status, Status::Down);
}

#[test]
fn a_verdict_by_silence_needs_the_acceptable_pause() {
    let mut watch = Watch::new(8);
    watch.accused(Evidence::Proven, &[(2, 30), (3, 30), (4, 30), (5, 30), (6, 30)]);
    watch.bench.pass(Duration::from_millis(1999));
    assert_eq!(watch.judge(), None);
    watch.bench.pass(Duration::from_millis(1));
    assert_eq!(watch.judge(), Some(30));
}

#[test]
fn testimony_that_suffices_is_judged_at_the_next_time_out() {
    let mut watch = Watch::new(8);
    watch.accused(Evidence::Proven, &[(2, 30), (3, 30), (4, 30)]);
    watch.bench.pass(SLOT * 2);
    watch.call(|detection, now, ctx| detection.hear_testimony(now, ctx, hash(1)));
    assert_eq!(watch.bench.member(1).marks().down, None, "a refutation may be waiting in the socket");
    assert_eq!(watch.detection.judge_at, watch.bench.now);
    assert_eq!(watch.detection.take_to_judge(), [hash(1)]);
    assert_eq!(watch.detection.judge_at, Instant::NEVER);
}

#[test]
fn two_refusals_are_a_verdict_without_a_pause() {
    let mut watch = Watch::new(8);
    let sent = watch.bench.now;
    watch.refused(sent);
    watch.refused(sent);
    let helpers = requests(watch.bench.sent());
    watch.report(&helpers[..1], ProbeOutcome::Refused, 1);
    assert_eq!(watch.settle(), [], "the other helpers may hear it");
    watch.report(&helpers[1..2], ProbeOutcome::Refused, 1);
    assert_eq!(watch.settle(), [hash(1)]);
    assert_eq!(watch.accusations()[0].kind, Evidence::Refused);
    assert_eq!(watch.judge(), None, "one member says so");
    watch.accused(Evidence::Refused, &[(2, 12)]);
    assert_eq!(watch.judge(), Some(12));
}

#[test]
fn a_refusal_needs_another_one_of_a_request_that_left_after_it() {
    let mut watch = Watch::new(8);
    let earlier = watch.bench.now;
    watch.bench.pass(STEP);
    watch.refused(earlier);
    let sent = watch.bench.sent();
    assert!(sent.iter().any(|sent| sent.to == address(1)), "it is asked again at once");
    watch.report(&requests(sent)[..2], ProbeOutcome::Refused, 1);
    watch.refused(earlier);
    assert_eq!(watch.settle(), [], "both left before the first refusal");
    watch.refused(watch.bench.now);
    assert_eq!(watch.settle(), [hash(1)]);
    assert_eq!(watch.accusations()[0].kind, Evidence::Refused);
}

#[test]
fn an_answer_voids_the_refusals_that_came_before_it() {
    let mut watch = Watch::new(8);
    let (subject, to, sent) = (Some(hash(1)), address(1), watch.bench.now);
    let earlier = Request { subject, to, sent, deadline: sent, kind: RequestKind::Exchange };
    watch.bench.pass(STEP);
    watch.refused(watch.bench.now);
    watch.call(|detection, now, ctx| detection.on_answer(now, ctx, &earlier));
    assert!(watch.detection.is_probing(hash(1)), "the answer may be older than the refusal");
    watch.bench.pass(STEP);
    watch.bench.sent();
    watch.refused(watch.bench.now);
    let helpers = requests(watch.bench.sent());
    watch.report(&helpers[..2], ProbeOutcome::Refused, 1);
    assert_eq!(watch.settle(), [], "the first refusal counts no more");
    watch.refused(watch.bench.now);
    assert_eq!(watch.settle(), [hash(1)]);
}

#[test]
fn a_refusal_counts_for_nothing_when_a_helper_hears_the_member() {
    let mut watch = Watch::new(8);
    let (sent, tag) = (watch.bench.now, watch.bench.member(1).tag());
    watch.refused(sent);
    let helpers = requests(watch.bench.sent());
    watch.report(&helpers[..1], ProbeOutcome::Answered, 2);
    assert!(watch.detection.is_probing(hash(1)), "another incarnation has answered");
    watch.report(&helpers[1..2], ProbeOutcome::Answered, 1);
    assert!(!watch.detection.is_probing(hash(1)));
    assert!(watch.detection.refusals.is_disproved(watch.bench.now, tag));
    watch.report(&helpers[2..], ProbeOutcome::Silent, 1);
    assert_eq!(watch.settle(), []);
    assert_eq!(watch.accusations(), []);
}

#[test]
fn after_a_stall_no_member_is_probed_accused_or_judged() {
    let mut watch = Watch::with_helpers(8, 0);
    watch.exchange_in_vain(2);
    watch.bench.core.last_heard = watch.bench.now;
    watch.bench.pass(SLOT * 60);
    watch.accused(Evidence::Proven, &[(3, 90), (4, 90), (5, 90)]);
    watch.bench.pass(SLOT * 3);
    watch.bench.core.recovering_until = watch.bench.now + SLOT * 3;
    assert!(watch.call(|detection, now, ctx| detection.surprising(now, ctx)).is_empty());
    watch.exchange_in_vain(6);
    assert!(!watch.detection.is_probing(hash(6)));
    watch.probe_in_vain(SLOT * 2);
    assert_eq!(watch.bench.member(2).marks(), &Marks::default());
    assert_eq!(watch.judge(), None);
    watch.probe_in_vain(SLOT);
    assert!(!watch.call(|detection, now, ctx| detection.surprising(now, ctx)).is_empty());
    assert_eq!(watch.bench.member(2).marks().accusations.len(), 1);
    assert_eq!(watch.judge(), Some(90));
}

/// Whether our accusation of `n1` says that we doubt ourselves.
fn accuses_weakly(mut watch: Watch, heard: bool) -> bool {
    watch.exchange_in_vain(1);
    if heard {
        watch.bench.core.last_heard = watch.bench.now;
    }
    watch.probe_in_vain(SLOT);
    let weak = watch.accusations()[0].weak;
    let status = if weak { Status::Alive } else { Status::Suspect };
    assert_eq!(watch.bench.member(1).status, status);
    assert_eq!(watch.detection.silent_members(&watch.bench.roster), 1, "it looks silent all the same");
    weak
}

#[test]
fn an_accusation_is_weak_when_no_other_member_is_heard() {
    assert!(!accuses_weakly(Watch::with_helpers(8, 0).old(), true));
    assert!(accuses_weakly(Watch::with_helpers(8, 0).old(), false));
    assert!(!accuses_weakly(Watch::with_helpers(2, 0).old(), false), "there is no other to be heard");
    let mut slow = Watch::with_helpers(8, 0).old();
    slow.bench.core.health.timer_lag(slow.bench.now, SLOT);
    assert!(accuses_weakly(slow, true), "our own timers are late");
}

/// We call other members; of each `of` calls the first `lost` stay unanswered.
fn weather(watch: &mut Watch, calls: usize, lost: usize, of: usize) {
    for call in 0..calls {
        let (now, core) = (watch.bench.now, &mut watch.bench.core);
        if call % of < lost {
            core.health.probe_unanswered(now, core.loss.share());
            core.loss.unanswered();
        } else {
            core.health.probe_answered(now);
            core.loss.answered();
        }
    }
}

#[test]
fn usual_loss_weakens_no_accusation_and_being_cut_off_does() {
    let mut stormy = Watch::with_helpers(8, 0);
    weather(&mut stormy, 200, 5, 10);
    weather(&mut stormy, 8, 8, 8);
    stormy.exchange_in_vain(1);
    stormy.bench.core.last_heard = stormy.bench.now;
    stormy.probe_in_vain(SLOT * 4);
    assert!(!stormy.accusations()[0].weak, "half is lost, as always here");
    let mut cut_off = Watch::with_helpers(8, 0);
    weather(&mut cut_off, 200, 5, 10);
    weather(&mut cut_off, 16, 16, 16);
    assert!(cut_off.bench.core.health.impaired(cut_off.bench.now), "nothing comes back any more");
}

#[test]
fn an_unfit_member_has_notice_before_it_is_out() {
    let mut watch = Watch::new(8);
    let judge_link = |watch: &mut Watch| {
        watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
        watch.bench.take_effects()
    };
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 70)]);
    assert_eq!(judge_link(&mut watch), [], "two of five");
    watch.accused(Evidence::Unfit, &[(4, 65)]);
    assert_eq!(judge_link(&mut watch), [Effect::News { subject: hash(1), full: false }]);
    assert!(!watch.detection.counts(watch.bench.member(1)), "it is acknowledged no more");
    watch.bench.pass(Duration::from_millis(1999));
    assert_eq!(judge_link(&mut watch), []);
    assert_eq!(watch.bench.member(1).marks().down, None);
    watch.bench.pass(Duration::from_millis(1));
    assert!(matches!(judge_link(&mut watch)[..], [Effect::Refresh { subject, .. }] if subject == hash(1)));
    assert_eq!(watch.bench.member(1).marks().down, Some(60), "up to the heartbeat that three reach");
}

#[test]
fn a_penalty_grows_by_steps_as_long_as_there_is_time_to_tell_of_it() {
    let mut watch = Watch::new(8);
    let heartbeat = watch.bench.member(1).heartbeat;
    watch.bench.mark(1, &Marks { down: Some(heartbeat + 20), ..Marks::default() });
    watch.bench.roster.set_status(watch.bench.now, hash(1), Status::Down);
    for (said, until) in [(21, 20), (23, 20), (24, 24), (25, 24)] {
        watch.accused(Evidence::Unfit, &[2, 3, 4].map(|by| (by, heartbeat + said)));
        watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
        let news = if said == 24 { vec![Effect::News { subject: hash(1), full: false }] } else { Vec::new() };
        assert_eq!(watch.bench.take_effects(), news, "{said}");
        assert_eq!(watch.bench.member(1).marks().down, Some(heartbeat + until), "{said}");
    }
    let mut beat = claim(incarnation(1), None);
    beat.standing.heartbeat = heartbeat + 18;
    watch.bench.take_in(beat);
    watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    assert_eq!(watch.bench.member(1).marks().down, Some(heartbeat + 25), "six beats before the end");
}

/// Our name is held by `n9`.
fn refuse(watch: &mut Watch) -> Vec<Event> {
    let holder = incarnation(9);
    watch.call(|detection, now, ctx| {
        detection.refuse(now, ctx, holder.host_id, holder.address(), holder.generation);
    });
    watch.bench.events()
}

/// Looks at ourselves. Returns the words of the reasons that programs were told.
fn look(watch: &mut Watch) -> Vec<Option<&'static str>> {
    watch.call(|detection, now, ctx| detection.review_own_membership(now, ctx));
    outside(&watch.bench.events())
}

fn outside(events: &[Event]) -> Vec<Option<&'static str>> {
    let mut words = Vec::new();
    for event in events {
        if let Event::Outside(outside) = event {
            words.push(outside.as_ref().map(|outside| outside.reason.word()));
        }
    }
    words
}

#[test]
fn where_all_links_lose_as_much_a_link_is_not_looked_at_for_ever() {
    // Looks at n1 within a minute, one in six of which is lost, while so many of our other contacts are.
    let looks = |others_lost: usize| {
        let mut watch = Watch::new(6);
        for contact in 0..32 {
            watch.detection.note_outcome(hash(2), contact % 32 >= others_lost);
        }
        let member = watch.bench.roster.get(hash(1)).unwrap();
        watch.detection.raise_alarm(watch.bench.now, member, 1.0);
        let mut looks = 0;
        for round in 13..73 {
            watch.bench.pass(SLOT);
            watch.bench.hear(1, round);
            watch.call(|detection, now, ctx| detection.review_link(now, ctx, hash(1)));
            let sent = watch.bench.now;
            let asked = watch.bench.sent().iter().any(|sent| sent.to == address(1));
            looks += usize::from(asked);
            if asked && looks % 6 == 1 {
                watch.call(|detection, _, ctx| detection.link_probe_unanswered(ctx, hash(1), sent));
            } else if asked {
                watch.call(|detection, now, ctx| detection.link_probe_answered(now, ctx, hash(1)));
            }
        }
        (looks, watch.detection.recorded().len())
    };
    let (few, left) = looks(5);
    assert!((16..24).contains(&few) && left == 0, "{few} looks, {left} records");
    assert_eq!(looks(0), (60, 1), "where nothing else is lost it is");
}

#[test]
fn one_loss_that_is_usual_raises_no_alarm_and_a_second_one_soon_does() {
    let mut watch = Watch::new(6);
    let looks = |watch: &mut Watch, worth: f32| {
        let member = watch.bench.roster.get(hash(1)).unwrap();
        watch.detection.raise_alarm(watch.bench.now, member, worth);
        watch.bench.pass(SLOT);
        watch.call(|detection, now, ctx| detection.review_link(now, ctx, hash(1)));
        !watch.bench.sent().is_empty()
    };
    assert!(!looks(&mut watch, 0.8), "one datagram in six is lost");
    assert!(looks(&mut watch, 0.8));
    assert!(looks(&mut Watch::new(6), 2.5), "where one in three hundred is, one is enough");
}

#[test]
fn a_held_name_puts_us_out_until_most_peers_agree() {
    let mut watch = Watch::new(8);
    let events = refuse(&mut watch);
    let holder = incarnation(9);
    let (address, generation) = (holder.address(), holder.generation);
    assert_eq!(events[0], Event::NameRefused { holder: holder.host_id, address, generation });
    assert_eq!(outside(&events), [Some("refused")]);
    assert_eq!(watch.bench.take_effects(), [Effect::JudgeQuorum]);
    assert_eq!(refuse(&mut watch), [], "told once");
    watch.detection.footing.note_agreement(hash(1), true);
    watch.detection.footing.note_agreement(hash(2), false);
    assert_eq!(look(&mut watch), [], "half of them is not most");
    watch.detection.footing.note_agreement(hash(2), true);
    assert_eq!(look(&mut watch), [None]);
    assert_eq!(watch.bench.take_effects(), [Effect::JudgeQuorum]);
    assert!(!watch.detection.footing.is_refused());
}

#[test]
fn a_member_that_is_kept_out_comes_in_by_its_heartbeat() {
    let mut watch = Watch::new(8);
    watch.bench.core.beat_once(watch.bench.now, &mut watch.bench.roster);
    let until = watch.bench.member(0).heartbeat + 40;
    let unfit = |by| Accusation {
        by: hash(by),
        basis: until,
        kind: Evidence::Unfit,
        weak: false,
        began: Instant::EPOCH,
        source: None,
    };
    let marks = Marks { down: Some(until), accusations: vec![unfit(1), unfit(2)], ..Marks::default() };
    watch.call(|detection, now, ctx| detection.hear_verdict(now, ctx, &marks));
    assert_eq!(outside(&watch.bench.events()), [Some("kept-out")]);
    let said = watch.detection.outside(&watch.bench.roster).unwrap();
    let wait = Duration::from_secs(41);
    assert_eq!((said.reason, said.by.len()), (OutsideReason::KeptOut { wait }, 2));
    watch.bench.roster.get_mut(hash(0)).unwrap().heartbeat = until;
    assert_eq!(look(&mut watch), []);
    watch.bench.roster.get_mut(hash(0)).unwrap().heartbeat = until + 1;
    assert_eq!(look(&mut watch), [None]);
}

#[test]
fn twenty_questions_and_five_pauses_without_an_answer_put_us_out() {
    let mut watch = Watch::new(8);
    watch.detection.footing.answered(watch.bench.now);
    (0..19).for_each(|_| watch.detection.footing.unanswered(Instant::EPOCH));
    watch.bench.pass(SLOT * 60);
    assert_eq!(look(&mut watch), []);
    watch.detection.footing.unanswered(Instant::EPOCH);
    assert_eq!(look(&mut watch), [Some("unanswered")]);
    watch.detection.footing.answered(watch.bench.now);
    assert_eq!(look(&mut watch), [None]);
    (0..20).for_each(|_| watch.detection.footing.unanswered(Instant::EPOCH));
    watch.bench.pass(Duration::from_millis(9999));
    assert_eq!(look(&mut watch), []);
    watch.bench.pass(Duration::from_millis(1));
    assert_eq!(look(&mut watch), [Some("unanswered")]);
}

#[test]
fn joined_is_told_once_and_not_while_we_are_refused() {
    let joined = |watch: &mut Watch| {
        let events = watch.bench.events();
        events.iter().filter(|event| **event == Event::Joined { members: 8 }).count()
    };
    let mut watch = Watch::new(8);
    watch.call(|detection, _, ctx| detection.on_complete(ctx));
    assert_eq!(joined(&mut watch), 1);
    let mut watch = Watch::new(8);
    watch.bench.membership.complete = false;
    refuse(&mut watch);
    watch.bench.membership.complete = true;
    watch.call(|detection, _, ctx| detection.on_complete(ctx));
    assert_eq!(joined(&mut watch), 0);
    watch.call(|detection, now, ctx| detection.accept(now, ctx));
    assert_eq!(joined(&mut watch), 1, "the name is free");
    watch.detection.footing.answered(watch.bench.now);
    (0..20).for_each(|_| watch.detection.footing.unanswered(Instant::EPOCH));
    watch.bench.pass(SLOT * 10);
    assert_eq!(look(&mut watch), [Some("unanswered")]);
    watch.detection.footing.answered(watch.bench.now);
    watch.call(|detection, now, ctx| detection.review_own_membership(now, ctx));
    assert_eq!(joined(&mut watch), 0, "we had joined before");
}

/// From the start of a bench to the middle of the slot in which it starts.
const MIDDLE: Duration = Duration::from_millis(400);
/// One interval.
const SLOT: Duration = Duration::from_secs(1);
/// Finer than all pauses of a probe.
const STEP: Duration = Duration::from_millis(50);

/// `n1` has said that it lost quorum, and asks us in vain; a majority is behind us.
fn lost_quorum() -> Watch {
    let mut watch = Watch::new(4);
    watch.detection.backing = Backing::Proven;
    watch.bench.roster.get_mut(hash(1)).unwrap().path.heard(watch.bench.now);
    watch.bench.take_in(claim(incarnation(1), Some(value(QUORUM_KEY, b"lost"))));
    watch.call(|detection, now, ctx| detection.look_for_deaf(now, ctx));
    watch
}

/// Asks what is due for so long. Returns how many questions left for `n1`.
fn ask_the_deaf(watch: &mut Watch, time: Duration) -> usize {
    let end = watch.bench.now + time;
    let mut questions = 0;
    while watch.bench.now < end {
        watch.call(|detection, now, ctx| detection.step_deaf(now, ctx));
        questions += watch.bench.sent().iter().filter(|sent| sent.to == address(1)).count();
        watch.bench.pass(STEP);
    }
    questions
}

fn finds_unfit(watch: &Watch) -> bool {
    watch.bench.member(1).marks().accusations.iter().any(|a| a.kind == Evidence::Unfit && a.by == hash(0))
}

#[test]
fn a_member_that_lost_quorum_and_answers_nothing_is_found_unfit_within_a_pause() {
    let mut watch = lost_quorum();
    assert_eq!(ask_the_deaf(&mut watch, Duration::from_millis(1000)), 5);
    assert!(!finds_unfit(&watch), "the last of five questions has just left");
    ask_the_deaf(&mut watch, STEP);
    assert!(finds_unfit(&watch));
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 60)]);
    watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    assert_eq!(watch.bench.member(1).marks().down, None, "it has notice");
    watch.bench.pass(Duration::from_millis(500));
    watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    assert!(watch.bench.member(1).marks().down.is_some(), "a short one");
}

#[test]
fn a_member_that_lost_quorum_and_answers_is_left_alone() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1000));
    watch.detection.deaf.answered(hash(1));
    assert_eq!(ask_the_deaf(&mut watch, Duration::from_secs(3)), 0, "until it is looked at again");
    assert!(!finds_unfit(&watch));
}

#[test]
fn a_member_that_does_not_ask_us_may_have_no_link_to_us_and_is_not_found_deaf() {
    let mut watch = lost_quorum();
    watch.bench.pass(Duration::from_secs(2));
    watch.detection.deaf = Deaf::new(watch.bench.now, 100);
    watch.call(|detection, now, ctx| detection.look_for_deaf(now, ctx));
    assert!(ask_the_deaf(&mut watch, Duration::from_secs(5)) > 5);
    assert!(!finds_unfit(&watch), "it spoke to us two seconds before we asked it, and not since");
    watch.bench.roster.get_mut(hash(1)).unwrap().path.heard(watch.bench.now);
    ask_the_deaf(&mut watch, SLOT);
    assert!(finds_unfit(&watch));
}

#[test]
fn a_member_that_hears_of_a_majority_is_not_asked() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1000));
    watch.bench.take_in(claim(incarnation(1), Some(again(value(QUORUM_KEY, b"hearing")))));
    assert_eq!(ask_the_deaf(&mut watch, Duration::from_secs(3)), 0);
    watch.call(|detection, now, ctx| detection.look_for_deaf(now, ctx));
    assert_eq!(ask_the_deaf(&mut watch, Duration::from_secs(3)), 0);
    assert!(!finds_unfit(&watch));
}

#[test]
fn a_question_that_the_budget_holds_back_counts_for_nothing() {
    let mut watch = lost_quorum();
    for _ in 0..60 {
        let (now, budget) = (watch.bench.now, &mut watch.detection.deaf.budget);
        let left = budget.available(now);
        budget.take(now, left);
        assert_eq!(ask_the_deaf(&mut watch, STEP), 0, "others are probed with all of it");
    }
    assert!(!finds_unfit(&watch));
}

#[test]
fn a_member_that_lost_quorum_has_the_whole_notice_where_we_have_not_found_it_deaf() {
    let mut watch = lost_quorum();
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 60)]);
    let judge = |watch: &mut Watch| watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    judge(&mut watch);
    watch.bench.pass(Duration::from_millis(1999));
    judge(&mut watch);
    assert_eq!(watch.bench.member(1).marks().down, None, "it may have regained quorum since it spoke");
    watch.bench.pass(Duration::from_millis(1));
    judge(&mut watch);
    assert!(watch.bench.member(1).marks().down.is_some());
}

#[test]
fn a_member_that_answers_once_while_it_has_notice_is_not_deaf() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1300));
    assert!(watch.detection.deaf.has_found(hash(1)));
    watch.detection.deaf.answered(hash(1));
    ask_the_deaf(&mut watch, Duration::from_millis(300));
    assert!(!watch.detection.deaf.has_found(hash(1)), "what its link loses counts again");
}

/// The same as the second change.
fn again(mut delta: Delta) -> Delta {
    (delta.since, delta.until, delta.newest) = (1, 2, 2);
    delta.entries.iter_mut().for_each(|(_, entry)| entry.version = 2);
    delta
}

#[test]
fn a_member_that_settles_meanwhile_has_the_whole_notice() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1300));
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 60)]);
    let judge = |watch: &mut Watch| watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    judge(&mut watch);
    watch.bench.take_in(claim(incarnation(1), Some(again(value(QUORUM_KEY, b"settling")))));
    watch.bench.pass(Duration::from_millis(500));
    judge(&mut watch);
    assert_eq!(watch.bench.member(1).marks().down, None, "it may hold quorum in two seconds");
    watch.bench.pass(Duration::from_millis(1500));
    judge(&mut watch);
    assert!(watch.bench.member(1).marks().down.is_some());
}

#[test]
fn without_a_majority_behind_us_no_member_is_found_deaf() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1000));
    watch.detection.backing = Backing::Unproven;
    ask_the_deaf(&mut watch, Duration::from_secs(3));
    assert!(!finds_unfit(&watch));
    watch.call(|detection, now, ctx| detection.ask_whether_it_hears(now, ctx, hash(1)));
    assert_eq!(ask_the_deaf(&mut watch, Duration::from_secs(1)), 0);
}

#[test]
fn many_silences_are_no_reason_for_doubt_with_a_majority_behind_us() {
    let mut watch = Watch::new(8);
    watch.detection.suspect_share = SuspectShare::Most;
    assert_eq!(watch.detection.doubtful_share(), SuspectShare::Most);
    watch.detection.backing = Backing::Proven;
    assert_eq!(watch.detection.doubtful_share(), SuspectShare::Few);
}

#[test]
fn a_member_is_found_deaf_whatever_other_silences_say_about_us() {
    let mut watch = lost_quorum();
    for _ in 0..20 {
        let now = watch.bench.now;
        watch.bench.core.health.probe_unanswered(now, 0.0);
    }
    assert!(watch.bench.core.health.impaired(watch.bench.now), "with half of the cluster deaf");
    ask_the_deaf(&mut watch, Duration::from_millis(1300));
    assert!(finds_unfit(&watch), "a majority answers us");
}

#[test]
fn those_that_lost_quorum_themselves_are_not_asked_to_ask() {
    let mut watch = Watch::new(12);
    let drawn = witnesses::of(&watch.bench.roster, hash(1), 5);
    let deaf = (2..12).find(|i| drawn.contains(&hash(*i))).unwrap();
    watch.bench.take_in(claim(incarnation(deaf), Some(value(QUORUM_KEY, b"lost"))));
    let asks = witnesses::that_hear(&watch.bench.roster, hash(1), 5);
    assert_eq!((asks.len(), asks.contains(&hash(deaf))), (5, false));
    assert_eq!(
        drawn.iter().filter(|hash| asks.contains(hash)).count(),
        4,
        "the next in the draw takes its place"
    );
    assert!(
        witnesses::of(&watch.bench.roster, hash(1), 5).contains(&hash(deaf)),
        "it is a witness all the same"
    );
}

#[test]
fn one_question_that_is_lost_costs_a_member_that_hears_again_half_of_its_answers() {
    let mut watch = lost_quorum();
    ask_the_deaf(&mut watch, Duration::from_millis(1300));
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 60)]);
    for _ in 0..2 {
        watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
        watch.bench.pass(Duration::from_millis(500));
    }
    let now = watch.bench.now;
    watch.bench.roster.set_status(now, hash(1), Status::Down);
    let (mut questions, mut answers) = (0, 0);
    for _ in 0..200 {
        if ask_the_deaf(&mut watch, STEP) > 0 {
            questions += 1;
            if questions != 7 {
                watch.detection.deaf.answered(hash(1));
                answers += 1;
            }
        }
    }
    assert_eq!(
        answers, 12,
        "it is believed after eight, and of those before the lost one four were for nothing"
    );
}

#[test]
fn a_verdict_of_bad_links_comes_when_the_notice_is_over_and_not_with_the_next_round() {
    let mut watch = lost_quorum();
    watch.accused(Evidence::Unfit, &[(2, 60), (3, 60)]);
    watch.call(|detection, now, ctx| detection.judge_link(now, ctx, hash(1)));
    assert_eq!(watch.detection.judge_at, watch.bench.now + Duration::from_secs(2));
    assert_eq!(watch.detection.take_to_judge(), [hash(1)]);
}

/// We lost quorum, and the others keep us out for so many beats more.
fn kept_out(beats: Heartbeat) -> Watch {
    let mut watch = Watch::new(4);
    watch.bench.core.beat_once(watch.bench.now, &mut watch.bench.roster);
    watch.bench.take_in(claim(incarnation(0), Some(value(QUORUM_KEY, b"lost"))));
    let until = watch.bench.member(0).heartbeat + beats;
    let unfit = |by| {
        let (kind, began) = (Evidence::Unfit, watch.bench.now);
        Accusation { by: hash(by), basis: until, kind, weak: false, began, source: None }
    };
    let marks = Marks { down: Some(until), accusations: vec![unfit(1), unfit(2)], ..Marks::default() };
    watch.call(|detection, now, ctx| detection.hear_verdict(now, ctx, &marks));
    watch
}

/// So many of our requests are answered, one each 100 ms. Returns by how much our heartbeat rises.
fn are_answered(watch: &mut Watch, requests: usize) -> Heartbeat {
    let before = watch.bench.member(0).heartbeat;
    for _ in 0..requests {
        watch.bench.pass(Duration::from_millis(100));
        let sent = watch.bench.now;
        let (subject, to, kind) = (Some(hash(1)), address(1), RequestKind::Lease);
        let request = Request { subject, to, sent, deadline: sent, kind };
        watch.call(|detection, now, ctx| detection.on_answer(now, ctx, &request));
    }
    watch.bench.member(0).heartbeat - before
}

#[test]
fn a_member_that_was_deaf_and_hears_again_jumps_over_the_few_beats_that_it_is_out() {
    let mut watch = kept_out(4);
    assert_eq!(are_answered(&mut watch, 7), 0);
    assert_eq!(are_answered(&mut watch, 1), 5 + RAISED_BY, "the eighth answer in a row");
    assert_eq!(watch.detection.outside(&watch.bench.roster), None);
}

#[test]
fn an_answer_that_does_not_come_begins_the_row_anew() {
    let mut watch = kept_out(4);
    are_answered(&mut watch, 7);
    watch.detection.footing.unanswered(watch.bench.now);
    assert_eq!(are_answered(&mut watch, 7), 0);
}

#[test]
fn what_was_asked_before_we_learnt_that_we_are_out_says_nothing_about_now() {
    let mut watch = kept_out(4);
    are_answered(&mut watch, 7);
    watch.detection.footing.unanswered(Instant::EPOCH);
    assert_eq!(are_answered(&mut watch, 1), 5 + RAISED_BY);
}

#[test]
fn a_member_that_is_out_for_longer_waits_until_its_heartbeat_is_there() {
    let mut watch = kept_out(40);
    assert_eq!(are_answered(&mut watch, 30), 0);
}

#[test]
fn a_member_that_is_out_as_deaf_asks_those_that_put_it_out() {
    let mut watch = kept_out(4);
    let mut asked = BTreeSet::new();
    for _ in 0..5 {
        watch.call(|detection, now, ctx| detection.step_deaf(now, ctx));
        asked.extend(watch.bench.sent().iter().map(|sent| sent.to));
        watch.bench.pass(Duration::from_millis(125));
    }
    assert_eq!(asked, BTreeSet::from([1, 2].map(address)));
}

#[test]
fn a_notice_is_over_when_our_heartbeat_is_beyond_it() {
    let mut watch = Watch::new(4);
    let until = watch.bench.member(0).heartbeat + 4;
    let began = watch.bench.now;
    let unfit = |by| Accusation {
        by: hash(by),
        basis: until,
        kind: Evidence::Unfit,
        weak: false,
        began,
        source: None,
    };
    let marks = Marks { accusations: vec![unfit(1), unfit(2)], ..Marks::default() };
    watch.call(|detection, now, ctx| detection.hear_notice(now, ctx, &marks));
    assert!(watch.detection.footing.is_on_notice());
    look(&mut watch);
    assert!(watch.detection.footing.is_on_notice());
    watch.bench.roster.get_mut(hash(0)).unwrap().heartbeat = until + 1;
    look(&mut watch);
    assert!(!watch.detection.footing.is_on_notice());
}

#[test]
fn a_member_that_leaves_a_question_of_quorum_unanswered_is_called_at_once() {
    let mut watch = Watch::new(8);
    let missing = |watch: &mut Watch| {
        watch.call(|detection, now, ctx| detection.on_missing_proof(now, ctx, hash(1)));
        watch.bench.sent().iter().filter(|sent| sent.to == address(1)).count()
    };
    assert_eq!(missing(&mut watch), 1);
    assert!(watch.detection.probes.is_empty(), "one lost question is no case");
    watch.bench.pass(SLOT);
    watch.give_up_questions();
    assert!(watch.detection.probes.contains_key(&hash(1)), "two are");
    watch.bench.sent();
    assert_eq!(missing(&mut watch), 0, "it is being asked");
}

#[test]
fn where_much_is_lost_a_missing_proof_causes_no_call() {
    let mut watch = Watch::new(8);
    (0..20).for_each(|_| watch.bench.core.loss.unanswered());
    watch.call(|detection, now, ctx| detection.on_missing_proof(now, ctx, hash(1)));
    assert!(watch.bench.sent().is_empty());
}

#[test]
fn a_member_that_still_sends_to_us_has_one_interval_more_to_refute() {
    let proven_after = |speaks: bool| {
        let mut watch = Watch::new(8).near();
        weather(&mut watch, 50, 0, 1);
        watch.exchange_in_vain(1);
        let began = watch.detection.probes[&hash(1)].began;
        watch.bench.pass(Duration::from_millis(200));
        if speaks {
            watch.bench.roster.get_mut(hash(1)).unwrap().path.heard(watch.bench.now);
        }
        while watch.detection.probes[&hash(1)].raised != Some(Evidence::Proven) {
            watch.probe_in_vain(STEP);
        }
        watch.bench.now.since(began).as_millis() / 100
    };
    assert_eq!((proven_after(false), proven_after(true)), (20, 30));
}

#[test]
fn among_few_members_one_suspect_calls_the_roll_and_among_many_the_second_does() {
    let asked = |members: usize, suspects: usize| {
        let mut watch = Watch::new(members);
        for i in 1..=suspects {
            let now = watch.bench.now;
            watch.bench.roster.set_status(now, hash(i), Status::Suspect);
            watch.call(|detection, now, ctx| detection.begin_extra_probes(now, ctx));
        }
        for _ in 0..20 {
            watch.call(|detection, now, ctx| detection.step_extra_probes(now, ctx));
            watch.bench.pass(STEP);
        }
        watch.bench.sent().len()
    };
    assert_eq!((asked(8, 1), asked(9, 1), asked(9, 2), asked(30, 2)), (3, 0, 6, 3));
}

#[test]
fn a_member_that_returns_calls_the_roll() {
    let mut watch = Watch::new(30);
    watch.call(|detection, now, ctx| {
        detection.on_status(now, ctx, hash(1), (Status::Down, Instant::EPOCH), Status::Alive);
        detection.step_extra_probes(now, ctx);
    });
    assert_eq!(watch.bench.sent().len(), 1);
}

#[test]
fn while_many_are_silent_the_roll_is_called_twice_as_fast() {
    let asked = |members: usize| {
        let mut watch = Watch::new(members);
        for i in 1..=2 {
            let now = watch.bench.now;
            watch.bench.roster.set_status(now, hash(i), Status::Suspect);
        }
        watch.call(|detection, now, ctx| detection.begin_extra_probes(now, ctx));
        let until = watch.bench.now + Duration::from_millis(950);
        while watch.bench.now < until {
            watch.call(|detection, now, ctx| detection.step_extra_probes(now, ctx));
            watch.bench.pass(Duration::from_millis(25));
        }
        watch.bench.sent().len()
    };
    assert_eq!((asked(40), asked(12)), (3, 6));
}
