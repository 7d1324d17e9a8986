//! What a node uses again and again, so that in the quiet a datagram takes nothing from the heap
//! but what it leaves with.

use bytes::{Bytes, BytesMut};
use heartsay_proto::{emptied, gossip};

/// Buffers of one node. What is lent need not come back: the next one is then new.
#[derive(Debug)]
pub struct Scratch {
    /// Cut into pieces from the front; whole again when nobody holds one.
    bytes: BytesMut,
    /// Empty, with room: one that comes and one that leaves.
    coming: gossip::Exchange,
    leaving: gossip::Exchange,
}

impl Scratch {
    pub fn new() -> Self {
        let (coming, leaving) = (gossip::Exchange::default(), gossip::Exchange::default());
        Self { bytes: BytesMut::with_capacity(PIECES), coming, leaving }
    }

    /// A copy to be sliced and dropped soon: whoever keeps a slice keeps all that was copied.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        // From the front again, if nobody holds a piece.
        let _ = self.bytes.try_reclaim(PIECES);
        self.bytes.extend_from_slice(bytes);
        self.bytes.split().freeze()
    }

    /// An exchange to be filled by what comes.
    pub fn coming(&mut self) -> gossip::Exchange {
        core::mem::take(&mut self.coming)
    }

    /// An exchange to be filled with what leaves.
    pub fn leaving(&mut self, step: u32) -> gossip::Exchange {
        gossip::Exchange { step, ..core::mem::take(&mut self.leaving) }
    }

    /// Takes back what had come.
    pub fn has_come(&mut self, exchange: gossip::Exchange) {
        self.coming = emptied(exchange);
    }

    /// Takes back what has left.
    pub fn has_left(&mut self, packet: gossip::Packet) {
        if let Some(gossip::packet::Body::Exchange(exchange)) = packet.body {
            self.leaving = emptied(exchange);
        }
    }
}

/// Room for a datagram that came and for the pages of one that leaves.
const PIECES: usize = 2560;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_where_the_last_one_lay_unless_somebody_holds_that() {
        let mut buffers = Scratch::new();
        let place = |bytes: &Bytes| bytes.as_ptr();
        let first = place(&buffers.copy(&[1; 2000]));
        let held = buffers.copy(&[2; 2000]);
        assert_eq!(place(&held), first);
        let third = buffers.copy(&[3; 2000]);
        assert_eq!((held.as_ref(), third.as_ref()), ([2; 2000].as_ref(), [3; 2000].as_ref()));
    }
}
