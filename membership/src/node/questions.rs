//! Questions from member to member: what the node knows of paths, told on request, and what others tell.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip::{self, PathHelper, PathRow, question};
use heartsay_proto::is_instance;

use crate::Instant;
use crate::detection::direct_paths::{Direction, PathState, PathView};
use crate::identity::Name;
use crate::io::{Answer, Event, PathTold, PathsTold, Question, Rejected};
use crate::node::Node;
use crate::questions::answering;
use crate::questions::asking::{Ended, PathRows, Said};
use crate::roster::Roster;
use crate::roster::fingerprint;
use crate::roster::peers::is_other;
use crate::roster::standing::Status;

impl Node {
    /// The program wants to know something from another member.
    pub(super) fn ask_member(
        &mut self,
        now: Instant,
        number: u64,
        member: &Name,
        question: Question,
    ) -> Result<(), Rejected> {
        let subject = fingerprint::of_name(member);
        let known = self.roster.get(subject).filter(|_| subject != self.core.me);
        if known.is_none_or(|member| member.status == Status::Left) {
            return Err(Rejected::UnknownMember(member.clone()));
        }
        if let Question::Health { service, id } = &question
            && !is_instance(service, id)
        {
            return Err(Rejected::BadQuestion);
        }
        let (questions, mut ctx) = self.questions();
        questions.asking.ask(now, &mut ctx, number, member.clone(), question)
    }

    /// Another member asks.
    pub(super) fn on_question(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        question: gossip::Question,
    ) -> Result<(), Rejected> {
        let (questions, ctx) = self.questions();
        let asker = questions.answering.admit(now, &ctx, from, sender, seq)?;
        match question.topic {
            Some(question::Topic::Paths(asked)) => {
                let (rows, counts) = self.paths_from(now, asked.from);
                answering::tell_paths(&mut self.context(), asker, rows, counts);
            }
            Some(question::Topic::Health(asked)) => {
                let number = self.questions.answering.wait(now, asker);
                let by = self.roster.get(asker.member).map(|member| member.incarnation.name.clone());
                if let (Some(number), Some(by)) = (number, by) {
                    self.emit(Event::Asked { number, by, service: asked.service, id: asked.id });
                }
            }
            // A topic of a later version.
            None => {}
        }
        Ok(())
    }

    /// Another member answers, or somebody pretends to be it.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: Option<u64>,
        seq: u32,
        said: gossip::Answer,
    ) -> Result<(), Rejected> {
        let (questions, mut ctx) = self.questions();
        let ended = questions.asking.on_answer(now, &mut ctx, (from, sender, seq), said)?;
        ended.into_iter().for_each(|ended| self.tell_answer(now, ended));
        Ok(())
    }

    /// Asks once more, or gives up.
    pub(super) fn step_questions(&mut self, now: Instant) {
        let (questions, mut ctx) = self.questions();
        let ended = questions.asking.step(now, &mut ctx);
        ended.into_iter().for_each(|ended| self.tell_answer(now, ended));
    }

    fn tell_answer(&mut self, now: Instant, ended: Ended) {
        let Ended { number, subject, member, answer } = ended;
        let answer = answer.map(|said| match said {
            Said::Health(text) => Answer::Health(text),
            Said::Paths(rows) => Answer::Paths(told(now, &self.roster, subject, rows)),
        });
        self.emit(Event::Answered { number, member, answer });
    }

    /// Our paths that are not well, from this hash on, and how many are well, and how many unknown.
    fn paths_from(&self, now: Instant, from: u64) -> (Vec<PathRow>, (u32, u32)) {
        let (mut rows, mut well, mut unknown) = (Vec::new(), 0, 0);
        for (subject, member) in self.roster.entries().filter(|(_, member)| is_other(member, self.core.me)) {
            let path = self.detection.path_view(now, &self.core, &self.roster, member);
            match path.state {
                PathState::Unknown if path.unanswered == 0 => unknown += 1,
                PathState::Up if path.unanswered == 0 && path.since.is_none() => well += 1,
                PathState::Up | PathState::Unknown | PathState::Down if subject >= from => {
                    rows.push(row(now, subject, &path));
                }
                PathState::Up | PathState::Unknown | PathState::Down => {}
            }
        }
        (rows, (well, unknown))
    }
}

fn row(now: Instant, subject: u64, path: &PathView) -> PathRow {
    let direction = match path.direction {
        None | Some(Direction::Unknown) => 0,
        Some(Direction::Out) => OUT,
        Some(Direction::In) => IN,
        Some(Direction::Both) => BOTH,
    };
    let through = path.through.iter();
    PathRow {
        subject,
        state: match path.state {
            PathState::Up => 0,
            PathState::Down => DOWN,
            PathState::Unknown => UNKNOWN,
        },
        direction,
        unanswered: path.unanswered,
        since_ms: path.since.map_or(0, |since| millis(now.since(since)).saturating_add(1)),
        through: through
            .map(|(helper, at)| PathHelper {
                helper: fingerprint::of_name(helper),
                ago_ms: millis(now.since(*at)),
            })
            .collect(),
    }
}

/// What a member says, as far as it is about members that we know.
fn told(now: Instant, roster: &Roster, by: u64, said: PathRows) -> PathsTold {
    let mut told =
        PathsTold { well: said.well, unknown: said.unknown, cut: said.cut, ..PathsTold::default() };
    let ago = |ms: u32| now - Duration::from_millis(ms.into());
    let name = |hash| roster.get(hash).map(|member| member.incarnation.name.clone());
    for row in said.rows {
        let Some(name_of) = name(row.subject).filter(|_| row.subject != by) else {
            told.strange += 1;
            continue;
        };
        let state = match row.state {
            DOWN => PathState::Down,
            UNKNOWN => PathState::Unknown,
            _ => PathState::Up,
        };
        let direction = match row.direction {
            OUT => Direction::Out,
            IN => Direction::In,
            BOTH => Direction::Both,
            _ => Direction::Unknown,
        };
        told.paths.push(PathTold {
            name: name_of,
            state,
            direction: (state == PathState::Down).then_some(direction),
            unanswered: row.unanswered,
            since: row.since_ms.checked_sub(1).map(ago),
            through: row
                .through
                .iter()
                .filter_map(|one| Some((name(one.helper)?, ago(one.ago_ms))))
                .collect(),
        });
    }
    told
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// States and directions on the wire.
const DOWN: u32 = 1;
const UNKNOWN: u32 = 2;
const OUT: u32 = 1;
const IN: u32 = 2;
const BOTH: u32 = 3;
