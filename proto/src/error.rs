//! Every way in which received bytes can be wrong, one variant each.

use thiserror::Error;

/// Why a datagram, or a part of one, was not taken.
///
/// *Did state change?* Never: decoding only reads, and the caller
/// just drops the datagram. *Whose fault, and is it normal?* Each variant says
/// so. [`reason`](Self::reason) names it in metrics.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    // The frame.
    /// Does not start with our magic: not a heartsay datagram at all. A stray sender or a
    /// port scan; normal now and then on an open port.
    #[error("not a heartsay datagram")]
    NotOurs,
    /// Shorter than its own layout. A bug of the sender or damage on the way; not normal.
    #[error("datagram of {length} bytes is cut short: at least {least} are needed")]
    Truncated {
        /// Bytes that arrived.
        length: usize,
        /// Bytes that the layout needs at the least.
        least: usize,
    },
    /// Longer than we take. The sender has a larger limit set, or it is not one of ours.
    #[error("datagram of {length} bytes exceeds the limit of {limit}")]
    Oversized {
        /// Bytes that arrived.
        length: usize,
        /// Most bytes that we take.
        limit: usize,
    },
    /// A frame version that we do not know. Normal during an upgrade that changes the
    /// frame: the older side, this one, is to be upgraded.
    #[error("frame version {version} is not known here (this agent speaks {})", crate::VERSION)]
    NewerVersion {
        /// The version the frame names.
        version: u8,
    },
    /// A frame version that we no longer know. Normal during an upgrade that changes the
    /// frame: the other side is to be upgraded.
    #[error("frame version {version} is no longer known here (this agent speaks {})", crate::VERSION)]
    OlderVersion {
        /// The version the frame names.
        version: u8,
    },
    /// Another cluster's datagram. Normal where addresses are re-used; a steady stream
    /// means that a seed list or an address is wrong.
    #[error("datagram of another cluster")]
    OtherCluster,
    /// A plain frame, but we hold a key. The sender lacks the key, or a stranger
    /// tries to speak. Normal only while a first key is rolled out.
    #[error("plain datagram, but this agent has a key")]
    PlainButKeyed,
    /// A sealed frame, but we hold no key. Our own configuration lacks the key. Normal
    /// only while a first key is rolled out.
    #[error("sealed datagram, but this agent has no key")]
    SealedButNoKey,
    /// Sealed with a key that we do not hold. Keyrings differ: install the key here or
    /// retire it there. Normal only in a careless rotation.
    #[error("sealed with key {id}, which is not in the keyring")]
    UnknownKey {
        /// Key id that the frame names.
        id: u8,
    },
    /// Sealed for another member, or for another life of this one. Normal for a moment after
    /// a start, until all others know the new life; otherwise a datagram that went astray, or
    /// a copy that somebody sends again.
    #[error("sealed for another member, or for another life of this one")]
    OtherLife,
    /// The key id is ours, the authentication fails: forged, damaged, or another key
    /// that happens to have the same id. Not normal.
    #[error("authentication failed with key {id}")]
    Unauthentic {
        /// Key id that the frame names.
        id: u8,
    },
    /// The checksum of a plain frame is wrong: damaged on the way, or a cluster whose id
    /// has the same tag. UDP's own checksum lets few through; many are not normal.
    #[error("checksum is wrong")]
    BadChecksum,

    // The packet. All of these are a bug or an attack of the sender, since an agent
    // checks its own packets; none is normal.
    /// The body is not the protobuf of a packet. The sender's fault.
    #[error("packet is not well-formed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A member name that is empty, longer than 128 bytes, or has spaces or control
    /// characters. The sender's fault.
    #[error("member name is empty, too long, or not printable")]
    BadName,
    /// A host id that is not 16 bytes. The sender's fault.
    #[error("host id has {length} bytes instead of 16")]
    BadHostId {
        /// Bytes found.
        length: usize,
    },
    /// An IP address that is neither 4 nor 16 bytes. The sender's fault.
    #[error("IP address has {length} bytes instead of 4 or 16")]
    BadIp {
        /// Bytes found.
        length: usize,
    },
    /// A UDP port outside 1..=65,535. The sender's fault.
    #[error("port {port} is outside 1..=65535")]
    BadPort {
        /// Port found.
        port: u32,
    },
    /// A round interval outside 10..=600,000 ms. The sender's fault.
    #[error("interval of {interval_ms} ms is outside 10..=600000")]
    BadInterval {
        /// Milliseconds found.
        interval_ms: u32,
    },
    /// An exchange step outside 1..=8. The sender's fault.
    #[error("exchange step {step} is outside 1..=8")]
    BadStep {
        /// Step found.
        step: u32,
    },
    /// Pages finer than 24 bits. The sender's fault.
    #[error("hash range of {bits} bits is finer than 24")]
    BadBits {
        /// Bits found.
        bits: u32,
    },
    /// A prefix that does not fit its number of bits. The sender's fault.
    #[error("prefix {prefix} does not fit {bits} bits")]
    BadPrefix {
        /// Prefix found.
        prefix: u32,
        /// Bits it has to fit.
        bits: u32,
    },
    /// A list whose columns have different lengths. The sender's fault.
    #[error("list has {tags} tags, {versions} versions and {standings} standings")]
    UnequalColumns {
        /// Number of life tags; may be 0, where positions replace tags.
        tags: usize,
        /// Number of versions.
        versions: usize,
        /// Number of standings.
        standings: usize,
    },
    /// A standing that is not 0 and names no kind. The sender's fault.
    #[error("standing {standing} has a basis but no kind")]
    BadStanding {
        /// Standing found.
        standing: u64,
    },
    /// A state key that is empty, longer than 64 bytes, or has spaces or control
    /// characters. The sender's fault.
    #[error("state key is empty, too long, or not printable")]
    BadKey,
    /// A state value longer than 768 bytes. The sender's fault.
    #[error("state value of {length} bytes is longer than 768")]
    BadValue {
        /// Bytes found.
        length: usize,
    },
    /// A question about a service whose name, or whose instance, is no word of at most 64
    /// bytes. The sender's fault.
    #[error("question names a service or an instance that is too long, or not printable")]
    BadQuestion,

    // The ages of a page.
    /// Coded ages end before all members are told. The sender's fault, or the caller
    /// hands in the count of another page.
    #[error("ages end early")]
    AgesTruncated,
    /// Bits after the last member's age, or padding that is not zero. The sender's
    /// fault, or the caller hands in the count of another page.
    #[error("ages are followed by something else")]
    AgesTrailing,
    /// An age beyond 64 bits. The sender's fault.
    #[error("age is out of range")]
    AgesRange,
}

impl DecodeError {
    /// A short, stable name in kebab-case, for a metric's label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs => "not-ours",
            Self::Truncated { .. } => "truncated",
            Self::Oversized { .. } => "oversized",
            Self::NewerVersion { .. } => "newer-version",
            Self::OlderVersion { .. } => "older-version",
            Self::OtherCluster => "other-cluster",
            Self::PlainButKeyed => "plain-but-keyed",
            Self::SealedButNoKey => "sealed-but-no-key",
            Self::UnknownKey { .. } => "unknown-key",
            Self::OtherLife => "other-life",
            Self::Unauthentic { .. } => "unauthentic",
            Self::BadChecksum => "bad-checksum",
            Self::Malformed(_) => "malformed",
            Self::BadName => "bad-name",
            Self::BadHostId { .. } => "bad-host-id",
            Self::BadIp { .. } => "bad-ip",
            Self::BadPort { .. } => "bad-port",
            Self::BadInterval { .. } => "bad-interval",
            Self::BadStep { .. } => "bad-step",
            Self::BadBits { .. } => "bad-bits",
            Self::BadPrefix { .. } => "bad-prefix",
            Self::UnequalColumns { .. } => "unequal-columns",
            Self::BadStanding { .. } => "bad-standing",
            Self::BadKey => "bad-key",
            Self::BadValue { .. } => "bad-value",
            Self::BadQuestion => "bad-question",
            Self::AgesTruncated => "ages-truncated",
            Self::AgesTrailing => "ages-trailing",
            Self::AgesRange => "ages-range",
        }
    }

    /// Every word that [`reason`](Self::reason) says.
    pub const REASONS: [&'static str; 29] = [
        "not-ours",
        "truncated",
        "oversized",
        "newer-version",
        "older-version",
        "other-cluster",
        "plain-but-keyed",
        "sealed-but-no-key",
        "unknown-key",
        "other-life",
        "unauthentic",
        "bad-checksum",
        "malformed",
        "bad-name",
        "bad-host-id",
        "bad-ip",
        "bad-port",
        "bad-interval",
        "bad-step",
        "bad-bits",
        "bad-prefix",
        "unequal-columns",
        "bad-standing",
        "bad-key",
        "bad-value",
        "bad-question",
        "ages-truncated",
        "ages-trailing",
        "ages-range",
    ];
}
