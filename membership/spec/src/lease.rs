//! Proofs, loans, quorum, verdicts and notices of a few members, one tick at a time (docs/quorum-proofs.md, section 1).
//!
//! In each tick each member asks each other one, and whoever is in two-way contact answers. So proofs are as young, and
//! quorum is held for as long, as any way of asking allows; a lost answer is a tick in which the two are not in contact.
//! Against that, silence is as long as any way of asking allows: it may have begun [`Rules::lull`] before the links died.
//!
//! Clocks are as bad as they may be, too: those that keep a lease are slow, those that wait for a verdict are fast.

use crate::links::{Effect, bit};

/// The rules, in ticks. Those of the protocol are [`Rules::of`]; a field that is changed breaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules<const N: usize> {
    /// The votes of each member, and how many are a majority.
    pub votes: [u8; N],
    /// See `votes`.
    pub needed: u8,
    /// How long a proof is good, by its owner's clock.
    pub lease: u8,
    /// By how much the clock of an owner may be slow in that time.
    pub slow: u8,
    /// How long there must have been a good proof before quorum is held.
    pub settle: u8,
    /// How long a silence, or a notice, lasts before the verdict, by the clock of the member that gives it.
    pub patience: u8,
    /// By how much that clock may be fast in that time.
    pub fast: u8,
    /// For how long contacts may be lost on paths that are alive (assumption A3).
    pub lull: u8,
    /// An answer proves contact to the member that asked. Broken: whatever one hears proves contact.
    pub bound: bool,
    /// A proof that is lent stays as old as it is. Broken: it is as young as the question.
    pub aged: bool,
    /// Only a holder of quorum acts on a verdict. Broken: anyone does.
    pub holds: bool,
    /// Members that were told of a notice acknowledge its subject no more. Broken: they do.
    pub silent: bool,
    /// A member that is told that it is out holds quorum no more. Broken: it goes on.
    pub heeds: bool,
}

impl<const N: usize> Rules<N> {
    /// Those of the protocol, one vote each: a tick is about half a second, a lease three of them, the acceptable pause as
    /// short as the theorem allows.
    #[must_use]
    pub fn of() -> Self {
        let (lease, slow, fast, lull) = (3, 1, 1, 1);
        let needed = u8::try_from(N / 2 + 1).unwrap_or(u8::MAX);
        let patience = lease + slow + lull + fast;
        Self {
            votes: [1; N],
            needed,
            lease,
            slow,
            settle: lease,
            patience,
            fast,
            lull,
            bound: true,
            aged: true,
            holds: true,
            silent: true,
            heeds: true,
        }
    }

    /// The same with shorter times and exact clocks, for what has many states.
    #[must_use]
    pub fn short() -> Self {
        Self { lease: 2, slow: 0, settle: 2, patience: 3, fast: 0, lull: 1, ..Self::of() }
    }

    /// The same with other votes.
    #[must_use]
    pub fn with_votes(self, votes: [u8; N]) -> Self {
        Self { votes, needed: votes.iter().sum::<u8>() / 2 + 1, ..self }
    }

    /// Until when a proof is good, by a slow clock.
    #[must_use]
    pub fn good(&self) -> u8 {
        self.lease + self.slow
    }

    /// Ages from here on make no difference any more.
    fn old(&self) -> u8 {
        (self.patience + self.lull).max(self.good()) + 1
    }
}

/// What a member knows of quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Age of its best proof, own or borrowed.
    pub proof: u8,
    /// For how many ticks there has been a good one.
    pub proven: u8,
    /// It says that it holds quorum.
    pub held: bool,
}

/// A member that its witnesses find unfit runs: all are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notice {
    /// The member that is to be put out.
    pub subject: u8,
    /// How long ago the first gave notice.
    pub age: u8,
    /// Who has been told, as bits.
    pub told: u8,
}

/// All that matters of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State<const N: usize> {
    /// By asking and asked member: age of the newest question that was answered.
    pub answered: [[u8; N]; N],
    /// By member and subject: age of the newest that is known of the subject.
    pub news: [[u8; N]; N],
    /// Quorum.
    pub members: [Member; N],
    /// At most one.
    pub notice: Option<Notice>,
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One acts on the verdict that the other is silent, and the other holds quorum.
    CallsDown(usize, usize),
    /// One has put the other out, and both hold quorum.
    PutOut(usize, usize),
    /// Both hold quorum, on two sides of a cut that has lasted.
    TwoQuorums(usize, usize),
}

impl<const N: usize> State<N> {
    /// All in contact, with this much of quorum.
    #[must_use]
    pub fn whole(members: [Member; N]) -> Self {
        Self { answered: [[0; N]; N], news: [[0; N]; N], members, notice: None }
    }

    /// All in contact, and all hold quorum.
    #[must_use]
    pub fn calm(rules: &Rules<N>) -> Self {
        Self::whole([Member { proof: 0, proven: rules.settle + 1, held: true }; N])
    }

    /// `witness` gives notice about `subject`.
    #[must_use]
    pub fn noticed(self, witness: usize, subject: usize) -> Self {
        let subject = u8::try_from(subject).unwrap_or(u8::MAX);
        Self { notice: Some(Notice { subject, age: 0, told: 1 << witness }), ..self }
    }

    /// One tick with these links.
    #[must_use]
    pub fn step(&self, rules: &Rules<N>, links: &Effect<N>) -> Self {
        let old = rules.old();
        let older = |age: u8| (age + 1).min(old);
        let (mut next, mut own) = (*self, [old; N]);
        for (asks, own) in own.iter_mut().enumerate() {
            for asked in (0..N).filter(|asked| *asked != asks) {
                let hears = bit(links.reaches[asked], asks);
                let answers = if rules.bound { bit(links.two_way[asks], asked) } else { hears };
                let counts = answers && !(rules.silent && self.has_notice(asked, asks));
                next.answered[asks][asked] = if counts { 0 } else { older(self.answered[asks][asked]) };
                next.news[asks][asked] = if hears { 0 } else { older(self.news[asks][asked]) };
            }
            *own = next.majority_as_of(rules, asks);
        }
        let proofs = next.lent(rules, own.map(|age| age.min(old)), self.members.map(|m| older(m.proof)));
        for (at, member) in next.members.iter_mut().enumerate() {
            *member = self.members[at].observe(rules, proofs[at], rules.heeds && self.has_notice(at, at));
        }
        if let Some(notice) = &mut next.notice {
            let told = (0..N).filter(|member| bit(notice.told, *member));
            notice.told = told.fold(notice.told, |told, member| told | links.reaches[member]);
            notice.age = older(notice.age);
        }
        next
    }

    /// Whether `member` has been told of a notice about `subject`.
    fn has_notice(&self, member: usize, subject: usize) -> bool {
        self.notice.is_some_and(|n| usize::from(n.subject) == subject && bit(n.told, member))
    }

    /// Whether some other member that holds quorum has not been told of the notice.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        self.notice.is_some_and(|n| {
            let others = (0..N).filter(|member| *member != usize::from(n.subject));
            others.filter(|member| self.members[*member].held).any(|member| !bit(n.told, member))
        })
    }

    /// As of when the answers to `asks` prove a majority; its own vote counts as of now.
    fn majority_as_of(&self, rules: &Rules<N>, asks: usize) -> u8 {
        let votes_by = |age: u8| {
            let answered = |e: &usize| *e == asks || self.answered[asks][*e] <= age;
            (0..N).filter(answered).map(|e| rules.votes[e]).sum::<u8>()
        };
        (0..=rules.old()).find(|age| votes_by(*age) >= rules.needed).unwrap_or(u8::MAX)
    }

    /// The best proof of each: its own, the one that it had, and what the members that have just answered it have, for
    /// these may have borrowed it in the same tick.
    fn lent(&self, rules: &Rules<N>, own: [u8; N], had: [u8; N]) -> [u8; N] {
        let mut proofs = own;
        for (proof, had) in proofs.iter_mut().zip(had) {
            *proof = (*proof).min(had);
        }
        for _ in 1..N {
            for asks in 0..N {
                for lender in (0..N).filter(|l| *l != asks && self.answered[asks][*l] == 0) {
                    let lent = proofs[lender];
                    let lent = if rules.aged || lent >= rules.good() { lent } else { 0 };
                    proofs[asks] = proofs[asks].min(lent);
                }
            }
        }
        proofs
    }

    /// What is wrong with this moment. `sides`: those of a cut that has lasted for as long as a proof is good.
    #[must_use]
    pub fn fault(&self, rules: &Rules<N>, sides: Option<&[u8; N]>) -> Option<Fault> {
        let held = |member: usize| self.members[member].held;
        let pairs = (0..N).flat_map(|a| (0..N).map(move |b| (a, b))).filter(|(a, b)| a != b && held(*b));
        for (judge, judged) in pairs {
            let may_act = held(judge) || !rules.holds;
            let silence = self.news[judge][judged];
            let verdict = rules.patience - rules.fast;
            if may_act && silence > 0 && silence + rules.lull >= verdict {
                return Some(Fault::CallsDown(judge, judged));
            }
            let due = self.notice.is_some_and(|notice| notice.age >= verdict);
            if held(judge) && due && self.has_notice(judge, judged) {
                return Some(Fault::PutOut(judge, judged));
            }
            if held(judge) && sides.is_some_and(|sides| !bit(sides[judge], judged)) {
                return Some(Fault::TwoQuorums(judge, judged));
            }
        }
        None
    }

    /// The same with the members renamed: `to[a]` is the new number of `a`.
    #[must_use]
    pub fn renamed(&self, to: &[usize; N]) -> Self {
        let mut next = *self;
        for a in 0..N {
            next.members[to[a]] = self.members[a];
            for b in 0..N {
                next.answered[to[a]][to[b]] = self.answered[a][b];
                next.news[to[a]][to[b]] = self.news[a][b];
            }
        }
        next
    }
}

impl Member {
    /// The best proof is now `proof` old. `out`: it was told that it does not count.
    fn observe<const N: usize>(self, rules: &Rules<N>, proof: u8, out: bool) -> Self {
        if proof >= rules.good() || out {
            return Self { proof, proven: 0, held: false };
        }
        let proven = (self.proven + 1).min(rules.settle + 1);
        Self { proof, proven, held: self.held || proven > rules.settle }
    }
}
