//! Heartbeats from all to all, judged by a fixed time-out or by phi.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use heartsay_membership::{Instant, Status};

use super::{INTERVAL, Model, Part, Stage};

/// How silence is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// [`MISSED`] intervals.
    Fixed,
    /// Hayashibara 2004.
    Normal,
    /// Cassandra.
    Exponential,
}

/// One member that beats for all others and listens to all others.
///
/// A detector with a threshold is a deadline in disguise: it is computed once per arrival, from the window
/// of intervals, and compared with the clock ten times a second.
pub(super) struct Beats {
    part: Part,
    rule: Rule,
    deviations: f64,
    peers: Vec<Peer>,
    next_beat: Instant,
    next_check: Instant,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    last: Instant,
    heard: bool,
    deadline: Instant,
    down: bool,
    window: VecDeque<f32>,
    sum: f64,
    squares: f64,
}

impl Beats {
    pub(super) fn new(part: Part, rule: Rule) -> Self {
        Self {
            part,
            rule,
            deviations: deviations(THRESHOLD),
            peers: vec![Peer::default(); part.nodes],
            next_beat: Instant::EPOCH,
            next_check: Instant::EPOCH,
        }
    }

    fn patience(&self, peer: &Peer) -> Duration {
        let count = peer.window.len() as f64;
        let pause = self.part.pause.as_secs_f64();
        // Before there is a rhythm: the interval, a quarter of it as deviation, as Akka starts.
        let expected = INTERVAL.as_secs_f64();
        let (mean, deviation) = if count < 2.0 {
            (expected, expected / 4.0)
        } else {
            let mean = peer.sum / count;
            (mean, libm::sqrt((peer.squares / count - mean * mean).max(0.0)).max(FLOOR))
        };
        Duration::from_secs_f64(match self.rule {
            Rule::Fixed => expected * MISSED,
            Rule::Normal => pause + mean + self.deviations * deviation,
            Rule::Exponential => pause + THRESHOLD * core::f64::consts::LN_10 * mean,
        })
    }
}

impl Model for Beats {
    fn begin(&mut self, now: Instant, _: &mut Stage) {
        for i in 0..self.peers.len() {
            self.peers[i].last = now;
            self.peers[i].deadline = now + self.patience(&self.peers[i]) + INTERVAL;
        }
        (self.next_beat, self.next_check) = (now, now + CHECK);
    }

    fn datagram(&mut self, now: Instant, from: usize, _: &[u8], stage: &mut Stage) {
        let peer = &mut self.peers[from];
        if peer.heard {
            let interval = now.since(peer.last).as_secs_f32();
            peer.window.push_back(interval);
            peer.sum += f64::from(interval);
            peer.squares += f64::from(interval) * f64::from(interval);
            if peer.window.len() > WINDOW
                && let Some(old) = peer.window.pop_front()
            {
                peer.sum -= f64::from(old);
                peer.squares -= f64::from(old) * f64::from(old);
            }
        }
        (peer.heard, peer.last) = (true, now);
        if std::mem::replace(&mut peer.down, false) {
            stage.believes(from, Status::Alive);
        }
        self.peers[from].deadline = now + self.patience(&self.peers[from]);
    }

    fn timeout(&mut self, now: Instant, stage: &mut Stage) {
        let me = self.part.me;
        if now >= self.next_beat {
            for other in (0..self.part.nodes).filter(|other| *other != me) {
                stage.send(other, Bytes::from_static(&[0; BEAT]));
            }
            self.next_beat = now + INTERVAL;
        }
        if now >= self.next_check {
            self.next_check = now + CHECK;
            for (subject, peer) in self.peers.iter_mut().enumerate().filter(|(i, _)| *i != me) {
                if !peer.down && now >= peer.deadline {
                    peer.down = true;
                    stage.believes(subject, Status::Down);
                }
            }
        }
    }

    fn wants(&self) -> Instant {
        self.next_beat.min(self.next_check)
    }
}

/// How many deviations above its mean a normal variable must be for phi to be `phi`.
#[must_use]
pub fn deviations(phi: f64) -> f64 {
    let surprise = |z: f64| -libm::log10(0.5 * libm::erfc(z / core::f64::consts::SQRT_2));
    let (mut low, mut high) = (-8.0, 36.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if surprise(middle) < phi { low = middle } else { high = middle }
    }
    high
}

/// Phi: the threshold of Akka and Cassandra.
const THRESHOLD: f64 = 8.0;
/// Fixed: intervals of silence.
const MISSED: f64 = 5.0;
/// Intervals remembered (Hayashibara 2004, section 5.2; Akka and Cassandra too).
const WINDOW: usize = 1000;
/// Floor under the learnt deviation (Akka).
const FLOOR: f64 = 0.1;
/// How often deadlines are compared with the clock.
const CHECK: Duration = Duration::from_millis(100);
/// Bytes of a heartbeat.
const BEAT: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phi_of_the_normal_curve_has_the_deviations_of_the_tables() {
        // One-sided tail of the normal distribution: 0.158655 at 1, 0.00134990 at 3, 1e-8 at 5.612.
        for (tail, z) in [(0.158_655_25, 1.0), (0.001_349_90, 3.0), (1e-8, 5.612), (1e-1, 1.281_55)] {
            assert!(
                (deviations(-libm::log10(tail)) - z).abs() < 1e-3,
                "{tail}: {}",
                deviations(-libm::log10(tail))
            );
        }
    }
}
