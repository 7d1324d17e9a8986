//! The versioned key-value state that a member tells about itself.

/// Why a state change was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Keys are 1 to 64 bytes of printable text without spaces.
    #[error("key {key:?} must be 1 to 64 bytes of printable text without spaces")]
    Key {
        /// The offending key, shortened.
        key: String,
    },
    /// A value must fit one datagram with room to spare.
    #[error("value of {key:?} has {bytes} bytes; at most 768 are allowed")]
    Value {
        /// Whose value.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// At most 64 keys.
    #[error("{keys} keys are too many; at most 64 are allowed")]
    Keys {
        /// How many there would be.
        keys: usize,
    },
    /// At most 8 KiB over all keys and values.
    #[error("state of {bytes} bytes is too large; at most 8192 are allowed")]
    Size {
        /// How large it would be.
        bytes: usize,
    },
}
