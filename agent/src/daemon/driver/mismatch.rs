//! Datagrams that this agent must refuse because their key, their cluster or their version is another, or because a second host
//! has the name of a member: an operator's slip, which looks like a dead network from either side. So it is said in words, with
//! the addresses.
//!
//! Weak spot: the sender's address is not proven, so that any host can cause this condition. It is a hint: it moves no
//! verdict, hides no other condition, and its remedy begins with an "if".

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Instant, Name, Rejected};
use heartsay_proto::{DecodeError, VERSION};

use crate::doctor::{Code, Said};
use crate::event_log::EventLog;

/// Senders of such datagrams, by the reason of the refusal.
#[derive(Debug)]
pub(crate) struct Mismatches {
    /// Ours.
    cluster: String,
    slips: BTreeMap<&'static str, Slip>,
}

/// One kind of slip.
#[derive(Debug, Default)]
struct Slip {
    /// When each was last heard, and the name that it claims if that is the slip; at most [`MOST`] of them.
    from: BTreeMap<SocketAddr, (Instant, Option<Name>)>,
    count: u64,
    /// Its code, what is wrong and what to do, as last said.
    fault: Option<(Code, Said)>,
}

impl Mismatches {
    /// None yet, for an agent of this cluster.
    #[must_use]
    pub(crate) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), slips: BTreeMap::new() }
    }

    /// Notes a refused datagram; states a condition from the second of a kind on, since one may be a stray. `keys` are the
    /// ids of ours; `is_member`: one that has not left has this address.
    pub(super) fn note(
        &mut self,
        now: Instant,
        from: SocketAddr,
        why: &Rejected,
        keys: impl Fn() -> Vec<u8>,
        is_member: impl Fn() -> bool,
        event_log: &EventLog,
    ) {
        let reason = why.reason();
        if !REASONS.contains(&reason) {
            return;
        }
        let heard = self.slips.get(reason);
        let known = heard.is_some_and(|slip| slip.from.contains_key(&from));
        let full = heard.is_some_and(|slip| slip.from.len() == MOST);
        // A member tells of another host than we know while a name passes from one to the next: no slip of its own.
        if reason == DUPLICATE_NAME && !known && !full && is_member() {
            return;
        }
        let slip = self.slips.entry(reason).or_default();
        if known || !full {
            let claimed =
                if let Rejected::DuplicateName { name, .. } = why { Some(name.clone()) } else { None };
            slip.from.insert(from, (now, claimed));
        }
        slip.count += 1;
        // A flood is not worth a sentence each.
        if slip.count == LEAST || (slip.count > LEAST && !known && !full) {
            let keys = keys().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            slip.fault = Some(explain(why, &self.cluster, &keys));
            slip.say(reason, event_log);
        }
    }

    /// Takes back what has not been seen for a while.
    pub(super) fn look(&mut self, now: Instant, event_log: &EventLog) {
        self.slips.retain(|reason, slip| {
            let before = slip.from.len();
            slip.from.retain(|_, (last, _)| now.since(*last) < OVER);
            if slip.from.len() < before && slip.count >= LEAST {
                slip.say(reason, event_log);
            }
            !slip.from.is_empty()
        });
    }
}

impl Slip {
    fn say(&self, reason: &str, event_log: &EventLog) {
        let named: Vec<String> = self
            .from
            .iter()
            .map(|(from, (_, claimed))| match claimed {
                Some(name) => format!("{from}, which calls itself {name},"),
                None => from.to_string(),
            })
            .collect();
        let more = if named.len() == MOST { " and maybe others" } else { "" };
        let Some((code, Said { what, remedy })) = &self.fault else { return };
        let what = format!("datagrams from {}{more} are refused: {what}", named.join(", "));
        let said = Said::new(what, format!("if those are members, and no forgery: {remedy}"));
        event_log.condition_of(*code, reason, (!named.is_empty()).then_some(said));
    }
}

/// The code, and fault and remedy in words.
#[expect(clippy::wildcard_enum_match_arm, reason = "only REASONS get here")]
fn explain(why: &Rejected, cluster: &str, keys: &str) -> (Code, Said) {
    let error = match why {
        Rejected::Decode(error) => error,
        Rejected::DuplicateName { .. } => {
            let what = "a member on another host has that name";
            let remedy =
                "give one of the two another name; a cloned machine also needs a state directory of its own";
            return (Code::NameClaimed, Said::new(what, remedy));
        }
        other => return (Code::KeyUnknown, other.to_string().into()),
    };
    let code = match error {
        DecodeError::PlainButKeyed | DecodeError::SealedButNoKey => Code::EncryptionDiffers,
        DecodeError::OtherCluster => Code::ClusterIdDiffers,
        DecodeError::OlderVersion { .. } | DecodeError::NewerVersion { .. } => Code::VersionOld,
        _ => Code::KeyUnknown,
    };
    let said = match error {
        DecodeError::UnknownKey { id } => Said::new(
            format!("they are sealed with key {id}, and the keyring here holds {keys}"),
            "add that key to key_file here, or give those hosts the keys of this one, and reload; \"heartsay keys list\" \
             shows the ids on each host",
        ),
        DecodeError::Unauthentic { id } => Said::new(
            format!(
                "they name key {id}, which the keyring here holds, and do not open with it: another key with the same id, \
                 or a forgery"
            ),
            "copy the key file from a host that is well",
        ),
        DecodeError::PlainButKeyed => Said::new(
            format!("they are not sealed, and this agent has a key ({keys})"),
            "set key_file on those hosts and reload them",
        ),
        DecodeError::SealedButNoKey => {
            Said::new("they are sealed, and this agent has no key", "set key_file here and reload")
        }
        DecodeError::OlderVersion { version } => Said::new(
            format!("they speak version {version} of the wire, and this agent speaks {VERSION}"),
            "upgrade those hosts",
        ),
        DecodeError::NewerVersion { version } => Said::new(
            format!("they speak version {version} of the wire, and this agent speaks {VERSION}"),
            "upgrade this host",
        ),
        DecodeError::OtherCluster => Said::new(
            format!(
                "they belong to another cluster than {cluster:?}, the one of this agent, unless one of their seeds leads \
                 here by mistake"
            ),
            "set the same \"cluster\" there and here",
        ),
        other => other.to_string().into(),
    };
    (code, said)
}

/// Refusals that are a slip of configuration; each is a condition of its own.
const REASONS: [&str; 8] = [
    DUPLICATE_NAME,
    "unknown-key",
    "unauthentic",
    "plain-but-keyed",
    "sealed-but-no-key",
    "other-cluster",
    "older-version",
    "newer-version",
];
const DUPLICATE_NAME: &str = "duplicate-name";
/// Senders that are named. More would not be read.
const MOST: usize = 4;
/// Datagrams before it is said.
const LEAST: u64 = 2;
/// So long after the last one it is over: some times what a seed waits between two calls when all is well.
const OVER: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use heartsay_membership::HostId;

    use super::*;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    fn from(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn a_wrong_key_is_said_with_ids_and_addresses_and_taken_back_when_it_is_over() {
        let (mut mismatches, event_log) = (Mismatches::new("shop"), EventLog::new());
        let why = Rejected::Decode(DecodeError::UnknownKey { id: 37 });
        mismatches.note(at(0), from(1), &why, || vec![112, 8], || false, &event_log);
        assert!(event_log.conditions().is_empty(), "one may be a stray");
        mismatches.note(at(1), from(2), &why, || vec![112, 8], || false, &event_log);
        let [said] = &event_log.sentences()[..] else { panic!("{:?}", event_log.sentences()) };
        assert_eq!(event_log.conditions()[0].code, Code::KeyUnknown);
        for words in [
            "10.0.0.1:1, 10.0.0.1:2",
            "sealed with key 37",
            "holds 112, 8",
            "if those are members",
            "key_file",
        ] {
            assert!(said.contains(words), "{words} is not in {said}");
        }
        mismatches.look(at(180), &event_log);
        assert!(
            event_log.sentences()[0].contains("from 10.0.0.1:2 are"),
            "one is over: {:?}",
            event_log.conditions()
        );
        mismatches.look(at(181), &event_log);
        assert!(event_log.conditions().is_empty());
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow() {
        let (mut mismatches, event_log) = (Mismatches::new("shop"), EventLog::new());
        let why = Rejected::Decode(DecodeError::SealedButNoKey);
        for n in 1..60_000 {
            mismatches.note(at(1), from(n), &why, || vec![112, 8], || false, &event_log);
        }
        assert_eq!(mismatches.slips["sealed-but-no-key"].from.len(), MOST);
        assert!(event_log.sentences()[0].contains("and maybe others"));
    }

    #[test]
    fn what_happens_on_any_network_is_no_slip() {
        let (mut mismatches, event_log) = (Mismatches::new("shop"), EventLog::new());
        for why in [Rejected::Unexpected { what: "answer" }, Rejected::Decode(DecodeError::NotOurs)] {
            mismatches.note(at(1), from(1), &why, || vec![112, 8], || false, &event_log);
            mismatches.note(at(1), from(1), &why, || vec![112, 8], || false, &event_log);
        }
        assert!(event_log.conditions().is_empty());
    }

    #[test]
    fn every_reason_is_explained() {
        for error in [
            DecodeError::UnknownKey { id: 1 },
            DecodeError::Unauthentic { id: 1 },
            DecodeError::PlainButKeyed,
            DecodeError::SealedButNoKey,
            DecodeError::OtherCluster,
            DecodeError::OlderVersion { version: 1 },
            DecodeError::NewerVersion { version: 9 },
        ] {
            assert!(REASONS.contains(&error.reason()));
            let what = error.to_string();
            assert_ne!(explain(&Rejected::Decode(error), "shop", "1").1.what, what);
        }
    }

    #[test]
    fn a_second_host_with_the_name_of_a_member_is_named_and_a_member_that_speaks_of_one_is_not() {
        let (mut mismatches, event_log) = (Mismatches::new("shop"), EventLog::new());
        let (holder, newcomer) = (HostId(1), HostId(2));
        let why = Rejected::DuplicateName { name: "m4".parse().unwrap(), holder, newcomer };
        for s in 0..3 {
            mismatches.note(at(s), from(1), &why, Vec::new, || true, &event_log);
        }
        assert!(event_log.conditions().is_empty(), "a member");
        for s in 3..5 {
            mismatches.note(at(s), from(2), &why, Vec::new, || false, &event_log);
        }
        let conditions = event_log.conditions();
        assert_eq!(conditions[0].code, Code::NameClaimed);
        let said = conditions[0].said.to_string();
        assert!(said.contains("10.0.0.1:2") && said.contains("calls itself m4"), "{said}");
    }
}
