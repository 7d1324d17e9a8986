//! Any bytes as a datagram, and as the body of one: refused by name or read; what was read is
//! written and read back the same, and fits the sizes that were computed for it.
#![no_main]

use heartsay_proto::{
    Budget, Cluster, Filler, Key, Keyring, Message, decode_packet, encode_packet, open, seal,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cluster = Cluster::new("fuzz").expect("a good name");
    let keyrings = [Keyring::empty(), Keyring::new(vec![Key::from_bytes([7; 32])])];
    let mut scratch = Vec::new();
    for keyring in &keyrings {
        if let Ok((body, _)) = open(bytes, &cluster, keyring, Budget::MAX, &mut scratch) {
            let _ = decode_packet(body);
        }
    }
    let Ok(packet) = decode_packet(bytes) else { return };
    let mut body = Vec::new();
    encode_packet(&packet, &mut body);
    assert_eq!(body.len(), packet.encoded_len());
    assert_eq!(decode_packet(&body).as_ref(), Ok(&packet));

    // By pieces it comes to the same, or some are left out at the limit.
    let limit = Budget::DEFAULT;
    let bare = heartsay_proto::gossip::Packet { claims: Vec::new(), ..packet.clone() };
    if let Ok(mut filler) = Filler::new(bare, limit) {
        for claim in packet.claims {
            let _ = filler.try_claim(claim);
        }
        let left = filler.left();
        let filled = filler.finish();
        assert_eq!(filled.encoded_len(), limit - left);
    }
    if body.len() + heartsay_proto::SEALED_OVERHEAD <= Budget::MAX {
        for keyring in &keyrings {
            let mut frame = Vec::new();
            seal(&body, &cluster, keyring, [3; 24], &mut frame);
            let opened = open(&frame, &cluster, keyring, Budget::MAX, &mut scratch);
            assert_eq!(opened.map(|(opened, _)| opened.to_vec()), Ok(body.clone()));
        }
    }
});
