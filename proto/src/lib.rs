//! What heartsay agents say to one another.
//!
//! One datagram is one [frame] around one [`gossip::Packet`]. It is at most
//! [`Budget::MAX`] bytes and stands alone: no datagram needs another one to be
//! understood.
//!
//! ```text
//!            header, in the clear
//!   0      2         3        4             8
//!   ┌──────┬─────────┬────────┬─────────────┐
//!   │ "hs" │ version │ key id │ cluster tag │   tag: first 4 bytes of a SHA-256
//!   └──────┴─────────┴────────┴─────────────┘   over the cluster id
//!                        │
//!       key id 0: plain  │  key id 1..=255: sealed
//!   8         12         │  8        16     20      32                  n-16    n
//!   ┌─────────┬────────┐ │  ┌────────┬──────┬───────┬───────────────────┬───────┐
//!   │ CRC-32  │ body   │ │  │ number │ mark │ hedge │ body, enciphered  │ tag   │
//!   └─────────┴────────┘ │  └────────┴──────┴───────┴───────────────────┴───────┘
//!   over cluster id,     │  └──── the nonce ────────┘
//!   header and body      │  XChaCha20-Poly1305; header, the receiver's life tag
//!                        │  and the cluster id are authenticated with it
//!
//!   number: grows from each datagram of a sender to the next
//!   mark:   lower half of the receiver's life tag, 0 for no life in particular
//!   hedge:  keyed hash over number, receiver and body
//!
//!   body = Packet (protobuf, schema/gossip.proto)
//!            └─ body: Exchange ── Page ── ages: heartbeats in a few bits each
//!            └─ claims: news about members, beside any body
//! ```
//!
//! All integers of the frame are big-endian.
//!
//! | room | answers |
//! |---|---|
//! | [`frame`] | is this datagram for us, whole, and from a holder of the key; for whom do we seal |
//! | [`keyring`] | with which key do we seal, which do we accept |
//! | [`packet`] | does the packet keep the bounds of the protocol |
//! | [`ages`] | how do the heartbeats of a page fit in a few bits each |
//! | [`last_words`] | has a process ended, as its host says |
//! | [`budget`] | does this piece still fit the datagram |
//! | [`service`] | how a member's state tells of the services on its host |
//!
//! What this crate will never know: the time, a socket, a source of randomness (number and
//! secret are handed in), which datagrams have been seen before, or what a claim means.

pub mod ages;
mod bits;
pub mod budget;
pub mod error;
pub mod frame;
/// The messages, generated from `schema/gossip.proto`, whose comments are the wire
/// specification. `tests/schema.rs` keeps the two equal.
#[rustfmt::skip]
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
pub mod gossip;
pub mod keyring;
pub mod last_words;
pub mod packet;
/// What a member says of the services on its host, generated from `schema/service.proto`.
#[rustfmt::skip]
#[allow(missing_docs, clippy::doc_markdown)]
pub mod service;

pub use budget::{Budget, Filler};
pub use error::DecodeError;
pub use frame::{
    ANYONE, Cluster, KeyId, Opened, PLAIN_OVERHEAD, SEALED_OVERHEAD, SECRET_LENGTH, Seal, VERSION, is_word,
    open, open_for, seal, seal_for,
};
pub use keyring::{Key, Keyring, Plain};
pub use last_words::{LastMark, LastSecret, LastWords};
pub use packet::{decode_into, decode_packet, emptied, encode_packet, is_instance};
pub use prost::Message;
/// The type of all byte fields in [`gossip`]; made from a `Vec<u8>` with `into()`.
pub use prost::bytes::Bytes;
