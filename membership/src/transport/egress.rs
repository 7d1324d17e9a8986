//! The egress limiter: bounds the bytes per second that leave, whatever the cause.
//!
//! News, probes and pulls have budgets of their own. Answers have none: their number depends on the peers that ask. So
//! everything that leaves passes this limiter, and what exceeds it is not sent, as if the network had lost it.
//! Everything that matters is sent again later.
//!
//! Picture: a reservoir behind a dam. A large event may drain three quarters of it at once. The last quarter is kept
//! for signs of life and probes, so that no member is called down because it was busy answering requests.

use heartsay_proto::gossip::Packet;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::transport::token_bucket::TokenBucket;

/// The bytes that may leave.
#[derive(Debug)]
pub struct EgressLimiter {
    bytes: TokenBucket,
    /// The part kept for signs of life.
    reserve: usize,
}

impl EgressLimiter {
    pub fn new(now: Instant, rate: u32) -> Self {
        Self { bytes: TokenBucket::new(now, rate), reserve: usize::try_from(rate).unwrap_or(usize::MAX) }
    }

    /// Whether this many bytes could leave now without touching the reserve.
    pub fn affords(&mut self, now: Instant, bytes: usize) -> bool {
        self.bytes.available(now) >= bytes.saturating_add(self.reserve)
    }

    /// Takes the budget for a datagram of `length` bytes around `packet`. Returns whether it may leave.
    pub fn passes(&mut self, now: Instant, packet: &Packet, length: usize) -> bool {
        let cost = length + HEADERS;
        let kept = if is_sign_of_life(packet) { 0 } else { self.reserve };
        self.bytes.available(now) >= cost.saturating_add(kept) && self.bytes.take(now, cost)
    }
}

/// Everything except datagrams that carry records, which could come from any other member, and what people ask.
fn is_sign_of_life(packet: &Packet) -> bool {
    match &packet.body {
        Some(Body::Exchange(exchange)) => exchange.step <= 2,
        Some(Body::Pull(_) | Body::Supply(_) | Body::Question(_) | Body::Answer(_)) => false,
        Some(
            Body::Ping(_)
            | Body::Pong(_)
            | Body::ProbeRequest(_)
            | Body::ProbeReport(_)
            | Body::Refusal(_)
            | Body::Tally(_)
            | Body::Twin(_)
            | Body::Who(_)
            | Body::Here(_),
        )
        | None => true,
    }
}

/// Bytes of IPv4 and UDP headers around a datagram.
const HEADERS: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    use heartsay_proto::gossip::{Ping, Supply};

    fn packet(body: Body) -> Packet {
        Packet { body: Some(body), ..Packet::default() }
    }

    #[test]
    fn no_second_exceeds_five_times_the_rate_and_signs_of_life_use_the_last_bytes() {
        let at = |ms| Instant::EPOCH + Duration::from_millis(ms);
        let mut egress = EgressLimiter::new(at(0), 100_000);
        let (records, sign_of_life) =
            (packet(Body::Supply(Supply::default())), packet(Body::Ping(Ping::default())));
        let mut seconds = [0; 10];
        for ms in 0..10_000 {
            let second = &mut seconds[usize::try_from(ms / 1000).unwrap()];
            while egress.passes(at(ms), &records, 1_172) {
                *second += 1_200;
            }
            if egress.passes(at(ms), &sign_of_life, 22) {
                *second += 50;
            }
        }
        assert!(seconds[0] <= 500_000, "{seconds:?}");
        assert!(seconds[1..].iter().all(|bytes| (98_000..=102_000).contains(bytes)), "{seconds:?}");
        let passed = (0..2_000).filter(|_| egress.passes(at(10_000), &sign_of_life, 22)).count();
        assert!(passed > 1_900, "the reserve is theirs: {passed}");
    }
}
