//! What the scenario's trouble did in this run, one line per fault.

use std::collections::BTreeSet;

use heartsay_membership::Instant;

use crate::scenario::{Disk, Fault, What};

/// Whom each fault struck, and when.
pub(crate) struct Chronicle {
    entries: Vec<Entry>,
}

/// What became of one fault.
#[derive(Clone, Default)]
struct Entry {
    struck: BTreeSet<usize>,
    /// Of a cut or a filter: the members of each side.
    sides: Vec<Vec<usize>>,
    /// When it began, and when it last struck.
    began: Option<(Instant, Instant)>,
    /// When it last let go.
    ended: Option<Instant>,
    /// How often it struck, and how many it holds now.
    times: u64,
    holds: usize,
}

impl Chronicle {
    pub(super) fn new(faults: usize) -> Self {
        Self { entries: vec![Entry::default(); faults] }
    }

    /// The fault strikes `member`.
    pub(crate) fn struck(&mut self, at: Instant, fault: usize, member: usize) {
        let entry = &mut self.entries[fault];
        entry.struck.insert(member);
        entry.strike(at);
    }

    /// The fault lets a member go.
    pub(crate) fn relieved(&mut self, now: Instant, fault: usize) {
        self.entries[fault].release(now);
    }

    /// A cut or a filter, with the side of each member (0: none), is put in force or lifted.
    pub(crate) fn parted(&mut self, now: Instant, fault: usize, side: &[u8], on: bool) {
        let entry = &mut self.entries[fault];
        if !on {
            return entry.release(now);
        }
        let sides = 1..=side.iter().copied().max().unwrap_or(0);
        let of = |wanted: u8| (0..side.len()).filter(|member| side[*member] == wanted).collect();
        entry.sides = sides.map(of).collect();
        entry.strike(now);
    }

    /// A line for each of `faults`, in their order.
    pub(super) fn lines(&self, faults: &[Fault], end: Instant) -> Vec<String> {
        faults.iter().zip(&self.entries).map(|(fault, entry)| entry.line(fault, end)).collect()
    }
}

impl Entry {
    fn strike(&mut self, at: Instant) {
        self.began = Some(self.began.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.times += 1;
        self.holds += 1;
    }

    fn release(&mut self, now: Instant) {
        self.ended = Some(now);
        self.holds = self.holds.saturating_sub(1);
    }

    fn line(&self, f: &Fault, end: Instant) -> String {
        let Some((first, last)) = self.began.filter(|(first, _)| *first <= end) else {
            let from = f.at.0.as_secs_f64();
            return format!("{} at {} s hit no member that runs", f.what.word(), seconds(from));
        };
        let once = if first == last {
            format!("at {} s", at(first))
        } else {
            format!("from {} s to {} s", at(first), at(last.min(end)))
        };
        let lasting = match self.ended.filter(|_| self.holds == 0) {
            Some(ended) => {
                format!("from {} s for {} s", at(first), seconds(ended.since(first).as_secs_f64()))
            }
            None => format!("from {} s to the end", at(first)),
        };
        let again = if f.on.is_some() { format!(", {} times on and off", self.times) } else { String::new() };
        let did = did(f, self.struck.len() == 1);
        match f.what {
            What::Cut | What::Partition | What::Refuse => {
                format!("{} {lasting}{again}", self.parting(f))
            }
            What::Crash | What::Vanish | What::Restart | What::Leave => {
                let back = f.back_after.map_or_else(String::new, |back| format!(", back after {back}"));
                let disk = if f.disk == Disk::Lost { ", the disk lost" } else { "" };
                format!("{} {did} {once}{back}{disk}", names(&self.struck))
            }
            What::CrashLoop => format!("{} {did} {} times {once}", names(&self.struck), self.times),
            What::Pause | What::Block | What::Slow | What::Lossy | What::Corrupt => {
                format!("{} {did} {lasting}{again}", names(&self.struck))
            }
            What::ClockStep => format!("the clock of {} {did} {once}", names(&self.struck)),
            What::ClockDrift => format!("the clock of {} {did} from {} s on", names(&self.struck), at(first)),
            What::DuplicateName => format!("a second host {did} {} {once}", names(&self.struck)),
            What::Join => format!("{} {did} {once}", names(&self.struck)),
            What::Churn => format!("{} members {did} {once}", self.times),
            What::Lie => format!("{} {did} {lasting}", names(&self.struck)),
        }
    }

    /// How members were parted.
    fn parting(&self, f: &Fault) -> String {
        let one_way = if f.what == What::Partition { f.one_way } else { !f.both };
        let sides: Vec<String> = self.sides.iter().map(|side| few(side)).collect();
        match (f.what, one_way) {
            (What::Refuse, true) => format!("filter refused {}", sides.join(" at ")),
            (What::Refuse, false) => format!("filter refused {} both ways", sides.join(" | ")),
            (_, true) => {
                let (first, others) = sides.split_first().map_or(("", [].as_slice()), |(f, o)| (f, o));
                format!("cut one way, {first} not heard by {}", others.join(", "))
            }
            (_, false) => format!("cut {}", sides.join(" | ")),
        }
    }
}

/// What a fault does, in words.
fn did(f: &Fault, alone: bool) -> String {
    let was = if alone { "was" } else { "were" };
    let percent = |share: Option<f64>| seconds(share.unwrap_or(0.0) * 100.0);
    match f.what {
        What::Crash | What::CrashLoop => "crashed".to_owned(),
        What::Vanish => "vanished".to_owned(),
        What::Restart => format!("{was} restarted"),
        What::Pause => "stood still".to_owned(),
        What::Block => format!("{was} blocked"),
        What::Slow => {
            format!("{was} slow ({} an input)", f.work.map_or_else(String::new, |work| work.to_string()))
        }
        What::Lossy => {
            let sent = f.send.map(|send| format!("{} % of what {} sent", percent(Some(send)), it(alone)));
            let got = f
                .receive
                .map(|receive| format!("{} % of what {was} sent to {}", percent(Some(receive)), them(alone)));
            format!("lost {}", [sent, got].into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        What::Corrupt => format!("sent {} % with flipped bits", percent(f.share)),
        What::ClockStep => {
            let by = f.by.map_or_else(String::new, |by| by.to_string());
            format!("jumped {} by {by}", if f.back { "back" } else { "ahead" })
        }
        What::ClockDrift => {
            let ppm = f.ppm.unwrap_or(0);
            format!("ran {} ppm {}", ppm.unsigned_abs(), if ppm < 0 { "slow" } else { "fast" })
        }
        What::DuplicateName => "claimed the name of".to_owned(),
        What::Leave => "left".to_owned(),
        What::Join => "joined".to_owned(),
        What::Churn => "vanished, and as many came,".to_owned(),
        What::Lie => match &f.lies {
            Some(lies) => {
                format!("lied ({})", lies.iter().map(|lie| lie.word()).collect::<Vec<_>>().join(", "))
            }
            None => "lied in all ways".to_owned(),
        },
        What::Cut | What::Partition | What::Refuse => String::new(),
    }
}

fn it(alone: bool) -> &'static str {
    if alone { "it" } else { "they" }
}

fn them(alone: bool) -> &'static str {
    if alone { "it" } else { "them" }
}

/// The first of many by name, the rest by number.
fn names(members: &BTreeSet<usize>) -> String {
    let names = members.iter().take(NAMED).map(|member| format!("n{member}")).collect::<Vec<_>>().join(", ");
    match members.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// A side: a few by name, more by their number.
fn few(side: &[usize]) -> String {
    match side {
        [one] => format!("n{one}"),
        many => many.len().to_string(),
    }
}

fn at(moment: Instant) -> String {
    seconds(moment.since(Instant::EPOCH).as_secs_f64())
}

/// At most three decimals, and no idle zeros.
fn seconds(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// So many are called by name.
const NAMED: usize = 6;

#[cfg(test)]
mod tests {
    use crate::run::run_one;
    use crate::scenario::parse;

    /// The lines about these faults in a cluster of eight.
    fn lines(faults: &str) -> Vec<String> {
        let text = format!(
            "name = 'x'\nabout = 'y'\nnodes = 8\nduration = '40s'\n[check]\nliveness = false\n{faults}"
        );
        let scenario = parse(&text, &[]).unwrap_or_else(|problem| panic!("{faults}: {problem}"));
        run_one(&scenario, 1, None).expect("runs").happened
    }

    #[test]
    fn every_kind_of_trouble_is_said_in_plain_words() {
        for (fault, line) in [
            ("what = 'vanish'\nwho = 'n3'", "n3 vanished at 20 s"),
            (
                "what = 'crash'\nwho = ['n1', 'n3']\nback-after = '5s'",
                "n1, n3 crashed at 20 s, back after 5s",
            ),
            ("what = 'restart'\nwho = 'n3'\ndisk = 'lost'", "n3 was restarted at 20 s, the disk lost"),
            ("what = 'crash'\nwho = 'all'", "n0, n1, n2, n3, n4, n5 and 2 more crashed at 20 s"),
            (
                "what = 'crash-loop'\nwho = 'n3'\nevery = '4s'\nfor = '10s'",
                "n3 crashed 3 times from 20 s to 28 s",
            ),
            ("what = 'pause'\nwho = ['n3', 'n4']\nfor = '1500ms'", "n3, n4 stood still from 20 s for 1.5 s"),
            ("what = 'block'\nwho = 'n3'", "n3 was blocked from 20 s to the end"),
            (
                "what = 'slow'\nwho = 'n3'\nwork = '5ms'\nfor = '9s'",
                "n3 was slow (5ms an input) from 20 s for 9 s",
            ),
            (
                "what = 'lossy'\nwho = 'n3'\nreceive = 0.9",
                "n3 lost 90 % of what was sent to it from 20 s to the end",
            ),
            (
                "what = 'lossy'\nwho = ['n3', 'n4']\nsend = 0.155",
                "n3, n4 lost 15.5 % of what they sent from 20 s to the end",
            ),
            (
                "what = 'corrupt'\nwho = 'n3'\nshare = 0.1",
                "n3 sent 10 % with flipped bits from 20 s to the end",
            ),
            (
                "what = 'clock-step'\nwho = 'n3'\nby = '1h'\nback = true",
                "the clock of n3 jumped back by 60m at 20 s",
            ),
            ("what = 'clock-drift'\nwho = 'n3'\nppm = -300", "the clock of n3 ran 300 ppm slow from 20 s on"),
            ("what = 'duplicate-name'\nwho = 'n3'", "a second host claimed the name of n3 at 20 s"),
            ("what = 'leave'\nwho = 'n3'", "n3 left at 20 s"),
            ("what = 'join'\nwho = 2\nevery = '2s'", "n8, n9 joined from 20 s to 22 s"),
            (
                "what = 'churn'\nevery = '3s'\nfor = '10s'",
                "4 members vanished, and as many came, from 20 s to 29 s",
            ),
            ("what = 'lie'\nwho = 'n3'\nfor = '5s'", "n3 lied in all ways from 20 s for 5 s"),
            (
                "what = 'lie'\nwho = 'n3'\nlies = ['accuse', 'good-bye']",
                "n3 lied (accuse, good-bye) from 20 s to the end",
            ),
            (
                "what = 'cut'\nfrom = 'n1'\nto = ['n2', 'n3']",
                "cut one way, n1 not heard by 2 from 20 s to the end",
            ),
            (
                "what = 'cut'\nfrom = 'n1'\nto = 'n2'\nboth = true\nfor = '3s'",
                "cut n1 | n2 from 20 s for 3 s",
            ),
            (
                "what = 'refuse'\nfrom = 'n1'\nto = 'n2'\nfor = '3s'",
                "filter refused n1 at n2 from 20 s for 3 s",
            ),
            (
                "what = 'refuse'\nfrom = 'n1'\nto = 'n2'\nboth = true",
                "filter refused n1 | n2 both ways from 20 s to the end",
            ),
            ("what = 'partition'\nsides = [3, '50%']\nfor = '10s'", "cut 3 | 5 from 20 s for 10 s"),
            (
                "what = 'partition'\nsides = [3, '50%']\none-way = true",
                "cut one way, 3 not heard by 5 from 20 s to the end",
            ),
            (
                "what = 'partition'\nsides = [2, 2, '50%']\non = '3s'\noff = '1s'\nfor = '10s'",
                "cut 2 | 2 | 4 from 20 s for 10 s, 3 times on and off",
            ),
        ] {
            assert_eq!(lines(&format!("[[fault]]\nat = '20s'\n{fault}\n")), [line], "{fault}");
        }
    }

    #[test]
    fn a_fault_that_found_none_of_its_members_says_so_and_each_fault_has_its_line() {
        let faults = "[[fault]]\nat = '10s'\nwhat = 'crash'\nwho = 'n3'\n[[fault]]\nat = '20s'\nwhat = 'pause'\nwho = 'n3'\n\
                      [[fault]]\nat = '30s'\nwhat = 'pause'\nwho = ['n3', 'n4']\n";
        assert_eq!(
            lines(faults),
            [
                "n3 crashed at 10 s",
                "pause at 20 s hit no member that runs",
                "n4 stood still from 30 s to the end"
            ]
        );
        assert!(lines("").is_empty());
    }
}
