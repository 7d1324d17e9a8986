//! Connects the quorum service to the node: hands it what it needs and carries out its effects.

use core::time::Duration;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::detection::Detection;
use crate::detection::verdict::SuspectShare;
use crate::identity::Name;
use crate::io::{Event, MemberEventKind};
use crate::node::Node;
use crate::quorum::otherwise::Stated;
use crate::quorum::{Context, Effect, Question, Quorum, QuorumService, QuorumStatus};
use crate::roster::state::{QUORUM_HEARING, QUORUM_KEY, QUORUM_LOST, QUORUM_SETTLING};
use crate::transport::requests::RequestKind;
use crate::transport::sending::PingExtras;

impl Node {
    /// Whether our side has the majority. Exact at `now`: a proof that has run out since the last call no longer
    /// counts.
    #[must_use]
    pub fn quorum(&self, now: Instant) -> QuorumStatus {
        self.quorum.status(&self.quorum_context(now))
    }

    /// Whether our side has the majority, and until when our proof is good; `None`: there is none. The same as
    /// [`quorum`](Self::quorum) says, at far less cost.
    #[must_use]
    pub fn quorum_until(&self, now: Instant) -> (Quorum, Option<Instant>) {
        let majority = self.quorum.majority(now);
        (majority.quorum(), majority.until())
    }

    /// Whether the electors' answers so far prove, at `now`, that the lease of `name` has run out. Can be asked of any
    /// suspect or down member; a fence event needs the verdict too.
    #[must_use]
    pub fn lease_ran_out(&self, now: Instant, name: &Name) -> bool {
        self.quorum.lease_ran_out(&self.quorum_context(now), name)
    }

    /// Present members that were configured with another electorate than ours, by name.
    #[must_use]
    pub fn told_otherwise(&self, now: Instant) -> Vec<(Name, Stated)> {
        self.quorum.told_otherwise(&self.quorum_context(now), self.detection.footing.is_taken_in())
    }

    /// A member came or went: count again soon, once for many changes at a time.
    pub(crate) fn recount(&mut self, now: Instant) {
        let pause = if self.gossip.broadcast.is_saturated() { IN_A_FLOOD } else { self.core.config.coalesce };
        self.quorum.recount_at = self.quorum.recount_at.min(now + pause);
    }

    /// Counts the present members, for the quorum and for the doubt about ourselves.
    pub(crate) fn count_presence(&mut self, now: Instant) {
        let census = self.roster.census();
        let others = (census.alive + census.suspect).saturating_sub(1);
        let share = SuspectShare::of(self.detection.silent_members(&self.roster), others);
        let was = core::mem::replace(&mut self.detection.suspect_share, share);
        if (was == SuspectShare::Most) != (share == SuspectShare::Most) {
            self.emit(Event::Isolated(share == SuspectShare::Most));
        }
        self.with_quorum(now, QuorumService::count);
        let accused = self.detection.accused(&self.roster);
        self.each(now, accused, Detection::probe_as_witness);
    }

    /// Counts the proofs again.
    pub(crate) fn judge_quorum(&mut self, now: Instant) {
        self.with_quorum(now, QuorumService::judge);
    }

    /// Asks the electors whose vote is due for renewal.
    pub(crate) fn renew_lease(&mut self, now: Instant) {
        self.with_quorum(now, QuorumService::renew);
    }

    /// An answer to one of our requests may carry its sender's vote.
    pub(crate) fn hear_answer(&mut self, now: Instant, sender: u64, packet: &gossip::Packet) {
        let answers = match &packet.body {
            Some(Body::Pong(_)) => true,
            Some(Body::Exchange(exchange)) => exchange.step == 2,
            _ => false,
        };
        let request =
            self.transport.requests.get(packet.seq).filter(|r| answers && r.subject == Some(sender));
        if let Some(request) = request.copied() {
            self.with_quorum(now, |quorum, context| quorum.hear_answer(context, sender, &request, packet));
        }
    }

    fn counts(&self, member: u64) -> bool {
        self.roster.get(member).is_some_and(|member| self.detection.counts(member))
    }

    /// Our vote for `asker`. Sending it acknowledges the asker as a member.
    pub(crate) fn acknowledge(&mut self, now: Instant, asker: Option<u64>) -> Option<gossip::Lease> {
        let counts = asker.is_some_and(|asker| self.counts(asker));
        self.with_quorum(now, |quorum, context| quorum.acknowledge(context, asker, counts))
    }

    /// Whether a down member has just become fenced.
    pub(crate) fn newly_fenced(&mut self, now: Instant, subject: u64) -> bool {
        self.with_quorum(now, |quorum, context| quorum.newly_fenced(context, subject))
    }

    /// Calls the service and carries out its effects.
    pub(crate) fn with_quorum<R>(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut QuorumService, &Context<'_>) -> R,
    ) -> R {
        let (told_out, outside) = self.told_out();
        let Self { core, roster, gossip, quorum, .. } = self;
        let leaving = gossip.leave.is_some();
        let result = call(quorum, &Context { now, core, roster, leaving, told_out, outside });
        for effect in self.quorum.take_effects() {
            self.carry_out_for_quorum(now, effect);
        }
        result
    }

    fn carry_out_for_quorum(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Ask(question) => self.ask(now, question),
            Effect::Tell { relay, tally } => {
                if let Some(to) = self.roster.get(relay).map(|member| member.incarnation.address()) {
                    let mut ctx = self.context();
                    let packet = ctx.packet(0, Some(Body::Tally(tally)));
                    ctx.send(to, &packet);
                }
            }
            Effect::Changed(status) => {
                let lost = status.quorum == Quorum::Lost;
                if lost {
                    self.show_all_returns();
                }
                self.emit(Event::Quorum(status));
                self.say_in_record(now, lost.then_some(QUORUM_LOST));
            }
            Effect::Proven(proven) => {
                self.say_in_record(now, Some(if proven { QUORUM_SETTLING } else { QUORUM_LOST }));
            }
            Effect::Fenced(subject) => {
                self.report_verdict(subject, MemberEventKind::Fenced, &[], FENCED);
            }
        }
    }

    /// A node that lost quorum a moment ago says so again, once per round: it may be deaf, so that it cannot know whether
    /// the news has arrived, and the others need it soon.
    pub(crate) fn repeat_lost_quorum(&mut self, now: Instant) {
        let majority = self.quorum.majority(now);
        if majority.quorum() == Quorum::Lost
            && now.since(majority.since()) < self.core.config.acceptable_pause * 2
        {
            self.gossip.broadcast.news(now, self.core.me, true);
        }
    }

    /// A node that lost quorum says, once per round, whether it hears of a majority all the same. Where most links are cut,
    /// their news comes through others, and it is not deaf. One that is out does not say so, and is asked: as long as it
    /// answers little, it stays out.
    pub(crate) fn say_whether_we_hear(&mut self, now: Instant) {
        let myself = self.roster.myself();
        if !myself.says_lost() {
            return;
        }
        let said = !myself.may_be_deaf();
        let hears = self.quorum.hears_of_a_majority(&self.quorum_context(now));
        if hears != said {
            self.say_in_record(now, Some(if hears { QUORUM_HEARING } else { QUORUM_LOST }));
        }
    }

    /// If the record has no room for one more key, it stays as it is: the operator's keys come first.
    fn say_in_record(&mut self, now: Instant, quorum: Option<&[u8]>) {
        let _ = self.set_state(now, &[(QUORUM_KEY.to_owned(), quorum.map(<[u8]>::to_vec))]);
    }

    /// Asks a member whether it hears us. In a wave our vote and proof go with the question.
    fn ask(&mut self, now: Instant, question: Question) {
        let Question { to: member, wave } = question;
        let Some(to) = self.roster.get(member).map(|member| member.incarnation.address()) else { return };
        let about = self.quorum.ask_about(&mut self.core.rng);
        let Some((rank, lead)) = wave else {
            let extras = PingExtras { about, ..PingExtras::default() };
            self.context().ping_with(now, member, to, RequestKind::Lease, extras);
            return;
        };
        let heard = self.quorum.voting.lease.last_heard(member);
        let ago = |at| u32::try_from(now.since(at).as_millis()).map_or(0, |ms| ms.saturating_add(1));
        let lease = self.acknowledge(now, Some(member)).map(|lease| gossip::Lease {
            wave: rank.saturating_add(1),
            answered_ms: heard.map_or(0, |(_, at)| ago(at)),
            ..lease
        });
        let answered = heard.map(|(number, _)| number);
        let extras = PingExtras { about, lease, lead, answered, ..PingExtras::default() };
        self.context().ping_with(now, member, to, RequestKind::Wave, extras);
    }

    /// The ping of a wave has come from `sender`, and is answered.
    pub(crate) fn hear_wave(
        &mut self,
        now: Instant,
        sender: u64,
        number: u32,
        said: &gossip::Lease,
        lead: Option<gossip::Lead>,
    ) {
        // Neither a proof nor the right to have a wave passed on comes from a member that does not count.
        if self.counts(sender) {
            self.with_quorum(now, |quorum, context| quorum.hear_wave(context, sender, number, said, lead));
        }
    }

    pub(crate) fn hear_tally(&mut self, now: Instant, sender: Option<u64>, tally: gossip::Tally) {
        if let Some(sender) = sender.filter(|sender| self.counts(*sender)) {
            self.with_quorum(now, |quorum, context| quorum.hear_tally(context, sender, tally));
        }
    }

    fn quorum_context(&self, now: Instant) -> Context<'_> {
        let (told_out, outside) = self.told_out();
        let leaving = self.gossip.leave.is_some();
        Context { now, core: &self.core, roster: &self.roster, leaving, told_out, outside }
    }

    /// Whether a peer has told us that we do not count, and why, in words.
    fn told_out(&self) -> (bool, Option<String>) {
        let told_out = self.detection.footing.is_told_out();
        let notice = || self.detection.footing.is_on_notice().then(|| ON_NOTICE.to_owned());
        let outside = self.outside().filter(|_| told_out).map(|outside| outside.to_string());
        (told_out, outside.or_else(notice))
    }
}

/// Why a member is fenced.
pub(super) const FENCED: &str = "a majority has acknowledged nothing of it for longer than its lease";
const ON_NOTICE: &str = "its witnesses find this member unfit, and the others count it no more";

/// Delay from a change to the count while hundreds of changes arrive: with an electorate, each count looks up all its
/// electors.
const IN_A_FLOOD: Duration = Duration::from_millis(200);
