//! Datagrams that a test writes itself.

use std::net::{IpAddr, SocketAddr};

use heartsay_membership::Config;
use heartsay_proto::gossip::{Body, Claim, Packet};
use heartsay_proto::{encode_packet, seal};

/// The packet as a member with this configuration would send it.
#[must_use]
pub fn datagram(packet: &Packet, config: &Config) -> Vec<u8> {
    let mut body = Vec::new();
    encode_packet(packet, &mut body);
    framed(&body, config)
}

/// A packet that says nothing but these claims.
#[must_use]
pub fn telling(claims: Vec<Claim>) -> Packet {
    Packet { sender: 99, heartbeat: 1, claims, ..Packet::default() }
}

/// Any bytes inside a frame that is right.
#[must_use]
pub fn framed(body: &[u8], config: &Config) -> Vec<u8> {
    let mut frame = Vec::new();
    seal(body, &config.cluster, &config.keyring, [0; 24], &mut frame);
    frame
}

/// What introduces a member that beats once a second since `unix_ms`.
#[must_use]
pub fn body(name: &str, host: u128, address: SocketAddr, unix_ms: u64) -> Body {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    Body {
        name: name.to_owned(),
        host_id: host.to_be_bytes().to_vec().into(),
        ip: ip.into(),
        port: address.port().into(),
        ref_unix_ms: unix_ms,
        interval_ms: 1000,
        ..Body::default()
    }
}
