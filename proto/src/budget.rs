//! Encoded sizes: filling a datagram up to its limit, never beyond.
//!
//! Packing a parcel on a scale: each thing is weighed before it goes in, with its own
//! wrapping, and with what it adds to the wrapping of the box around it. *Road not
//! taken*: encode, look, cut back; it needs a second pass and makes "by construction" a
//! hope.

use prost::{Message, length_delimiter_len};
use thiserror::Error;

use crate::frame::{PLAIN_OVERHEAD, SEALED_OVERHEAD};
use crate::gossip::packet::Body;
use crate::gossip::{Claim, Exchange, List, Packet, Page, Want};
use crate::keyring::Keyring;

/// How long a datagram may be, frame included and IP and UDP headers not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    limit: usize,
}

impl Budget {
    /// Shortest limit, in bytes: every IPv4 host takes 576-byte packets (RFC 791).
    pub const MIN: usize = 512;
    /// Default limit, in bytes: 1,280, which every IPv6 path carries (RFC 8200), less 48
    /// for headers and 32 for a tunnel. A larger one saves headers and risks silent loss
    /// behind tunnels.
    pub const DEFAULT: usize = 1_200;
    /// Longest limit, in bytes: an Ethernet frame less IPv4 and UDP headers.
    pub const MAX: usize = 1_472;

    /// A limit in bytes, [`MIN`](Self::MIN)..=[`MAX`](Self::MAX).
    ///
    /// # Errors
    /// [`BudgetError`] when it is outside. The operator's fault.
    pub const fn new(limit: usize) -> Result<Self, BudgetError> {
        if limit < Self::MIN || limit > Self::MAX {
            return Err(BudgetError { limit });
        }
        Ok(Self { limit })
    }

    /// The limit of a whole datagram, in bytes.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// What is left for the body, in bytes, in a frame made with this keyring.
    pub fn for_frame(self, keyring: &Keyring) -> usize {
        self.limit - if keyring.is_empty() { PLAIN_OVERHEAD } else { SEALED_OVERHEAD }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { limit: Self::DEFAULT }
    }
}

/// A limit outside what datagrams can have. The operator's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a datagram has {} to {} bytes; {limit} is outside", Budget::MIN, Budget::MAX)]
pub struct BudgetError {
    /// The limit asked for, in bytes.
    pub limit: usize,
}

/// A packet in the making that never outgrows its limit.
///
/// Each `try_` gives back, unchanged, what does not fit: it then belongs to the next
/// datagram. The accounting is exact: [`left`](Self::left) is the limit less the
/// encoded length.
#[derive(Debug, Clone)]
pub struct Filler {
    packet: Packet,
    limit: usize,
    /// Encoded length of the packet so far.
    used: usize,
    /// Encoded length of the exchange in it so far, without its own length in front.
    exchange: usize,
}

impl Filler {
    /// Starts from a packet (sender, heartbeat, a body and so on) that may encode to at
    /// most `limit` bytes; see [`Budget::for_frame`].
    ///
    /// # Errors
    /// Gives the packet back when it is already longer than that.
    #[expect(clippy::result_large_err, reason = "the packet is the caller's and goes back to it")]
    pub fn new(packet: Packet, limit: usize) -> Result<Self, Packet> {
        let used = packet.encoded_len();
        if used > limit {
            return Err(packet);
        }
        let exchange = match &packet.body {
            Some(Body::Exchange(exchange)) => exchange.encoded_len(),
            _ => 0,
        };
        Ok(Self { packet, limit, used, exchange })
    }

    /// Bytes still free.
    pub const fn left(&self) -> usize {
        self.limit - self.used
    }

    /// The packet so far.
    pub const fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Adds a claim beside the body.
    ///
    /// # Errors
    /// Gives the claim back when it does not fit.
    #[expect(clippy::result_large_err, reason = "the claim is the caller's and goes back to it")]
    pub fn try_claim(&mut self, claim: Claim) -> Result<(), Claim> {
        let size = CLAIM_TAG_LENGTH + delimited(claim.encoded_len());
        if size > self.left() {
            return Err(claim);
        }
        self.used += size;
        self.packet.claims.push(claim);
        Ok(())
    }

    /// Adds a page to the exchange.
    ///
    /// # Errors
    /// Gives the page back when it does not fit or the packet's body is no exchange.
    pub fn try_page(&mut self, page: Page) -> Result<(), Page> {
        self.try_in_exchange(page, |exchange| &mut exchange.pages)
    }

    /// Adds a list to the exchange.
    ///
    /// # Errors
    /// Gives the list back when it does not fit or the packet's body is no exchange.
    pub fn try_list(&mut self, list: List) -> Result<(), List> {
        self.try_in_exchange(list, |exchange| &mut exchange.lists)
    }

    /// Adds a want to the exchange.
    ///
    /// # Errors
    /// Gives the want back when it does not fit or the packet's body is no exchange.
    pub fn try_want(&mut self, want: Want) -> Result<(), Want> {
        self.try_in_exchange(want, |exchange| &mut exchange.wants)
    }

    /// The packet, at most `limit` bytes when encoded.
    pub fn finish(self) -> Packet {
        self.packet
    }

    fn try_in_exchange<T: Message>(
        &mut self,
        item: T,
        field: impl FnOnce(&mut Exchange) -> &mut Vec<T>,
    ) -> Result<(), T> {
        let left = self.left();
        let Some(Body::Exchange(exchange)) = &mut self.packet.body else { return Err(item) };
        let after = self.exchange + FIELD_TAG_LENGTH + delimited(item.encoded_len());
        // More than the item: the exchange's own length may need another byte.
        let growth = delimited(after) - delimited(self.exchange);
        if growth > left {
            return Err(item);
        }
        self.used += growth;
        self.exchange = after;
        field(exchange).push(item);
        Ok(())
    }
}

/// Length of a message of `length` bytes with its length in front.
fn delimited(length: usize) -> usize {
    length_delimiter_len(length) + length
}

/// Tags of fields 1 to 15 take one byte, of fields 16 to 2,047 two.
const FIELD_TAG_LENGTH: usize = 1;
const CLAIM_TAG_LENGTH: usize = 2;
