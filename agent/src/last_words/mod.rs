//! Last words: what is said when this process has ended, by something that outlives it.
//!
//! The *will* is a file beside the socket that holds the datagram and whom to send it to. Two may read it: the *guardian*,
//! a child of ours that waits for our end of a pipe to close, which the kernel does however we die; and
//! `heartsay last-words`, which the service manager runs after us, also where it has killed all our processes at once.
//! Neither holds a key of the cluster: the datagram proves itself, since this process alone knew what it says
//! (docs/protocol.md, section 8).
//!
//! | file | answers |
//! |---|---|
//! | [`will`] | what is to be said, and to whom |
//! | [`guardian`] | who says it, and when |
//! | [`keep`](mod@keep) | how do both stay true while the agent runs |

pub(crate) mod guardian;
pub(crate) mod keep;
pub(crate) mod will;

pub(crate) use keep::LastWords;
