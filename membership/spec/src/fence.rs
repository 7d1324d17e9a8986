//! When the lease of a member has certainly run out (docs/quorum-proofs.md, section 3), one tick at a time.
//!
//! One subject, one observer, and other electors, which are alike. There are no loans, so nothing else matters: which
//! electors acknowledge the subject, which of these answers arrive, and which electors the observer asks. All of that
//! changes in each tick as an adversary likes; no assumption is made about cuts. Electors restart, and speak of their new
//! life only. The clocks are those that the rules allow for: a silence must be longer than a lease by as much as two
//! clocks may differ, which is part of [`Rules::silence`].

use crate::cuts::{Explored, Seen};

/// The rules, in ticks. Those of the protocol are [`Rules::default`]; a field that is changed breaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Votes, one of each elector, that are a majority. There are `others` + 2 electors.
    pub needed: u8,
    /// Until when a proof is good, by a slow clock.
    pub lease: u8,
    /// How long there must have been a good proof before quorum is held.
    pub settle: u8,
    /// How long a majority must have acknowledged nothing: longer than a lease.
    pub silence: u8,
    /// The end of that time must be younger than this.
    pub fresh: u8,
    /// An elector that restarts speaks of no time before. Broken: it says that it never acknowledged the subject.
    pub floor: bool,
    /// Proofs are not lent. Broken: the subject borrows one from the first of the others whenever that answers.
    pub own: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { needed: 3, lease: 2, settle: 2, silence: 3, fresh: 2, floor: true, own: true }
    }
}

/// What is known at, and of, one elector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Elector {
    /// Since when it has acknowledged nothing, as it would say.
    acknowledged: u8,
    /// Age of the newest question of the subject to which an answer came.
    answered: u8,
    /// Ages of the beginning and the end of the span that it told the observer of.
    span: Option<(u8, u8)>,
}

/// All that matters of one moment. The first elector is the observer; `O` electors are neither observer nor subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State<const O: usize> {
    observer: Elector,
    others: [Elector; O],
    proven: u8,
    held: bool,
}

/// What the subject and an elector do in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    None,
    /// The elector acknowledges, and the answer is lost.
    Lost,
    /// The elector acknowledges, and the answer arrives.
    Answered,
    /// The elector restarts.
    Restart,
}

/// Everything that `O` other electors and the observer can do. Without `all`, electors neither acknowledge by answers that
/// are lost nor restart, as far as that only makes silences shorter: what then goes wrong goes wrong without it too.
///
/// # Errors
/// The first moment at which the subject is fenced and holds quorum, in words.
pub fn explore<const O: usize>(rules: &Rules, all: bool) -> Result<Explored, String> {
    let fresh = Elector { acknowledged: 0, answered: 0, span: None };
    let start = State { observer: fresh, others: [fresh; O], proven: rules.settle + 1, held: true };
    let (mut seen, mut open) = (Seen::from_iter([start]), vec![start]);
    let mut explored = Explored::default();
    let choices = choices::<O>(all, all || !rules.floor);
    while let Some(state) = open.pop() {
        explored.states += 1;
        for (observer, others) in &choices {
            // Electors of which the same is known are alike: of two orders of what they do, one is enough.
            let alike = |at: usize| at > 0 && state.others[at] == state.others[at - 1];
            if (1..O).any(|at| {
                alike(at) && (others[at].0 as u8, others[at].1) < (others[at - 1].0 as u8, others[at - 1].1)
            }) {
                continue;
            }
            let then = state.step(rules, *observer, others);
            explored.steps += 1;
            if then.held && then.is_fenced(rules) {
                return Err(format!(
                    "fenced, and holds quorum: {then:?} after {observer:?} {others:?} in {state:?}"
                ));
            }
            if seen.insert(then) {
                open.push(then);
            }
        }
    }
    Ok(explored)
}

/// What the observer, and each other elector, may do: with the subject, and whether the observer hears of it.
fn choices<const O: usize>(lost: bool, restart: bool) -> Vec<(Contact, [(Contact, bool); O])> {
    let contacts = [Contact::None, Contact::Answered].into_iter().chain(lost.then_some(Contact::Lost));
    let both = contacts.clone().flat_map(|contact| [(contact, false), (contact, true)]);
    let each: Vec<(Contact, bool)> = both.chain(restart.then_some((Contact::Restart, false))).collect();
    let mut all = vec![[(Contact::None, false); O]];
    for at in 0..O {
        all = all
            .iter()
            .flat_map(|so_far| {
                each.iter().map(move |choice| {
                    let mut next = *so_far;
                    next[at] = *choice;
                    next
                })
            })
            .collect();
    }
    contacts.flat_map(|observer| all.iter().map(move |others| (observer, *others))).collect()
}

impl<const O: usize> State<O> {
    fn step(&self, rules: &Rules, observer: Contact, others: &[(Contact, bool); O]) -> Self {
        let mut next = *self;
        // The observer knows its own silence at any time.
        next.observer = self.observer.step(rules, observer, true);
        for (elector, (contact, asked)) in next.others.iter_mut().zip(others) {
            *elector = elector.step(rules, *contact, *asked);
        }
        let mut proof = next.majority_as_of(rules);
        if !rules.own && others.first().is_some_and(|(contact, _)| *contact == Contact::Answered) {
            proof = 0;
        }
        let good = proof < rules.lease;
        next.proven = if good { (self.proven + 1).min(rules.settle + 1) } else { 0 };
        next.held = good && (self.held || next.proven > rules.settle);
        next.others.sort_unstable();
        next
    }

    fn electors(&self) -> impl Iterator<Item = &Elector> {
        core::iter::once(&self.observer).chain(&self.others)
    }

    /// As of when the subject can prove a majority; its own vote counts as of now.
    fn majority_as_of(&self, rules: &Rules) -> u8 {
        let votes = |age: u8| 1 + self.electors().filter(|e| e.answered <= age).count();
        (0..rules.lease).find(|age| votes(*age) >= usize::from(rules.needed)).unwrap_or(rules.lease)
    }

    /// Whether electors with a majority of the votes, the subject not among them, have a common span that is long enough
    /// and not over for too long.
    fn is_fenced(&self, rules: &Rules) -> bool {
        let spans = || self.electors().filter_map(|e| e.span);
        spans().any(|(_, end)| {
            let covers = |(from, to): &(u8, u8)| *to <= end && *from >= end + rules.silence;
            end < rules.fresh && spans().filter(covers).count() >= usize::from(rules.needed)
        })
    }
}

impl Elector {
    fn step(self, rules: &Rules, contact: Contact, asked: bool) -> Self {
        let old = rules.lease.max(rules.silence) + rules.fresh + 1;
        let older = |age: u8| (age + 1).min(old);
        let mut next = Self {
            acknowledged: older(self.acknowledged),
            answered: older(self.answered),
            span: self.span.map(|(from, to)| (older(from), older(to))).filter(|(_, to)| *to < rules.fresh),
        };
        // The observer hears of the time before what the elector does in this tick: that is the longer silence. So what was
        // acknowledged in the tick of the last question came after it, and parts the two spans.
        if asked {
            let from = match next.span {
                Some((from, to)) if next.acknowledged > to => from.max(next.acknowledged),
                _ => next.acknowledged,
            };
            next.span = Some((from, 0));
        }
        match contact {
            Contact::None => {}
            Contact::Lost => next.acknowledged = 0,
            Contact::Answered => (next.acknowledged, next.answered) = (0, 0),
            Contact::Restart => next.acknowledged = if rules.floor { 0 } else { old },
        }
        next
    }
}
