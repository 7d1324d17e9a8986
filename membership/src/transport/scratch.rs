//! Reused buffers: in the calm, a datagram allocates nothing on the heap except the bytes that are sent.

use bytes::{Bytes, BytesMut};
use heartsay_proto::{emptied, gossip};

/// Buffers of one node. A buffer that was lent need not come back: the next one is then new.
#[derive(Debug)]
pub struct Scratch {
    /// Pieces are cut from the front; all of it is free again when no piece is held.
    bytes: BytesMut,
    /// Empty, with room: one for an exchange that arrives and one for an exchange that leaves.
    coming: gossip::Exchange,
    leaving: gossip::Exchange,
}

impl Scratch {
    pub fn new() -> Self {
        let (coming, leaving) = (gossip::Exchange::default(), gossip::Exchange::default());
        Self { bytes: BytesMut::with_capacity(PIECES), coming, leaving }
    }

    /// A copy to be sliced and dropped soon: holding one slice keeps the whole copy alive.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        // Starts from the front again, if no piece is held.
        let _ = self.bytes.try_reclaim(PIECES);
        self.bytes.extend_from_slice(bytes);
        self.bytes.split().freeze()
    }

    /// A buffer for an exchange that arrives.
    pub fn coming(&mut self) -> gossip::Exchange {
        core::mem::take(&mut self.coming)
    }

    /// A buffer for an exchange that leaves.
    pub fn leaving(&mut self, step: u32) -> gossip::Exchange {
        gossip::Exchange { step, ..core::mem::take(&mut self.leaving) }
    }

    /// Takes the buffer of an arrived exchange back.
    pub fn has_come(&mut self, exchange: gossip::Exchange) {
        self.coming = emptied(exchange);
    }

    /// Takes the buffer of a sent packet back.
    pub fn has_left(&mut self, packet: gossip::Packet) {
        if let Some(gossip::packet::Body::Exchange(exchange)) = packet.body {
            self.leaving = emptied(exchange);
        }
    }
}

/// Room for a datagram that arrives and for the pages of one that leaves.
const PIECES: usize = 2560;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_reuses_the_place_of_the_last_one_unless_that_is_still_held() {
        let mut buffers = Scratch::new();
        let place = |bytes: &Bytes| bytes.as_ptr();
        let first = place(&buffers.copy(&[1; 2000]));
        let held = buffers.copy(&[2; 2000]);
        assert_eq!(place(&held), first);
        let third = buffers.copy(&[3; 2000]);
        assert_eq!((held.as_ref(), third.as_ref()), ([2; 2000].as_ref(), [3; 2000].as_ref()));
    }
}
