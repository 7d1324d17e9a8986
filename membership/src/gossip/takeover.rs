//! A later life of a member that is present: it counts when the member's present life does not answer any more.
//!
//! Picture: somebody brings word that the neighbour has moved out and a namesake has moved in. Before the name on the
//! list is changed, one rings the bell: if the neighbour opens, the word was false.
//!
//! Anybody can say that a life is over. Only the life itself can show that it is not: it answers, from its address, a
//! question that left after the word had come. So a claim that would replace a life waits for the answer to a question
//! to the earlier address, one round trip. Where the host refuses, or the later life answers there, it counts at once;
//! where nothing answers, after two retransmission time-outs.
//!
//! *Another host* takes a name from a member that is alive only if it has held it for longer
//! ([`Incarnation::is_before`](crate::roster::incarnation::Incarnation::is_before)). That needs more: it has to answer
//! itself, at its own address.
//!
//! A life that began while an earlier one of the name still answered is no successor of it but a second process. It is
//! refused for as long as the first is present, and told so.
//!
//! Weak spots: of a member that has never answered us we know no better than others tell. Where all questions get lost,
//! the claim counts, as it would have without them. And who runs a process under the name of another, with an earlier
//! beginning, answers for it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::gossip::Packet;

use crate::Instant;
use crate::gossip::Gossip;
use crate::identity::Generation;
use crate::roster::claim::Claim;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// The later lives that wait, and those that were refused.
#[derive(Debug, Default)]
pub struct Takeovers {
    waiting: BTreeMap<u64, Takeover>,
    refused: BTreeMap<u64, Refused>,
    /// The life that counts now, because what it waited for has happened.
    granted: Option<u64>,
}

/// A later life that waits for an answer.
#[derive(Debug)]
pub struct Takeover {
    /// Hash of its name.
    pub subject: u64,
    /// Its tag.
    pub life: u64,
    generation: Generation,
    pub question: Question,
    /// When we heard of it first.
    heard: Instant,
    asked: u32,
    next: Instant,
    /// What others said of it last.
    pub hearsay: Option<(Teller, Claim)>,
    /// What it has sent us first.
    pub letter: Option<(SocketAddr, Packet)>,
}

/// Who told a claim, and how.
#[derive(Clone, Copy, Debug)]
pub struct Teller {
    pub from: SocketAddr,
    /// Others may not know it.
    pub pass_on: bool,
    /// It answers a pull of ours.
    pub asked: bool,
    /// It comes straight from the incarnation that it describes.
    pub own_word: bool,
}

/// What has to be known before a later life counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the earlier life, with this tag, still answers at this address. If so, the later one is refused.
    IsEarlierThere(u64, SocketAddr),
    /// Whether the later life answers at this address, its own. If not, it is refused.
    IsLaterThere(SocketAddr),
}

/// What a question has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This life answers there.
    Life(u64),
    /// The host says that no process does.
    Refused,
    /// Nothing, in time.
    Nothing,
}

/// What becomes of a later life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counts.
    Granted,
    /// The name is held by another process.
    Refused,
    /// We do not know. It will be told again.
    Dropped,
}

/// What to do with a claim about a later life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// It counts.
    Counts,
    /// It has to wait.
    Waits,
    /// The name has been asked about a moment ago. It will be told again.
    TooSoon,
    /// The name is held by another process.
    Refused,
}

/// A life that was refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Its tag, unless it was heard of only after the question had left.
    life: Option<u64>,
    at: Instant,
}

impl Takeovers {
    /// When a question is to be repeated, or its time is up.
    pub fn next(&self) -> Instant {
        self.waiting.values().map(|takeover| takeover.next).min().unwrap_or(Instant::NEVER)
    }

    /// Weighs a claim about a later life of a name. If it has to wait, [`Gossip::hold_takeover`] follows.
    pub fn weigh(&self, now: Instant, subject: u64, life: u64) -> Weighed {
        if self.granted == Some(life) {
            return Weighed::Counts;
        }
        let Some(refused) = self.refused.get(&subject) else { return Weighed::Waits };
        let since = now.since(refused.at);
        if refused.life == Some(life) && since < REFUSED_FOR {
            Weighed::Refused
        } else if since < PAUSE {
            Weighed::TooSoon
        } else {
            Weighed::Waits
        }
    }

    /// The life that counts from now on, although it would have to wait; `None`: none does.
    pub fn grant(&mut self, life: Option<u64>) {
        self.granted = life;
    }

    /// What was asked about a name has been answered, or will not be. Returns what waited, and what becomes of it.
    /// `sent`: when the question left.
    pub fn settle(
        &mut self,
        now: Instant,
        subject: u64,
        sent: Instant,
        answer: Answer,
    ) -> Option<(Takeover, Outcome)> {
        let takeover = self.waiting.remove(&subject)?;
        let outcome = takeover.outcome(answer);
        if outcome == Outcome::Refused && self.refused.len() < MOST {
            // A life of which we heard later than we asked may have begun in between.
            let life = Some(takeover.life).filter(|_| sent >= takeover.heard);
            self.refused.insert(subject, Refused { life, at: now });
        }
        Some((takeover, outcome))
    }

    pub fn tidy(&mut self, now: Instant) {
        self.refused.retain(|_, refused| now.since(refused.at) < REFUSED_FOR);
    }
}

impl Takeover {
    fn outcome(&self, answer: Answer) -> Outcome {
        match (self.question, answer) {
            (_, Answer::Life(life)) if life == self.life => Outcome::Granted,
            (Question::IsEarlierThere(earlier, _), Answer::Life(life)) if life == earlier => Outcome::Refused,
            // The member itself has begun another life, which it will tell of.
            (Question::IsEarlierThere(..), Answer::Life(life)) if life >> 32 == self.subject >> 32 => {
                Outcome::Dropped
            }
            (Question::IsEarlierThere(..), Answer::Life(_) | Answer::Refused | Answer::Nothing) => {
                Outcome::Granted
            }
            (Question::IsLaterThere(_), Answer::Life(_) | Answer::Refused | Answer::Nothing) => {
                Outcome::Refused
            }
        }
    }
}

impl Gossip {
    /// A later life of a name has to wait for the answer to a question, which is asked unless it is open already.
    pub fn hold_takeover(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        (subject, life, generation): (u64, u64, Generation),
        question: Question,
    ) -> Option<&mut Takeover> {
        let known = self.takeovers.waiting.get(&subject).map(|t| (t.question, t.generation, t.life));
        match known {
            Some((_, _, known)) if known == life => {}
            // The question is the same for each later life. Of several the latest counts.
            Some((asked, known, _)) if asked == question => {
                if generation <= known {
                    return None;
                }
                let takeover = self.takeovers.waiting.get_mut(&subject)?;
                (takeover.life, takeover.generation, takeover.heard) = (life, generation, now);
                (takeover.hearsay, takeover.letter) = (None, None);
            }
            Some(_) => return None,
            None if self.takeovers.waiting.len() >= MOST => return None,
            None => {
                let takeover = Takeover {
                    subject,
                    life,
                    generation,
                    question,
                    heard: now,
                    asked: 0,
                    next: now,
                    hearsay: None,
                    letter: None,
                };
                self.takeovers.waiting.insert(subject, takeover);
                self.ask_about_takeover(now, ctx, subject);
            }
        }
        self.takeovers.waiting.get_mut(&subject)
    }

    fn ask_about_takeover(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64) {
        let Some(takeover) = self.takeovers.waiting.get_mut(&subject) else { return };
        let (to, patience) = match takeover.question {
            Question::IsEarlierThere(_, to) => (to, ctx.core.patience(ctx.roster.get(subject))),
            Question::IsLaterThere(to) => (to, ctx.core.patience(None)),
        };
        takeover.asked += 1;
        takeover.next = now + if takeover.asked < ASKED { patience / 2 } else { patience };
        let deadline = now + patience * ASKED;
        let kind = RequestKind::Takeover;
        let seq =
            ctx.transport.requests.open(Request { subject: Some(subject), to, sent: now, deadline, kind });
        ctx.ask_life(to, seq, subject);
    }

    /// Repeats the questions that are due. Returns the names whose time is up.
    pub fn step_takeovers(&mut self, now: Instant, ctx: &mut Context<'_>) -> Vec<u64> {
        let due = self.takeovers.waiting.iter().filter(|(_, takeover)| takeover.next <= now);
        let due: Vec<(u64, bool)> = due.map(|(subject, t)| (*subject, t.asked < ASKED)).collect();
        due.iter().filter(|(_, again)| *again).for_each(|(subject, _)| {
            self.ask_about_takeover(now, ctx, *subject);
        });
        due.into_iter().filter(|(_, again)| !again).map(|(subject, _)| subject).collect()
    }
}

/// Questions, half a retransmission time-out apart; the answer to the last is awaited for a whole one. At 10 % loss a
/// member that lives stays without an answer once in 150 times.
const ASKED: u32 = 3;
/// After an answer no later life of that name is asked about for so long: a liar costs two questions a second and member,
/// and a true restart, which is told several times a second at first, waits for no longer.
const PAUSE: Duration = Duration::from_millis(500);
/// A life that was refused is asked about again after this long.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Names that wait, and names that were refused: a megabyte at most. Beyond that, claims are told again.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const NAME: u64 = 7 << 32;
    const EARLIER: u64 = NAME | 1;
    const LATER: u64 = NAME | 2;

    fn at(ms: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(ms)
    }

    fn here() -> SocketAddr {
        ([10, 0, 0, 1], 1).into()
    }

    fn takeover(question: Question) -> Takeover {
        let (subject, life, heard) = (NAME, LATER, at(1000));
        Takeover {
            subject,
            life,
            generation: 5,
            question,
            heard,
            asked: 1,
            next: heard,
            hearsay: None,
            letter: None,
        }
    }

    #[test]
    fn what_answers_decides_and_where_nothing_does_a_rival_does_not_count() {
        use Answer::{Life, Nothing, Refused};
        let other_name = 8 << 32;
        let anew = NAME | 3;
        for (answer, successor, rival) in [
            (Life(EARLIER), Outcome::Refused, Outcome::Refused),
            (Life(LATER), Outcome::Granted, Outcome::Granted),
            (Life(anew), Outcome::Dropped, Outcome::Refused),
            (Life(other_name), Outcome::Granted, Outcome::Refused),
            (Refused, Outcome::Granted, Outcome::Refused),
            (Nothing, Outcome::Granted, Outcome::Refused),
        ] {
            let is_earlier_there = takeover(Question::IsEarlierThere(EARLIER, here()));
            assert_eq!(is_earlier_there.outcome(answer), successor, "{answer:?}");
            assert_eq!(takeover(Question::IsLaterThere(here())).outcome(answer), rival, "{answer:?}");
        }
    }

    #[test]
    fn a_life_is_refused_for_a_while_and_only_if_the_question_left_after_it_was_heard_of() {
        for (sent, refused) in [(at(1000), Weighed::Refused), (at(999), Weighed::TooSoon)] {
            let mut takeovers = Takeovers::default();
            takeovers.waiting.insert(NAME, takeover(Question::IsEarlierThere(EARLIER, here())));
            assert_eq!(takeovers.weigh(at(1000), NAME, LATER), Weighed::Waits);
            let settled = takeovers.settle(at(1001), NAME, sent, Answer::Life(EARLIER));
            assert_eq!(settled.map(|(_, outcome)| outcome), Some(Outcome::Refused));
            assert_eq!(takeovers.weigh(at(1002), NAME, LATER), refused);
            assert_eq!(takeovers.weigh(at(1002), NAME, NAME | 9), Weighed::TooSoon);
            assert_eq!(takeovers.weigh(at(2000), NAME, NAME | 9), Weighed::Waits);
            assert_eq!(takeovers.weigh(at(12_000), NAME, LATER), Weighed::Waits);
            takeovers.grant(Some(LATER));
            assert_eq!(takeovers.weigh(at(1002), NAME, LATER), Weighed::Counts);
        }
    }

    #[test]
    fn names_that_were_refused_do_not_grow() {
        let mut takeovers = Takeovers::default();
        for name in 0..10_000_u64 {
            let question = Question::IsEarlierThere(EARLIER, here());
            takeovers.waiting.insert(name << 32, Takeover { subject: name << 32, ..takeover(question) });
            takeovers.settle(at(1001), name << 32, at(1000), Answer::Life(EARLIER));
        }
        assert_eq!((takeovers.waiting.len(), takeovers.refused.len()), (0, MOST));
        takeovers.tidy(at(12_000));
        assert_eq!(takeovers.refused.len(), 0);
    }
}
