//! Joints: members over which news has to pass. We hear them, and others that we hear do not.
//!
//! Picture: a narrow bridge between two quarters of a town. A neighbour of it carries letters across at once, and does
//! not wait until chance sends her over.
//!
//! Rule: a member that answers us is a joint when two other members, which we hear too, do not hear it. All our news goes to
//! our joints too, in both waves, and several times a second we exchange with one of them. What has gone round before goes
//! with the first exchange. A joint is one for five seconds after the last sign of that, and for as long as paths of our own
//! are dead; and no longer when it leaves a few questions unanswered. Of several joints those count that at least half as
//! many others do not hear as the first: at the end of a dumbbell the far end, and not each neighbour that the far end does
//! not hear.
//!
//! Without it, where one link alone joins two groups, chance brings news across: of 32 members each piece of it goes to seven
//! of 31. An accusation did not reach the accused, or its answer did not come back, within the acceptable pause, and both
//! ends called members of the other down, with quorum (`heartsay-sim run cut-dumbbell`).
//!
//! Weak spot: where more than a tenth of all contacts stays unanswered there are no joints, because a missing answer says
//! little there.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::Instant;

/// The members that may be joints.
#[derive(Debug, Default)]
pub struct Joints {
    records: BTreeMap<u64, Joint>,
}

/// What we know of one incarnation of a member that others do not hear.
#[derive(Clone, Copy, Debug)]
struct Joint {
    tag: u64,
    /// When we last learned that others do not hear it.
    apart: Instant,
    /// When we last asked it because of that.
    asked: Instant,
    /// Our questions that it has answered in a row, and that it has not.
    answers: u32,
    misses: u32,
    /// Members that do not hear it.
    others: [Option<Other>; OTHERS],
    /// Whether it is known as a joint.
    known: bool,
}

/// A member that does not hear a joint.
#[derive(Clone, Copy, Debug)]
struct Other {
    hash: u64,
    /// Whether we have asked it, and whether we know that it hears us.
    asked: bool,
    heard: bool,
}

/// What is to be done about a member that may be a joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Ask this member: the joint itself, or one that does not hear it.
    Ask(u64),
    /// It is a joint, as we now know.
    Found,
}

impl Joint {
    fn new(now: Instant, tag: u64) -> Self {
        let (answers, misses, known) = (0, 0, false);
        Self { tag, apart: now, asked: Instant::EPOCH, answers, misses, others: [None; OTHERS], known }
    }

    fn stands(&self, now: Instant) -> bool {
        self.known && now.since(self.apart) < LASTS
    }

    /// How many members are apart from it and not from us.
    fn joins(&self) -> usize {
        self.others.iter().flatten().filter(|other| other.heard).count()
    }

    fn judge(&mut self, now: Instant, subject: u64) -> Step {
        if self.stands(now) || now.since(self.apart) >= LASTS {
            Step::Wait
        } else if self.answers < ANSWERS {
            Step::Ask(subject)
        } else if self.joins() >= PARTED {
            self.known = true;
            Step::Found
        } else if let Some(other) = self.others.iter_mut().flatten().find(|other| !other.asked) {
            other.asked = true;
            Step::Ask(other.hash)
        } else {
            Step::Wait
        }
    }
}

impl Joints {
    /// The member `other` does not hear the life `tag` of `subject`. `heard`: we know that we hear `other`, or `subject` does.
    pub fn apart(&mut self, now: Instant, (subject, tag): (u64, u64), other: u64, heard: bool) -> Step {
        if self.records.len() >= MOST && !self.records.contains_key(&subject) {
            return Step::Wait;
        }
        let joint = self.records.entry(subject).or_insert_with(|| Joint::new(now, tag));
        if joint.tag != tag {
            *joint = Joint::new(now, tag);
        }
        joint.apart = now;
        let known = joint.others.iter().position(|known| known.is_none_or(|known| known.hash == other));
        if let Some(place) = known.and_then(|place| joint.others.get_mut(place)) {
            let place = place.get_or_insert(Other { hash: other, asked: heard, heard });
            place.heard |= heard;
        }
        let step = joint.judge(now, subject);
        if step == Step::Ask(subject) {
            if now.since(joint.asked) < ASK_AGAIN {
                return Step::Wait;
            }
            joint.asked = now;
        }
        step
    }

    /// A member has answered a question of ours. What follows for those that may be joints.
    pub fn answered(&mut self, now: Instant, member: u64) -> Vec<(u64, Step)> {
        let mut steps = Vec::new();
        for (subject, joint) in &mut self.records {
            let mut concerns = *subject == member;
            if concerns {
                (joint.answers, joint.misses) = ((joint.answers + 1).min(ANSWERS), 0);
            }
            for other in
                joint.others.iter_mut().flatten().filter(|other| other.hash == member && !other.heard)
            {
                (other.heard, concerns) = (true, true);
            }
            if concerns {
                steps.push((*subject, joint.judge(now, *subject)));
            }
        }
        steps
    }

    /// It has not.
    pub fn missed(&mut self, subject: u64) {
        if let Some(joint) = self.records.get_mut(&subject) {
            (joint.answers, joint.misses) = (0, joint.misses.saturating_add(1));
            joint.known &= joint.misses < MISSES;
        }
    }

    /// The joints that we know: the one that most others do not hear, and those that half as many do not hear.
    pub fn known(&self, now: Instant) -> impl Iterator<Item = u64> {
        let standing = self.records.values().filter(move |joint| joint.stands(now));
        let most = standing.map(Joint::joins).max().unwrap_or(0);
        let chief = move |joint: &Joint| joint.stands(now) && joint.joins() * 2 > most;
        self.records.iter().filter(move |(_, joint)| chief(joint)).map(|(subject, _)| *subject)
    }

    /// A member that does not hear it.
    pub fn apart_from(&self, subject: u64) -> Option<u64> {
        let others = self.records.get(&subject)?.others;
        others.into_iter().flatten().find(|other| other.heard).map(|other| other.hash)
    }

    /// Whether it is one.
    pub fn is_known(&self, now: Instant, subject: u64) -> bool {
        self.records.get(&subject).is_some_and(|joint| joint.stands(now))
    }

    /// The cut lasts, as far as we can see: no joint is forgotten.
    pub fn renew(&mut self, now: Instant) {
        self.records.values_mut().filter(|joint| joint.stands(now)).for_each(|joint| joint.apart = now);
    }

    /// Once per round.
    pub fn tidy(&mut self, now: Instant) {
        self.records.retain(|_, joint| now.since(joint.apart) < LASTS);
    }
}

/// Most members that are followed.
const MOST: usize = 256;
/// So many others have to be apart from it. A pair of members that do not hear each other once is soon found: a datagram was lost.
const PARTED: usize = 2;
/// Members whose reach is compared with that of a joint.
const OTHERS: usize = 4;
/// Answers in a row. Of a link that loses half of all datagrams one row in sixteen is as long.
const ANSWERS: u32 = 2;
/// Missing answers in a row after which it is none: one that is lost says little.
const MISSES: u32 = 3;
/// How long a sign counts: by then our own questions have shown whether there is a cut, and [`Joints::renew`] keeps the joint.
const LASTS: Duration = Duration::from_secs(5);
/// While it has not answered, it is asked no more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = 1;
    const NEAR: u64 = 2;
    const NEXT: u64 = 3;
    const TAG: u64 = 7;

    fn at(secs: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(secs)
    }

    fn known(joints: &Joints, secs: u64) -> Vec<u64> {
        joints.known(at(secs)).collect()
    }

    /// Asks whoever is to be asked; `hears` says who answers.
    fn ask(joints: &mut Joints, secs: u64, mut step: Step, hears: &[u64]) {
        for _ in 0..8 {
            let Step::Ask(whom) = step else { return };
            if !hears.contains(&whom) {
                return;
            }
            step = joints.answered(at(secs), whom).first().map_or(Step::Wait, |(_, step)| *step);
        }
    }

    fn accused(hears: &[u64]) -> Joints {
        let mut joints = Joints::default();
        let step = joints.apart(at(100), (FAR, TAG), NEAR, false);
        assert_eq!(step, Step::Ask(FAR));
        joints.apart(at(100), (FAR, TAG), NEXT, false);
        ask(&mut joints, 100, step, hears);
        joints
    }

    #[test]
    fn an_accused_member_is_a_joint_if_it_and_two_accusers_answer_us() {
        assert_eq!(known(&accused(&[FAR, NEAR, NEXT]), 100), [FAR]);
        assert!(known(&accused(&[NEAR, NEXT]), 100).is_empty(), "it is silent for us too");
        assert!(known(&accused(&[FAR, NEAR]), 100).is_empty(), "one pair alone is no cut");
        assert!(
            known(&accused(&[FAR]), 100).is_empty(),
            "we do not hear the accuser: others join it to that one"
        );
    }

    #[test]
    fn it_is_none_after_a_while_and_no_longer_when_it_is_silent() {
        let mut joints = accused(&[FAR, NEAR, NEXT]);
        assert_eq!(known(&joints, 104), [FAR]);
        assert!(known(&joints, 105).is_empty());
        joints.renew(at(104));
        assert_eq!(known(&joints, 108), [FAR], "the cut lasts");
        (0..MISSES - 1).for_each(|_| joints.missed(FAR));
        assert_eq!(known(&joints, 108), [FAR], "datagrams get lost");
        joints.missed(FAR);
        assert!(known(&joints, 108).is_empty());
        joints.tidy(at(200));
        assert!(joints.records.is_empty());
    }

    #[test]
    fn the_far_end_counts_and_not_each_neighbour_that_it_does_not_hear() {
        let mut joints = Joints::default();
        for near in 2..6 {
            for (joint, other) in [(FAR, near), (near, FAR)] {
                joints.apart(at(100), (joint, TAG), other, true);
                (0..ANSWERS).for_each(|_| drop(joints.answered(at(100), joint)));
            }
        }
        assert_eq!(known(&joints, 100), [FAR]);
        // A later life has to show it anew.
        joints.apart(at(101), (FAR, TAG + 1), NEAR, true);
        assert!(!joints.is_known(at(101), FAR));
    }
}
