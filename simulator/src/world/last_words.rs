//! What a host says when the process on it has ended: its last words, as the guardian of an agent would.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use heartsay_membership::{Config, LastSecret, last_words};

use super::{SimEvent, World};
use crate::scenario::Fault;

impl World {
    /// The settings of the next life of `host`: all have the same, but for the secret.
    pub(super) fn config_of(&self, host: usize) -> Arc<Config> {
        if !self.scenario.protocol.last_words {
            return Arc::clone(&self.config);
        }
        let last_words = Some(self.secret(host, self.hosts[host].lives));
        Arc::new(Config { last_words, ..(*self.config).clone() })
    }

    /// The process on `host` has just ended, and its host tells all others.
    pub(crate) fn speak_last(&mut self, host: usize, fault: &Fault) {
        if !self.scenario.protocol.last_words {
            return;
        }
        let others: Vec<usize> = (0..self.hosts.len()).filter(|other| *other != host).collect();
        let secret = self.secret(host, self.hosts[host].lives.saturating_sub(1));
        let words = last_words(&self.hosts[host].name, secret, others.len());
        let words = Bytes::copy_from_slice(&words);
        let late = fault.words_late.map_or(Duration::ZERO, |late| late.0);
        for _ in 0..if fault.words_twice { 2 } else { 1 } {
            for to in &others {
                let late = if late.is_zero() { late } else { self.dice.within(late) };
                let mut arrivals = std::mem::take(&mut self.arrivals);
                self.network.carry(self.now, host, *to, &words, &mut arrivals);
                for (delay, bytes) in arrivals.drain(..) {
                    let arrives = SimEvent::Arrive { to: *to, from: host, bytes, stamp: None };
                    self.queue.push(self.now + late + delay, arrives);
                }
                self.arrivals = arrivals;
            }
        }
    }

    fn secret(&self, host: usize, life: u64) -> LastSecret {
        let mut dice = self.seed.dice("last words", (host as u64) << 32 | life);
        let bytes = [dice.word().to_le_bytes(), dice.word().to_le_bytes()];
        let mut secret = [0; 16];
        secret.copy_from_slice(bytes.as_flattened());
        LastSecret::new(secret)
    }
}
