//! Names: the members as a domain of the DNS, answered on loopback.
//!
//! [`zone`] says what is in it, [`answer`] makes an answer of a question, [`server`] has the sockets, and [`keeper`] makes a new
//! zone when something has happened. An answer comes from the last zone, so no question reaches the protocol, and
//! questions, however many, cost it nothing. Without `dns_listen` there is none of this, and nothing wakes up.

mod answer;
mod keeper;
pub(crate) mod server;
mod zone;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use domain::base::{Name, Ttl};
use parking_lot::RwLock;

use crate::settings::DnsSettings;
use answer::{Answer, Content, Domain, Outcome, Way};
pub(crate) use keeper::keep;
use zone::Zone;

/// What is answered, and what has been.
#[derive(Debug)]
pub(crate) struct Names {
    /// As text, for names in it.
    suffix: String,
    domain: Domain,
    state: RwLock<State>,
    /// Rises with each answer.
    turn: AtomicUsize,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// `None` before the first view that could be believed.
    zone: Option<Arc<Zone>>,
    serial: u32,
    /// Why a newer one is held back.
    held: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Counts {
    results: [AtomicU64; Outcome::WORDS.len()],
    cut: AtomicU64,
    unanswered: AtomicU64,
    closed: AtomicU64,
}

/// How the names fare, for metrics.
#[derive(Clone, Debug)]
pub(crate) struct Fare {
    /// Members that have a name.
    pub(crate) members: usize,
    /// Members that lack their name or role, because of what they say.
    pub(crate) left_out: usize,
    /// A newer list is held back, or none is known yet.
    pub(crate) held: bool,
    /// Answers by result.
    pub(crate) results: Vec<(&'static str, u64)>,
    /// Answers that were cut to fit.
    pub(crate) cut: u64,
    /// Datagrams and messages that got no answer.
    pub(crate) unanswered: u64,
    /// Connections beyond what is served at a time.
    pub(crate) closed: u64,
}

impl Names {
    /// Nothing is known yet.
    pub(crate) fn new(settings: &DnsSettings) -> Option<Self> {
        let seconds = u32::try_from(settings.ttl.as_secs()).ok()?;
        let apex = Name::vec_from_str(&settings.domain).ok()?;
        Some(Self {
            suffix: settings.domain.clone(),
            domain: Domain { apex, ttl: Ttl::from_secs(seconds) },
            state: RwLock::default(),
            turn: AtomicUsize::new(0),
            counts: Counts::default(),
        })
    }

    /// The answer to a message, if it gets one.
    fn answer(&self, query: &[u8], way: Way) -> Option<Vec<u8>> {
        let State { zone, serial, .. } = self.state.read().clone();
        let turn = self.turn.fetch_add(1, Relaxed);
        let content = Content { zone: zone.as_deref(), serial, turn };
        let Some(Answer { bytes, result, cut }) = answer::answer(query, &self.domain, content, way) else {
            self.counts.unanswered.fetch_add(1, Relaxed);
            return None;
        };
        if let Some(count) = self.counts.results.get(result as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.counts.cut.fetch_add(u64::from(cut), Relaxed);
        Some(bytes)
    }

    /// Takes over what was seen; `at`: Unix seconds. Whether that is news.
    fn publish(&self, zone: Zone, at: u64) -> bool {
        let mut state = self.state.write();
        state.held = None;
        if state.zone.as_deref() == Some(&zone) {
            return false;
        }
        // Serials wrap, and so may the seconds.
        let now = u32::try_from(at & u64::from(u32::MAX)).unwrap_or_default();
        state.serial = now.max(state.serial.wrapping_add(1));
        state.zone = Some(Arc::new(zone));
        true
    }

    /// Whether these are the names that are answered.
    fn has(&self, zone: &Zone) -> bool {
        self.state.read().zone.as_deref() == Some(zone)
    }

    /// The last ones stay, if there are any. Whether that is news.
    fn hold(&self, why: &'static str) -> bool {
        let mut state = self.state.write();
        state.zone.is_some() && state.held.replace(why) != Some(why)
    }

    /// For metrics.
    pub(crate) fn fare(&self) -> Fare {
        let State { zone, held, .. } = self.state.read().clone();
        let counts = self.counts.results.iter().map(|count| count.load(Relaxed));
        Fare {
            members: zone.as_ref().map_or(0, |zone| zone.members),
            left_out: zone.as_ref().map_or(0, |zone| zone.left_out),
            held: held.is_some() || zone.is_none(),
            results: Outcome::WORDS.into_iter().zip(counts).collect(),
            cut: self.counts.cut.load(Relaxed),
            unanswered: self.counts.unanswered.load(Relaxed),
            closed: self.counts.closed.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
