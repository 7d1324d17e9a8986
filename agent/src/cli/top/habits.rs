//! What the last minutes were like: the surprise at each member, and how often it fell and began anew.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::types::{Member, WatchLine};

/// Of all members, by name.
#[derive(Debug, Default)]
pub(super) struct Habits {
    surprise: BTreeMap<String, Surprise>,
    falls: BTreeMap<String, Falls>,
}

/// The highest phi of each span of the last minute.
#[derive(Debug, Default)]
struct Surprise {
    /// Number of the newest span.
    newest: i64,
    /// The newest last.
    spans: [Option<f64>; SPANS],
}

/// When a member stopped being alive, and when it began a new life.
#[derive(Debug, Default)]
struct Falls {
    is_down: bool,
    fell: VecDeque<Timestamp>,
    began: VecDeque<Timestamp>,
}

impl Habits {
    /// Takes in the members as they are now, and forgets the ones that have gone.
    pub(super) fn look(&mut self, members: &[Member], now: Timestamp) {
        let mut last = std::mem::take(&mut self.surprise);
        for member in members {
            let mut surprise = last.remove(&member.name).unwrap_or_default();
            if !matches!(member.status.as_str(), "down" | "left") {
                surprise.add(member.phi, now);
            }
            self.surprise.insert(member.name.clone(), surprise);
        }
        self.falls.retain(|name, _| self.surprise.contains_key(name));
    }

    /// Takes in what happened to a member.
    pub(super) fn happened(&mut self, line: &WatchLine) {
        let (Some(name), Ok(at)) = (&line.name, line.time.parse::<Timestamp>()) else { return };
        let falls = match line.kind.as_str() {
            "member-suspect" | "member-down" | "member-restart" => {
                self.falls.entry(name.clone()).or_default()
            }
            "member-alive" | "member-join" => match self.falls.get_mut(name) {
                Some(falls) => falls,
                None => return,
            },
            _ => return,
        };
        match line.kind.as_str() {
            "member-suspect" | "member-down" if !falls.is_down => {
                falls.is_down = true;
                remember(&mut falls.fell, at);
            }
            "member-suspect" | "member-down" => {}
            "member-restart" => {
                falls.is_down = false;
                remember(&mut falls.began, at);
            }
            _ => falls.is_down = false,
        }
    }

    /// How often the member stopped being alive, and began a new life, in the last hour.
    pub(super) fn in_the_last_hour(&self, name: &str, now: Timestamp) -> (usize, usize) {
        let Some(falls) = self.falls.get(name) else { return (0, 0) };
        (since(&falls.fell, now), since(&falls.began, now))
    }

    /// Marks for the last minute, the newest last; `None` before there are two.
    pub(super) fn line(&self, name: &str, now: Timestamp) -> Option<String> {
        let surprise = self.surprise.get(name)?;
        let known = surprise.spans.iter().flatten().count();
        let gone = usize::try_from(span_of(now) - surprise.newest).unwrap_or(0).min(SPANS);
        let spans = surprise.spans.iter().skip(gone).copied().chain(std::iter::repeat_n(None, gone));
        (known > 1).then(|| spans.map(|phi| phi.map_or(' ', mark)).collect())
    }
}

impl Surprise {
    fn add(&mut self, phi: f64, now: Timestamp) {
        let span = span_of(now);
        let gone = usize::try_from(span - self.newest).unwrap_or(0).min(SPANS);
        self.spans.rotate_left(gone % SPANS);
        self.spans.iter_mut().rev().take(gone).for_each(|span| *span = None);
        self.newest = span;
        if let Some(last) = self.spans.last_mut() {
            *last = Some(last.unwrap_or(0.0).max(phi));
        }
    }
}

fn span_of(at: Timestamp) -> i64 {
    at.as_second() / SPAN
}

fn remember(times: &mut VecDeque<Timestamp>, at: Timestamp) {
    if times.len() == KEPT {
        times.pop_front();
    }
    times.push_back(at);
}

fn since(times: &VecDeque<Timestamp>, now: Timestamp) -> usize {
    times.iter().filter(|at| now.as_second() - at.as_second() <= HOUR).count()
}

/// Eight steps of one phi each: from 8 on a witness testifies.
fn mark(phi: f64) -> char {
    let steps = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
    let step = steps.iter().zip(1_u8..).find(|(_, above)| phi < f64::from(*above));
    step.map_or('█', |(mark, _)| *mark)
}

/// Marks of a line.
pub(super) const SPANS: usize = 12;
/// Seconds of each: all together a minute.
const SPAN: i64 = 5;
/// Seconds.
const HOUR: i64 = 3600;
/// Falls and beginnings of one member: more in an hour say nothing more.
const KEPT: usize = 99;

#[cfg(test)]
mod tests {
    use super::super::invented::{at, line, member};
    use super::*;

    #[test]
    fn a_line_shows_the_last_minute_and_slides() {
        let mut habits = Habits::default();
        let mut n1 = member("n1", "alive", "a");
        habits.look(&[n1.clone()], at(0));
        assert_eq!(habits.line("n1", at(0)), None, "one look is no history");
        n1.phi = 4.5;
        habits.look(&[n1.clone()], at(5));
        n1.phi = 0.2;
        habits.look(&[n1.clone()], at(6));
        assert_eq!(habits.line("n1", at(6)).as_deref(), Some("          ▁▅"), "the highest of a span stays");
        n1.phi = 900.0;
        habits.look(&[n1.clone()], at(20));
        assert_eq!(habits.line("n1", at(20)).as_deref(), Some("       ▁▅  █"));
        assert_eq!(habits.line("n1", at(30)).as_deref(), Some("     ▁▅  █  "), "while nothing comes");
        habits.look(&[n1], at(600));
        assert_eq!(habits.line("n1", at(600)), None);
        habits.look(&[], at(601));
        assert_eq!(habits.surprise.len(), 0, "who is gone is forgotten");
    }

    #[test]
    fn suspicion_and_its_verdict_are_one_fall() {
        let mut habits = Habits::default();
        habits.look(&[member("n1", "alive", "a")], at(0));
        let mut happen = |kind: &str, second| habits.happened(&line(kind, "n1", second));
        happen("member-suspect", 10);
        happen("member-down", 12);
        happen("member-alive", 20);
        happen("member-restart", 21);
        happen("member-down", 100);
        assert_eq!(habits.in_the_last_hour("n1", at(100)), (2, 1));
        assert_eq!(habits.in_the_last_hour("n1", at(4000)), (0, 0));
        for second in 0..300 {
            habits.happened(&line("member-down", "n1", second));
            habits.happened(&line("member-alive", "n1", second));
        }
        assert_eq!(habits.in_the_last_hour("n1", at(300)).0, KEPT, "bounded");
    }
}
