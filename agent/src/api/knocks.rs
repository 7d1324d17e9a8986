//! What the hosts of members that fell silent do with what is sent there: that tells a process that stands still from a host
//! that is gone.
//!
//! Picture: nobody answers the telephone, so a neighbour rings at the door.
//!
//! An agent knocks only while somebody reads what it says, at few hosts, and at each now and then. So nothing is sent in a
//! cluster that is well, and a host is not asked by all members at once: a kernel refuses few datagrams a second, and silence
//! of a busy one would look like a process that stands still.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::Instant;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::doctor::Condition;
use crate::doctor::host::Knock;
use crate::words::FEW;

/// A member that is down since it fell silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silent {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// When it was called down.
    pub(crate) since: Instant,
}

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Knocks(Mutex<BTreeMap<String, Answer>>);

#[derive(Debug)]
struct Answer {
    of: Silent,
    asked: Instant,
    found: Option<Condition>,
}

impl Knocks {
    /// Knocks where that was not done a moment ago, and forgets those that are silent no more.
    pub(crate) fn ask(self: &Arc<Self>, now: Instant, silent: &[Silent]) -> Vec<JoinHandle<()>> {
        let mut known = self.0.lock();
        known.retain(|_, answer| silent.contains(&answer.of));
        // Of a crowd it is known that no process stands still by itself.
        if silent.len() > FEW {
            return Vec::new();
        }
        let is_due = |one: &&Silent| known.get(&one.name).is_none_or(|last| now.since(last.asked) >= AGAIN);
        let due: Vec<Silent> = silent.iter().filter(is_due).cloned().collect();
        due.into_iter()
            .map(|of| {
                let last = known.remove(&of.name).and_then(|last| last.found);
                let answer = Answer { of: of.clone(), asked: now, found: last };
                known.insert(of.name.clone(), answer);
                let knocks = Arc::clone(self);
                tokio::spawn(async move {
                    let found = Knock::at(of.address).await.condition(&of.name, of.address);
                    if let Some(answer) = knocks.0.lock().get_mut(&of.name).filter(|known| known.of == of) {
                        answer.found = found;
                    }
                })
            })
            .collect()
    }

    /// What is known of those that are silent now.
    pub(crate) fn conditions(&self, now: Instant, silent: &[Silent]) -> Vec<Condition> {
        let known = self.0.lock();
        let found = silent.iter().filter_map(|one| {
            let answer = known.get(&one.name)?;
            let is_new = answer.of == *one && now.since(answer.asked) < AGAIN * 3;
            Some(answer.found.clone()?.stood(now.since(one.since))).filter(|_| is_new)
        });
        found.collect()
    }
}

/// Between two knocks at one host.
const AGAIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::doctor::Code;

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    fn silent(name: &str, address: SocketAddr) -> Silent {
        Silent { name: name.to_owned(), address, since: at(100) }
    }

    #[tokio::test]
    async fn a_process_that_stands_still_is_told_once_its_host_was_asked_and_until_it_is_back() {
        let stalled = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let all = [silent("m5", stalled.local_addr().unwrap())];
        let knocks = Arc::new(Knocks::default());
        assert_eq!(knocks.conditions(at(110), &all), []);
        for asked in knocks.ask(at(110), &all) {
            asked.await.unwrap();
        }
        let [found] = knocks.conditions(at(112), &all).try_into().unwrap();
        assert_eq!((found.code, found.of.as_str()), (Code::PortSilent, "m5"));
        assert_eq!(found.stood, Some(Duration::from_secs(12)));
        assert!(knocks.ask(at(129), &all).is_empty(), "a moment ago");
        assert_eq!(knocks.conditions(at(170), &all), [], "nobody has looked for a minute");
        let again = [Silent { since: at(150), ..all[0].clone() }];
        assert_eq!(knocks.conditions(at(155), &again), [], "another silence");
        let asked = knocks.ask(at(131), &all);
        assert_eq!(
            (asked.len(), knocks.conditions(at(131), &all).len()),
            (1, 1),
            "told while it is asked anew"
        );
        knocks.ask(at(132), &[]);
        assert_eq!(knocks.conditions(at(132), &all), [], "it was back");
        for asked in asked {
            asked.await.unwrap();
        }
        assert_eq!(knocks.conditions(at(133), &all), [], "an answer that comes too late");
    }

    #[tokio::test]
    async fn a_crowd_is_not_asked() {
        let knocks = Arc::new(Knocks::default());
        let crowd: Vec<Silent> =
            (0..=FEW).map(|n| silent(&format!("m{n}"), ([127, 0, 0, 1], 1).into())).collect();
        assert!(knocks.ask(at(110), &crowd).is_empty());
        assert_eq!(knocks.0.lock().len(), 0);
    }
}
