//! Addresses to which datagrams do not get through, from the first error until they do again.
//!
//! An error names its address; success names none. So the trouble with an address is over once the member there has answered
//! since, once datagrams have left for it for a while without an error, once the member that was there has gone or moved, or
//! once nothing is sent there any more.
//! A refusal from there ends nothing: anyone can forge one. An error may be forged too, if it came by ICMP; so those give
//! way to what the kernel of this host says itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::Instant;

use crate::doctor::{Code, Forger, Said};
use crate::words::few;
use heartsay_tokio::net::SendFailure;

/// Addresses with trouble, at most [`MOST`] of them.
#[derive(Debug, Default)]
pub(crate) struct SendFailures {
    at: BTreeMap<SocketAddr, Trouble>,
    /// When it was last looked at while there was any; `None`: nothing is to be looked at.
    looked: Option<Instant>,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// No member in the view is there.
    Empty,
    /// A member is.
    Member {
        /// While questions to it are answered: when it was last heard.
        answered: Option<Instant>,
    },
}

#[derive(Debug)]
struct Trouble {
    failure: SendFailure,
    /// The last error.
    last: Instant,
    /// When a datagram first left for it since then.
    left: Option<Instant>,
    /// A member in the view was there.
    member: bool,
}

impl SendFailures {
    /// Whether to look what is over.
    pub(crate) fn due(&self, now: Instant) -> bool {
        self.looked.is_some_and(|last| now.since(last) >= EVERY)
    }

    /// A datagram did not get through.
    pub(crate) fn note(&mut self, now: Instant, to: SocketAddr, failure: SendFailure) {
        self.looked.get_or_insert(now);
        if self.at.len() >= MOST && !self.at.contains_key(&to) && !is_by_icmp(to, failure) {
            self.at.extract_if(.., |to, trouble| is_by_icmp(*to, trouble.failure)).next();
        }
        let full = self.at.len() >= MOST && !self.at.contains_key(&to);
        if !full {
            let member = self.at.get(&to).is_some_and(|trouble| trouble.member);
            self.at.insert(to, Trouble { failure, last: now, left: None, member });
        }
    }

    /// One has left.
    pub(crate) fn sent(&mut self, now: Instant, to: SocketAddr) {
        if let Some(trouble) = self.at.get_mut(&to) {
            trouble.left.get_or_insert(now);
        }
    }

    /// Forgets what is over; `seat` says what is known of an address.
    pub(crate) fn look(&mut self, now: Instant, seat: impl Fn(SocketAddr) -> Seat) {
        self.at.retain(|to, trouble| {
            let (there, answered) = match seat(*to) {
                Seat::Empty => (false, None),
                Seat::Member { answered } => (true, answered),
            };
            let gone = trouble.member && !there;
            trouble.member |= there;
            let answers = answered.is_some_and(|at| at > trouble.last);
            let passes = trouble.left.is_some_and(|left| now.since(left) >= WELL);
            !(gone || answers || passes || now.since(trouble.last) >= OVER)
        });
        self.looked = (!self.at.is_empty()).then_some(now);
    }

    /// What people are told, by its cause.
    pub(crate) fn sentences(&self) -> BTreeMap<Code, Said> {
        let mut kinds: BTreeMap<(Code, &str), Vec<String>> = BTreeMap::new();
        for (to, Trouble { failure, .. }) in &self.at {
            kinds.entry((code_of(*to, failure.label), failure.hint)).or_default().push(to.to_string());
        }
        let mut said: BTreeMap<Code, Said> = BTreeMap::new();
        for ((code, hint), to) in kinds {
            let one = format!("datagrams to {} do not get through: {hint}", few(&to));
            let what = &mut said.entry(code).or_default().what;
            *what = if what.is_empty() { one } else { format!("{what}; {one}") };
        }
        said
    }
}

/// Of a [`SendFailure::label`]. In IPv4 only a packet filter of this host forbids; in IPv6 a router may say it too, and so
/// may anyone.
fn code_of(to: SocketAddr, label: &str) -> Code {
    match label {
        "forbidden" if to.is_ipv4() => Code::UdpBlocked,
        "forbidden" => Code::NoRoute,
        "no-buffers" | "invalid" => Code::NeighbourTableFull,
        "host-unreachable" | "network-unreachable" | "other-family" | "no-source" => Code::NoRoute,
        _ => Code::DatagramsDoNotLeave,
    }
}

/// It may have come by ICMP, from anywhere.
fn is_by_icmp(to: SocketAddr, failure: SendFailure) -> bool {
    code_of(to, failure.label).kind().forger == Forger::Outsider
}

/// Every code that a failure can have.
pub(super) const CODES: [Code; 4] =
    [Code::UdpBlocked, Code::NeighbourTableFull, Code::NoRoute, Code::DatagramsDoNotLeave];

/// A look over ten thousand members takes about a millisecond.
const EVERY: Duration = Duration::from_secs(1);
/// Longer than a kernel takes to find out that no host answers for an address: three tries, a second apart.
const WELL: Duration = Duration::from_secs(5);
/// An address that is called at all is called twice in this time, be it as a seed.
const OVER: Duration = Duration::from_secs(150);
/// More than are read.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const CABLE: SendFailure = SendFailure { label: "host-unreachable", hint: "no route to that host" };
    const FILTER: SendFailure = SendFailure { label: "forbidden", hint: "a packet filter refuses it" };

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    fn to(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 4327))
    }

    /// All of it in one line.
    fn all_said(failures: &SendFailures) -> String {
        let all: Vec<String> = failures.sentences().into_values().map(|said| said.what).collect();
        all.join("; ")
    }

    #[test]
    fn each_failure_has_the_code_of_its_cause() {
        for label in heartsay_tokio::net::SEND_FAILURES {
            assert!(CODES.contains(&code_of(to(1), label)), "{label}");
        }
        let v6 = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1], 4327));
        let from_a_router = code_of(v6, FILTER.label).kind();
        assert_eq!(
            from_a_router.forger,
            Forger::Outsider,
            "ICMPv6 has a word for it: {}",
            from_a_router.word
        );
        let codes: Vec<Code> = trouble().sentences().into_keys().collect();
        assert_eq!(codes, [Code::UdpBlocked, Code::NoRoute]);
    }

    /// A member that does not answer is there, and nowhere else.
    fn only(at: SocketAddr) -> impl Fn(SocketAddr) -> Seat {
        move |address| if address == at { Seat::Member { answered: None } } else { Seat::Empty }
    }

    /// Trouble with 1 and 2, the first of which is a member's address.
    fn trouble() -> SendFailures {
        let mut failures = SendFailures::default();
        failures.note(at(0), to(1), CABLE);
        failures.note(at(0), to(2), FILTER);
        failures.look(at(0), only(to(1)));
        failures
    }

    #[test]
    fn it_is_over_for_one_when_datagrams_to_it_get_through_again_whatever_becomes_of_another() {
        let mut failures = trouble();
        let said = all_said(&failures);
        assert!(said.contains("10.0.0.1:4327 do not get through: no route to that host"), "{said}");
        assert!(said.contains("10.0.0.2:4327 do not get through: a packet filter"), "{said}");
        for s in 1..=6 {
            failures.sent(at(s), to(1));
            failures.note(at(s), to(2), FILTER);
            failures.look(at(s), only(to(1)));
        }
        assert_eq!(
            all_said(&failures),
            "datagrams to 10.0.0.2:4327 do not get through: a packet filter refuses it"
        );
    }

    #[test]
    fn it_is_over_at_once_when_the_member_there_answers_and_not_for_an_answer_from_before() {
        let mut failures = trouble();
        failures.note(at(10), to(1), CABLE);
        let heard = |s| move |_| Seat::Member { answered: Some(at(s)) };
        failures.look(at(11), heard(10));
        assert!(all_said(&failures).contains("10.0.0.1:4327"));
        failures.look(at(12), heard(11));
        assert!(failures.sentences().is_empty());
    }

    #[test]
    fn an_error_that_comes_later_than_its_datagram_counts() {
        let mut failures = trouble();
        for s in (1..60).step_by(3) {
            failures.sent(at(s), to(1));
            failures.look(at(s + 2), only(to(1)));
            failures.note(at(s + 3), to(1), CABLE);
        }
        assert!(all_said(&failures).contains("10.0.0.1:4327"));
    }

    #[test]
    fn it_is_over_when_the_member_has_gone_and_when_nothing_is_sent_there_any_more() {
        let mut failures = trouble();
        failures.look(at(1), |_| Seat::Empty);
        assert!(!all_said(&failures).contains("10.0.0.1"), "the member has gone");
        failures.look(at(150), |_| Seat::Empty);
        assert!(failures.sentences().is_empty());
    }

    #[test]
    fn a_crowd_is_counted_and_does_not_grow() {
        let mut failures = SendFailures::default();
        for port in 1..10_000 {
            failures.note(at(0), SocketAddr::from(([10, 0, 0, 1], port)), CABLE);
        }
        assert!(all_said(&failures).contains(&format!("10.0.0.1:3 and {} more", MOST - 3)));
        // Such a crowd can be forged, and leaves room for what cannot.
        failures.note(at(1), to(9), FILTER);
        assert!(failures.sentences().contains_key(&Code::UdpBlocked));
        assert_eq!(failures.at.len(), MOST);
    }
}
